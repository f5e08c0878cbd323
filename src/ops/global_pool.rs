//! Pooling over the whole map; the result is a feature vector `[C]`.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::facts::{Elements, Receptive};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::{Case, Draw, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::global;
use crate::types::Type;

fn build_avg(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    cx.image()?;
    let x = cx.operands[0];
    Ok(cx.graph.add(GlobalAvgPool {}, &[x])?)
}

fn build_max(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    cx.image()?;
    let x = cx.operands[0];
    Ok(cx.graph.add(GlobalMaxPool {}, &[x])?)
}

/// Images that tests try.
const IMAGES: &[[usize; 3]] = &[[5, 3, 4], [10, 8, 8], [1, 1, 1], [33, 1, 7]];

attributes! {
    /// `x[C, H, W] -> y[C]`
    GlobalAvgPool {}
}

impl OperatorDef for GlobalAvgPool {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "global_avg_pool",
            doc: "Mean of each channel's whole map: a feature vector.",
            operands: (1, 1),
            params: &[],
            weights: false,
            build: build_avg,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        let [channels, _, _] = check::image(x)?;
        check::sized(Type::batched(&[channels]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].real();
        let mut y = Vec::with_capacity(cx.batch * cx.ty.elements());
        reference::each_plane(reference::planes(&x.dims), |_, places| {
            let count = places.len() as f64;
            y.push(x.data[places].iter().map(|v| v.f64()).sum::<f64>() / count);
        });
        reference::result(cx, y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let &[_, height, width] = cx.operand_type(0).dims.as_slice() else {
            return Err(TrainingError::Operands("a global pooling of no image"));
        };
        let dy = cx.grad;
        Ok(vec![cx.wanted(0, GlobalAvgPoolGrad { height, width }, &[dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        global::avg(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, memory, folding);

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Whole
    }

    fn cases() -> Vec<Case> {
        IMAGES.iter().map(|x| Case::new(GlobalAvgPool {}, 2, &[Type::batched(x)])).collect()
    }
}

attributes! {
    /// `dy[C] -> dx[C, height, width]`
    GlobalAvgPoolGrad {
        height: usize,
        width: usize,
    }
}

impl OperatorDef for GlobalAvgPoolGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [dy] = check::exactly(operands)?;
        check::sized(Type::batched(&[check::features(dy)?, self.height, self.width]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (dy, positions) = (operands[0].real(), self.height * self.width);
        let share = |plane: usize| dy.data[plane].f64() / positions as f64;
        reference::result(cx, (0..dy.data.len() * positions).map(|i| share(i / positions)).collect())
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        global::avg_grad(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |&[channels, height, width]: &[usize; 3]| {
            Case::new(GlobalAvgPoolGrad { height, width }, 2, &[Type::batched(&[channels])])
        };
        IMAGES.iter().map(case).collect()
    }
}

attributes! {
    /// `x[C, H, W] -> y[C]`
    GlobalMaxPool {}
}

impl OperatorDef for GlobalMaxPool {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "global_max_pool",
            doc: "Maximum of each channel's whole map: a feature vector.",
            operands: (1, 1),
            params: &[],
            weights: false,
            build: build_max,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        let [channels, _, _] = check::image(x)?;
        check::sized(Type::batched(&[channels]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].real();
        let mut y = Vec::with_capacity(cx.batch * cx.ty.elements());
        reference::each_plane(reference::planes(&x.dims), |_, places| {
            y.push(x.data[reference::first_maximum(&x.data, places)].f64());
        });
        reference::result(cx, y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, dy) = (cx.operands[0], cx.grad);
        Ok(vec![cx.wanted(0, GlobalMaxPoolGrad {}, &[x, dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        global::max(cx)
    }

    super::no_products!();

    super::usual!(storage, reads_bf16, memory, folding);

    fn elements(&self) -> Elements {
        Elements::Selected(0)
    }

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Whole
    }

    fn cases() -> Vec<Case> {
        let case = |x| Case::new(GlobalMaxPool {}, 2, &[Type::batched(x)]).drawn(Draw::Distinct);
        IMAGES.iter().map(|x| case(x)).collect()
    }
}

attributes! {
    /// `(x, dy) -> dx`, to the first maximum.
    GlobalMaxPoolGrad {}
}

impl OperatorDef for GlobalMaxPoolGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, dy] = check::exactly(operands)?;
        let [channels, _, _] = check::image(x)?;
        check::gradient(&Type::batched(&[channels]), dy)?;
        check::sized(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy) = (operands[0].real(), operands[1].real());
        let mut dx = vec![0.0; x.data.len()];
        reference::each_plane(reference::planes(&x.dims), |_, places| {
            let best = reference::first_maximum(&x.data, places.clone());
            dx[best] = dy.data[places.start / places.len()].f64();
        });
        reference::result(cx, dx)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        global::max_grad(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let types = |x: &[usize; 3]| [Type::batched(x), Type::batched(&x[..1])];
        let case = |x| Case::new(GlobalMaxPoolGrad {}, 2, &types(x)).drawn(Draw::Distinct);
        IMAGES.iter().map(case).collect()
    }
}
