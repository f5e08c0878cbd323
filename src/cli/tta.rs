//! `--tta`: answers from several views of each picture.

use super::output::{Done, usage};
use ninc_runtime::train::views::Views;

#[derive(clap::Args, Clone, Debug)]
pub struct TtaArgs {
    /// Look at each picture in several views, and take the mean of the answers' logarithms: `flip` mirrored too,
    /// `shift` moved by a pixel too, `flip,shift` both (six views)
    #[arg(long, value_name = "VIEWS", value_enum, value_delimiter = ',')]
    tta: Vec<Way>,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Way {
    Flip,
    Shift,
}

impl TtaArgs {
    /// Returns the views of images of this size; one that cannot be moved is an error.
    pub fn views(&self, [_, height, width]: [usize; 3]) -> Done<Views> {
        let views = Views { flip: self.tta.contains(&Way::Flip), shift: self.tta.contains(&Way::Shift) };
        if views.count() > 1 && height.min(width) < 2 {
            let message = format!("--tta mirrors and moves pictures, but these are {height} x {width}");
            return Err(usage(message, "leave it out"));
        }
        Ok(views)
    }

    /// Says what was looked at, if that is more than the pictures as they are.
    pub fn text(views: Views) -> Option<String> {
        let words = [(views.flip, "flip"), (views.shift, "shift")];
        let words: Vec<&str> = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
        (!words.is_empty()).then(|| format!("{} ({})", views.count(), words.join(", ")))
    }
}
