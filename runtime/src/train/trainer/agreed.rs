//! Before the first step: do all ranks make the same training?

use super::Job;
use crate::checkpoint::Identity;
use crate::program;
use crate::{Engine, Error, Result, Tensor};
use serde::{Deserialize, Serialize};

/// What must be the same on all ranks.
#[derive(PartialEq, Serialize, Deserialize)]
struct Hello {
    /// Checksum of the program's file.
    program: String,
    identity: Identity,
    /// What it starts from.
    origin: String,
    step: u64,
}

/// Refuses a rank that would make another training than the first one.
pub(super) fn check(job: &Job, identity: &Identity, origin: &str, step: u64) -> Result<()> {
    let Some(ranks) = &job.ranks else { return Ok(()) };
    let own = Hello { program: build(), identity: identity.clone(), origin: origin.into(), step };
    let text = serde_json::to_vec(&own).map_err(|e| Error::new(format!("a greeting cannot be written: {e}")))?;
    let mut all = Vec::new();
    for (rank, said) in ranks.tell(&text)?.iter().enumerate() {
        let hello: Hello = serde_json::from_slice(said).map_err(|_| another(rank, "another version of ninc"))?;
        all.push(hello);
    }
    let Some((first, others)) = all.split_first() else { return Ok(()) };
    for (i, other) in others.iter().enumerate() {
        let (a, b) = (&first.identity, &other.identity);
        let differs = [
            (first.program != other.program || a.version != b.version, "another ninc"),
            (a.network != b.network, "another network"),
            (a.data != b.data, "other training data"),
            (a.recipe != b.recipe || a.seed != b.seed || a.batch != b.batch, "another recipe"),
            (a.pipeline != b.pipeline, "another preparation of images"),
            (
                first.origin != other.origin || first.step != other.step,
                "another checkpoint or other weights to start from",
            ),
        ];
        if let Some((_, what)) = differs.iter().find(|(differs, _)| *differs) {
            return Err(another(i + 1, what));
        }
    }
    Ok(())
}

/// Gives all ranks the values that the first one starts from: some are fitted, by instructions that a processor has.
pub(super) fn start(job: &Job, trainer: &mut dyn Engine) -> Result<()> {
    let Some(ranks) = &job.ranks else { return Ok(()) };
    for parameter in &job.parameters {
        let own = trainer.read(&parameter.name)?;
        let data = ranks.numbers_of_first(&own.data)?;
        trainer.write(&parameter.name, &Tensor { data, ..own })?;
    }
    Ok(())
}

fn another(rank: usize, what: &str) -> Error {
    Error::new(format!("rank {rank} has {what} than rank 0")).with_help(
        "all ranks must be given the same program, model, data and options; files may lie in a shared folder, or be \
         copies",
    )
}

/// Makes a checksum of this program's file; empty where it cannot be read.
fn build() -> String {
    let bytes = program::file().and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
    if bytes.is_empty() { String::new() } else { format!("{:08x}", crc32fast::hash(&bytes)) }
}
