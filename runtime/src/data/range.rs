//! The range of an input's numbers before preparation. Weights keep that of their training data, so that an array of
//! 0 to 1 is not taken for one of bytes.

use super::{Dataset, Pixels};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The smallest and the largest number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The smallest.
    pub low: f32,
    /// The largest.
    pub high: f32,
}

/// What numbers of a range look like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Looks {
    /// All are 0: anything.
    Empty,
    /// 0 to 1, where an interpolation may have gone a little beyond.
    Unit,
    /// 0 to 255.
    Bytes,
    /// Beyond 255.
    Large,
    /// Below 0 too.
    Signed,
}

impl Range {
    /// Range of pictures and of arrays of bytes.
    pub const BYTES: Range = Range { low: 0.0, high: 255.0 };

    /// Returns the range of the finite numbers among these; 0 to 0 where none is.
    pub fn of(values: impl Iterator<Item = f32>) -> Range {
        let ends = values.filter(|v| v.is_finite()).fold(None, |ends: Option<(f32, f32)>, v| {
            Some(ends.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
        });
        let (low, high) = ends.unwrap_or_default();
        Range { low, high }
    }

    fn looks(self) -> Looks {
        match (self.low, self.high) {
            (0.0, 0.0) => Looks::Empty,
            (low, _) if low < 0.0 => Looks::Signed,
            (_, high) if high <= 1.5 => Looks::Unit,
            (_, high) if high <= 255.0 => Looks::Bytes,
            _ => Looks::Large,
        }
    }

    /// Returns what pictures' bytes are divided by where the training data had this range; `None` where nobody knows
    /// how pictures became such numbers.
    pub fn divisor(self) -> Option<f32> {
        match self.looks() {
            Looks::Unit => Some(255.0),
            Looks::Bytes | Looks::Empty => Some(1.0),
            Looks::Large | Looks::Signed => None,
        }
    }

    /// Refuses numbers that cannot have been made as those that the weights learned from. `what` holds them.
    pub fn check(self, what: &str, learned: Range) -> Result<()> {
        let (found, known) = (self.looks(), learned.looks());
        let apart = |a: Range, b: Range| a.low.abs().max(a.high) > 8.0 * b.low.abs().max(b.high);
        let help = match (found, known) {
            (Looks::Empty, _) | (_, Looks::Empty) => return Ok(()),
            (a, b) if a == b && (a != Looks::Signed || !(apart(self, learned) || apart(learned, self))) => {
                return Ok(());
            }
            (Looks::Unit, Looks::Bytes) => "it looks divided by 255: give `x * 255`",
            (Looks::Bytes, Looks::Unit) => "it looks like bytes: give `x / 255`",
            (Looks::Large, Looks::Bytes) => "it looks like 16 bits: give `x / 257`",
            (Looks::Large, Looks::Unit) => "it looks like 16 bits: give `x / 65535`",
            (Looks::Signed, Looks::Bytes | Looks::Unit) => {
                "it looks prepared already: give the images as they were before, or, with `ninc run`, `--raw`"
            }
            _ => "do to it what was done to the training data",
        };
        Err(Error::new(format!("{what} holds numbers from {self}, but the weights learned from {learned}"))
            .with_help(format!("{help}; where it is right all the same, `ninc run` takes `--range LOW,HIGH`")))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} to {}", self.low, self.high)
    }
}

impl Dataset {
    /// Returns the range of this part's numbers: for pictures and bytes that of their type.
    pub fn range(&self) -> Range {
        let size = self.images.size();
        match &self.images.pixels {
            Pixels::Floats(floats) => {
                let image = |&row: &u32| floats[row as usize * size..][..size].iter().copied();
                Range::of(self.rows.iter().flat_map(image))
            }
            _ => Range::BYTES,
        }
    }
}
