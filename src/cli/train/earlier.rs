//! Work of an earlier training where this one would write: it is replaced only where that is asked for.

use super::Args;
use crate::cli::command_line::{self, again, quoted};
use crate::cli::output::{Done, Failure};
use ninc::model::Model;
use ninc_runtime::Error;
use ninc_runtime::checkpoint::{Checkpoint, Origin};
use ninc_runtime::spec::Recipe;
use ninc_runtime::train::job::{before_path, best_path, checkpoint_path, weights_path};
use ninc_runtime::train::saving;
use std::path::{Path, PathBuf};

/// The files of another training that this one replaces, by `--overwrite`; without it they are an error. `resumed` is
/// the checkpoint that it goes on from, `set` the parameters given by hand.
pub fn files(
    args: &Args,
    set: &[(String, String)],
    model: &Model,
    resumed: Option<(&Checkpoint, &Path)>,
) -> Done<Vec<PathBuf>> {
    let (folder, name) = (&args.out, &model.name);
    let last = checkpoint_path(folder, name);
    let kept = saving::kept(folder, name).into_iter().map(|(_, path)| path);
    let states: Vec<PathBuf> = std::iter::once(last.clone()).chain(kept).filter(|path| path.exists()).collect();
    let weights = [weights_path(folder, name), best_path(folder, name), before_path(folder, name)];
    let weights = weights.into_iter().filter(|path| path.exists());
    let others: Vec<PathBuf> = match resumed {
        None => weights.chain(states).collect(),
        Some((checkpoint, from)) => {
            // A damaged one is not another training's work: its own step is what is gone on from.
            let other = |path: &PathBuf| Origin::read(path).is_ok_and(|origin| !origin.of(checkpoint));
            let here = states.iter().any(|path| path == from) || (last.exists() && !other(&last));
            let states = states.into_iter().filter(other);
            if here { states.collect() } else { weights.chain(states).collect() }
        }
    };
    match others.first() {
        Some(first) if !args.overwrite => {
            Err(Failure::Error(refused(args, set, model, first, &last, resumed.is_some())))
        }
        _ => Ok(others),
    }
}

/// The error, with the two lines that go on.
fn refused(args: &Args, set: &[(String, String)], model: &Model, first: &Path, last: &Path, resumed: bool) -> Error {
    let first = first.display();
    // Another program that calls this one has no line for a shell.
    let called = command_line::words().is_empty();
    // Its network and its data are this one's, or it could not go on; what else it was started with is not known.
    let mut start = format!("ninc train {}", quoted(&args.file.to_string_lossy()));
    let mut add = |option: &str, value: &str| start += &format!(" {option} {}", quoted(value));
    if args.out != Path::new(super::OUT) {
        add("--out", &args.out.to_string_lossy());
    }
    if let Some(data) = &args.options.data {
        add("--data", &data.to_string_lossy());
    }
    set.iter().for_each(|(name, value)| add("--set", &format!("{name}={value}")));
    args.options.freeze.iter().for_each(|pattern| add("--freeze", pattern));
    let replace = if called { "`--overwrite`".into() } else { again(&["--overwrite"]) };
    let replace = format!("to replace it: {replace}");
    let message = format!("{first} comes from an earlier training, which this one would replace");
    let ended = weights_path(&args.out, &model.name).exists();
    let more = model.train.as_ref().filter(|_| !resumed).and_then(|recipe| go_on(recipe, last, ended));
    let more = more.map(|more| match called {
        true => format!("to go on with it: `--resume{more}`"),
        false => format!("to go on with it: {start} --resume{more}"),
    });
    let keep = more.unwrap_or_else(|| "to keep it: another folder with `--out DIR`".into());
    Error::new(message).with_help(format!("{keep}\n        {replace}"))
}

/// What `--resume` needs besides to make more steps, where more can be made.
fn go_on(recipe: &Recipe, checkpoint: &Path, ended: bool) -> Option<String> {
    let cursor = Checkpoint::read(checkpoint).ok()?.cursor;
    // The length is part of these schedules, and who stopped early would stop again.
    let fixed = recipe.looks_at_end();
    let over = fixed || recipe.patience.is_some_and(|patience| cursor.waited >= patience);
    match ended {
        true if over => None,
        true => Some(format!(" --epochs {}", 2 * cursor.epoch.max(1))),
        false => Some(String::new()),
    }
}
