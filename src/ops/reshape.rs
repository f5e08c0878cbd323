//! Change of shape in logical (channel, row, column) order; `flatten` is one.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::facts::Elements;
use super::layer::blame;
use super::params::{Param, ParamSpec};
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, GradCx};
use super::{Operator, OperatorDef, check, window};
use crate::graph::interp::{EvalCx, Real, Tensor, Value};
use crate::graph::{Graph, NodeId};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::movement;
use crate::types::{DType, Type};

const SHAPE: Param<Vec<usize>> =
    Param::ints("shape", 1, window::MOST, "The new shape, without the batch.").positional();
const RESHAPE: &[ParamSpec] = &[SHAPE.spec];

fn build_flatten(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (elements, x) = (cx.operand_type(0).elements(), cx.operands[0]);
    Ok(cx.graph.add(Reshape { dims: vec![elements] }, &[x])?)
}

fn build_reshape(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let (ty, dims, x) = (cx.operand_type(0), cx.get(SHAPE), cx.operands[0]);
    if dims.len() > 3 {
        let message = format!("a shape has at most 3 dimensions, [channels, height, width], not {}", dims.len());
        return Err(blame(SHAPE, message, None));
    }
    let op = Reshape { dims };
    op.infer(&[ty]).map_err(|e| blame(SHAPE, e.0, None))?;
    Ok(cx.graph.add(op, &[x])?)
}

attributes! {
    /// `(x) -> y`, the same elements in their order, under the shape `dims`.
    Reshape {
        dims: Vec<usize>,
    }
}

/// The value of which `id` is a reshape, where both are one number for each class; else `id` itself.
pub fn without_reshape(graph: &Graph, id: NodeId) -> NodeId {
    match (graph.op(id), graph.operands(id)) {
        (Operator::Reshape(_), &[of])
            if graph.ty(of).classes().is_some() && graph.ty(of).classes() == graph.ty(id).classes() =>
        {
            without_reshape(graph, of)
        }
        _ => id,
    }
}

impl OperatorDef for Reshape {
    fn schemas() -> Vec<Schema> {
        let schema = |name, doc, params, build| Schema { name, doc, operands: (1, 1), params, weights: false, build };
        vec![
            schema("flatten", "A feature vector of all elements in channel, row, column order.", &[], build_flatten),
            schema(
                "reshape",
                "The same elements, in channel, row, column order, under another shape.",
                RESHAPE,
                build_reshape,
            ),
        ]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        if !x.batched || x.dtype == DType::I32 {
            return Err(format!("floats or bytes of each image are needed, but this is {x}").into());
        }
        let ty = check::sized(Type { dtype: x.dtype, ..Type::batched(&self.dims) })?;
        if ty.elements() != x.elements() {
            let product = |dims: &[usize]| dims.iter().map(usize::to_string).collect::<Vec<_>>().join("·");
            let (from, to) = (product(&x.dims), product(&self.dims));
            return Err(format!("{from} = {} elements cannot become {to} = {}", x.elements(), ty.elements()).into());
        }
        Ok(ty)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let dims = cx.ty.full_dims(cx.batch);
        match operands[0] {
            Value::Real(x) => Value::new(&dims, x.data.clone()),
            Value::Int(x) => Value::Int(Tensor { dims, data: x.data.clone() }),
        }
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (dims, dy) = (cx.operand_type(0).dims, cx.grad);
        Ok(vec![cx.wanted(0, Reshape { dims }, &[dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        movement::reshape(cx)
    }

    super::no_products!();

    super::usual!(storage, reads_bf16, receptive, memory, folding);

    fn elements(&self) -> Elements {
        Elements::Selected(0)
    }

    fn cases() -> Vec<Case> {
        let case = |from: &[usize], to: &[usize]| Case::new(Reshape { dims: to.to_vec() }, 3, &[Type::batched(from)]);
        vec![
            case(&[3, 4, 5], &[60]),
            case(&[60], &[5, 4, 3]),
            case(&[4, 3, 2], &[2, 4, 3]),
            case(&[8, 1, 1], &[8]),
            case(&[3, 2, 2], &[3, 2, 2]),
            Case::new(Reshape { dims: vec![60] }, 3, &[Type::bytes(&[3, 4, 5])]),
        ]
    }
}
