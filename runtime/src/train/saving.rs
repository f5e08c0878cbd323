//! When checkpoints are due, the older ones that are kept, and the last resort when the folder cannot be written any
//! more.

use super::job::{Saving, checkpoint_path};
use crate::checkpoint::{Checkpoint, Origin};
use crate::store::Disk;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Says when the next checkpoint is due. The clock decides when a training saves, never what it computes.
pub struct Due {
    saving: Saving,
    last: Instant,
}

impl Due {
    /// Starts to count steps and time.
    pub fn new(saving: Saving) -> Due {
        Due { saving, last: Instant::now() }
    }

    /// Is a checkpoint due after this step?
    pub fn now(&mut self, step: u64) -> bool {
        let counted = self.saving.steps.is_some_and(|every| step.is_multiple_of(every.max(1)));
        let timed = self.saving.time.is_some_and(|time| self.last.elapsed() >= time);
        if counted || timed {
            // Counted as a save even if it fails: a full disk is not tried again at every step.
            self.last = Instant::now();
        }
        counted || timed
    }
}

/// Names a checkpoint that is kept besides the newest.
fn kept_path(folder: &Path, name: &str, step: u64) -> PathBuf {
    folder.join(format!("{name}.step-{step:08}.checkpoint"))
}

/// Finds the kept checkpoints of a training, newest first.
pub fn kept(folder: &Path, name: &str) -> Vec<(u64, PathBuf)> {
    let (before, after) = (format!("{name}.step-"), ".checkpoint");
    let step = |path: &Path| {
        let file = path.file_name()?.to_str()?;
        file.strip_prefix(&before)?.strip_suffix(after)?.parse::<u64>().ok()
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries.filter_map(|e| Some((step(&e.path())?, e.path()))).collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}

/// Gives the checkpoint just written, `state`, a second name that the next save leaves alone, and removes the oldest
/// beyond `keep`. Checkpoints of other trainings stay.
pub fn keep(folder: &Path, name: &str, state: &Checkpoint, saving: Saving, disk: &dyn Disk) -> Result<()> {
    if saving.keep < 2 {
        return Ok(());
    }
    let step = state.cursor.step;
    let path = kept_path(folder, name, step);
    disk.link(&checkpoint_path(folder, name), &path).map_err(|e| Error::file("keep", &path, &e))?;
    let own = |(_, path): &(u64, PathBuf)| Origin::read(path).is_ok_and(|origin| origin.of(state));
    // Checkpoints of later steps are from before a return to this one: those steps come again.
    let (old, now): (Vec<_>, Vec<_>) = kept(folder, name).into_iter().filter(own).partition(|(s, _)| *s > step);
    for (_, path) in old.into_iter().chain(now.into_iter().skip(saving.keep)) {
        disk.remove(&path).map_err(|e| Error::file("remove", &path, &e))?;
    }
    Ok(())
}

/// Makes a new folder among the temporary files.
pub fn rescue_folder(name: &str) -> Result<PathBuf> {
    let base = std::env::temp_dir();
    for number in 0..1000 {
        let folder = base.join(format!("ninc-{name}-{}-{number}", std::process::id()));
        // Not `create_dir_all`: the folder must be new, so that nobody else has put anything there.
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::file("make the folder", &folder, &e)),
        }
    }
    Err(Error::new(format!("no free name for a folder in {}", base.display())))
}
