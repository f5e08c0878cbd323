//! Checkpoints: everything that a training needs to go on to the same bits, and what must not have changed in between.

use crate::data::files;
use crate::spec::{Length, Recipe};
use crate::store::{Disk, Header, Store};
use crate::train::state::Cursor;
use crate::{Error, Result, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

mod changes;

/// Version of the file's metadata.
pub const FORMAT: &str = "ninc-checkpoint-1";

/// What decides the result of training besides the state. A checkpoint resumes only where all of it is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of the program.
    pub version: String,
    /// Hash of the network's identity: a text that stays as it is while the printed form of networks changes.
    pub network: String,
    /// Hash of the training part.
    pub data: String,
    /// Data preparation and augmentation, as JSON.
    pub pipeline: String,
    /// From [`Identity::recipe_text`].
    pub recipe: String,
    /// Seed of the recipe.
    pub seed: u64,
    /// Images of a batch.
    pub batch: usize,
}

impl Identity {
    /// The recipe as far as it decides each step: its length only matters to schedules that look at the end, and with
    /// the others a finished training may go on for more epochs.
    pub fn recipe_text(recipe: &Recipe) -> String {
        let mut recipe = recipe.clone();
        if !recipe.looks_at_end() {
            recipe.length = Length::Steps(0);
        }
        serde_json::to_string(&recipe).expect("plain data becomes JSON")
    }

    /// What differs, in a user's words.
    fn difference(&self, now: &Identity) -> Option<String> {
        let recipe = changes::of_recipes(&self.recipe, &now.recipe).join(", ");
        let pipeline = changes::of_pipelines(&self.pipeline, &now.pipeline).join(", ");
        let checks = [
            (
                self.version != now.version,
                format!("it was written by version {} (this is {})", self.version, now.version),
            ),
            (
                self.network != now.network,
                "the network has changed: its text, or what `--set` and `--freeze` give".to_string(),
            ),
            (self.data != now.data, "the training data has changed".to_string()),
            (self.recipe != now.recipe, format!("the recipe has changed: {recipe}")),
            (self.seed != now.seed, format!("`seed` was {} and is {}", self.seed, now.seed)),
            (self.batch != now.batch, format!("`batch` was {} and is {}", self.batch, now.batch)),
            (self.pipeline != now.pipeline, format!("how images are prepared has changed: {pipeline}")),
        ];
        let found = checks.into_iter().filter(|(differs, _)| *differs).map(|(_, text)| text).collect::<Vec<_>>();
        (!found.is_empty()).then(|| found.join("; "))
    }
}

/// What a training's programs are compiled for, as far as it decides roundings. A checkpoint remembers it, so that the
/// training goes on to the same bits on another machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompiledFor {
    /// As the user names it: `--device`.
    pub device: String,
    /// As the user names it: `--algorithm`.
    pub algorithm: String,
    /// As the user names it: `--precision`.
    pub precision: String,
    /// Where the device is a processor.
    pub processor: Option<Processor>,
    /// Whether OpenCL devices add up sums over the batch in shares.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shares: bool,
}

/// What decides roundings of a processor's programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Processor {
    /// As the user names it: `--isa`.
    pub isa: String,
    /// Fused multiply-add.
    pub fma: bool,
    /// Products of pairs of bf16 numbers.
    pub bf16: bool,
    /// Tiles, where the precision is one that is multiplied on them.
    #[serde(default)]
    pub tiles: bool,
    /// Whether sums over the batch are those of shares, added up by a tree; else they are added up group by group, and
    /// the caches decide how many images a group has.
    #[serde(default)]
    pub shares: bool,
    /// Bytes of the first, second and last level of data cache: they decide the form of convolutions.
    pub caches: [usize; 3],
}

impl fmt::Display for CompiledFor {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "--device {} --algorithm {} --precision {}", self.device, self.algorithm, self.precision)?;
        let Some(Processor { isa, fma, bf16, tiles, shares, caches: [first, second, last] }) = &self.processor else {
            return f.write_str(if self.shares { ", sums in shares" } else { "" });
        };
        let able = |able: bool, name: &'static str| if able { name } else { "" };
        let (fma, bf16) = (able(*fma, " with fused multiply-add"), able(*bf16, " with bf16 products"));
        let tiles = able(*tiles, " on tiles");
        write!(f, " --isa {isa}{fma}{bf16}{tiles} --caches {first},{second},{last}")?;
        f.write_str(if *shares { "" } else { ", sums in groups of images" })
    }
}

/// Which training a checkpoint belongs to: one that is made twice is the same one, because its bits are.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    identity: Identity,
    origin: String,
}

impl Origin {
    /// Reads it from the head of a checkpoint.
    pub fn read(path: &Path) -> Result<Origin> {
        let header = Header::read(&mut files::open(path)?, &mut vec![]);
        let read = |header: Header| {
            let identity = serde_json::from_str(header.metadata.get("identity")?).ok()?;
            Some(Origin { identity, origin: header.metadata.get("origin").cloned().unwrap_or_default() })
        };
        header.and_then(read).ok_or_else(|| Error::new(format!("{} is not a whole checkpoint", path.display())))
    }

    /// Does this checkpoint belong to the same training?
    pub fn of(&self, checkpoint: &Checkpoint) -> bool {
        self.identity == checkpoint.identity && self.origin == checkpoint.origin
    }
}

/// A training at the end of a step: who it is, where it is, and its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What makes it the same training.
    pub identity: Identity,
    /// Checksum of the weights that it started from; empty where it started anew, and in trainings by former versions.
    pub origin: String,
    /// `None` in checkpoints of former versions.
    pub compiled_for: Option<CompiledFor>,
    /// Names of the classes in the order of the network's outputs; `None` in checkpoints of former versions.
    pub classes: Option<Vec<String>>,
    /// Where it is.
    pub cursor: Cursor,
    /// Parameters and states of the training program, by name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Writes the checkpoint; the file is the old one or the new one at any instant.
    pub fn write(&self, path: &Path, disk: &dyn Disk) -> Result<()> {
        let json = |value: serde_json::Result<String>| value.expect("plain data becomes JSON");
        let mut store = Store { tensors: self.tensors.clone(), ..Store::default() };
        store.metadata.insert("format".into(), FORMAT.into());
        store.metadata.insert("identity".into(), json(serde_json::to_string(&self.identity)));
        store.metadata.insert("cursor".into(), json(serde_json::to_string(&self.cursor)));
        if !self.origin.is_empty() {
            store.metadata.insert("origin".into(), self.origin.clone());
        }
        if let Some(compiled_for) = &self.compiled_for {
            store.metadata.insert("compiled_for".into(), json(serde_json::to_string(compiled_for)));
        }
        if let Some(classes) = &self.classes {
            store.metadata.insert("classes".into(), json(serde_json::to_string(classes)));
        }
        store.write(path, disk)
    }

    /// Reads a checkpoint; every flipped or missing byte is found.
    pub fn read(path: &Path) -> Result<Checkpoint> {
        Checkpoint::from_store(Store::read(path, true)?, path)
    }

    /// Reads a checkpoint from the file `path` that `store` came from.
    pub fn from_store(store: Store, path: &Path) -> Result<Checkpoint> {
        if store.metadata.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(Error::new(format!("{} is not a checkpoint of this version", path.display()))
                .with_help("weights alone go in with `--weights`, and start a new training"));
        }
        let part = |key: &str| store.metadata.get(key).map(String::as_str).unwrap_or_default();
        let wrong = |e: serde_json::Error| Error::new(format!("{}: its state cannot be read: {e}", path.display()));
        let identity = serde_json::from_str(part("identity")).map_err(wrong)?;
        let origin = part("origin").to_string();
        let cursor = serde_json::from_str(part("cursor")).map_err(wrong)?;
        let compiled_for = store.metadata.get("compiled_for").map(|text| serde_json::from_str(text));
        let compiled_for = compiled_for.transpose().map_err(wrong)?;
        let classes = store.metadata.get("classes").map(|text| serde_json::from_str(text));
        let classes = classes.transpose().map_err(wrong)?;
        Ok(Checkpoint { identity, origin, compiled_for, classes, cursor, tensors: store.tensors })
    }

    /// Refuses to go on where the result would not be the same.
    pub fn check(&self, now: &Identity, path: &Path) -> Result<()> {
        match self.identity.difference(now) {
            None => Ok(()),
            Some(difference) => {
                let back = match changes::options(&self.identity.recipe, &now.recipe).as_str() {
                    "" => String::new(),
                    options => format!(" (by options:{options})"),
                };
                Err(Error::new(format!("cannot resume from {}: {difference}", path.display())).with_help(format!(
                    "put it back as it was{back}, or start a new training from the weights: `--weights FILE` without \
                     `--resume`"
                )))
            }
        }
    }
}
