//! `ninc bench`: how fast inference or a training step is.

use super::common::{Common, input, parameters, result, show_dumps};
use super::output::{self, Done, usage};
use clap::ValueEnum;
use ninc::model::Model;
use ninc::pipeline::Program;
use ninc_runtime::philox::Stream;
use ninc_runtime::train::feeds::{self, Feeds};
use ninc_runtime::{Engine, Feed, Result, init};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Rounds whose median counts, and the time after which no further one starts.
const ROUNDS: usize = 30;
const WARM: usize = 3;
const LONGEST: Duration = Duration::from_secs(10);
const LEAST: usize = 5;

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    Infer,
    Train,
}

#[derive(clap::Args)]
pub struct Args {
    file: PathBuf,
    #[arg(long, value_enum, default_value = "infer")]
    mode: Mode,
    /// Images per run; the recipe's batch unless said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: Option<u32>,
    #[arg(long)]
    json: bool,
    /// A row per kernel launch with its time, slowest first
    #[arg(long, conflicts_with = "json")]
    profile: bool,
}

pub fn run(args: &Args, common: &Common) -> Done {
    let model = common.model(&args.file)?;
    let (program, mode) = match args.mode {
        Mode::Infer => (common.inference(&model, &[])?, "infer"),
        Mode::Train if model.train.is_none() => {
            return Err(usage("the model has no `train { … }`", "add one, or measure with `--mode infer`"));
        }
        Mode::Train => (common.training(&model)?, "train"),
    };
    let mut program = program;
    show_dumps(&program.dumps)?;
    for parameter in parameters(&program.params) {
        program.engine.write(&parameter.name, &init::values(&parameter, 1))?;
    }
    let own = model.train.as_ref().map_or(1, |t| t.batch);
    let batch = args.batch.map_or(own, |b| b as usize);
    let mut times = measure(&model, &mut program, batch, args.mode, args.profile)?;
    times.sort();
    let median = times[times.len() / 2].as_secs_f64();
    // Two operations per multiply-add; the program's own graph counts the gradients of a training step as well.
    let operations = 2.0 * program.report.multiply_adds as f64 * batch as f64;
    let (gflops, speed) = (operations / median / 1e9, batch as f64 / median);
    let device = common.device.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default();
    let arena = program.engine.arena_bytes(batch);
    if args.json {
        return output::json(&json!({
            "network": model.name, "mode": mode, "batch": batch, "threads": common.threads(), "device": device,
            "median_ms": median * 1e3, "images_per_second": speed, "gflops": gflops, "arena_bytes": arena,
        }));
    }
    if args.profile {
        profile(&*program.engine)?;
    }
    output::line(&format!(
        "{} {mode}, batch {batch}, {} threads, {device}: {:.3} ms, {speed:.0} images/s, {gflops:.1} GFLOP/s, arena {} bytes",
        model.name,
        common.threads(),
        median * 1e3,
        output::grouped(arena as u64),
    ))
}

/// Share of the time and name of each launch.
fn profile(engine: &dyn Engine) -> Done {
    let mut rows = engine.profile();
    let total: f64 = rows.iter().map(|(_, t)| t.as_secs_f64()).sum();
    rows.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    for (name, time) in rows.iter().filter(|(_, t)| t.as_secs_f64() > 1e-3 * total) {
        output::line(&format!("{:5.1} %  {name}", 100.0 * time.as_secs_f64() / total))?;
    }
    Ok(())
}

/// Times of the rounds, of which there is at least one.
fn measure(model: &Model, program: &mut Program, batch: usize, mode: Mode, profiled: bool) -> Done<Vec<Duration>> {
    let mut random = Stream::new(1, 0, 0);
    let dims = input(model)?;
    let images: Vec<f32> = (0..batch * dims.iter().product::<usize>()).map(|_| random.normal()).collect();
    let classes = if mode == Mode::Train { result(model)?.2 as u32 } else { 1 };
    let labels: Vec<i32> = (0..batch).map(|_| random.below(classes.max(1)) as i32).collect();
    let outputs: Vec<String> = match mode {
        Mode::Infer => model.graph.outputs.iter().map(|(name, _)| name.clone()).collect(),
        Mode::Train => vec!["loss".into()],
    };
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let ports = program.engine.inputs().to_vec();
    let image = feeds::image(&ports)?.name.clone();
    let engine: &mut dyn Engine = &mut *program.engine;
    let mut step = 0;
    let mut once = || -> Result<Duration> {
        // A tiny rate: the work is the same, and the weights stay what they are.
        let feeds = model.train.as_ref().filter(|_| mode == Mode::Train);
        let feeds = feeds.map(|recipe| Feeds::new(&ports, recipe, 1e-6, step)).transpose()?;
        let fed = match &feeds {
            Some(feeds) => feeds.with(&ports, &images, &labels),
            None => vec![(image.as_str(), Feed::F32(&images))],
        };
        // From the first round that counts.
        if step == WARM as u64 && profiled {
            engine.set_profile(true);
        }
        step += 1;
        let start = Instant::now();
        engine.run(batch, &fed, &outputs)?;
        Ok(start.elapsed())
    };
    let begin = Instant::now();
    let mut times = vec![];
    for round in 0..WARM + ROUNDS {
        let time = once()?;
        let late = begin.elapsed() > LONGEST;
        // A slow device is measured with what there is, its first round included if need be.
        if round >= WARM || late {
            times.push(time);
        }
        if late && (times.len() >= LEAST || begin.elapsed() > 3 * LONGEST) {
            break;
        }
    }
    Ok(times)
}
