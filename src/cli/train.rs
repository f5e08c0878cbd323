//! `ninc train`: from data to weights.

use super::common::{Common, load_data, parameters, result, show_dumps};
use super::output::{self, Done, Failure, usage};
use super::progress::Shown;
use super::signals;
use ninc::graph::text;
use ninc::model::Model;
use ninc_runtime::checkpoint::Checkpoint;
use ninc_runtime::data::augment;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::init::fnv;
use ninc_runtime::spec::Length;
use ninc_runtime::store::System;
use ninc_runtime::train::trainer::checkpoint_path;
use ninc_runtime::train::{Job, Start, train};
use ninc_runtime::weights::Weights;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    file: PathBuf,
    /// File or folder of the data
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Where weights, log and checkpoint go
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
    /// Passes over the data (a fraction is fine), instead of the recipe's
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    epochs: Option<f64>,
    /// Steps, instead of the recipe's length
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Images per step, instead of the recipe's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: Option<u32>,
    /// Start from these weights
    #[arg(long, value_name = "START", conflicts_with = "resume")]
    weights: Option<PathBuf>,
    /// Of all random numbers, instead of the recipe's
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Go on from the checkpoint in DIR, bit for bit
    #[arg(long)]
    resume: bool,
    /// Save a checkpoint every N steps (and always at the end, on Ctrl-C, and on SIGHUP)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: Option<u64>,
    /// Epochs and the outcome as JSON lines on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, common: &Common) -> Done {
    let mut model = common.model(&args.file)?;
    change_recipe(args, &mut model)?;
    let (name, scores, _) = result(&model)?;
    let sets = load_data(&model, &args.file, args.data.as_deref())?;
    let spec = model.data.clone().expect("`load_data` asks for it");
    let recipe = model.train.clone().expect("`change_recipe` asks for it");
    augment::check(&spec.augment)?;

    let mut trainer = common.training(&model)?;
    let mut infer = common.inference(&model, &[])?;
    show_dumps(&trainer.dumps)?;
    let parameters = parameters(&trainer.params);
    let start = start(args, &model, &parameters)?;
    let preparation = Arc::new(Preparation::fit(&spec.prepare, &sets.train)?);
    let text = text::print(&model.graph);
    let job = Job {
        name: model.name.clone(),
        recipe,
        sets,
        preparation,
        augment: spec.augment,
        parameters,
        output: name,
        scores,
        network: format!("{:016x}", fnv(text.as_bytes())),
        version: env!("CARGO_PKG_VERSION").into(),
        folder: args.out.clone(),
        start,
        checkpoint_every: args.checkpoint_every,
        log_steps: common.verbose,
        disk: &System,
    };
    let control = signals::listen();
    let mut shown = Shown::new(args.json, common.verbose);
    let begin = Instant::now();
    let outcome = train(&job, &mut *trainer.engine, &mut *infer.engine, &mut shown, &control);
    shown.finish();
    let outcome = outcome?;
    let seconds = begin.elapsed().as_secs_f64();
    let Some(test) = outcome.test else {
        let file = args.file.display();
        let out = args.out.display();
        output::note(&format!(
            "stopped after step {}; saved {}. Go on with the same options and --resume: ninc train {file} --out {out} --resume",
            outcome.steps,
            outcome.checkpoint.display()
        ));
        return Err(Failure::Interrupted);
    };
    if args.json {
        return output::json(&json!({
            "event": "done", "steps": outcome.steps, "seconds": seconds, "weights": outcome.weights.display().to_string(),
            "count": test.count, "loss": test.loss, "accuracy": test.accuracy, "top5": test.top5,
        }));
    }
    output::line(&format!(
        "test accuracy {:.2} % on {} images (loss {:.4}), {} steps in {seconds:.1} s; weights: {}",
        test.accuracy * 100.0,
        test.count,
        test.loss,
        outcome.steps,
        outcome.weights.display()
    ))
}

/// The options that stand above the recipe.
fn change_recipe(args: &Args, model: &mut Model) -> Done {
    let Some(recipe) = &mut model.train else {
        return Err(usage(
            format!("{} has no `train {{ … }}`", args.file.display()),
            "add for example `train { optimizer = sgd(rate = 0.1, momentum = 0.9)  batch = 64  epochs = 10 }`",
        ));
    };
    if let Some(epochs) = args.epochs {
        if !(epochs.is_finite() && epochs > 0.0) {
            return Err(usage(format!("--epochs {epochs} is no length"), "give a number above 0"));
        }
        recipe.length = Length::Epochs(epochs);
    }
    if let Some(steps) = args.steps {
        recipe.length = Length::Steps(steps);
    }
    if let Some(batch) = args.batch {
        recipe.batch = batch as usize;
    }
    if let Some(seed) = args.seed {
        recipe.seed = seed;
    }
    Ok(())
}

fn start(args: &Args, model: &Model, parameters: &[ninc_runtime::init::Parameter]) -> Done<Start> {
    if args.resume {
        let path = checkpoint_path(&args.out, &model.name);
        if !path.is_file() {
            return Err(usage(
                format!("there is no checkpoint {}", path.display()),
                "start the training without --resume, or give its folder with --out",
            ));
        }
        return Ok(Start::Resume(Box::new(Checkpoint::read(&path)?)));
    }
    match &args.weights {
        None => Ok(Start::Fresh),
        Some(path) => {
            let weights = Weights::read(path)?;
            weights.check(parameters, path)?;
            Ok(Start::Weights(Box::new(weights)))
        }
    }
}
