//! A training's state on its way to the disk: the checkpoint, and what an error must not take along.

use super::super::job::{before_path, checkpoint_path, log_path, weights_path};
use super::super::state::Cursor;
use super::super::{divergence, events, saving};
use super::Run;
use crate::checkpoint::Checkpoint;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

impl Run<'_, '_> {
    /// Collects everything that a checkpoint holds. One with broken numbers, which would take the place of one that can
    /// be used, is an error.
    fn state(&self) -> Result<Checkpoint> {
        let mut tensors = BTreeMap::new();
        for parameter in &self.job.parameters {
            let tensor = self.trainer.read(&parameter.name)?;
            divergence::kept(&parameter.name, &tensor, self.cursor.step)?;
            tensors.insert(parameter.name.clone(), tensor);
        }
        let (identity, origin, cursor) = (self.identity.clone(), self.origin.clone(), self.cursor.clone());
        let (compiled_for, classes) = (self.job.compiled_for.clone(), Some(self.job.sets.names.clone()));
        Ok(Checkpoint { identity, origin, compiled_for, classes, cursor, tensors })
    }

    /// Saves the state; what it is asked to replace goes after that.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        if !self.job.writes() {
            return Ok(());
        }
        self.cursor.log = self.log.sync()?;
        self.cursor.events = self.events.sync()?;
        let (job, state) = (self.job, self.state()?);
        let path = checkpoint_path(&job.folder, &job.name);
        state.write(&path, job.disk)?;
        let (weights, before) = (weights_path(&job.folder, &job.name), before_path(&job.folder, &job.name));
        for old in self.replaces.drain(..).filter(|old| *old != path && *old != before) {
            match old == weights {
                true => job.disk.rename(&old, &before).map_err(|e| Error::file("rename", &old, &e))?,
                false => job.disk.remove(&old).map_err(|e| Error::file("remove", &old, &e))?,
            }
        }
        saving::keep(&job.folder, &job.name, &state, job.saving, job.disk)
    }

    /// Removes the weights of the earlier training that this one replaces, which has its own now.
    pub(super) fn replaced(&self) -> Result<()> {
        let before = before_path(&self.job.folder, &self.job.name);
        match before.exists() {
            true => self.job.disk.remove(&before).map_err(|e| Error::file("remove", &before, &e)),
            false => Ok(()),
        }
    }

    /// Saves the last whole step before an error ends the training that no step caused; returns the error with what to
    /// do.
    pub(super) fn saved_before(&mut self, cause: Error) -> Error {
        if self.within || self.cursor.step == self.begun || !self.job.writes() {
            return cause;
        }
        match self.checkpoint() {
            Ok(()) => cause.and_help(&format!(
                "step {} was the last whole one and is saved: once this is mended, go on with `--resume`",
                self.cursor.step
            )),
            Err(_) => self.rescue(cause),
        }
    }

    /// Saves the work in another place: the last save failed, and the program is about to end, whatever the cause.
    pub(super) fn rescue(&mut self, cause: Error) -> Error {
        if !self.job.writes() {
            return cause;
        }
        match self.save_elsewhere() {
            Ok(folder) => cause.with_help(format!(
                "nothing is lost: the state is in {0}. Go on with `--out {0} --resume`",
                folder.display()
            )),
            Err(_) => cause,
        }
    }

    /// Writes state, log and events into a folder among the temporary files.
    fn save_elsewhere(&mut self) -> Result<PathBuf> {
        let (name, state) = (&self.job.name, self.state()?);
        let folder = saving::rescue_folder(name)?;
        self.log.copy_to(&log_path(&folder, name))?;
        let events = events::path(&folder, name);
        std::fs::create_dir_all(events.parent().unwrap_or(Path::new(".")))
            .map_err(|e| Error::file("make", &folder, &e))?;
        self.events.file().copy_to(&events)?;
        let length = |path: &Path| std::fs::metadata(path).map(|m| m.len()).map_err(|e| Error::file("read", path, &e));
        let (log, events) = (length(&log_path(&folder, name))?, length(&events)?);
        let cursor = Cursor { log, events, ..state.cursor.clone() };
        Checkpoint { cursor, ..state }.write(&checkpoint_path(&folder, name), self.job.disk)?;
        Ok(folder)
    }
}
