//! Rounding to a narrower format: what `--precision` puts before every product. The values stay float32, so that
//! everything else need not know, and whoever multiplies them may keep them in fewer bits, or in a unit that takes no
//! more, without losing anything.

use super::Case;
use super::attr::attributes;
use super::error::ShapeError;
use super::facts::{Elements, Storage};
use super::reference;
use super::{OperatorDef, check};
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::elementwise;
use crate::recipes::math;
use crate::types::{Format, Type};

attributes! {
    /// `x -> x` as [`Format::round`] says. It comes into a graph after its gradients, and has none.
    Round { to: Format }
}

impl OperatorDef for Round {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::float_map(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::map(cx, [operands[0]], |[x]| self.to.round(x))
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map_with(cx, self.to.name(), self.to, |&to, b, v, _| math::round(b, v[0], to))
    }

    super::no_products!();

    super::usual!(reads_bf16, receptive, memory, folding);

    fn elements(&self) -> Elements {
        Elements::Rounded(self.to)
    }

    fn storage(&self) -> Storage {
        Storage::Bf16
    }

    fn cases() -> Vec<Case> {
        let types = [Type::batched(&[3, 5, 7]), Type::batched(&[17]), Type::shared(&[4, 3, 2, 2])];
        let case = |ty: Type| Format::ALL.map(|to| Case::new(Round { to }, 3, std::slice::from_ref(&ty)));
        types.into_iter().flat_map(case).collect()
    }
}
