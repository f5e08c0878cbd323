//! `ninc sweep`: one training for each combination of parameters and each seed, and a table of what came of them.

use super::command_line;
use super::completions;
use super::options::GlobalOptions;
use super::output::{self, Done, Failure};
use super::{signals, train};
use clap_complete::engine::ArgValueCompleter;
use data::Data;
use ninc::model::Model;
use ninc_runtime::data::{Sets, files};
use ninc_runtime::store::{System, write_atomically};
use ninc_runtime::train::Control;
use ninc_runtime::train::job::checkpoint_path;
use ninc_runtime::{Error, threads};
use plan::Plan;
use serde_json::json;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use vary::{Combination, Vary};
use watch::Told;

mod data;
mod page;
mod plan;
mod table;
mod vary;
mod watch;

#[derive(clap::Args)]
pub struct Args {
    /// Model files, NAME.nin
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Values of a parameter of the networks; commas within brackets do not separate. With several parameters all
    /// combinations are trained
    #[arg(long, value_name = "NAME=A,B,…", value_parser = vary::parse)]
    #[arg(add = ArgValueCompleter::new(completions::parameters))]
    pub vary: Vec<Vary>,
    /// Trainings of each combination: with the recipe's seed (or --seed) and those after it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: u64,
    /// Where trainings and tables go: a new folder, or that of a sweep that goes on
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Trainings at once; they share --threads
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    #[command(flatten)]
    pub options: train::Options,
    /// Print the table as JSON lines
    #[arg(long)]
    pub json: bool,
}

/// A training of a sweep.
pub struct Run {
    /// Its combination, by number.
    combination: usize,
    /// The seed.
    seed: u64,
    /// Its name for people.
    label: String,
    /// The network's name.
    model: String,
    /// Where its files are.
    folder: PathBuf,
}

/// All trainings of a sweep.
pub struct Sweep {
    folder: PathBuf,
    combinations: Vec<Combination>,
    runs: Vec<Run>,
    plan: Plan,
}

impl Sweep {
    /// Do its trainings have several model files, or nothing else that tells them apart?
    fn names_files(&self) -> bool {
        let first = self.combinations.first();
        first.is_none_or(|first| first.set.is_empty() || self.combinations.iter().any(|c| c.file != first.file))
    }

    fn title(&self) -> String {
        let mut files: Vec<String> = self.combinations.iter().map(|c| c.file.display().to_string()).collect();
        files.dedup();
        files.join(", ")
    }

    /// Reads every model with its parameters, so that what is wrong with one is said before the first training.
    fn new(args: &Args, global: &GlobalOptions) -> Done<Sweep> {
        let combinations = vary::combinations(&args.files, &args.vary, &global.set)?;
        let mut runs = Vec::new();
        for (combination, one) in combinations.iter().enumerate() {
            let mut model = global.with(&one.set, 1).model(&one.file)?;
            args.options.change(&one.file, &mut model)?;
            let first = model.train.as_ref().map_or(0, |recipe| recipe.seed);
            for seed in (0..args.seeds).map(|more| first.wrapping_add(more)) {
                let folder = args.out.join("runs").join(vary::folder(runs.len() + 1, one, seed));
                let label = format!("{} seed={seed}", one.label(args.files.len() > 1));
                runs.push(Run { combination, seed, label, model: model.name.clone(), folder });
            }
        }
        let plan = Plan::new(args, global, &combinations)?;
        Ok(Sweep { folder: args.out.clone(), combinations, runs, plan })
    }
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    args.options.renames.need(args.options.weights.as_deref())?;
    let sweep = Sweep::new(args, global)?;
    if let Some(data) = &args.options.data {
        files::exists(data)?;
    }
    let _lock = sweep.plan.open(&args.out)?;
    let mut left = VecDeque::new();
    for run in &sweep.runs {
        if table::Done::read(&run.folder)?.is_none() {
            left.push_back(run);
        }
    }
    let ended = sweep.runs.len() - left.len();
    if ended > 0 {
        output::note(&format!("{ended} of {} have ended before", output::counted(sweep.runs.len(), "training")));
    }
    let jobs = usize::from(args.jobs).min(left.len()).max(1);
    let controls = signals::listen_for(jobs);
    let failures = train_all(args, global, &sweep, left, &controls);
    // Before the tables, which a full disk may keep from being written.
    for (label, error) in &failures {
        let error = Error { message: format!("{label}: {}", error.message), help: error.help.clone() };
        output::complain(&error, global.color_stderr());
    }
    let rows = table::rows(&sweep)?;
    show(args, &sweep, &rows)?;
    let open = rows.iter().flat_map(|row| &row.runs).any(|(_, done)| done.is_none());
    if open && controls.iter().any(|control| control.stop.load(Ordering::Relaxed)) {
        output::note(&format!("stopped; what was begun is saved. Go on: {}", command_line::again(&[])));
        return Err(Failure::Interrupted);
    }
    if failures.is_empty() {
        return Ok(());
    }
    let (failed, all) = (failures.len(), output::counted(sweep.runs.len(), "training"));
    output::note(&format!("{failed} of {all} failed; the others are in the table. The same command tries them again"));
    Err(Failure::Shown)
}

/// Makes the trainings that are left, as many at once as there are controls; returns those that failed.
fn train_all(
    args: &Args,
    global: &GlobalOptions,
    sweep: &Sweep,
    left: VecDeque<&Run>,
    controls: &[Control],
) -> Vec<(String, Error)> {
    let (left, failures) = (Mutex::new(left), Mutex::new(Vec::new()));
    let (jobs, all) = (controls.len(), global.threads());
    let share = |job: usize| (all / jobs + usize::from(job < all % jobs)).max(1);
    std::thread::scope(|scope| {
        for (job, control) in controls.iter().enumerate() {
            let (left, failures) = (&left, &failures);
            let before: usize = (0..job).map(share).sum();
            scope.spawn(move || {
                if jobs > 1 && all >= jobs {
                    threads::keep_to(before, share(job));
                }
                while !control.stop.load(Ordering::Relaxed) {
                    let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(run) = next else { break };
                    let made = catch_unwind(AssertUnwindSafe(|| make(args, global, sweep, run, share(job), control)));
                    let panicked = || Err(Error::new("a bug in ninc ended this training; please report it"));
                    if let Err(error) = made.unwrap_or_else(|_| panicked()) {
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        output::note(&format!("{}: failed, see the end", run.label));
                        failures.push((run.label.clone(), error));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    let place = |label: &str| sweep.runs.iter().position(|run| run.label == label);
    failures.sort_by_key(|(label, _)| place(label));
    failures
}

/// Makes one training, or goes on with it, and writes what came of it.
fn make(
    args: &Args,
    global: &GlobalOptions,
    sweep: &Sweep,
    run: &Run,
    threads: usize,
    control: &Control,
) -> Result<(), Error> {
    let combination = &sweep.combinations[run.combination];
    let begun = checkpoint_path(&run.folder, &run.model).is_file();
    let own = train::Args {
        file: combination.file.clone(),
        out: run.folder.clone(),
        // The folder is the sweep's own: what is there comes from the same training.
        overwrite: true,
        options: train::Options { seed: Some(run.seed), ..args.options.clone() },
        resume: begun.then_some(None),
        preview: None,
        find_rate: None,
        json: false,
    };
    let global = global.with(&combination.set, u16::try_from(threads).unwrap_or(u16::MAX));
    let begin = Instant::now();
    let mut told = Told::new(&run.label, global.verbose);
    let seen = RefCell::new(None);
    let check = |model: &Model, sets: &Sets| {
        let data = Data::new(&combination.file, model, sets)?;
        data.check(&sweep.runs)?;
        seen.replace(Some(data));
        Ok(())
    };
    let made = train::one_of_several(&own, &global, &mut told, control, &check).map_err(|failure| match failure {
        Failure::Error(e) | Failure::Usage(e) => e,
        Failure::Shown | Failure::Interrupted | Failure::Closed => Error::new("what is wrong is said above"),
    })?;
    let outcome = made.outcome;
    let Some(test) = &outcome.test else { return Ok(()) };
    // Others may have ended in the meantime.
    let data = seen.into_inner();
    data.iter().try_for_each(|data| data.check(&sweep.runs))?;
    let done = table::Done {
        steps: outcome.steps,
        count: test.count,
        test_loss: test.loss,
        test_error: 1.0 - test.accuracy,
        best_epoch: outcome.best,
        data,
    };
    done.write(&run.folder)?;
    let (error, seconds) = (done.test_error * 100.0, begin.elapsed().as_secs_f64());
    output::note(&format!("{}: test error {error:.2} % (loss {:.4}), {seconds:.1} s", run.label, done.test_loss));
    Ok(())
}

/// Writes the tables and prints one.
fn show(args: &Args, sweep: &Sweep, rows: &[table::Row]) -> Done {
    let text = table::text(sweep, rows);
    let write = |name: &str, text: String| -> Done<PathBuf> {
        let path = sweep.folder.join(name);
        write_atomically(&path, text.as_bytes(), &System)?;
        Ok(path)
    };
    write("sweep.csv", table::csv(sweep, rows))?;
    write("sweep.md", table::markdown(&text))?;
    let page = write("sweep.html", page::page(sweep, rows))?;
    output::note(&format!("report: {}", page.display()));
    if !args.json {
        return output::print(&output::table(&text));
    }
    for row in rows {
        let set: serde_json::Map<_, _> = row.combination.set.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
        let error = row.error();
        output::json(&json!({
            "file": row.combination.file.display().to_string(), "set": set, "trainings": row.runs.len(),
            "ended": row.numbers(|_| 1.0).len(), "error_mean": error.map(|e| e.0),
            "error_deviation": error.and_then(|e| e.1), "error_best": error.map(|e| e.2),
            "errors": row.numbers(|done| done.test_error),
        }))?;
    }
    Ok(())
}
