//! Pictures that commands write: a white sheet with pixels and letters on it.

use super::output::{Done, usage};
use ninc_runtime::Result;
use ninc_runtime::image::png;
use ninc_runtime::store::{System, write_atomically};
use std::path::Path;

mod letters;

pub use letters::{HEIGHT, WIDTH};

/// Refuses a file whose name does not end in `.png`.
pub fn check_name(option: &str, path: &Path) -> Done {
    match path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
        true => Ok(()),
        false => {
            Err(usage(format!("{option} {} is not a .png file", path.display()), format!("write `{option} FILE.png`")))
        }
    }
}

/// A picture of colours, white at first.
pub struct Sheet {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

impl Sheet {
    /// Makes one of this many pixels.
    pub fn new(width: usize, height: usize) -> Sheet {
        Sheet { width, height, bytes: vec![255; width * height * 3] }
    }

    /// Sets a pixel; one outside of the sheet is not there to be set.
    pub fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            self.bytes[(y * self.width + x) * 3..][..3].copy_from_slice(&colour);
        }
    }

    /// Writes black letters, the upper left corner of the first at (x, y).
    pub fn write(&mut self, text: &str, x: usize, y: usize) {
        letters::write(text, x, y, &mut |x, y, grey| self.set(x, y, [grey; 3]));
    }

    /// Encodes the sheet as PNG.
    pub fn png(&self) -> Result<Vec<u8>> {
        png(self.width, self.height, 3, &self.bytes)
    }

    /// Writes the sheet as a PNG file.
    pub fn save(&self, path: &Path) -> Done {
        Ok(write_atomically(path, &self.png()?, &System)?)
    }
}

/// The first `letters` letters of a text, the last of them a mark that more follows.
pub fn shortened(text: &str, letters: usize) -> String {
    match text.chars().count() > letters {
        true => text.chars().take(letters.saturating_sub(1)).chain(['~']).collect(),
        false => text.into(),
    }
}

/// What is shown of an image: bytes as they were, or from its least to its largest value.
pub fn bytes(image: &[f32], exact: bool) -> Vec<u8> {
    let ends = image.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    let (low, scale) = match exact {
        true => (0.0, 1.0),
        false => (ends.0, if ends.1 > ends.0 { 255.0 / (ends.1 - ends.0) } else { 0.0 }),
    };
    // The cast keeps to 0 and 255.
    image.iter().map(|v| ((v - low) * scale).round() as u8).collect()
}
