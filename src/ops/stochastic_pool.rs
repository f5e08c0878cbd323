//! Stochastic pooling (Zeiler & Fergus, 2013).

use super::attr::attributes;
use super::error::{ShapeError, TrainingError};
use super::facts::Receptive;
use super::pool::{self, POOL, SHAPES, Shape};
use super::reference;
use super::schema::{LayerCx, LayerError, Schema};
use super::window::Window;
use super::{Case, Draw, GradCx};
use super::{OperatorDef, TrainCx, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes;
use crate::types::Type;
use ninc_runtime::philox;

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let stream = cx.stream;
    pool::build(cx, |w, ceil| StochasticPool { window: *w, ceil, stream }.into())
}

/// Returns the value that counts: what is below 0 counts as 0.
fn positive<T: Real>(x: T) -> T {
    x.larger(T::ZERO)
}

/// Random numbers of one stream in one step.
struct Random<'a> {
    key: &'a [i32],
    stream: u32,
    /// `[N, C, H, W]` of the pooling's result.
    output: [usize; 4],
    /// Index of the first image in the whole batch.
    first: usize,
}

impl Random<'_> {
    /// Draws the number of an output element, which is numbered as it lies in memory: image, row, column, channel.
    fn unit(&self, plane: usize, place: usize) -> f32 {
        let [_, channels, height, width] = self.output;
        let (image, channel) = (self.first + plane / channels, plane % channels);
        let index = (image * height * width + place) * channels + channel;
        let key = [0, 1, 2, 3].map(|i| self.key[i] as u32);
        philox::unit(philox::element(key, self.stream, index as u64))
    }
}

/// Picks a cell: the first whose running sum reaches `u` of the whole. Sums are in the interpreter's type, so that in
/// f32 they round as kernels do.
fn pick<T: Real>(x: &[T], u: f32, places: impl Iterator<Item = usize> + Clone) -> Option<usize> {
    let total = places.clone().fold(T::ZERO, |sum, place| sum + positive(x[place]));
    if !(total > T::ZERO) {
        return None;
    }
    let (limit, mut sum) = (T::of(u.into()) * total, T::ZERO);
    places.into_iter().find(|&place| {
        sum += positive(x[place]);
        sum >= limit
    })
}

attributes! {
    /// Inference: `Σa²/Σa` over the window, `a = max(x, 0)`.
    StochasticPool {
        window: Window,
        ceil: bool = true,
        stream: u32,
    }
}

impl OperatorDef for StochasticPool {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "stochastic_pool",
            doc: "Stochastic pooling: training picks a cell with probability in proportion to its value, inference \
                  takes the mean under these probabilities. Values below 0 count as 0.",
            operands: (1, 1),
            params: POOL,
            weights: false,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        pool::pooled(x, &self.window, self.ceil)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let x = operands[0].real();
        reference::pool(cx, x, &self.window, |cells| {
            let (mut sum, mut squares) = (0.0, 0.0);
            for place in cells.places() {
                let a = positive(x.data[place]).f64();
                sum += a;
                squares += a * a;
            }
            if sum > 0.0 { squares / sum } else { 0.0 }
        })
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let (x, dy) = (cx.operands[0], cx.grad);
        Ok(vec![cx.wanted(0, StochasticPoolGrad { window: self.window }, &[x, dy])?])
    }
    super::differentiable!();

    fn training(&self, cx: &mut TrainCx) -> Result<Option<NodeId>, TrainingError> {
        let &StochasticPool { window, ceil, stream } = self;
        let op = StochasticPoolTrain { window, ceil, stream };
        Ok(Some(cx.graph.add(op, &[cx.operands[0], cx.key])?))
    }

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::pool::stochastic(cx, &self.window)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, memory, folding);

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Window(self.window)
    }

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            Case::new(StochasticPool { window: s.window(), ceil: s.ceil, stream: 0 }, s.batch, &[s.image()])
                .drawn(Draw::Distinct)
        };
        SHAPES.iter().map(case).collect()
    }
}

attributes! {
    /// `(x, dy) -> dx`
    StochasticPoolGrad {
        window: Window,
    }
}

impl OperatorDef for StochasticPoolGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, dy] = check::exactly(operands)?;
        pool::unpooled(x, dy, &self.window)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy) = (operands[0].real(), operands[1].real());
        reference::unpool(cx, reference::nchw(&x.dims), dy, &self.window, |dx, cells, dy| {
            let values = || cells.places().map(|place| positive(x.data[place]).f64());
            let (sum, squares) = (values().sum::<f64>(), values().map(|a| a * a).sum::<f64>());
            for cell in cells.places().filter(|&cell| x.data[cell] > T::ZERO) {
                let slope = (2.0 * x.data[cell].f64() - squares / sum) / sum;
                dx[cell] += dy * slope;
            }
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::pool::stochastic_grad(cx, &self.window)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            Case::new(StochasticPoolGrad { window: s.window() }, s.batch, &[s.image(), s.pooled()])
                .drawn(Draw::Distinct)
        };
        SHAPES.iter().map(case).collect()
    }
}

attributes! {
    /// `(x, key) -> y`, see `recipes::pool`.
    StochasticPoolTrain {
        window: Window,
        ceil: bool = true,
        stream: u32,
    }
}

impl OperatorDef for StochasticPoolTrain {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, key] = check::exactly(operands)?;
        check::key(key)?;
        pool::pooled(x, &self.window, self.ceil)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, key) = (operands[0].real(), operands[1].int());
        let output = reference::nchw(&cx.ty.full_dims(cx.batch));
        let random = Random { key: &key.data, stream: self.stream, output, first: cx.first };
        reference::pool(cx, x, &self.window, |cells| {
            let picked = pick(&x.data, random.unit(cells.plane, cells.place), cells.places());
            picked.map_or(0.0, |cell| positive(x.data[cell]).f64())
        })
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        let &StochasticPoolTrain { window, stream, .. } = self;
        let (x, key, dy) = (cx.operands[0], cx.operands[1], cx.grad);
        Ok(vec![cx.wanted(0, StochasticPoolTrainGrad { window, stream }, &[x, dy, key])?, None])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::pool::stochastic_train(cx, &self.window, self.stream)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            Case::new(
                StochasticPoolTrain { window: s.window(), ceil: s.ceil, stream: 3 },
                s.batch,
                &[s.image(), Type::ints(false, &[4])],
            )
            .drawn(Draw::Distinct)
        };
        SHAPES.iter().map(case).collect()
    }
}

attributes! {
    /// `(x, dy, key) -> dx`
    StochasticPoolTrainGrad {
        window: Window,
        stream: u32,
    }
}

impl OperatorDef for StochasticPoolTrainGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, dy, key] = check::exactly(operands)?;
        check::key(key)?;
        pool::unpooled(x, dy, &self.window)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, dy, key) = (operands[0].real(), operands[1].real(), operands[2].int());
        let random = Random { key: &key.data, stream: self.stream, output: reference::nchw(&dy.dims), first: cx.first };
        reference::unpool(cx, reference::nchw(&x.dims), dy, &self.window, |dx, cells, dy| {
            if let Some(cell) = pick(&x.data, random.unit(cells.plane, cells.place), cells.places()) {
                dx[cell] += dy;
            }
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        recipes::pool::stochastic_train_grad(cx, &self.window, self.stream)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |s: &Shape| {
            Case::new(
                StochasticPoolTrainGrad { window: s.window(), stream: 3 },
                s.batch,
                &[s.image(), s.pooled(), Type::ints(false, &[4])],
            )
            .drawn(Draw::Distinct)
        };
        SHAPES.iter().map(case).collect()
    }
}
