//! The training loop: order of data, schedule, steps, watching for trouble, checkpoints, evaluation.

use super::evaluate::{self, Evaluation, Scores, evaluate};
use super::feeds::{self, Feeds};
use super::log::{Line, Log};
use super::schedule::{Clock, factor, total_steps};
use super::state::Cursor;
use crate::checkpoint::{Checkpoint, Identity};
use crate::data::augment;
use crate::data::batches::Source;
use crate::data::prepare::Preparation;
use crate::data::{Dataset, Sets};
use crate::init::{self, Parameter};
use crate::spec::{Augment, Recipe};
use crate::store::Disk;
use crate::weights::Weights;
use crate::{Engine, Error, Result, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Steps between checkpoints, besides those at the end and on signals.
    pub checkpoint_every: Option<u64>,
    /// A line in the log for each step.
    pub log_steps: bool,
    pub disk: &'a dyn Disk,
}

/// What training starts from.
pub enum Start {
    Fresh,
    Weights(Box<Weights>),
    Resume(Box<Checkpoint>),
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
}

/// Names of a training's files.
pub fn weights_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.safetensors"))
}

pub fn checkpoint_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.checkpoint"))
}

struct Run<'a, 'b> {
    job: &'a Job<'b>,
    source: Source,
    trainer: &'a mut dyn Engine,
    infer: &'a mut dyn Engine,
    identity: Identity,
    cursor: Cursor,
    average: BTreeMap<String, Tensor>,
    log: Log,
    total: u64,
}

/// Trains `trainer` (a training program) and tests with `infer` (the inference program of the same network).
pub fn train(
    job: &Job,
    trainer: &mut dyn Engine,
    infer: &mut dyn Engine,
    watch: &mut dyn Watch,
    control: &Control,
) -> Result<Outcome> {
    check(job, trainer)?;
    std::fs::create_dir_all(&job.folder).map_err(|e| Error::file("make the folder", &job.folder, &e))?;
    let mut run = Run::new(job, trainer, infer)?;
    let stopped = run.steps(watch, control)?;
    run.checkpoint()?;
    let (weights, checkpoint) = (weights_path(&job.folder, &job.name), checkpoint_path(&job.folder, &job.name));
    let mut outcome = Outcome { stopped, steps: run.cursor.step, test: None, weights, checkpoint };
    if !stopped {
        run.weights()?.write(&outcome.weights, job.disk)?;
        outcome.test = Some(run.evaluate(&job.sets.test)?);
    }
    Ok(outcome)
}

/// What can be known to be wrong before the first step.
fn check(job: &Job, trainer: &dyn Engine) -> Result<()> {
    augment::check(&job.augment)?;
    let logits = trainer.outputs().iter().find(|p| p.name == "logits");
    let classes = logits.map(|p| p.elements()).ok_or_else(|| Error::new("the training program gives no `logits`"))?;
    let input = &feeds::image(trainer.inputs())?.dims;
    let parts =
        [("training", Some(&job.sets.train)), ("validation", job.sets.valid.as_ref()), ("test", Some(&job.sets.test))];
    for (part, set) in parts {
        set.map_or(Ok(()), |set| set.check(part, input, classes))?;
    }
    let batch = job.recipe.batch * job.recipe.accumulate;
    if batch == 0 || job.sets.train.len() < job.recipe.batch {
        return Err(Error::new(format!(
            "{} training images do not fill one batch of {}",
            job.sets.train.len(),
            job.recipe.batch
        ))
        .with_help("take a smaller batch with `--batch N`"));
    }
    Ok(())
}

/// Hash of a data set's pixels (of pictures in files: their paths) and labels.
pub fn data_hash(set: &Dataset) -> Result<String> {
    use crate::data::Pixels;
    let mut hasher = crc32fast::Hasher::new();
    match &set.images.pixels {
        Pixels::Bytes(bytes) => hasher.update(bytes),
        Pixels::Floats(floats) => floats.chunks(4096).for_each(|some| {
            let bytes: Vec<u8> = some.iter().flat_map(|v| v.to_le_bytes()).collect();
            hasher.update(&bytes);
        }),
        Pixels::Files(files, _) => {
            for file in files {
                let size = std::fs::metadata(file).map_err(|e| Error::file("read", file, &e))?.len();
                hasher.update(format!("{:?} {size};", file.file_name()).as_bytes());
            }
        }
    }
    for words in [&set.labels, &set.rows] {
        words.iter().for_each(|w| hasher.update(&w.to_le_bytes()));
    }
    Ok(format!("{:08x}", hasher.finalize()))
}

impl<'a, 'b> Run<'a, 'b> {
    fn new(job: &'a Job<'b>, trainer: &'a mut dyn Engine, infer: &'a mut dyn Engine) -> Result<Run<'a, 'b>> {
        let recipe = &job.recipe;
        let pipeline = (job.preparation.spec(), &job.augment);
        let identity = Identity {
            version: job.version.clone(),
            network: job.network.clone(),
            data: data_hash(&job.sets.train)?,
            pipeline: serde_json::to_string(&pipeline).map_err(|e| Error::new(e.to_string()))?,
            recipe: Identity::recipe_text(recipe),
            seed: recipe.seed,
            batch: recipe.batch,
        };
        let mut cursor = Cursor::default();
        let mut average = BTreeMap::new();
        match &job.start {
            Start::Resume(checkpoint) => {
                checkpoint.check(&identity, &checkpoint_path(&job.folder, &job.name))?;
                cursor = checkpoint.cursor.clone();
                average = checkpoint.average.clone();
                for parameter in &job.parameters {
                    let tensor = checkpoint.tensors.get(&parameter.name);
                    let tensor =
                        tensor.ok_or_else(|| Error::new(format!("the checkpoint lacks `{}`", parameter.name)))?;
                    trainer.write(&parameter.name, tensor)?;
                }
            }
            Start::Fresh | Start::Weights(_) => {
                for parameter in &job.parameters {
                    trainer.write(&parameter.name, &init::values(parameter, recipe.seed))?;
                }
                if let Start::Weights(weights) = &job.start {
                    weights.load_into(trainer)?;
                }
            }
        }
        // Whitening costs more than a training step: it is done once. Otherwise memory is kept small.
        let (set, preparation) = match job.preparation.is_heavy() {
            true => (job.preparation.all(&job.sets.train)?, None),
            false => (job.sets.train.clone(), Some(job.preparation.clone())),
        };
        let source = Source {
            set,
            preparation,
            augment: job.augment.clone(),
            batch: recipe.batch * recipe.accumulate,
            shuffle: recipe.shuffle,
            seed: recipe.seed,
        };
        let total = total_steps(recipe.length, source.batches() as u64);
        let log = Log::open(&job.folder.join(format!("{}.log", job.name)), cursor.log)?;
        Ok(Run { job, source, trainer, infer, identity, cursor, average, log, total })
    }

    /// Until the end, or until somebody asks to stop (then `true`).
    fn steps(&mut self, watch: &mut dyn Watch, control: &Control) -> Result<bool> {
        let mut batches = self.source.start(self.cursor.epoch, self.cursor.batch)?;
        while self.cursor.step < self.total && !self.patience_is_over() {
            let batch = batches.next().ok_or_else(|| Error::new("the thread that loads the data has died"))??;
            self.step(&batch.images, &batch.labels, watch)?;
            if self.cursor.batch == self.source.batches() || self.cursor.step == self.total {
                self.end_epoch(watch)?;
            }
            if control.stop.load(Ordering::Relaxed) && self.cursor.step < self.total {
                return Ok(true);
            }
            let due = self.job.checkpoint_every.is_some_and(|every| self.cursor.step.is_multiple_of(every.max(1)));
            if control.save.swap(false, Ordering::Relaxed) || due {
                // A full disk must not end days of work: the old checkpoint is still there.
                if let Err(e) = self.checkpoint() {
                    watch.note(&format!("the checkpoint was not saved, training goes on: {e}"));
                }
            }
        }
        Ok(false)
    }

    fn patience_is_over(&self) -> bool {
        self.job.recipe.patience.is_some_and(|patience| self.cursor.waited >= patience)
    }

    fn clock(&self) -> Clock {
        Clock { step: self.cursor.step, steps_per_epoch: self.source.batches() as u64, total_steps: self.total }
    }

    fn step(&mut self, images: &[f32], labels: &[i32], watch: &mut dyn Watch) -> Result<()> {
        let recipe = &self.job.recipe;
        let factor = factor(recipe, self.clock(), &self.cursor.plateau);
        let inputs = self.trainer.inputs().to_vec();
        let feeds = Feeds::new(&inputs, recipe, factor, self.cursor.step)?;
        let fed = feeds.with(&inputs, images, labels);
        let results = self.trainer.run(labels.len(), &fed, &["loss", "logits"])?;
        let loss = f64::from(results[0].data[0]);
        if !loss.is_finite() {
            return Err(self.broken(loss, recipe.optimizer.rate() * factor)?);
        }
        let classes = results[1].data.len() / labels.len();
        let scored = results[1].data.chunks_exact(classes).zip(labels);
        let right = scored.filter(|(scores, label)| evaluate::rank(scores, **label as usize) == 0).count();
        let dead = results[1].data.iter().all(|&v| v == results[1].data[0]);
        self.cursor.sums.add(loss, right as u64, labels.len() as u64);
        self.cursor.step += 1;
        self.cursor.batch += 1;
        self.update_average()?;
        if dead && !self.cursor.warned && self.cursor.step > 1 {
            self.warn("all class scores are equal, so nothing can be learned", classes, watch);
        }
        let progress = Progress {
            step: self.cursor.step,
            total_steps: self.total,
            steps_per_epoch: self.source.batches() as u64,
            images: labels.len(),
            step_loss: loss,
            loss: self.cursor.sums.loss(),
            accuracy: self.cursor.sums.accuracy(),
            rate: recipe.optimizer.rate() * factor,
        };
        watch.step(&progress);
        if self.job.log_steps {
            let accuracy = right as f64 / labels.len() as f64;
            self.log.write(&self.line("step", loss, accuracy, progress.rate))?;
        }
        Ok(())
    }

    fn line(&self, event: &'static str, loss: f64, accuracy: f64, rate: f64) -> Line {
        let (step, epoch) = (self.cursor.step, self.clock().epochs());
        Line { event, epoch, step, loss, accuracy, rate, valid_loss: None, valid_accuracy: None }
    }

    /// `average = weight · average + (1 - weight) · weights`, starting from the first step's weights.
    fn update_average(&mut self) -> Result<()> {
        let Some(past) = self.job.recipe.average else {
            return Ok(());
        };
        for parameter in self.job.parameters.iter().filter(|p| !p.state) {
            let now = self.trainer.read(&parameter.name)?;
            match self.average.get_mut(&parameter.name) {
                Some(average) => {
                    for (a, v) in average.data.iter_mut().zip(&now.data) {
                        *a = (past * f64::from(*a) + (1.0 - past) * f64::from(*v)) as f32;
                    }
                }
                None => {
                    self.average.insert(parameter.name.clone(), now);
                }
            }
        }
        Ok(())
    }

    fn end_epoch(&mut self, watch: &mut dyn Watch) -> Result<()> {
        let job = self.job;
        let (loss, accuracy) = (self.cursor.sums.loss(), self.cursor.sums.accuracy());
        // The rate of the step just done.
        let done = Clock { step: self.cursor.step - 1, ..self.clock() };
        let rate = job.recipe.optimizer.rate() * factor(&job.recipe, done, &self.cursor.plateau);
        let mut line = self.line("epoch", loss, accuracy, rate);
        if let Some(valid) = &job.sets.valid {
            let valid = self.evaluate(valid)?;
            (line.valid_loss, line.valid_accuracy) = (Some(valid.loss), Some(valid.accuracy));
        }
        self.log.write(&line)?;
        watch.epoch(&line);
        // A part of an epoch, where training ends within one, decides nothing: a longer training resumed from here must not
        // differ from one that never stopped.
        let whole = self.cursor.batch == self.source.batches();
        if whole && self.cursor.improves(line.valid_accuracy.unwrap_or(accuracy)) && job.sets.valid.is_some() {
            let best = job.folder.join(format!("{}.best.safetensors", job.name));
            self.weights()?.write(&best, job.disk)?;
        }
        if whole && self.cursor.plateau.epoch(&job.recipe.schedule, accuracy) {
            watch.note("the training accuracy stopped growing: the rate drops");
        }
        let classes = self.trainer.outputs().iter().find(|p| p.name == "logits").map_or(2, |p| p.elements());
        if (loss - (classes as f64).ln()).abs() < 0.002 && !self.cursor.warned {
            self.warn("the loss is stuck where guessing is", classes, watch);
        }
        if whole {
            (self.cursor.epoch, self.cursor.batch) = (self.cursor.epoch + 1, 0);
            self.cursor.sums = Default::default();
        }
        Ok(())
    }

    /// The known ways out, see the paper's reproductions: a last ReLU lets all class maps die.
    fn warn(&mut self, what: &str, classes: usize, watch: &mut dyn Watch) {
        self.cursor.warned = true;
        watch.note(&format!(
            "{what}: ln({classes}) = {:.6}. Ways out: a smaller `init` for the first layer (std 0.001 to 0.01) or `init = he`, \
             a smaller rate or `warmup`, no relu after the last layer, batch_norm, whitened data (`prepare = [gcn, zca]`)",
            (classes as f64).ln()
        ));
    }

    /// Names the first parameter that is broken.
    fn broken(&mut self, loss: f64, rate: f64) -> Result<Error> {
        let step = self.cursor.step + 1;
        let mut first = None;
        for parameter in &self.job.parameters {
            if self.trainer.read(&parameter.name)?.data.iter().any(|v| !v.is_finite()) {
                first = Some(&parameter.name);
                break;
            }
        }
        let place = match first {
            Some(name) => format!("the first parameter that is not finite is `{name}`"),
            None => "all parameters are still finite".to_string(),
        };
        let what = if loss.is_nan() { "NaN" } else { "infinite" };
        Ok(Error::new(format!("the loss became {what} in step {step} (rate {rate}): {place}"))
            .with_help("lower the rate, add `warmup` or `clip`, or check the data for values that are not numbers"))
    }

    /// The weights as they would be kept: averaged, if the recipe says so.
    fn weights(&self) -> Result<Weights> {
        let mut tensors = BTreeMap::new();
        for parameter in self.job.parameters.iter().filter(|p| !p.state) {
            let tensor = match self.average.get(&parameter.name) {
                Some(average) => average.clone(),
                None => self.trainer.read(&parameter.name)?,
            };
            tensors.insert(parameter.name.clone(), tensor);
        }
        Ok(Weights {
            model: self.job.name.clone(),
            tensors,
            preparation: Some((*self.job.preparation).clone()),
            classes: self.job.sets.names.clone(),
            recipe: Some(self.job.recipe.clone()),
            epoch: self.clock().epochs() as u64,
        })
    }

    fn evaluate(&mut self, set: &Dataset) -> Result<Evaluation> {
        self.weights()?.load_into(self.infer)?;
        let source = Source::plain(set, &self.job.preparation, self.job.recipe.batch)?;
        evaluate(self.infer, &source, &self.job.output, self.job.scores)
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.cursor.log = self.log.sync()?;
        let mut tensors = BTreeMap::new();
        for parameter in &self.job.parameters {
            tensors.insert(parameter.name.clone(), self.trainer.read(&parameter.name)?);
        }
        let (identity, cursor, average) = (self.identity.clone(), self.cursor.clone(), self.average.clone());
        let checkpoint = Checkpoint { identity, cursor, tensors, average };
        checkpoint.write(&checkpoint_path(&self.job.folder, &self.job.name), self.job.disk)
    }
}
