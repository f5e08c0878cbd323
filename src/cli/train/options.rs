//! The options of a training that decide what comes of it, and when it saves; those of a sweep's trainings too.

use crate::cli::output::{Done, usage};
use crate::cli::weights::Renames;
use crate::cli::{completions, contents, foreign};
use clap_complete::engine::ArgValueCompleter;
use ninc::model::Model;
use ninc_runtime::spec::Length;
use ninc_runtime::train::Saving;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(clap::Args, Clone)]
pub struct Options {
    /// File or folder of the data
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Passes over the data (a fraction is fine), instead of the recipe's
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    pub epochs: Option<f64>,
    /// Steps, instead of the recipe's length
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// Images per step, instead of the recipe's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batch: Option<u32>,
    /// Start from these weights; what has no counterpart in the network, or another shape, starts anew
    #[arg(long, value_name = "START")]
    pub weights: Option<PathBuf>,
    #[command(flatten)]
    pub renames: Renames,
    /// Leave these layers or parameters as they are: `block1`, `*.bias`, `conv*`
    #[arg(long, value_name = "PATTERN", add = ArgValueCompleter::new(completions::patterns))]
    pub freeze: Vec<String>,
    /// Seed of all random numbers, instead of the recipe's
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Test after each N epochs too, and show it beside the training's numbers; it changes nothing of the training
    #[arg(long, value_name = "N")]
    pub test_every: Option<NonZeroU32>,
    /// Save a checkpoint after this many steps or this much time: `500`, `90s`, `10min`, `2h`, or both as `500,10min`.
    /// Always at the end, on Ctrl-C, and on SIGHUP
    #[arg(long, value_name = "EVERY", default_value = "10min", value_delimiter = ',', value_parser = every)]
    pub checkpoint_every: Vec<Every>,
    /// Keep the last N checkpoints
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,
    /// Decode all pictures before the first step, and name those that are broken
    #[arg(long)]
    pub check_data: bool,
    #[command(flatten)]
    pub cache: contents::DataCache,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Every {
    Steps(u64),
    Time(Duration),
}

fn every(text: &str) -> Result<Every, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "expected a number of steps, or a time like `10min`".to_string())?;
    let seconds = match unit.trim() {
        _ if number == 0 => return Err("it must be above 0".into()),
        "" => return Ok(Every::Steps(number)),
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err(format!("`{unit}` is not a unit of time: s, min or h")),
    };
    Ok(Every::Time(Duration::from_secs(number.saturating_mul(seconds))))
}

impl Options {
    /// When to save.
    pub fn saving(&self) -> Saving {
        let mut saving = Saving { keep: self.keep as usize, ..Saving::default() };
        for every in &self.checkpoint_every {
            match every {
                Every::Steps(steps) => saving.steps = Some(*steps),
                Every::Time(time) => saving.time = Some(*time),
            }
        }
        saving
    }

    /// The options that stand above the recipe.
    pub fn change(&self, file: &Path, model: &mut Model) -> Done {
        let Some(recipe) = &mut model.train else {
            let add = "`train { optimizer = sgd(rate = 0.1, momentum = 0.9)  batch = 64  epochs = 10 }`";
            let help = match foreign::is(file) {
                true => format!("{}; add to it for example {add}", foreign::import_help(file)),
                false => format!("add for example {add}"),
            };
            return Err(usage(format!("{} has no `train {{ … }}`", file.display()), help));
        };
        if let Some(epochs) = self.epochs {
            if !(epochs.is_finite() && epochs > 0.0) {
                return Err(usage(format!("--epochs {epochs} is not a length"), "give a number above 0"));
            }
            recipe.length = Length::Epochs(epochs);
        }
        if let Some(steps) = self.steps {
            recipe.length = Length::Steps(steps);
        }
        if let Some(batch) = self.batch {
            recipe.batch = batch as usize;
        }
        if let Some(seed) = self.seed {
            recipe.seed = seed;
        }
        Ok(())
    }
}
