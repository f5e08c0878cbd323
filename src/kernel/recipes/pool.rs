//! Pooling over windows. Sizes of operand and result decide rounding up or down; windows are clipped to the image.

use super::Window;
use crate::kernel::site::{Lowered, Site, Unsupported};

pub fn max(site: &mut Site, _window: &Window) -> Lowered {
    Err(Unsupported(format!("{}: pool::max", site.name)))
}

/// `(x, dy) -> dx`: each window's gradient goes to its first maximum in row order.
pub fn max_grad(site: &mut Site, _window: &Window) -> Lowered {
    Err(Unsupported(format!("{}: pool::max_grad", site.name)))
}

/// The mean of the cells inside the image.
pub fn avg(site: &mut Site, _window: &Window) -> Lowered {
    Err(Unsupported(format!("{}: pool::avg", site.name)))
}

/// `dy -> dx`
pub fn avg_grad(site: &mut Site, _window: &Window) -> Lowered {
    Err(Unsupported(format!("{}: pool::avg_grad", site.name)))
}

/// Stochastic pooling at inference: `Σa²/Σa` over the window's cells `a = max(x, 0)`, 0 where `Σa = 0`.
pub fn stochastic(site: &mut Site, _window: &Window) -> Lowered {
    Err(Unsupported(format!("{}: pool::stochastic", site.name)))
}

/// `(x, dy) -> dx` of the above: `(2a - y)/Σa`, 0 where `x <= 0`.
pub fn stochastic_grad(site: &mut Site, _window: &Window) -> Lowered {
    Err(Unsupported(format!("{}: pool::stochastic_grad", site.name)))
}

/// `(x, key) -> y`: picks the first cell in row order whose running sum reaches `u·Σa`; u is the random number of the
/// output element (its index in memory order, the image's index in the whole batch outermost). 0 where `Σa = 0`.
pub fn stochastic_train(site: &mut Site, _window: &Window, _stream: u32) -> Lowered {
    Err(Unsupported(format!("{}: pool::stochastic_train", site.name)))
}

/// `(x, dy, key) -> dx`: to the picked cell.
pub fn stochastic_train_grad(site: &mut Site, _window: &Window, _stream: u32) -> Lowered {
    Err(Unsupported(format!("{}: pool::stochastic_train_grad", site.name)))
}
