//! What a training is given, and what it gives back.

use super::evaluate::{Evaluation, Scores};
use super::log::Line;
use crate::checkpoint::{Checkpoint, CompiledFor};
use crate::data::balance;
use crate::data::batches::{Batch, Source};
use crate::data::prepare::Preparation;
use crate::data::preparer::Preparer;
use crate::data::{Pixels, Sets};
use crate::init::Parameter;
use crate::ranks::Ranks;
use crate::spec::{Augment, Recipe};
use crate::store::Disk;
use crate::weights::Weights;
use crate::{Error, Result, Tensor};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Keeps other trainings of the same name out of a folder, which is made, as long as the file is open.
pub fn lock(folder: &Path, name: &str) -> Result<File> {
    std::fs::create_dir_all(folder).map_err(|e| Error::file("make the folder", folder, &e))?;
    let path = log_path(folder, name);
    let file = OpenOptions::new().append(true).create(true).open(&path);
    let file = file.map_err(|e| Error::file("write", &path, &e))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::new(format!("another training writes {}", path.display()))
            .with_help(match several_tasks() {
                true => {
                    "`srun` has started several processes that do not know of each other: `srun --mpi=pmix` \
                     (Open MPI) or `--mpi=pmi2` (MPICH) makes them one training"
                }
                false => "wait until it has ended, or take another folder: --out DIR",
            })),
        // Some file systems have no locks, and trainings all the same.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Is this process one of several that Slurm's `srun` has started?
fn several_tasks() -> bool {
    std::env::var("SLURM_STEP_NUM_TASKS").is_ok_and(|tasks| tasks.parse::<u32>().is_ok_and(|tasks| tasks > 1))
}

/// All that training is given.
pub struct Job<'a> {
    /// The model's name: of the files and in the weights.
    pub name: String,
    /// How to train.
    pub recipe: Recipe,
    /// The data.
    pub sets: Sets,
    /// What is done to every image, as it is saved with the weights.
    pub preparation: Arc<Preparation>,
    /// The preparation, compiled.
    pub preparer: Arc<Preparer>,
    /// Random changes in training.
    pub augment: Vec<Augment>,
    /// Parameters and states of the training program, in the network's order.
    pub parameters: Vec<Parameter>,
    /// The inference program's output with one number a class, and what it holds.
    pub output: String,
    /// What the output holds.
    pub scores: Scores,
    /// Hash of the network's text form.
    pub network: String,
    /// Version of the program.
    pub version: String,
    /// Kept in checkpoints; `None` where nobody will go on elsewhere.
    pub compiled_for: Option<CompiledFor>,
    /// Where weights, log and checkpoints go.
    pub folder: PathBuf,
    /// What to start from.
    pub start: Start,
    /// When to save.
    pub saving: Saving,
    /// Files of an earlier training that are to be replaced: they go once this one's first checkpoint is saved, but its
    /// weights only get another name ([`before_path`]) until this one has some.
    pub replaces: Vec<PathBuf>,
    /// Whole epochs from one evaluation of the test part to the next, which change nothing of the training; `None`: it
    /// is evaluated at the end only.
    pub test_every: Option<NonZeroU32>,
    /// A line in the log for each step.
    pub log_steps: bool,
    /// The processes that share each batch: the first writes all files, the others none.
    pub ranks: Option<Arc<Ranks>>,
    /// Where files are written.
    pub disk: &'a dyn Disk,
    /// Asked which value broke first when a loss is not finite.
    pub finder: Option<&'a dyn Finder>,
}

impl Job<'_> {
    /// Is this the process that writes the files?
    pub fn writes(&self) -> bool {
        self.ranks.as_ref().is_none_or(|ranks| ranks.rank() == 0)
    }

    /// Returns the batches of the training, for a network with this number of outputs.
    pub fn source(&self, outputs: usize) -> Result<Source> {
        let (recipe, train) = (&self.recipe, &self.sets.train);
        let class_weights = balance::class_weights(recipe, train, outputs)?;
        let (set, preparer) = Source::prepared(train, Some(&self.preparer), &self.augment)?;
        Ok(Source {
            set,
            preparer,
            augment: self.augment.clone(),
            batch: recipe.batch * recipe.accumulate,
            shuffle: recipe.shuffle,
            balance: recipe.balance,
            class_weights: class_weights.into_iter().map(|weight| weight as f32).collect(),
            seed: recipe.seed,
            part: self.ranks.as_ref().map(|ranks| (ranks.rank(), ranks.count())),
        })
    }

    /// Returns all that is done to an image, as a text that checkpoints compare.
    pub(super) fn pipeline(&self) -> String {
        let mut pipeline = vec![json!(self.preparation.spec()), json!(&self.augment)];
        if let Pixels::Files(_, pictures) = &self.sets.train.images.pixels {
            pipeline.push(json!(pictures));
        }
        json!(pipeline).to_string()
    }
}

/// When checkpoints are written, besides at the end and on signals, and how many stay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Saving {
    /// Save each time that this many steps were made.
    pub steps: Option<u64>,
    /// Save each time that this time has passed.
    pub time: Option<Duration>,
    /// How many of the newest stay; 0 counts as 1.
    pub keep: usize,
}

/// What training starts from.
pub enum Start {
    /// New parameters.
    Fresh,
    /// Weights; parameters that are not among them start as in a fresh training.
    Weights(Box<Weights>),
    /// A checkpoint, and the file that it was read from.
    Resume(Box<Checkpoint>, PathBuf),
}

/// The first value of a training step that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The layer that gave it.
    pub layer: String,
    /// `NaN`, `infinite` or `minus infinite`.
    pub what: &'static str,
    /// The image of the batch in which it is.
    pub image: usize,
}

/// Finds the first value of a training step that is not finite.
pub trait Finder {
    /// Finds it; `parameters` are those before the step, `factor` and `momentum` its numbers. `None` if all named
    /// values are finite.
    fn find(
        &self,
        parameters: &BTreeMap<String, Tensor>,
        batch: &Batch,
        hyper: super::schedule::Hyper,
        step: u64,
    ) -> Result<Option<Found>>;
}

/// Set from outside, by signals.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Finish the step, save, and return.
    pub stop: Arc<AtomicBool>,
    /// Save and go on.
    pub save: Arc<AtomicBool>,
}

/// Numbers of the step just done.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole training.
    pub total_steps: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Images of the step.
    pub images: usize,
    /// Loss of the step.
    pub step_loss: f64,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Fraction of right answers of the epoch so far.
    pub accuracy: f64,
    /// Learning rate of the step.
    pub rate: f64,
}

/// Hears how training goes.
pub trait Watch {
    /// Called after each step.
    fn step(&mut self, progress: &Progress);
    /// Called after each epoch.
    fn epoch(&mut self, line: &Line);
    /// Called with something that the user should know.
    fn note(&mut self, text: &str);
}

/// How a training ended.
#[derive(Debug)]
pub struct Outcome {
    /// Stopped before the end, by the user.
    pub stopped: bool,
    /// Ended before its length, because the recipe's `early_stop` says so.
    pub early: bool,
    /// Steps done, those before a resume included.
    pub steps: u64,
    /// The evaluation on the test part, if the training reached its end.
    pub test: Option<Evaluation>,
    /// The weights' file: those of the best epoch on the validation part, if there is one, else those of the last step.
    pub weights: PathBuf,
    /// The best epoch on the validation part, counted from 1.
    pub best: Option<u64>,
    /// The checkpoint's file.
    pub checkpoint: PathBuf,
    /// Hash of the training part of the data.
    pub data: String,
}

/// Names the weights of the last step.
pub fn weights_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.safetensors"))
}

/// Names the weights of an earlier training while the one in its place has none yet.
pub fn before_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.before.safetensors"))
}

/// Names the weights that did best on the validation part.
pub fn best_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.best.safetensors"))
}

/// Names the checkpoint.
pub fn checkpoint_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.checkpoint"))
}

/// Names the log.
pub fn log_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}
