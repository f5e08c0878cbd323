//! What the pictures of a folder are like, by some of them.

use crate::cli::output::Done;
use ninc_runtime::data::{Dataset, Pixels};
use ninc_runtime::image::{self, Seen};

/// Pictures that are looked at.
const SOME: usize = 40;

/// What some pictures are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survey {
    /// The median width and height.
    pub size: [usize; 2],
    /// All have this size.
    pub alike: bool,
    /// Any of them has colours.
    pub colour: bool,
}

/// Looks at some pictures, evenly over the data.
pub fn survey(set: &Dataset) -> Done<Survey> {
    let Pixels::Files(files, _) = &set.images.pixels else { return Ok(of(&[])) };
    let step = set.len().div_ceil(SOME).max(1);
    let seen = set.rows.iter().step_by(step).map(|&row| image::survey(&files[row as usize]));
    Ok(of(&seen.collect::<Result<Vec<_>, _>>()?))
}

fn of(seen: &[Seen]) -> Survey {
    let median = |side: fn(&Seen) -> usize| {
        let mut sides: Vec<usize> = seen.iter().map(side).collect();
        sides.sort_unstable();
        sides.get(sides.len() / 2).copied().unwrap_or(1)
    };
    let size = [median(|s| s.width), median(|s| s.height)];
    let alike = seen.iter().all(|s| [s.width, s.height] == size);
    Survey { size, alike, colour: seen.iter().any(|s| s.colour) }
}
