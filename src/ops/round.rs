//! Rounding to a narrower format: what `--precision` puts before every product. The values stay float32, so that everything else
//! need not know, and whoever multiplies them may keep them in fewer bits, or in a unit that takes no more, without losing anything.

use super::Case;
use super::attr::attributes;
use super::reference;
use super::{Operator, OperatorDef, check};
use crate::graph::interp::{EvalCx, Real, Value};
use crate::graph::{Graph, NodeId};
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

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        check::float_map(operands)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::map(cx, [operands[0]], |[x]| self.to.round(x))
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map(cx, self.to.name(), |b, v, _| math::round(b, v[0], self.to))
    }

    super::no_products!();

    fn cases() -> Vec<Case> {
        let types = [Type::batched(&[3, 5, 7]), Type::batched(&[17]), Type::shared(&[4, 3, 2, 2])];
        let case = |ty: Type| Format::ALL.map(|to| Case::new(Round { to }, 3, std::slice::from_ref(&ty)));
        types.into_iter().flat_map(case).collect()
    }
}

/// Does the operator give elements of its operand as they are?
pub fn selects(op: &Operator) -> bool {
    matches!(op, Operator::Reshape(_) | Operator::MaxPool(_) | Operator::GlobalMaxPool(_))
}

/// The format that every element was rounded to.
pub fn exact(graph: &Graph, id: NodeId) -> Option<Format> {
    match graph.op(id) {
        Operator::Round(round) => Some(round.to),
        Operator::MlpConv(chain) => chain.rounded(),
        Operator::Conv2dGradInput(product) => product.round,
        op if selects(op) => exact(graph, graph.operands(id)[0]),
        _ => None,
    }
}
