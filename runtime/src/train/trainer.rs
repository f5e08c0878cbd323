//! The training loop: order of data, schedule, steps, divergence, checkpoints, evaluation.

use super::append_log::AppendLog;
use super::divergence::{self, ReplayLog};
use super::evaluate;
use super::events::{self, Events};
use super::job::{Control, Job, Outcome, Progress, Start, Watch, best_path, checkpoint_path, log_path, weights_path};
use super::log::{self, Line};
use super::saving::Due;
use super::schedule::{Clock, hyper, total_steps};
use super::state::Cursor;
use super::step::{Next, one};
use super::step_inputs;
use crate::checkpoint::Identity;
use crate::data::augment;
use crate::data::batches::{Batch, Source};
use crate::data::checksum::Hashed;
use crate::plan::Port;
use crate::weights::Weights;
use crate::words::counted;
use crate::{Engine, Error, Prefetch, Result};
use first::average_of;
pub(super) use first::begin;
use std::collections::BTreeMap;
use std::path::PathBuf;

mod agreed;
mod asked;
mod first;
mod measured;
mod saved;

struct Run<'a, 'b> {
    job: &'a Job<'b>,
    source: Source,
    trainer: &'a mut dyn Engine,
    infer: &'a mut dyn Engine,
    identity: Identity,
    /// Like [`Checkpoint::origin`].
    origin: String,
    cursor: Cursor,
    /// Steps that were done when this session began.
    begun: u64,
    log: AppendLog,
    events: Events,
    replay_log: ReplayLog,
    total: u64,
    /// Whether the user was told that the log cannot be written.
    deaf: bool,
    /// Whether a step is under way: the parameters may be neither those before it nor those after it.
    within: bool,
    /// [`Job::replaces`], until they are gone.
    replaces: Vec<PathBuf>,
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
    if job.writes() {
        std::fs::create_dir_all(&job.folder).map_err(|e| Error::file("make the folder", &job.folder, &e))?;
    }
    let mut run = Run::new(job, trainer, infer)?;
    let stopped = run.steps(watch, control).map_err(|e| run.saved_before(e))?;
    run.checkpoint().map_err(|e| run.rescue(e))?;
    let (weights, checkpoint) = (weights_path(&job.folder, &job.name), checkpoint_path(&job.folder, &job.name));
    let (steps, data) = (run.cursor.step, run.identity.data.clone());
    let early = run.stops_early();
    let mut outcome = Outcome { stopped, early, steps, test: None, weights, best: None, checkpoint, data };
    if !stopped && job.writes() {
        let best = run.best().unwrap_or_else(|e| {
            watch.note(&format!("the weights that are kept are those of the last step, not of the best epoch: {e}"));
            None
        });
        outcome.best = best.as_ref().map(|best| best.epoch);
        let kept = best.map_or_else(|| run.weights(), Ok)?;
        kept.write(&outcome.weights, job.disk)?;
        run.replaced()?;
        outcome.test = Some(run.evaluate(&kept, &job.sets.test)?);
    }
    Ok(outcome)
}

/// Returns the number of classes that a training program tells apart.
pub(super) fn outputs(trainer: &dyn Engine) -> Result<usize> {
    let logits = trainer.outputs().iter().find(|p| p.name == "logits");
    logits.map(Port::elements).ok_or_else(|| Error::new("the training program gives no `logits`"))
}

/// Refuses what can be known to be wrong before the first step.
pub fn check(job: &Job, trainer: &dyn Engine) -> Result<()> {
    let classes = outputs(trainer)?;
    let input = &step_inputs::image(trainer.inputs())?.dims;
    let parts =
        [("training", Some(&job.sets.train)), ("validation", job.sets.valid.as_ref()), ("test", Some(&job.sets.test))];
    for (part, set) in parts {
        set.map_or(Ok(()), |set| set.check(part, input, classes))?;
    }
    augment::check(&job.augment, &job.sets.train)?;
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

impl<'a, 'b> Run<'a, 'b> {
    fn new(job: &'a Job<'b>, trainer: &'a mut dyn Engine, infer: &'a mut dyn Engine) -> Result<Run<'a, 'b>> {
        let recipe = &job.recipe;
        let (by, origin) = match &job.start {
            Start::Resume(checkpoint, _) => (Hashed::as_in(&checkpoint.identity.data), checkpoint.origin.clone()),
            Start::Weights(weights) => (Hashed::Contents, weights.checksum()),
            Start::Fresh => (Hashed::Contents, String::new()),
        };
        let identity = Identity {
            version: job.version.clone(),
            network: job.network.clone(),
            data: job.sets.train.checksum(by)?,
            pipeline: job.pipeline(),
            recipe: Identity::recipe_text(recipe),
            seed: recipe.seed,
            batch: recipe.batch,
        };
        let mut cursor = Cursor::default();
        match &job.start {
            Start::Resume(checkpoint, path) => {
                checkpoint.check(&identity, path)?;
                cursor = checkpoint.cursor.clone();
                for parameter in &job.parameters {
                    let tensor = checkpoint.tensors.get(&parameter.name);
                    let tensor =
                        tensor.ok_or_else(|| Error::new(format!("the checkpoint lacks `{}`", parameter.name)))?;
                    trainer.write(&parameter.name, tensor)?;
                }
            }
            Start::Fresh => begin(job, trainer, None)?,
            Start::Weights(weights) => begin(job, trainer, Some(weights))?,
        }
        agreed::check(job, &identity, &origin, cursor.step)?;
        agreed::start(job, trainer)?;
        let source = job.source(outputs(trainer)?)?;
        let total = total_steps(recipe.length, source.batches() as u64);
        let (log, events) = match job.writes() {
            false => (AppendLog::nowhere(), Events::nowhere()),
            true => (
                AppendLog::open(&log_path(&job.folder, &job.name), cursor.log)?,
                Events::open(&events::path(&job.folder, &job.name), cursor.events)?,
            ),
        };
        let replay_log = ReplayLog::default();
        let (begun, replaces) = (cursor.step, job.replaces.clone());
        Ok(Run {
            job,
            source,
            trainer,
            infer,
            identity,
            origin,
            cursor,
            begun,
            log,
            events,
            replay_log,
            total,
            deaf: false,
            within: false,
            replaces,
        })
    }

    /// Trains until the end, or until somebody asks to stop (then `true`).
    fn steps(&mut self, watch: &mut dyn Watch, control: &Control) -> Result<bool> {
        // The epoch is complete, but an error kept it from being ended.
        if self.cursor.batch == self.source.batches() {
            self.end_epoch(watch)?;
        }
        let mut batches = self.source.start(self.cursor.epoch, self.cursor.batch)?;
        let mut load = || batches.take_next();
        let mut due = Due::new(self.job.saving);
        let mut next = Next::default();
        while self.cursor.step < self.total && !self.stops_early() {
            let batch = next.loaded.take().unwrap_or_else(&mut load)?;
            self.announce(control);
            self.step(&batch, &mut next, &mut load, watch)?;
            let (stop, asked) = self.asked(control);
            if self.cursor.batch == self.source.batches() || self.cursor.step == self.total {
                self.end_epoch(watch)?;
            }
            if stop && self.cursor.step < self.total {
                return Ok(true);
            }
            if due.now(self.cursor.step) || asked {
                // A full disk must not end days of work: the old checkpoint is still there.
                match self.checkpoint() {
                    Err(e) => watch.note(&format!("the checkpoint was not saved, training goes on: {e}")),
                    Ok(()) if asked && self.job.writes() => {
                        watch.note(&format!("saved after step {}", self.cursor.step))
                    }
                    Ok(()) => {}
                }
            }
        }
        Ok(false)
    }

    /// Does the recipe's `early_stop` end the training before its length?
    fn stops_early(&self) -> bool {
        let waited = self.job.recipe.patience.is_some_and(|patience| self.cursor.waited >= patience);
        waited && self.cursor.step < self.total
    }

    fn clock(&self) -> Clock {
        Clock { step: self.cursor.step, steps_per_epoch: self.source.batches() as u64, total_steps: self.total }
    }

    /// Makes one step; a device takes the batch of the next one while it computes.
    fn step(
        &mut self,
        batch: &Batch,
        next: &mut Next,
        load: &mut dyn FnMut() -> Result<Batch>,
        watch: &mut dyn Watch,
    ) -> Result<()> {
        let (recipe, labels) = (&self.job.recipe, &batch.labels);
        let hyper = hyper(recipe, self.clock(), &self.cursor.plateau);
        self.replay_log.step(self.trainer, &self.cursor, hyper)?;
        self.within = true;
        let (there, last) = (std::mem::take(&mut next.there), self.cursor.step + 1 == self.total);
        let mut overlapped = |inputs: &[Port], prefetch: &mut dyn Prefetch| {
            if !last && let Ok(batch) = next.loaded.insert(load()) {
                next.there = prefetch.put(batch.labels.len(), &step_inputs::of_batch(inputs, batch))?;
            }
            Ok(())
        };
        let results = one(self.trainer, recipe, (batch, there), (hyper, self.cursor.step), &mut overlapped)?;
        let loss = f64::from(results[0].data[0]);
        if !loss.is_finite() {
            let again = |engine: &mut dyn Engine, batch: &Batch, hyper, step| {
                one(engine, recipe, (batch, false), (hyper, step), &mut |_, _| Ok(())).map(|_| ())
            };
            return Err(divergence::broken(self.job, self.trainer, &self.source, &self.replay_log, loss, again)?);
        }
        self.within = false;
        let classes = results[1].data.len() / labels.len();
        let scored = results[1].data.chunks_exact(classes).zip(labels);
        let right = scored.filter(|(scores, label)| evaluate::rank(scores, **label as usize) == 0).count();
        let dead = results[1].data.iter().all(|&v| v == results[1].data[0]);
        self.cursor.sums.add(loss, right as u64, labels.len() as u64);
        self.cursor.step += 1;
        self.cursor.batch += 1;
        if dead && !self.cursor.warned && self.cursor.step > 1 {
            self.cursor.warned = true;
            watch.note(&divergence::stuck("all class scores are equal, so nothing can be learned", classes));
        }
        let progress = Progress {
            step: self.cursor.step,
            total_steps: self.total,
            steps_per_epoch: self.source.batches() as u64,
            images: labels.len(),
            step_loss: loss,
            loss: self.cursor.sums.loss(),
            accuracy: self.cursor.sums.accuracy(),
            rate: recipe.optimizer.rate() * hyper.factor,
        };
        watch.step(&progress);
        self.events.scalars(self.cursor.step, &[("step/loss", loss), ("step/rate", progress.rate)]);
        if self.job.log_steps {
            let accuracy = right as f64 / labels.len() as f64;
            self.write_line(&self.line("step", loss, accuracy, progress.rate), watch);
        }
        Ok(())
    }

    /// Writes a line of the log. Failing to does not end the training: the line waits in memory.
    fn write_line(&mut self, line: &Line, watch: &mut dyn Watch) {
        match log::write(&mut self.log, line) {
            Ok(()) => self.deaf = false,
            Err(e) if !self.deaf => {
                self.deaf = true;
                watch.note(&format!("the log waits in memory, training goes on: {e}"));
            }
            Err(_) => {}
        }
    }

    fn line(&self, event: &str, loss: f64, accuracy: f64, rate: f64) -> Line {
        let (event, step, epoch) = (event.to_string(), self.cursor.step, self.clock().epochs());
        let (valid_loss, valid_accuracy, test_loss, test_error) = (None, None, None, None);
        Line { event, epoch, step, loss, accuracy, rate, valid_loss, valid_accuracy, test_loss, test_error }
    }

    fn end_epoch(&mut self, watch: &mut dyn Watch) -> Result<()> {
        let job = self.job;
        let (loss, accuracy) = (self.cursor.sums.loss(), self.cursor.sums.accuracy());
        // The rate of the step just done.
        let done = Clock { step: self.cursor.step - 1, ..self.clock() };
        let rate = job.recipe.optimizer.rate() * hyper(&job.recipe, done, &self.cursor.plateau).factor;
        let mut line = self.line("epoch", loss, accuracy, rate);
        // A part of an epoch, where training ends within one, decides nothing: a longer training resumed from here must
        // not differ from one that never stopped.
        let whole = self.cursor.batch == self.source.batches();
        let validated = self.measure(&mut line, whole)?;
        self.write_line(&line, watch);
        self.events.scalars(self.cursor.step, &line.scalars());
        // Events matter less than the log: what cannot be written now comes with the next checkpoint.
        let _ = self.events.flush();
        watch.epoch(&line);
        if whole
            && self.cursor.improves(line.valid_accuracy.unwrap_or(accuracy), line.valid_loss.unwrap_or(loss))
            && let Some(weights) = validated
            && job.writes()
        {
            let best = best_path(&job.folder, &job.name);
            match weights.write(&best, job.disk) {
                Ok(()) => self.replaces.retain(|path| *path != best),
                Err(e) => watch.note(&format!("the best weights so far were not saved, training goes on: {e}")),
            }
        }
        let (watched, part) = line.valid_accuracy.map_or((accuracy, "training"), |accuracy| (accuracy, "validation"));
        if whole && self.cursor.plateau.epoch(&job.recipe.schedule, watched) {
            watch.note(&format!("the {part} accuracy stopped growing: the rate drops"));
        }
        let classes = self.trainer.outputs().iter().find(|p| p.name == "logits").map_or(2, |p| p.elements());
        if whole && (loss - (classes as f64).ln()).abs() < 0.002 && !self.cursor.warned {
            self.cursor.warned = true;
            watch.note(&divergence::stuck("the loss is stuck at that of guessing", classes));
        }
        if whole {
            (self.cursor.epoch, self.cursor.batch) = (self.cursor.epoch + 1, 0);
            self.cursor.sums = Default::default();
        }
        if self.stops_early() {
            let waited = counted(self.cursor.waited, "epoch");
            watch
                .note(&format!("early stop after epoch {}: no better {part} accuracy for {waited}", self.cursor.epoch));
            self.write_line(&Line { event: "early_stop".into(), ..line }, watch);
        }
        Ok(())
    }

    /// Returns the weights as they would be kept: averaged, if the recipe says so.
    fn weights(&self) -> Result<Weights> {
        let mut tensors = BTreeMap::new();
        for parameter in self.job.parameters.iter().filter(|p| !p.state) {
            let kept = average_of(self.job, parameter).unwrap_or_else(|| parameter.name.clone());
            let tensor = self.trainer.read(&kept)?;
            divergence::kept(&parameter.name, &tensor, self.cursor.step)?;
            tensors.insert(parameter.name.clone(), tensor);
        }
        Ok(Weights {
            model: self.job.name.clone(),
            tensors,
            preparation: Some((*self.job.preparation).clone()),
            classes: self.job.sets.names.clone(),
            recipe: Some(self.job.recipe.clone()),
            epoch: self.clock().epochs() as u64,
            ..Weights::default()
        })
    }

    /// Returns the weights that did best on the validation part, if an epoch has been measured. They are read from
    /// their file: after a resume there is nothing else left of them.
    fn best(&self) -> Result<Option<Weights>> {
        let epoch = self.cursor.kept();
        if self.job.sets.valid.is_none() || self.cursor.epoch == 0 || epoch == 0 {
            return Ok(None);
        }
        let path = best_path(&self.job.folder, &self.job.name);
        let best = Weights::read(&path)?;
        match best.epoch == epoch {
            true => Ok(Some(best)),
            false => Err(Error::new(format!("{} is of epoch {}, the best was {epoch}", path.display(), best.epoch))
                .with_help("another training has written there: the weights as they are now are in the checkpoint")),
        }
    }
}
