//! PReLU (He et al., 2015): a learned slope per channel for negative values.

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::source::Init;
use super::{Case, Draw, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::kernel::ir::Compare;
use crate::lower::{LowerCx, Lowered};
use crate::recipes::{elementwise, reduce};
use crate::types::Type;

/// The slope starts at 0.25 and has a bias's weight decay, that is none unless asked for: both as the paper says.
fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let channels = check::channels(&cx.operand_type(0))?;
    let multipliers = (cx.settings.rate, cx.settings.bias_decay);
    let slope = cx.param("weight", &[channels], Init::Constant { value: 0.25 }, multipliers, None)?;
    let x = cx.operands[0];
    Ok(cx.graph.add(Prelu {}, &[x, slope])?)
}

fn check_slope(x: &Type, slope: &Type) -> Result<(), ShapeError> {
    check::weight(slope, &[check::channels(x)?], "the slope")
}

/// Images and vectors that tests try.
const TRIED: [&[usize]; 3] = [&[5, 3, 4], &[17], &[8, 2, 1]];

attributes! {
    /// `(x, slope[C]) -> y`
    Prelu {}
}

impl OperatorDef for Prelu {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "prelu",
            doc: "x, or slope·x below 0, with a learned slope `NAME.weight` per channel.",
            operands: (1, 1),
            params: &[],
            weights: true,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, slope] = check::exactly(operands)?;
        check_slope(x, slope)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, slope) = (operands[0].real(), operands[1].real());
        let mut y = vec![0.0; x.data.len()];
        reference::each_plane(reference::planes(&x.dims), |c, places| {
            for place in places {
                let value = x.data[place].f64();
                y[place] = if value < 0.0 { value * slope.data[c].f64() } else { value };
            }
        });
        reference::result(cx, y)
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, slope, dy) = (cx.operands[0], cx.operands[1], cx.grad);
        Ok(vec![cx.wanted(0, PreluGradInput {}, &[x, slope, dy])?, cx.wanted(1, PreluGradSlope {}, &[x, dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map(cx, "prelu", |b, v, lanes| {
            let zero = b.f32(0.0, lanes);
            let negative = b.compare(Compare::Lt, v[0], zero);
            let sloped = b.mul(v[0], v[1]);
            b.select(negative, sloped, v[0])
        })
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case =
            |x: &[usize]| Case::new(Prelu {}, 2, &[Type::batched(x), Type::shared(&x[..1])]).drawn(Draw::Distinct);
        TRIED.iter().map(|x| case(x)).collect()
    }
}

attributes! {
    /// `(x, slope, dy) -> dx`
    PreluGradInput {}
}

impl OperatorDef for PreluGradInput {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, slope, dy] = check::exactly(operands)?;
        check_slope(x, slope)?;
        check::gradient(x, dy)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, slope, dy) = (operands[0].real(), operands[1].real(), operands[2].real());
        let mut dx = vec![0.0; x.data.len()];
        reference::each_plane(reference::planes(&x.dims), |c, places| {
            for place in places {
                let slope = if x.data[place] < T::ZERO { slope.data[c].f64() } else { 1.0 };
                dx[place] = slope * dy.data[place].f64();
            }
        });
        reference::result(cx, dx)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        elementwise::map(cx, "prelu_grad", |b, v, lanes| {
            let zero = b.f32(0.0, lanes);
            let negative = b.compare(Compare::Lt, v[0], zero);
            let sloped = b.mul(v[2], v[1]);
            b.select(negative, sloped, v[2])
        })
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |x: &[usize]| {
            let types = [Type::batched(x), Type::shared(&x[..1]), Type::batched(x)];
            Case::new(PreluGradInput {}, 2, &types).drawn(Draw::Distinct)
        };
        TRIED.iter().map(|x| case(x)).collect()
    }
}

attributes! {
    /// `(x, dy) -> dslope[C]`
    PreluGradSlope {}
}

impl OperatorDef for PreluGradSlope {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, dy] = check::exactly(operands)?;
        check::gradient(x, dy)?;
        check::sized(Type::shared(&[check::channels(x)?]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy) = (operands[0].real(), operands[1].real());
        let mut sums = vec![0.0; cx.ty.elements()];
        reference::each_plane(reference::planes(&x.dims), |c, places| {
            sums[c] += places.map(|place| x.data[place].f64().min(0.0) * dy.data[place].f64()).sum::<f64>();
        });
        reference::result(cx, sums)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        reduce::channels(cx, "prelu_slope", reduce::Mean::No, |b, v, lanes| {
            let zero = b.f32(0.0, lanes);
            let below = b.min(v[0], zero);
            b.mul(below, v[1])
        })
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case =
            |x: &[usize]| Case::new(PreluGradSlope {}, 2, &[Type::batched(x), Type::batched(x)]).drawn(Draw::Distinct);
        TRIED.iter().map(|x| case(x)).collect()
    }
}
