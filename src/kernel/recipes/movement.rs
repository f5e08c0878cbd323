//! Work that only moves elements: concatenation, slices, padding, change of shape, constants.

use crate::kernel::site::{Lowered, Site, Unsupported};

/// All operands along the channels (of images or feature vectors).
pub fn concat(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: movement::concat", site.name)))
}

/// Channels `begin ..` as many as the result has.
pub fn slice(site: &mut Site, _begin: usize) -> Lowered {
    Err(Unsupported(format!("{}: movement::slice", site.name)))
}

/// Puts the image at `(top, left)` of the larger result, `value` around it.
pub fn pad(site: &mut Site, _top: usize, _left: usize, _value: f32) -> Lowered {
    Err(Unsupported(format!("{}: movement::pad", site.name)))
}

/// The part of the image that begins at `(top, left)`, as large as the result.
pub fn crop(site: &mut Site, _top: usize, _left: usize) -> Lowered {
    Err(Unsupported(format!("{}: movement::crop", site.name)))
}

/// The same elements in logical (channel, row, column) order under other dimensions.
pub fn reshape(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: movement::reshape", site.name)))
}

/// No operands: the result is `value` everywhere.
pub fn fill(site: &mut Site, _value: f32) -> Lowered {
    Err(Unsupported(format!("{}: movement::fill", site.name)))
}
