//! Widths of register tiles on this machine's processor, measured with the model's own kernels: caches, prefetching and
//! ports all count, as no micro-kernel alone would show.

use super::Args;
use crate::cli::bench::int8;
use crate::cli::bench::measure::Run;
use crate::cli::options::GlobalOptions;
use crate::cli::output::{self, Done};
use crate::cli::programs::initialise;
use ninc::lower::target::{Batch, Target, Widths};
use ninc::model::Model;
use ninc::pipeline::Program;
use ninc_runtime::tuned::Tuned;
use ninc_runtime::weights;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Times that all widths are measured, one after the other: the machine's speed changes meanwhile.
const PASSES: usize = 3;
const ROUNDS: u32 = 5;
/// A width that gains less than this part of the time may have gained it by chance.
const LEAST: f64 = 0.02;

/// Least times by key and width; `None` is the width that the model of costs takes.
type Times = BTreeMap<String, BTreeMap<Option<u8>, Duration>>;

/// Measures, shows which widths are faster than those of the model of costs, and keeps them for this processor.
pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let mut model = global.model(&args.file)?;
    // Weights and ranges that a network of bytes needs to run at all.
    let mut tensors = None;
    if global.asks_for_int8() {
        let (bytes, weights) = int8::of_bytes(&model, global)?;
        (model, tensors) = (bytes, Some(weights));
    }
    let own = model.train.as_ref().map_or(1, |t| t.batch);
    let batch = args.batch.map_or(own, |b| b as usize);
    let target = global.options()?.target.unwrap_or_else(Target::host).with_cpu(|cpu| cpu.widths = None);
    let tuned = kept(&target);
    tuned.place()?;
    let registers = target.registers as usize;
    // Two rows of sums and the row of B must fit.
    let widths = Widths::ALL.into_iter().filter(|&width| 3 * usize::from(width) < registers).map(Some);
    let widths: Vec<Option<u8>> = [None].into_iter().chain(widths).collect();
    let mut batches = vec![batch, 1];
    batches.dedup();
    let mut times = Times::new();
    for pass in 0..PASSES {
        for (number, &width) in widths.iter().enumerate() {
            let name = width.map_or("the model of costs".into(), |width| format!("{width} vectors"));
            let done = pass * widths.len() + number + 1;
            output::note(&format!("measuring {done} of {}: {name}", PASSES * widths.len()));
            let target = target.clone().with_cpu(|cpu| cpu.vectors = width);
            let mut program = global.for_target(&model, false, target)?;
            match &tensors {
                Some(tensors) => weights::load(tensors, &mut *program.engine)?,
                None => initialise(&mut program)?,
            }
            for &batch in &batches {
                measure(&mut times, &mut program, &model, batch, width)?;
            }
        }
    }
    let found = best(&times);
    show(&found)?;
    let words = found.into_iter().map(|(key, gain)| (key, gain.map(|(width, _)| width.to_string())));
    let path = tuned.keep(words.collect())?;
    output::note(&format!("kept for this processor in {}", path.display()));
    Ok(())
}

/// The file of what was measured with vectors and caches like these.
pub fn kept(target: &Target) -> Tuned {
    let cpu = target.cpu();
    let units = [("vnni", cpu.vnni), ("bf16", cpu.bf16), ("tiles", cpu.tiles)];
    let units = units.iter().filter(|(_, there)| *there).map(|(name, _)| format!(" {name}")).collect::<String>();
    let processor = ninc_runtime::tuned::processor();
    Tuned::new("cpu", format!("{processor} {}{units} {:?}", cpu.isa.name(), target.cache))
}

/// Returns the target with what `ninc tune` measured on this processor.
pub fn with_widths(target: Target) -> Target {
    let widths = match kept(&target).read() {
        Ok(words) if words.is_empty() => return target,
        Ok(words) => {
            let (widths, lost) = Widths::from_words(&words);
            if lost > 0 {
                let what = "measured widths are not known to this version of ninc; `ninc tune` measures them anew";
                output::note_once(&format!("note: {lost} of {} {what}", words.len()));
            }
            widths
        }
        Err(error) => {
            output::note_once(&format!("note: {error}"));
            return target;
        }
    };
    target.with_cpu(|cpu| cpu.widths = Some(Arc::new(widths)))
}

fn measure(times: &mut Times, program: &mut Program, model: &Model, batch: usize, width: Option<u8>) -> Done {
    Run { model, batch, train: false, rounds: Some(ROUNDS), profile: true }.measure(program)?;
    let few = program.compiled.as_ref().and_then(|compiled| compiled.plan.small_batch.as_ref());
    let kind = match few {
        Some((most, _)) if batch <= *most => Batch::Latency,
        _ => Batch::Throughput,
    };
    let mut totals: BTreeMap<&String, Duration> = BTreeMap::new();
    for (kernel, took) in program.engine.profile() {
        if let Some(key) = program.report.origins.widths.get(&(kind, kernel)) {
            *totals.entry(key).or_default() += took;
        }
    }
    for (key, total) in totals {
        let least = times.entry(key.clone()).or_default().entry(width).or_insert(total);
        *least = total.min(*least);
    }
    Ok(())
}

/// The best width of each key and its gain, where one is faster than what the model of costs takes.
fn best(times: &Times) -> BTreeMap<String, Option<(u8, f64)>> {
    let faster = |all: &BTreeMap<Option<u8>, Duration>| {
        let usual = all.get(&None)?.as_secs_f64();
        let own = all.iter().filter_map(|(width, time)| Some(((*width)?, time.as_secs_f64())));
        let (width, time) = own.min_by(|a, b| a.1.total_cmp(&b.1))?;
        (time < usual * (1.0 - LEAST)).then(|| (width, usual / time))
    };
    times.iter().map(|(key, all)| (key.clone(), faster(all))).collect()
}

fn show(found: &BTreeMap<String, Option<(u8, f64)>>) -> Done {
    let mut rows = vec![["what", "vectors", "gain"].map(String::from).to_vec()];
    for (key, gain) in found {
        if let Some((width, gain)) = gain {
            rows.push(vec![said(key), width.to_string(), format!("x{gain:.2}")]);
        }
    }
    if rows.len() == 1 {
        return output::line("no width is faster than what the model of costs takes");
    }
    output::print(&output::table(&rows))
}

/// A key for people: which batches, the operator, the types of its first operand and its result.
fn said(key: &str) -> String {
    let (operands, result) = key.split_once(" -> ").unwrap_or((key, ""));
    let mut words = operands.splitn(3, ' ');
    let (kind, op, types) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next());
    let kind = if kind == format!("{:?}", Batch::Latency) { "few images" } else { "batches" };
    let first = types.and_then(|types| Some(types.split_once(']')?.0.to_string() + "]")).unwrap_or_default();
    format!("{op} {first} -> {result}, {kind}")
}
