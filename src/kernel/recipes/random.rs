//! Random numbers in kernels (Philox4x32-10; the numbering of elements is the runtime's `philox` module).

use crate::kernel::site::{Lowered, Site, Unsupported};

/// `(x, key) -> mask · x · scale`: element kept where its random number in [0, 1) is at least `rate`. The element's index
/// is its place in memory order, the image's index in the whole batch outermost.
pub fn dropout(site: &mut Site, _rate: f32, _scale: f32, _stream: u32) -> Lowered {
    Err(Unsupported(format!("{}: random::dropout", site.name)))
}
