//! What a training is given, and what it gives back.

use super::evaluate::{Evaluation, Scores};
use super::log::Line;
use crate::checkpoint::Checkpoint;
use crate::data::Sets;
use crate::data::batches::Batch;
use crate::data::prepare::Preparation;
use crate::init::Parameter;
use crate::spec::{Augment, Recipe};
use crate::store::Disk;
use crate::weights::Weights;
use crate::{Result, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// All that training is given.
pub struct Job<'a> {
    /// The model's name: of the files and in the weights.
    pub name: String,
    pub recipe: Recipe,
    pub sets: Sets,
    pub preparation: Arc<Preparation>,
    pub augment: Vec<Augment>,
    /// Parameters and states of the training program, in the network's order.
    pub parameters: Vec<Parameter>,
    /// The inference program's output with one number a class, and what it holds.
    pub output: String,
    pub scores: Scores,
    /// Hash of the network's text form.
    pub network: String,
    /// Version of the program.
    pub version: String,
    /// Where weights, log and checkpoints go.
    pub folder: PathBuf,
    pub start: Start,
    pub saving: Saving,
    /// A line in the log for each step.
    pub log_steps: bool,
    pub disk: &'a dyn Disk,
    /// Asked which value broke first when a loss is not finite.
    pub finder: Option<&'a dyn Finder>,
}

/// When checkpoints are written, besides at the end and on signals, and how many stay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Saving {
    pub steps: Option<u64>,
    pub time: Option<Duration>,
    /// The newest so many; 0 counts as 1.
    pub keep: usize,
}

/// What training starts from.
pub enum Start {
    Fresh,
    /// Parameters that are not there start as in a fresh training.
    Weights(Box<Weights>),
    /// The checkpoint and the file that it was read from.
    Resume(Box<Checkpoint>, PathBuf),
}

/// Finds the first value of a training step that is not finite.
pub trait Finder {
    /// `parameters` are those before the step, `factor` and `momentum` its numbers. `None` if all named values are finite.
    fn find(
        &self,
        parameters: &BTreeMap<String, Tensor>,
        batch: &Batch,
        hyper: super::schedule::Hyper,
        step: u64,
    ) -> Result<Option<String>>;
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
    pub step: u64,
    pub total_steps: u64,
    pub steps_per_epoch: u64,
    pub images: usize,
    /// Of the step.
    pub step_loss: f64,
    /// Of the epoch so far.
    pub loss: f64,
    pub accuracy: f64,
    pub rate: f64,
}

/// Hears how training goes.
pub trait Watch {
    fn step(&mut self, progress: &Progress);
    fn epoch(&mut self, line: &Line);
    /// Something the user should know.
    fn note(&mut self, text: &str);
}

#[derive(Debug)]
pub struct Outcome {
    /// Stopped before the end, by the user.
    pub stopped: bool,
    pub steps: u64,
    pub test: Option<Evaluation>,
    pub weights: PathBuf,
    pub checkpoint: PathBuf,
    /// Hash of the training part of the data.
    pub data: String,
}

/// Names of a training's files.
pub fn weights_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.safetensors"))
}

pub fn checkpoint_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.checkpoint"))
}

pub fn log_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}
