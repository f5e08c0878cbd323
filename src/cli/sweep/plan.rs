//! What a sweep was begun with, in its folder: it goes on only with the same, so that one table means one thing.

use super::{Args, vary::Combination};
use crate::cli::command_line;
use crate::cli::model_file;
use crate::cli::options::GlobalOptions;
use crate::cli::output::Done;
use ninc_runtime::data::files;
use ninc_runtime::init::fnv;
use ninc_runtime::store::{System, checksum, write_atomically};
use ninc_runtime::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// Version of the file.
const FORMAT: &str = "ninc-sweep-1";
/// Bytes that it has at most.
const CAP: u64 = 1 << 26;
/// The way out where a folder's sweep is not to be gone on with.
const ANOTHER: &str = "take another folder with --out DIR";

/// Keeps the folder of a sweep to one process, as long as the file is open.
fn lock(path: &Path, folder: &Path) -> Result<File> {
    let file = OpenOptions::new().append(true).open(path).map_err(|e| Error::file("write", path, &e))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::new(format!("another sweep runs in {}", folder.display()))
            .with_help("wait until it has ended, or take another folder: --out DIR")),
        // Some file systems have no locks, and sweeps all the same.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Has any training of a sweep left something to go on with?
fn begun(folder: &Path) -> Result<bool> {
    let entries = |folder: &Path| match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|e| e.path())).collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(vec![]),
        Err(e) => Err(e),
    };
    let failed = |e| Error::file("read", folder, &e);
    for run in entries(&folder.join("runs")).map_err(failed)? {
        if run.is_dir() && !entries(&run).map_err(failed)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All that decides a sweep's table.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    format: String,
    /// The line that began it.
    command: String,
    /// Names and values, in the order in which they are shown.
    pub given: Vec<(String, String)>,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("sweep.json")
}

impl Plan {
    /// Collects what is given now.
    pub fn new(args: &Args, global: &GlobalOptions, combinations: &[Combination]) -> Done<Plan> {
        let mut given: Vec<(String, String)> = vec![("version".into(), env!("CARGO_PKG_VERSION").into())];
        let mut add = |name: &str, value: String| given.push((name.into(), value));
        for file in &args.files {
            let text = model_file::text(file)?;
            add(&format!("the text of {} (FNV-1a)", file.display()), format!("{:016x}", fnv(text.as_bytes())));
        }
        args.vary.iter().for_each(|vary| add(&format!("--vary {}", vary.name), vary.values.join(",")));
        add("--seeds", args.seeds.to_string());
        let options = &args.options;
        let number = |value: Option<String>| value.unwrap_or_default();
        let path = |value: &Option<PathBuf>| value.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        add("--data", path(&options.data));
        add("--epochs", number(options.epochs.map(|n| n.to_string())));
        add("--steps", number(options.steps.map(|n| n.to_string())));
        add("--batch", number(options.batch.map(|n| n.to_string())));
        add("--seed", number(options.seed.map(|n| n.to_string())));
        add("--test-every", number(options.test_every.map(|n| n.to_string())));
        add("--freeze", options.freeze.join(" "));
        add("--weights", path(&options.weights));
        if let Some(weights) = &options.weights {
            add("the weights' CRC-32", checksum(weights)?);
            add("--rename", options.renames.text());
        }
        given.extend(global.decisive());
        given.retain(|(_, value)| !value.is_empty());
        given.push(("combinations".into(), combinations.len().to_string()));
        Ok(Plan { format: FORMAT.into(), command: command_line::again(&[]), given })
    }

    /// Begins the sweep in its folder, or goes on with it; no other may run there as long as the file is open.
    pub fn open(&self, folder: &Path) -> Result<File> {
        std::fs::create_dir_all(folder).map_err(|e| Error::file("make the folder", folder, &e))?;
        let path = path(folder);
        if path.exists() {
            let lock = lock(&path, folder)?;
            match Plan::read(&path)?.check(self, folder) {
                Ok(()) => return Ok(lock),
                Err(other) if begun(folder)? => return Err(other),
                // Nothing came of it, perhaps because of a slip in the line: it begins anew.
                Err(_) => self.write(&path)?,
            }
        } else {
            let mut entries = std::fs::read_dir(folder).map_err(|e| Error::file("read", folder, &e))?;
            if entries.next().is_some() {
                return Err(Error::new(format!("{} holds files, but no sweep", folder.display()))
                    .with_help("give a new folder with --out DIR"));
            }
            self.write(&path)?;
        }
        lock(&path, folder)
    }

    fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::new(format!("the plan: {e}")))?;
        write_atomically(path, (text + "\n").as_bytes(), &System)
    }

    fn read(path: &Path) -> Result<Plan> {
        let plan: Plan = serde_json::from_slice(&files::read(path, CAP)?)
            .map_err(|e| Error::new(format!("{} cannot be read: {e}", path.display())).with_help(ANOTHER))?;
        match plan.format == FORMAT {
            true => Ok(plan),
            false => Err(Error::new(format!("{} is not a sweep of this version", path.display())).with_help(ANOTHER)),
        }
    }

    /// Refuses to go on with other options than it began with.
    fn check(&self, now: &Plan, folder: &Path) -> Result<()> {
        let value = |plan: &Plan, name: &str| plan.given.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let names = self.given.iter().chain(&now.given).map(|(name, _)| name);
        let Some(name) = names.into_iter().find(|name| value(self, name) != value(now, name)) else { return Ok(()) };
        let word = |value: Option<String>| value.map_or("not given".into(), |value| format!("`{value}`"));
        let (was, is) = (word(value(self, name)), word(value(now, name)));
        Err(Error::new(format!(
            "the sweep in {} began with other options: {name} was {was} and is {is}",
            folder.display()
        ))
        .with_help(format!("go on with `{}`, or begin another with another --out DIR", self.command)))
    }
}
