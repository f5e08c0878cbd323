//! The result of a benchmark: as text, as a file, and beside an earlier one.

use super::super::output::{Done, counted, grouped, usage};
use ninc_runtime::Error;
use ninc_runtime::data::files;
use ninc_runtime::store::{System, write_atomically};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::path::Path;

/// The most bytes of a saved run, which is a small text.
const MOST_BYTES: u64 = 1 << 20;

/// What is measured: runs of the same work can be compared.
#[derive(PartialEq)]
pub struct Work<'a> {
    pub network: &'a str,
    pub mode: &'a str,
    pub batch: usize,
    pub threads: usize,
}

impl fmt::Display for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}, batch {}, {}", self.network, self.mode, self.batch, counted(self.threads, "thread"))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    pub version: String,
    pub network: String,
    pub mode: String,
    pub batch: usize,
    pub threads: usize,
    pub device: String,
    pub isa: String,
    /// What products multiply.
    #[serde(default = "f32")]
    pub precision: String,
    pub median_ms: f64,
    /// One of ten rounds is quicker than this.
    pub low_ms: f64,
    /// One of ten rounds is slower than this.
    pub high_ms: f64,
    pub rounds: usize,
    pub images_per_second: f64,
    /// Billions of operations a second, as if all convolutions were computed directly.
    pub gflops: f64,
    /// Billions of operations a second, as executed.
    pub executed_gflops: Option<f64>,
    /// Peak of the machine, measured around the rounds.
    pub peak_gflops: Option<f64>,
    pub arena_bytes: usize,
    /// The most bytes that were resident.
    pub resident_bytes: Option<usize>,
}

/// Returns the precision of runs that were saved before there was another.
fn f32() -> String {
    "f32".into()
}

impl Saved {
    /// What billions of operations a second are called.
    pub fn unit(&self) -> &'static str {
        if self.precision == "int8" { "GOP/s" } else { "GFLOP/s" }
    }

    pub fn read(path: &Path) -> Done<Saved> {
        let bytes = files::read(path, MOST_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|e| {
            usage(
                format!("{} is not a saved benchmark: {e}", path.display()),
                "write one with `ninc bench FILE --save RESULT.json`",
            )
        })
    }

    pub fn write(&self, path: &Path) -> Done {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(format!("the result cannot be written as JSON: {e}")))?;
        write_atomically(path, (text + "\n").as_bytes(), &System)
            .map_err(|e| e.and_help("the benchmark itself went well").into())
    }

    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{} {}, batch {}, {}, {} {} {}: {:.3} ms ({:.3} to {:.3} in {}), {:.0} images/s\n",
            self.network,
            self.mode,
            self.batch,
            counted(self.threads, "thread"),
            self.device,
            self.isa,
            self.precision,
            self.median_ms,
            self.low_ms,
            self.high_ms,
            counted(self.rounds, "round"),
            self.images_per_second,
        );
        let unit = self.unit();
        if let (Some(executed), Some(peak)) = (self.executed_gflops, self.peak_gflops) {
            text += &format!(
                "{executed:.1} {unit} executed, {:.0} % of the {peak:.1} measured as this machine's peak; \
                 {:.1} {unit} as direct convolution\n",
                100.0 * executed / peak,
                self.gflops,
            );
        } else {
            text += &format!("{:.1} {unit} as direct convolution\n", self.gflops);
        }
        text += &format!("arena {} bytes", grouped(self.arena_bytes as u64));
        if let Some(resident) = self.resident_bytes {
            text += &format!(", at most {} MiB of memory resident", resident >> 20);
        }
        text + "\n"
    }

    /// Fails if this run was of other work than the one to come, which is known before it is measured.
    pub fn must_be(&self, work: &Work) -> Done {
        let own = Work { network: &self.network, mode: &self.mode, batch: self.batch, threads: self.threads };
        if own == *work {
            return Ok(());
        }
        let message = format!("the saved run is of other work: {own}, this one is {work}");
        Err(usage(message, "give the same model, --mode, --batch and --threads"))
    }

    /// Sentences on how this run compares with an earlier one of the same work.
    pub fn against(&self, before: &Saved) -> String {
        let ratio = before.median_ms / self.median_ms;
        let verdict = if self.low_ms > before.high_ms {
            "slower, beyond the spread of both runs"
        } else if self.high_ms < before.low_ms {
            "faster, beyond the spread of both runs"
        } else {
            "within the spread of the runs"
        };
        let mut text = format!(
            "x{ratio:.3} of the saved speed ({:.3} ms then, {} {} {}): {verdict}\n",
            before.median_ms, before.device, before.isa, before.precision,
        );
        if let (Some(now), Some(then)) = (self.peak_gflops, before.peak_gflops) {
            text += &format!("the machine's peak now and then: x{:.3}\n", now / then);
        }
        text
    }
}
