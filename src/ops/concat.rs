//! Concatenation along channels and its gradient.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::source::Fill;
use super::{Case, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::movement;
use crate::types::Type;

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    Ok(cx.graph.add(Concat {}, &cx.operands)?)
}

/// The type with other channels.
fn with_channels(ty: &Type, channels: usize) -> Type {
    let mut ty = ty.clone();
    ty.dims[0] = channels;
    ty
}

attributes! {
    /// `(a, b, …) -> channels of a, then of b, …`
    Concat {}
}

impl OperatorDef for Concat {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "concat",
            doc: "Channels of the first value, then of the second, …; height and width must agree.",
            operands: (2, 64),
            params: &[],
            weights: false,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [first, rest @ ..] = operands else {
            return Err("no operands".into());
        };
        let mut channels = check::channels(first)?;
        for ty in rest {
            let more = check::channels(ty)?;
            if ty.dims[1..] != first.dims[1..] {
                let (first, other) = (&first.dims, &ty.dims);
                return Err(format!("cannot join {first:?} and {other:?}: only the channels may differ").into());
            }
            channels = channels.checked_add(more).ok_or("too many channels")?;
        }
        check::sized(with_channels(first, channels))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        // Along channels, an image's values are one run: that of each operand after the other.
        let mut y = Vec::with_capacity(cx.batch * cx.ty.elements());
        for n in 0..cx.batch {
            for x in operands.iter().map(|o| o.real()) {
                let each = x.dims[1..].iter().product::<usize>();
                y.extend_from_slice(&x.data[n * each..(n + 1) * each]);
            }
        }
        Value::new(&cx.ty.full_dims(cx.batch), y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (mut begin, mut gradients, dy) = (0, Vec::new(), cx.grad);
        for i in 0..cx.operands.len() {
            let len = cx.operand_type(i).dims[0];
            gradients.push(cx.wanted(i, Slice { begin, len }, &[dy])?);
            begin += len;
        }
        Ok(gradients)
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        movement::concat(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |dims: &[&[usize]]| {
            let operands: Vec<Type> = dims.iter().map(|d| Type::batched(d)).collect();
            Case::new(Concat {}, 3, &operands)
        };
        vec![
            case(&[&[3, 4, 5], &[5, 4, 5]]),
            case(&[&[1, 2, 2], &[8, 2, 2], &[3, 2, 2], &[4, 2, 2]]),
            case(&[&[7], &[2]]),
            case(&[&[6, 1, 1]]),
        ]
    }
}

attributes! {
    /// Channels `begin .. begin + len`.
    Slice {
        begin: usize,
        len: usize,
    }
}

impl OperatorDef for Slice {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        let channels = check::channels(x)?;
        if self.begin.checked_add(self.len).is_none_or(|end| end > channels) {
            return Err(format!("channels {} + {} are beyond the {channels} of {x}", self.begin, self.len).into());
        }
        check::sized(with_channels(x, self.len))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].real();
        let [_, channels, positions] = reference::planes(&x.dims);
        let mut y = Vec::with_capacity(cx.batch * cx.ty.elements());
        for n in 0..cx.batch {
            let start = (n * channels + self.begin) * positions;
            y.extend_from_slice(&x.data[start..start + self.len * positions]);
        }
        Value::new(&cx.ty.full_dims(cx.batch), y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        if !cx.needs[0] {
            return Ok(vec![None]);
        }
        let ty = cx.operand_type(0);
        let mut parts = Vec::new();
        for len in [self.begin, ty.dims[0] - self.begin - self.len] {
            if len > 0 {
                let fill = Fill { value: 0.0, batched: true, dims: with_channels(&ty, len).dims };
                parts.push(cx.graph.add(fill, &[])?);
            }
        }
        parts.insert(usize::from(self.begin > 0), cx.grad);
        Ok(vec![Some(cx.graph.add(Concat {}, &parts)?)])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        movement::slice(cx, self.begin)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |begin, len, dims: &[usize]| Case::new(Slice { begin, len }, 3, &[Type::batched(dims)]);
        vec![case(2, 5, &[9, 3, 4]), case(0, 4, &[9, 2, 2]), case(8, 1, &[9]), case(0, 3, &[3, 2, 2])]
    }
}
