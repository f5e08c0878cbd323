//! `ninc train`: from data to weights.

use super::model_file::{load_split, pictures, result};
use super::options::GlobalOptions;
use super::output::{self, Done, Failure, usage};
use super::programs::{parameters, show_dumps};
use super::progress::Shown;
use super::{classes, command_line, contents};
use super::{report, signals};
use ninc::graph::identity;
use ninc::model::Model;
use ninc_runtime::Engine;
use ninc_runtime::classes::Classes;
use ninc_runtime::data::look::Look;
use ninc_runtime::data::preparer::Preparer;
use ninc_runtime::data::{Dataset, Sets, balance};
use ninc_runtime::init::fnv;
use ninc_runtime::spec::Recipe;
use ninc_runtime::store::System;
use ninc_runtime::train::job::{Outcome, Start, before_path, lock};
use ninc_runtime::train::trainer::check;
use ninc_runtime::train::{Control, Evaluation, Job, Watch, train};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod earlier;
mod few;
mod finder;
mod options;
mod preview;
pub mod ranks;
mod rate;
mod start;

pub use options::Options;

/// Where the files go unless said.
const OUT: &str = "out";

#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin
    pub file: PathBuf,
    /// Where weights, log and checkpoint go
    #[arg(long, default_value = OUT, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace what an earlier training left there under the network's name; its weights are NAME.before.safetensors
    /// until there are new ones
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub options: Options,
    /// Go on from the checkpoint in DIR (or another one), bit for bit
    #[arg(long, value_name = "CHECKPOINT", num_args = 0..=1, require_equals = true, conflicts_with = "weights")]
    pub resume: Option<Option<PathBuf>>,
    /// Train nothing: write a picture of the first batch as the network would get it, prepared and augmented, with its
    /// labels
    #[arg(long, value_name = "FILE.png", conflicts_with_all = ["resume", "json"])]
    pub preview: Option<PathBuf>,
    /// Train nothing: raise the rate from LOW to HIGH (1e-5,10 unless said) over an epoch, or --epochs or --steps, and
    /// say which one to begin with; the curve goes to DIR/NAME.rates.csv and .html
    #[arg(long, value_name = "LOW,HIGH", num_args = 0..=1, require_equals = true, default_missing_value = "1e-5,10")]
    #[arg(value_parser = rate::rates, conflicts_with_all = ["resume", "preview", "overwrite", "test_every"])]
    pub find_rate: Option<[f64; 2]>,
    /// Epochs and the outcome as JSON lines on stdout
    #[arg(long)]
    pub json: bool,
}

/// A training that only has to be made.
struct Ready<'a> {
    global: &'a GlobalOptions,
    model: &'a Model,
    job: &'a Job<'a>,
    /// The program of a step.
    trainer: &'a mut dyn Engine,
    /// The program that measures.
    infer: &'a mut dyn Engine,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    ranks::together(global, |global| alone(args, global))
}

fn alone(args: &Args, global: &GlobalOptions) -> Done {
    if global.ranks.is_some() && (args.preview.is_some() || args.find_rate.is_some()) {
        return Err(usage("--preview and --find-rate are work for one process", "start it without mpirun"));
    }
    prepared(args, global, &mut |ready, classes| {
        if let Some(path) = &args.preview {
            return preview::preview(path, ready.job, classes.outputs(), &|class| classes.name(class));
        }
        if let Some(rates) = args.find_rate {
            return rate::find(args, ready, rates);
        }
        let begin = Instant::now();
        if !ready.job.writes() {
            let outcome = carry_out(args, ready, &mut ranks::Silent, &signals::listen())?;
            return if outcome.stopped { Err(Failure::Interrupted) } else { Ok(()) };
        }
        let mut shown = Shown::new(args.json, global.verbose);
        let outcome = carry_out(args, ready, &mut shown, &signals::listen());
        shown.finish();
        finish(args, ready, &outcome?, begin.elapsed())
    })
}

/// A training that was made.
pub struct Made {
    /// How it ended.
    pub outcome: Outcome,
    /// The network's name.
    pub name: String,
    /// The names of its outputs.
    pub classes: Vec<String>,
    /// The page about it, where it reached its end.
    pub report: Option<PathBuf>,
}

/// Makes a training that reports to `watch`; its page is written beside the weights. `check` looks at the data first.
pub fn one_of_several(
    args: &Args,
    global: &GlobalOptions,
    watch: &mut dyn Watch,
    control: &Control,
    check: &dyn Fn(&Model, &Sets) -> ninc_runtime::Result<()>,
) -> Done<Made> {
    prepared(args, global, &mut |ready, classes| {
        check(ready.model, &ready.job.sets)?;
        let begin = Instant::now();
        let outcome = carry_out(args, ready, watch, control)?;
        let report = match &outcome.test {
            Some(test) => write_report(args, ready, (&outcome, test), begin.elapsed())?,
            None => None,
        };
        let classes = (0..classes.outputs()).map(|output| classes.name(output)).collect();
        Ok(Made { outcome, name: ready.model.name.clone(), classes, report })
    })
}

/// Reads and compiles what a training needs, and hands it on, with the meaning of the network's outputs.
fn prepared<T>(args: &Args, global: &GlobalOptions, work: &mut dyn FnMut(&mut Ready, &Classes) -> Done<T>) -> Done<T> {
    let global = &global.for_training();
    let mut model = global.model(&args.file)?;
    args.options.change(&args.file, &mut model)?;
    let global = &global.for_recipe(model.train.as_ref());
    start::freeze(&mut model, &args.options.freeze)?;
    start::tell_frozen(&model, &args.options.freeze);
    args.options.renames.need(args.options.weights.as_deref())?;
    let (name, scores, outputs) = result(&model)?;
    let resumed = start::checkpoint(args, &model)?;
    let begun = resumed.as_ref().map(|(state, from)| (state, from.as_path()));
    let others = global.ranks.as_ref().is_some_and(|ranks| ranks.rank() > 0);
    let replaces = match args.preview.is_some() || args.find_rate.is_some() || others {
        true => vec![],
        false => earlier::files(args, &global.set, &model, begun)?,
    };
    // A training that a version before began goes on with the split that it had.
    let former = resumed.as_ref().is_some_and(|(checkpoint, _)| checkpoint.classes.is_none());
    let mut sets = read_data(args, global, &model, former)?;
    let spec = model.data.clone().expect("`load_data` asks for it");
    let recipe = model.train.clone().expect("`Options::change` asks for it");
    few::check(&model, &recipe, sets.train.len())?;

    let global = &start::as_it_began(global, resumed.as_ref().map(|(checkpoint, _)| checkpoint))?;
    let global = &ranks::agreed(global)?;
    let mut trainer = global.training(&model)?;
    // Texts are those of the training step.
    let mut infer = global.silent().inference(&model, &[])?;
    show_dumps(&trainer.dumps)?;
    let parameters = parameters(&trainer.params);
    let start = start::start(args, &model, &parameters, resumed, &global.foreign)?;
    let classes = start::classes(args, outputs, &start, &parameters, &sets)?;
    sets.relabel(&classes)?;
    if !spec.allow_empty {
        classes.check_taught(&sets.train)?;
    }
    say_weights(&recipe, &sets.train, &classes)?;
    let compile = global.silent().compile_preparations()?;
    let preparation = Arc::new(ranks::fitted(global, &spec, &sets.train, &compile)?);
    let preparer = Arc::new(Preparer::new(&preparation, sets.train.images.dtype(), &compile)?);
    let finder = finder::Layers { model: &model, global };
    let job = Job {
        name: model.name.clone(),
        recipe,
        sets,
        preparation,
        preparer,
        augment: spec.augment,
        parameters,
        output: name,
        scores,
        network: format!("{:016x}", fnv(identity::text(&model.graph).as_bytes())),
        version: env!("CARGO_PKG_VERSION").into(),
        compiled_for: Some(global.compiled_for()?),
        folder: args.out.clone(),
        start,
        saving: args.options.saving(),
        replaces,
        test_every: args.options.test_every,
        log_steps: global.verbose,
        disk: &System,
        ranks: global.ranks.clone(),
        finder: Some(&finder),
    };
    check(&job, &*trainer.engine)?;
    let (trainer, infer) = (&mut *trainer.engine, &mut *infer.engine);
    work(&mut Ready { global, model: &model, job: &job, trainer, infer }, &classes)
}

/// Reads the data and says what they are.
fn read_data(args: &Args, global: &GlobalOptions, model: &Model, former: bool) -> Done<Sets> {
    let (sets, place) = load_split(model, &args.file, args.options.data.as_deref(), pictures(model, None), former)?;
    let preview: Vec<_> = args.preview.iter().map(|path| ("--preview", path.as_path())).collect();
    let read = [Some(&args.file), place.as_ref(), args.options.weights.as_ref()].into_iter().flatten();
    output::not_read(&preview, &read.map(PathBuf::as_path).collect::<Vec<_>>())?;
    output::note_once(contents::text(model, place.as_deref(), &sets).trim_end());
    // Their contents are part of what a checkpoint remembers, and find decoded ones.
    let how = if args.options.check_data { Look::Whole } else { Look::Contents };
    ranks::look(&sets, how, global)?;
    args.options.cache.open();
    classes::check_data(model, &sets)?;
    Ok(sets)
}

/// Trains, as the only one under the network's name in the folder of its files.
fn carry_out(args: &Args, ready: &mut Ready, watch: &mut dyn Watch, control: &Control) -> Done<Outcome> {
    let (job, model) = (ready.job, ready.model);
    if !job.writes() {
        return Ok(train(job, ready.trainer, ready.infer, watch, control)?);
    }
    let _lock = lock(&args.out, &model.name)?;
    // Who had the lock before may have ended since the files were looked at.
    let resumed = match &job.start {
        Start::Resume(state, from) => Some((&**state, from.as_path())),
        Start::Fresh | Start::Weights(_) => None,
    };
    earlier::files(args, &ready.global.set, model, resumed)?;
    Ok(train(job, ready.trainer, ready.infer, watch, control)?)
}

/// Says how the training ended, and writes its report.
fn finish(args: &Args, ready: &Ready, outcome: &Outcome, time: Duration) -> Done {
    let Some(test) = &outcome.test else {
        let resume: &[&str] = if args.resume.is_some() { &[] } else { &["--resume"] };
        let before = before_path(&args.out, &ready.model.name);
        let earlier = match before.is_file() {
            true => format!("; the earlier training's weights are in {} until this one has ended", before.display()),
            false => String::new(),
        };
        output::note(&format!(
            "stopped after step {}; saved {}{earlier}. Go on: {}",
            outcome.steps,
            outcome.checkpoint.display(),
            // What a checkpoint goes on from has replaced the weights that the training started from.
            command_line::again_without(Some("--weights"), resume)
        ));
        return Err(Failure::Interrupted);
    };
    let seconds = time.as_secs_f64();
    if let Some(path) = write_report(args, ready, (outcome, test), time)? {
        output::note(&format!("report: {}", path.display()));
    }
    let weights = outcome.weights.display();
    let best = outcome.best.map(|epoch| format!(" (those of epoch {epoch}, the best on the validation part)"));
    if args.json {
        return output::json(&json!({
            "event": "done", "steps": outcome.steps, "seconds": seconds, "weights": weights.to_string(),
            "best_epoch": outcome.best, "stopped_early": outcome.early,
            "count": test.count, "loss": test.loss, "accuracy": test.accuracy, "top5": test.top5,
        }));
    }
    output::line(&format!(
        "test accuracy {:.2} % on {} (loss {:.4}), {} in {seconds:.1} s; weights: {weights}{}",
        test.accuracy * 100.0,
        output::counted(test.count, "image"),
        test.loss,
        output::counted(outcome.steps, "step"),
        best.unwrap_or_default(),
    ))
}

/// Writes the page about a training that has ended. The weights are there: a page about them is not worth an exit code.
fn write_report(
    args: &Args,
    ready: &Ready,
    (outcome, test): (&Outcome, &Evaluation),
    time: Duration,
) -> Done<Option<PathBuf>> {
    let session = report::Session {
        model: ready.model,
        text: super::model_file::text(&args.file)?,
        file: args.file.display().to_string(),
        job: ready.job,
        outcome,
        test,
        seconds: time.as_secs_f64(),
        machine: ready.global.machine(),
    };
    match report::write(&session) {
        Ok(path) => Ok(Some(path)),
        Err(Failure::Error(e)) => {
            output::note(&format!("note: there is no report: {e}"));
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

/// Says what each class counts for, where the recipe weighs them.
fn say_weights(recipe: &Recipe, train: &Dataset, classes: &Classes) -> Done {
    let weights = balance::class_weights(recipe, train, classes.outputs())?;
    let each = weights.iter().enumerate().map(|(class, weight)| format!("{} {weight:.4}", classes.name(class)));
    match each.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => {}
        list => output::note_once(&format!("class weights: {list}")),
    }
    Ok(())
}
