//! Elementwise work: one kernel for any function of values at the same place.

use crate::kernel::build::LeafBuilder;
use crate::kernel::ir::Val;
use crate::kernel::site::{Lowered, Site, Unsupported};

/// `result[i] = function(operands at i)`. An operand of the result's type is read element by element; a shared `[]`
/// (scalar) or `[C]` (per channel of a batched value) operand is broadcast. `tag` names the function and all its
/// constants: equal tags mean equal code. `function(builder, values, lanes)` gets one value of `lanes` lanes per operand.
pub fn map(site: &mut Site, _tag: &str, _function: impl FnMut(&mut LeafBuilder, &[Val], u32) -> Val) -> Lowered {
    Err(Unsupported(format!("{}: elementwise::map", site.name)))
}
