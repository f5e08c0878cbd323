//! Sums that gradients and the loss need.

use super::arithmetic::{Scale, ScaleBy};
use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::facts::Reader;
use super::reference;
use super::{Case, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::{self, reduce};
use crate::types::Type;

attributes! {
    /// `x[C, …] per image -> [C]`, over batch and positions: the gradient of a bias.
    ChannelSum {}
}

impl OperatorDef for ChannelSum {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        check::sized(Type::shared(&[check::channels(x)?]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].real();
        let mut sums = vec![0.0; cx.ty.elements()];
        reference::each_plane(reference::planes(&x.dims), |c, places| {
            sums[c] += x.data[places].iter().map(|v| v.f64()).sum::<f64>();
        });
        reference::result(cx, sums)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        reduce::channels(cx, "sum", reduce::Mean::No, |_, v, _| v[0])
    }

    super::no_products!();

    super::usual!(elements, storage, receptive, memory, folding);

    fn reads_bf16(&self, _operand: usize, by: Reader) -> bool {
        by == Reader::Tiles
    }

    fn cases() -> Vec<Case> {
        let dims: [&[usize]; 4] = [&[5, 3, 4], &[33], &[10, 8, 8], &[1, 1, 1]];
        dims.map(|x| Case::new(ChannelSum {}, 3, &[Type::batched(x)])).to_vec()
    }
}

attributes! {
    /// `x[C, H, W] per image -> [C, H·W]`: the gradient of an unshared bias.
    BatchSum {}
}

impl OperatorDef for BatchSum {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        let [channels, height, width] = check::image(x)?;
        check::sized(Type::shared(&[channels, height * width]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, each) = (operands[0].real(), cx.ty.elements());
        let mut sums = vec![0.0; each];
        x.data.iter().enumerate().for_each(|(i, v)| sums[i % each] += v.f64());
        reference::result(cx, sums)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        reduce::sum_batch(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let dims: [&[usize]; 3] = [&[5, 3, 4], &[9, 2, 2], &[1, 1, 1]];
        dims.map(|x| Case::new(BatchSum {}, 3, &[Type::batched(x)])).to_vec()
    }
}

attributes! {
    /// `x[] per image -> []`, the mean over the whole batch.
    LossMean {}
}

impl OperatorDef for LossMean {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        check::same(&Type::batched(&[]), x)?;
        Ok(Type::shared(&[]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let sum: f64 = operands[0].real().data.iter().map(|v| v.f64()).sum();
        reference::result(cx, vec![sum / cx.total as f64])
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let dy = cx.grad;
        Ok(vec![cx.wanted(0, LossMeanGrad {}, &[dy])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        reduce::batch_mean(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        [1, 5, 19].map(|batch| Case::new(LossMean {}, batch, &[Type::batched(&[])])).to_vec()
    }
}

attributes! {
    /// `shared x -> []`; `small` takes `x` times [`reduce::SMALL`], whose squares cannot overflow.
    SumSquares {
        small: bool = false,
    }
}

impl SumSquares {
    /// What each element is multiplied by.
    fn factor(&self) -> f64 {
        if self.small { f64::from(reduce::SMALL) } else { 1.0 }
    }
}

impl OperatorDef for SumSquares {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        check::shared(x, "the operand of a sum of squares")?;
        Ok(Type::shared(&[]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let factor = self.factor();
        let sum: f64 = operands[0].real().data.iter().map(|v| v.f64() * factor).map(|v| v * v).sum();
        reference::result(cx, vec![sum])
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, dy) = (cx.operands[0], cx.grad);
        let twice = cx.graph.add(Scale { factor: 2.0 * self.factor().powi(2) }, &[dy])?;
        Ok(vec![cx.wanted(0, ScaleBy {}, &[x, twice])?])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        reduce::sum_squares(cx, self.small)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let dims: [&[usize]; 4] = [&[5, 3, 2, 2], &[100], &[], &[33, 7]];
        let mut cases = dims.map(|x| Case::new(SumSquares { small: false }, 1, &[Type::shared(x)])).to_vec();
        cases.push(Case::new(SumSquares { small: true }, 1, &[Type::shared(&[33, 7])]));
        cases
    }
}

attributes! {
    /// `dy[] shared -> [] per image`: `dy/batch`, the gradient of [`LossMean`].
    LossMeanGrad {}
}

impl OperatorDef for LossMeanGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [dy] = check::exactly(operands)?;
        check::scalar(dy, "the gradient of the loss")?;
        Ok(Type::batched(&[]))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let share = operands[0].real().data[0].f64() / cx.total as f64;
        reference::result(cx, vec![share; cx.batch])
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::spread::loss_mean_grad(cx)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        [1, 5, 19].map(|batch| Case::new(LossMeanGrad {}, batch, &[Type::shared(&[])])).to_vec()
    }
}
