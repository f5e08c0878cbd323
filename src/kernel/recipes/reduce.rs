//! Sums in a fixed order.

use crate::kernel::build::LeafBuilder;
use crate::kernel::ir::Val;
use crate::kernel::site::{Lowered, Site, Unsupported};

/// What a sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mean {
    No,
    /// Images of the whole batch · positions.
    OverAll,
}

/// `result[c] = Σ over images and positions of term(operands)`. Operands are batched `[C, H, W]` or `[C]`, all of one type,
/// or shared `[C]`, broadcast. `tag` names the term and its constants.
pub fn channels(
    site: &mut Site,
    _tag: &str,
    _mean: Mean,
    _term: impl FnMut(&mut LeafBuilder, &[Val], u32) -> Val,
) -> Lowered {
    Err(Unsupported(format!("{}: reduce::channels", site.name)))
}

/// `x (one number per image) -> shared []`: the mean over the whole batch.
pub fn batch_mean(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: reduce::batch_mean", site.name)))
}

/// `x[C, H, W] per image -> shared [C, H·W]`: the sum over the batch.
pub fn sum_batch(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: reduce::sum_batch", site.name)))
}

/// `shared x -> shared []`: the sum of squares.
pub fn sum_squares(site: &mut Site) -> Lowered {
    Err(Unsupported(format!("{}: reduce::sum_squares", site.name)))
}

/// `shared w -> w` with each output unit's weights scaled so that their L2 norm is at most `limit`.
/// The output unit is the innermost dimension in memory (see `Type::memory_order`).
pub fn max_norm(site: &mut Site, _limit: f32) -> Lowered {
    Err(Unsupported(format!("{}: reduce::max_norm", site.name)))
}
