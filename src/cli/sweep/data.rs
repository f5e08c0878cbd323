//! Which images a training of a sweep saw: one table is of one data set.

use super::{Run, table};
use ninc::model::Model;
use ninc_runtime::data::Sets;
use ninc_runtime::data::checksum::Hashed;
use ninc_runtime::init::fnv;
use ninc_runtime::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The data of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// Where they come from: the model file and what it says of them (FNV-1a).
    from: String,
    /// Checksums of the training part and of the test part.
    parts: [String; 2],
}

impl Data {
    /// Describes the data of a model file.
    pub fn new(file: &Path, model: &Model, sets: &Sets) -> Result<Data> {
        let from = format!("{} {:?}", file.display(), model.data);
        let sum = |set: &ninc_runtime::data::Dataset| set.checksum(Hashed::Contents);
        Ok(Data { from: format!("{:016x}", fnv(from.as_bytes())), parts: [sum(&sets.train)?, sum(&sets.test)?] })
    }

    /// Refuses data that are others than those of a training that has ended.
    pub fn check(&self, runs: &[Run]) -> Result<()> {
        let ended = |run: &Run| table::Done::read(&run.folder).ok().flatten().and_then(|done| done.data);
        let other = |run: &&Run| ended(run).is_some_and(|data| data.from == self.from && data.parts != self.parts);
        let Some(run) = runs.iter().find(other) else { return Ok(()) };
        Err(Error::new(format!("the data have changed since the training {} of this sweep", run.label))
            .with_help("put the former data back, or begin another sweep with another --out DIR"))
    }
}
