//! `ninc bench`: how fast inference or a training step is, beside what the machine can do at most in the same run.

use super::options::GlobalOptions;
use super::output::{self, Done, usage};
use super::programs::{initialise, show_dumps};
use super::train;
use clap::ValueEnum;
use ninc::model::Model;
use ninc::pipeline::{Program, Stage};
use ninc_runtime::Error;
use saved::{Saved, Work};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

pub mod int8;
pub(super) mod measure;
mod memory;
mod profile;
mod saved;
mod scaling;

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    Infer,
    Train,
}

#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin
    file: PathBuf,
    /// What to time: inference, or a whole step of training
    #[arg(long, value_enum, default_value = "infer")]
    mode: Mode,
    /// Images per run [default: the recipe's batch]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: Option<u32>,
    /// Rounds that count [default: 30, or as many as fit into ten seconds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: Option<u32>,
    /// Do not measure the machine's peak
    #[arg(long)]
    no_peak: bool,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// A row per kernel: its share of the time, arithmetic, share of the measured peak, bytes
    #[arg(long)]
    profile: bool,
    /// Show which algorithms were weighed, and the units that compute what was taken
    #[arg(long)]
    explain: bool,
    /// Write /tmp/perf-PID.map, in which Linux's `perf` finds the names of kernels and micro-kernels
    #[arg(long)]
    perf_map: bool,
    /// Write the result to a file, for `--compare`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// With `--mode train`: measure steps of this process and predict those of several that share a batch, from their
    /// number and their network: `ranks=64,latency=2us,bandwidth=12GB/s`
    #[arg(long, value_name = "CLUSTER", value_parser = scaling::cluster)]
    #[arg(conflicts_with_all = ["json", "profile", "save", "compare"])]
    plan: Option<scaling::Cluster>,
    /// Compare with a run that `--save` wrote
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    if args.mode == Mode::Infer {
        return match args.plan {
            Some(_) => Err(usage("--plan is about training", "add `--mode train`")),
            None => one(args, global),
        };
    }
    train::ranks::together(global, |global| match (&global.ranks, args.plan) {
        (Some(_), Some(_)) => Err(usage("--plan predicts from one process", "start it without mpirun")),
        (None, None) => one(args, global),
        (_, cluster) => {
            let model = global.model(&args.file)?;
            if model.train.is_none() {
                return Err(usage("the model has no `train { … }`", "add one"));
            }
            let global = global.for_training().for_recipe(model.train.as_ref());
            match cluster {
                Some(cluster) => scaling::plan(args, &global, &model, cluster),
                None => scaling::measure(args, &train::ranks::agreed(&global)?, &model),
            }
        }
    })
}

fn one(args: &Args, global: &GlobalOptions) -> Done {
    let global = &mut global.clone();
    if args.explain {
        if args.json {
            return Err(usage("--explain is text, and --json one object", "leave out one of them"));
        }
        global.emit.push(Stage::Explain.into());
    }
    // Before minutes of measuring: the run to compare with must be there.
    let before = args.compare.as_deref().map(Saved::read).transpose()?;
    let save: Vec<_> = args.save.iter().map(|path| ("--save", path.as_path())).collect();
    output::not_read(&save, &[&args.file])?;
    args.save.iter().try_for_each(|path| output::has_place(path))?;
    let model = global.model(&args.file)?;
    let int8 = global.asks_for_int8();
    let mut program = match args.mode {
        Mode::Infer if int8 => int8::program(&model, global)?,
        Mode::Train if int8 => return Err(usage("int8 does not learn", "measure a training in another precision")),
        Mode::Infer => global.inference(&model, &[])?,
        Mode::Train if model.train.is_none() => {
            return Err(usage("the model has no `train { … }`", "add one, or measure with `--mode infer`"));
        }
        Mode::Train => {
            // What is said of the run below is true of these.
            *global = global.for_training().for_recipe(model.train.as_ref());
            global.training(&model)?
        }
    };
    show_dumps(&program.dumps)?;
    if args.explain {
        output::print(&output::table(&profile::units(&program, batch_of(args, &model), global)))?;
    }
    if !int8 {
        initialise(&mut program)?;
    }
    if args.perf_map {
        perf_map(&program)?;
    }
    let batch = batch_of(args, &model);
    let train = args.mode == Mode::Train;
    if let Some(before) = &before {
        let mode = if train { "train" } else { "infer" };
        before.must_be(&Work { network: &model.name, mode, batch, threads: global.threads() })?;
    }
    let mut run = measure::Run { model: &model, batch, train, rounds: args.rounds, profile: args.profile };
    let mut peak = measure::Peak::new(global, !args.no_peak)?;
    peak.measure()?;
    let times = run.measure(&mut program)?;
    peak.measure()?;
    let result = saved(args, global, &program, &model.name, batch, &times, &peak);
    let rows = if args.profile { profile::rows(&program, batch, times.profiled, peak.gflops()) } else { vec![] };
    if let Some(path) = &args.save {
        result.write(path)?;
    }
    if args.json {
        let mut value = result.to_json();
        if args.profile {
            value["kernels"] = profile::json(&rows);
        }
        return output::json(&value);
    }
    if args.profile {
        output::print(&profile::table(&rows, result.unit()))?;
    }
    output::print(&result.text())?;
    match &before {
        Some(before) => output::print(&result.against(before)),
        None => Ok(()),
    }
}

/// Returns the images of a run.
fn batch_of(args: &Args, model: &Model) -> usize {
    let own = model.train.as_ref().map_or(1, |t| t.batch);
    args.batch.map_or(own, |b| b as usize)
}

/// Writes names of the program's functions where `perf report` looks for those of code that no file has.
fn perf_map(program: &Program) -> Done {
    let help = "only programs for `--device cpu` have functions in memory";
    let compiled = program.compiled.as_ref().ok_or_else(|| usage("there is no machine code to name", help))?;
    let path = PathBuf::from(format!("/tmp/perf-{}.map", std::process::id()));
    // Anybody may have put something of that name there.
    let written = match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => File::create_new(&path).and_then(|mut file| file.write_all(compiled.code.perf_map().as_bytes())),
    };
    written.map_err(|e| Error::file("write", &path, &e))?;
    output::note(&format!("names of functions are in {}", path.display()));
    Ok(())
}

fn saved(
    args: &Args,
    global: &GlobalOptions,
    program: &Program,
    network: &str,
    batch: usize,
    times: &measure::Times,
    peak: &measure::Peak,
) -> Saved {
    let median = times.median();
    let per_second = |operations: f64| operations / median / 1e9;
    // The program's own graph counts the gradients of a training step as well. Two operations per multiply-add.
    let direct = 2.0 * program.report.multiply_adds as f64 * batch as f64;
    let executed = profile::executed(program, batch);
    Saved {
        version: env!("CARGO_PKG_VERSION").into(),
        network: network.into(),
        mode: args.mode.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default(),
        batch,
        threads: global.threads(),
        device: global.device().to_string(),
        isa: global.isa_name(),
        precision: global.precision_name().into(),
        median_ms: median * 1e3,
        low_ms: times.quantile(0.1) * 1e3,
        high_ms: times.quantile(0.9) * 1e3,
        rounds: times.len(),
        images_per_second: batch as f64 / median,
        gflops: per_second(direct),
        executed_gflops: executed.map(|flops| per_second(flops as f64)),
        peak_gflops: peak.gflops(),
        arena_bytes: program.engine.arena_bytes(batch),
        resident_bytes: memory::most_resident(),
    }
}
