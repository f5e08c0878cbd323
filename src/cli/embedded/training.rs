//! `ninc train` as a function.

use super::fault::Fault;
use super::{begin, parsed, path};
use crate::cli::options::GlobalOptions;
use crate::cli::output::usage;
use crate::cli::train;
use ninc::front::diag::has_errors;
use ninc_runtime::train::job::log_path;
use ninc_runtime::train::{Control, Watch, log};
use serde_json::{Value, json};
use std::ffi::OsString;

#[derive(clap::Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct Words {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(flatten)]
    args: train::Args,
}

/// Trains as `ninc train` with these words behind it, reporting to `watch`, and gives how it ended: `name`, `stopped`,
/// `early`, `steps`, `count`, `loss`, `accuracy`, `top5`, `confusion` (of the test part), `classes`, `weights` (none
/// where it was stopped), `best_epoch`, `checkpoint`, `report`, and `epochs` (lines of the log). Who sets
/// `control.stop` has it saved and stopped.
pub fn train(words: &[OsString], watch: &mut dyn Watch, control: &Control) -> Result<Value, Fault> {
    let Words { global, args } = parsed(words)?;
    begin();
    if args.preview.is_some() || args.find_rate.is_some() || args.json {
        return Err(usage("preview, find_rate and json are for the command `ninc train`", "leave them out").into());
    }
    global.at_most(1)?;
    global.refuse_int8()?;
    let checked = global.checked(&args.file, None)?;
    if checked.model.is_none() || has_errors(&checked.diagnostics) {
        return Err(Fault::of_text(&checked.diagnostics, &checked.text, &args.file.display().to_string()));
    }
    let made = train::one_of_several(&args, &global, watch, control, &|_, _| Ok(()))?;
    let (outcome, test) = (&made.outcome, made.outcome.test.as_ref());
    // What another program did to the log is its own affair.
    let log = log::read(&log_path(&args.out, &made.name)).unwrap_or_default();
    let epochs: Vec<Value> = log.iter().filter(|line| line.event == "epoch").map(|line| json!(line)).collect();
    Ok(json!({
        "name": made.name,
        "stopped": outcome.stopped,
        "early": outcome.early,
        "steps": outcome.steps,
        "count": test.map_or(0, |test| test.count),
        "loss": test.map(|test| test.loss),
        "accuracy": test.map(|test| test.accuracy),
        "top5": test.map(|test| test.top5),
        "confusion": test.map(|test| test.confusion.clone()).unwrap_or_default(),
        "classes": made.classes,
        "weights": test.map(|_| path(&outcome.weights)),
        "best_epoch": outcome.best,
        "checkpoint": path(&outcome.checkpoint),
        "report": made.report.as_deref().map(path),
        "epochs": epochs,
    }))
}
