//! What sums over the batch are, on any machine.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Compare, Index, Op, Param, Unary, Val, Var};
use crate::lower::{LowerCx, LowerError, Pure};
use crate::types::Type;

/// 2^-80: the squares of float32 numbers times this add up without overflow, and where the squares themselves overflow,
/// nothing is lost that counts.
pub const SMALL: f32 = f32::from_bits((127 - 80) << 23);

/// What a sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mean {
    /// It is not divided.
    No,
    /// The images of the whole batch, times the positions.
    OverAll,
}

/// The sum as it is.
pub fn whole_sum(_: &(), _: &mut MicroKernelBuilder, sum: Val, _: &[Val], _: u32) -> Val {
    sum
}

/// What becomes of a sum.
pub struct SumEnd<P, F> {
    /// What it is divided by.
    pub mean: Mean,
    /// Whether the sums of several groups of images add up; a function of the sum must see all of it.
    pub accumulates: bool,
    /// Operands that the function reads.
    pub with: Vec<usize>,
    /// `function(parameters, builder, sum, values of the operands `with`, lanes)` gives the result.
    pub function: Pure<P, F>,
}

/// The operands of a sum over images and positions.
pub struct Sizes {
    /// Number of sums.
    pub channels: usize,
    /// Terms that an image has in each.
    pub positions: usize,
    /// Which operands are shared.
    pub shared: Vec<bool>,
}

impl Sizes {
    /// Takes the sizes of the operands and the result of `cx`; errors name `what`.
    pub fn of(cx: &LowerCx, what: &str) -> Result<Sizes, LowerError> {
        let wrong = |ty: &Type| LowerError::Bug(format!("{what}: an operand {ty}"));
        let channels = cx.result.ty.elements();
        let mut image: Option<&Type> = None;
        let mut shared = Vec::new();
        for operand in &cx.operands {
            let ty = &operand.ty;
            shared.push(!ty.batched);
            let fits = match image {
                _ if !ty.batched => ty.elements() == channels,
                Some(first) => first == ty,
                None => ty.dims.first().copied().unwrap_or(1) == channels,
            };
            if !fits {
                return Err(wrong(ty));
            }
            if ty.batched {
                image = Some(ty);
            }
        }
        let image = image.ok_or_else(|| LowerError::Bug(format!("{what}: no operand is batched")))?;
        Ok(Sizes { channels, positions: image.elements() / channels.max(1), shared })
    }
}

/// Adds to `sum` what is in `y` from groups before this one, if there were any (`groups` is 1, else 0).
pub fn and_before(b: &mut MicroKernelBuilder, sum: Val, y: Param, at: &Index, groups: Var) -> Val {
    let lanes = b.ty(sum).lanes;
    b.repeat("g", groups, &[sum], |b, _, sum| {
        let before = b.load(y, at.clone(), lanes);
        vec![b.add(before, sum[0])]
    })[0]
}

/// `total · positions` as a float in every lane.
pub fn images(b: &mut MicroKernelBuilder, total: Var, positions: usize, lanes: u32) -> Val {
    let total = b.op(Op::IndexI32 { index: total.into(), lanes });
    let total = b.unary(Unary::ToFloat, total);
    let positions = b.f32(positions as f32, lanes);
    b.mul(total, positions)
}

/// `min(1, limit/norm)`, the norm from a sum of squares and the one of values times [`SMALL`], which counts where the
/// first has overflowed. NaN passes, so that divergence shows.
pub fn clip_factor(b: &mut MicroKernelBuilder, [squares, small]: [Val; 2], limit: Val, lanes: u32) -> Val {
    let (norm, small_norm) = (b.unary(Unary::Sqrt, squares), b.unary(Unary::Sqrt, small));
    let (factor, infinity, one) = (b.f32(SMALL, lanes), b.f32(f32::INFINITY, lanes), b.f32(1.0, lanes));
    let small_limit = b.mul(limit, factor);
    let finite = b.compare(Compare::Lt, squares, infinity);
    let (plain, other) = (b.div(limit, norm), b.div(small_limit, small_norm));
    let factor = b.select(finite, plain, other);
    b.min(one, factor)
}
