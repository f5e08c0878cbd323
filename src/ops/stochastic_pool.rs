//! Stochastic pooling (Zeiler & Fergus, 2013).

use super::attr::attributes;
use super::pool::{self, POOL};
use super::schema::{LayerCx, LayerError, Schema};
use super::window;
use super::{OperatorDef, TrainCx, check};
use crate::graph::NodeId;
use crate::kernel::recipes;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let stream = cx.stream;
    pool::build(cx, |w, ceil| StochasticPool { kernel: w.kernel, stride: w.stride, pad: w.pad, ceil, stream }.into())
}

attributes! {
    /// Inference: `Σa²/Σa` over the window, `a = max(x, 0)`.
    StochasticPool {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        ceil: bool,
        stream: u32,
    }
}

impl OperatorDef for StochasticPool {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "stochastic_pool",
            doc: "Stochastic pooling: training picks a cell with probability in proportion to its value, inference takes the \
                  mean under these probabilities. Values below 0 count as 0.",
            operands: (1, 1),
            params: POOL,
            weights: false,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        pool::pooled(x, &window::pooling(self.kernel, self.stride, self.pad), self.ceil)
    }

    super::rest!();

    fn training(&self, cx: &mut TrainCx) -> Result<Option<NodeId>, String> {
        let &StochasticPool { kernel, stride, pad, ceil, stream } = self;
        let op = StochasticPoolTrain { kernel, stride, pad, ceil, stream };
        Ok(Some(cx.graph.add(op, &[cx.operands[0], cx.key])?))
    }

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::stochastic(site, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::no_products!();
}

attributes! {
    /// `(x, dy) -> dx`
    StochasticPoolGrad {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
    }
}

impl OperatorDef for StochasticPoolGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, dy] = check::exactly(operands)?;
        pool::unpooled(x, dy, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::stochastic_grad(site, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::no_products!();
}

attributes! {
    /// `(x, key) -> y`, see `kernel::recipes::pool`.
    StochasticPoolTrain {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        ceil: bool,
        stream: u32,
    }
}

impl OperatorDef for StochasticPoolTrain {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, key] = check::exactly(operands)?;
        check::key(key)?;
        pool::pooled(x, &window::pooling(self.kernel, self.stride, self.pad), self.ceil)
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::stochastic_train(site, &window::pooling(self.kernel, self.stride, self.pad), self.stream)
    }

    super::no_products!();
}

attributes! {
    /// `(x, dy, key) -> dx`
    StochasticPoolTrainGrad {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        stream: u32,
    }
}

impl OperatorDef for StochasticPoolTrainGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, dy, key] = check::exactly(operands)?;
        check::key(key)?;
        pool::unpooled(x, dy, &window::pooling(self.kernel, self.stride, self.pad))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::pool::stochastic_train_grad(site, &window::pooling(self.kernel, self.stride, self.pad), self.stream)
    }

    super::no_products!();
}
