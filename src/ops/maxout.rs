//! Maxout (Goodfellow et al., 2013): the maximum over `pieces` consecutive channels.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::layer::{self, blame};
use super::params::{Param, ParamSpec};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, Draw, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes;
use crate::types::Type;

const PIECES: Param<usize> =
    layer::channels("pieces", "Consecutive channels that one channel of the result is made of.").positional();
const MAXOUT: &[ParamSpec] = &[PIECES.spec];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (channels, pieces, x) = (check::channels(&cx.operand_type(0))?, cx.get(PIECES), cx.operands[0]);
    if channels % pieces != 0 {
        return Err(blame(PIECES, format!("{channels} channels do not divide into pieces of {pieces}"), None));
    }
    Ok(cx.graph.add(Maxout { pieces }, &[x])?)
}

/// Type of the result.
fn reduced(x: &Type, pieces: usize) -> Result<Type, ShapeError> {
    let channels = check::channels(x)?;
    if pieces == 0 || channels % pieces != 0 {
        return Err(format!("{channels} channels do not divide into pieces of {pieces}").into());
    }
    let mut ty = x.clone();
    ty.dims[0] = channels / pieces;
    Ok(ty)
}

fn first_maximum(group: &[f64]) -> usize {
    reference::first_maximum(group, 0..group.len())
}

attributes! {
    /// `x[C·pieces, …] -> y[C, …]`
    Maxout {
        pieces: usize,
    }
}

impl OperatorDef for Maxout {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "maxout",
            doc: "Maximum over `pieces` consecutive channels.",
            operands: (1, 1),
            params: MAXOUT,
            weights: false,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        reduced(x, self.pieces)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::over_channels(cx, [operands[0]], |[x]| {
            x.chunks(self.pieces).map(|group| group[first_maximum(group)]).collect()
        })
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, dy, pieces) = (cx.operands[0], cx.grad, self.pieces);
        Ok(vec![cx.wanted(0, MaxoutGrad { pieces }, &[x, dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::maxout::forward(cx, self.pieces)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |pieces, x: &[usize]| Case::new(Maxout { pieces }, 2, &[Type::batched(x)]).drawn(Draw::Distinct);
        vec![case(2, &[6, 3, 4]), case(5, &[10]), case(1, &[3, 2, 2]), case(4, &[32, 2, 2]), case(9, &[9, 1, 1])]
    }
}

attributes! {
    /// `(x, dy) -> dx`, to the first maximum.
    MaxoutGrad {
        pieces: usize,
    }
}

impl OperatorDef for MaxoutGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, dy] = check::exactly(operands)?;
        check::gradient(&reduced(x, self.pieces)?, dy)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        reference::over_channels(cx, [operands[0], operands[1]], |[x, dy]| {
            let mut dx = vec![0.0; x.len()];
            for (i, group) in x.chunks(self.pieces).enumerate() {
                dx[i * self.pieces + first_maximum(group)] = dy[i];
            }
            dx
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::maxout::grad(cx, self.pieces)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |pieces, x: &[usize]| {
            let y = [&[x[0] / pieces], &x[1..]].concat();
            Case::new(MaxoutGrad { pieces }, 2, &[Type::batched(x), Type::batched(&y)]).drawn(Draw::Distinct)
        };
        vec![case(2, &[6, 3, 4]), case(5, &[10]), case(1, &[3, 2, 2]), case(4, &[32, 2, 2])]
    }
}
