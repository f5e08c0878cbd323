//! What the numbers of arrays mean before preparation: which are bytes, and whether they are like those of the training
//! data, whose range weights keep.

use super::{Dataset, Pixels, Values};
use crate::npy::Array;
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
    /// Up to some number between these and bytes: dark bytes, or a unit of its own.
    Small,
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
            (_, high) if high < 128.0 => Looks::Small,
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
            Looks::Small | Looks::Large | Looks::Signed => None,
        }
    }

    /// Returns what numbers of this range (for bytes [`Range::BYTES`]) are divided by to be as those that the weights
    /// learned from: bytes are pictures. Other numbers must look like these: the error says what they look like.
    /// `what` holds them.
    pub fn taken(self, bytes: bool, what: &str, learned: Range) -> Result<f32> {
        match learned.divisor() {
            Some(divisor) if bytes => Ok(divisor),
            _ => self.check(what, learned).map(|()| 1.0),
        }
    }

    /// Refuses numbers that cannot have been made as those that the weights learned from. `what` holds them.
    pub fn check(self, what: &str, learned: Range) -> Result<()> {
        let Some(help) = self.unlike(learned) else { return Ok(()) };
        Err(Error::new(format!("{what} holds numbers from {self}, but the weights learned from {learned}"))
            .with_help(help))
    }

    /// Says what to do to numbers that cannot have been made as those of the other range; `None` where they can.
    pub fn unlike(self, learned: Range) -> Option<&'static str> {
        let (found, known) = (self.looks(), learned.looks());
        let apart = |a: Range, b: Range| a.low.abs().max(a.high) > 8.0 * b.low.abs().max(b.high);
        let own_unit = matches!(found, Looks::Small | Looks::Signed);
        match (found, known) {
            (Looks::Empty, _) | (_, Looks::Empty) | (Looks::Small, Looks::Bytes) => None,
            (a, b) if a == b && !(own_unit && (apart(self, learned) || apart(learned, self))) => None,
            (Looks::Unit, Looks::Bytes) => Some("it looks divided by 255: give `x * 255`"),
            (Looks::Bytes, Looks::Unit) => Some("it looks like bytes: give `x / 255`"),
            (Looks::Large, Looks::Bytes) => Some("it looks like 16 bits: give `x / 257`"),
            (Looks::Large, Looks::Unit) => Some("it looks like 16 bits: give `x / 65535`"),
            (Looks::Signed, Looks::Bytes | Looks::Unit) => {
                Some("it looks prepared already: give the images as they were before")
            }
            _ => Some("do to it what was done to the training data"),
        }
    }
}

/// Reads an array's numbers: integers of any type are bytes where all lie from 0 to 255 and one is above 1. Integers
/// that are all 0 or 1 are no shades of a picture, but numbers, as truth values are.
pub fn numbers(array: Array) -> Values {
    let bytes = match array.kind {
        ('u', 1) => array.bytes(),
        ('u' | 'i', _) => match array.integers().into_iter().map(|v| u8::try_from(v).ok()).collect() {
            Some(bytes) => bytes,
            None => return Values::Floats(array.floats()),
        },
        _ => return Values::Floats(array.floats()),
    };
    let shades = bytes.iter().any(|&v| v > 1);
    let values = Values::Bytes(bytes);
    if shades { values } else { Values::Floats(values.into_floats()) }
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
