//! Rounding to bf16, the upper half of a float32: what `--precision bf16` puts before every product. The values stay float32, so
//! that everything else need not know, and whoever multiplies them may keep them in 16 bits without losing anything.

use super::Case;
use super::attr::attributes;
use super::reference;
use super::{OperatorDef, check};
use crate::graph::interp::{EvalCx, Real, Value};
use crate::kernel::math;
use crate::kernel::recipes::elementwise;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

/// The nearest bf16, ties to even; infinite beyond the largest one.
pub fn bf16(value: f64) -> f64 {
    let bits = (value as f32).to_bits();
    if value.is_nan() {
        return value;
    }
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    f64::from(f32::from_bits(rounded))
}

attributes! {
    /// `x -> x` to 8 significant bits. It comes into a graph after its gradients, and has none.
    RoundBf16 {}
}

impl OperatorDef for RoundBf16 {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        check::float_map(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::map(cx, [operands[0]], |[x]| bf16(x))
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        elementwise::map(site, "bf16", |b, v, _| math::round_bf16(b, v[0]))
    }

    super::no_products!();

    fn cases() -> Vec<Case> {
        let types = [Type::batched(&[3, 5, 7]), Type::batched(&[17]), Type::shared(&[4, 3, 2, 2])];
        types.into_iter().map(|ty| Case::new(RoundBf16 {}, 3, &[ty])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::bf16;

    /// Ties, the largest numbers, the smallest ones, and what is no number.
    #[test]
    fn rounds_to_nearest_even() {
        let of = |bits: u32| f64::from(f32::from_bits(bits));
        for (value, want) in [
            (0x3f80_8000, 0x3f80_0000),
            (0x3f81_8000, 0x3f82_0000),
            (0x3f80_8001, 0x3f81_0000),
            (0xbf80_7fff, 0xbf80_0000),
            (0x7f7f_7fff, 0x7f7f_0000),
            (0x7f7f_8000, 0x7f80_0000),
            (0x0000_8001, 0x0001_0000),
            (0xff80_0000, 0xff80_0000),
        ] {
            assert_eq!(bf16(of(value)), of(want), "{value:#x}");
        }
        assert!(bf16(f64::NAN).is_nan());
    }
}
