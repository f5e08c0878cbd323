//! DropConnect: a linear layer whose weights and biases are masked anew for each image. The masks are never stored:
//! each kernel draws the same random words again.

use super::frame;
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Binary, Compare, Elem, Expr, Index, Memory, MicroKernelId, Op, Param, Val, Var};
use crate::lower::{Constant, LowerCx, Lowered, code};
use crate::recipes::common::{random, weight_sizes};

/// What decides the mask: rate, stream, and the shape that numbers its elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Mask {
    rate: Constant,
    stream: u32,
    inputs: usize,
    outputs: usize,
    lanes: u32,
}

/// `y -> scale·y` in place, for each image's outputs.
pub fn scale(cx: &mut LowerCx, outputs: usize, scale: Constant) {
    let lanes = cx.target.lanes;
    let name = format!("scale_{outputs}by{scale}v{lanes}");
    let micro_kernel = cx.micro_kernel(code(name, (outputs, scale, lanes), |&(outputs, scale, lanes), b| {
        let y = b.pointer("y", Elem::F32, Access::ReadWrite);
        b.elements(outputs, lanes, |b, at, lanes| {
            let (value, scale) = (b.load(y, at.clone(), lanes), b.f32(scale.get(), lanes));
            let scaled = b.mul(value, scale);
            b.store(y, at, scaled);
        });
    }));
    let mut kernel = KernelBuilder::new(format!("drop_connect_mean_{outputs}by{scale}v{lanes}"));
    let y = kernel.buffer("y", Elem::F32, Access::ReadWrite);
    kernel.parallel("n", Expr::BATCH, |k, n| k.call(micro_kernel, [y.at(n * outputs)]));
    let (kernel, buffer) = (kernel.finish(), cx.result.buffer);
    cx.launch("drop_connect_mean", kernel, &[buffer]);
}

/// `(x[F], w[O, F], b[O], key) -> y[O]`, each weight and bias kept with probability `1 - rate`, no scaling.
///
/// Random element of weight (image n, input i, output o): index `(n·(F + 1) + i)·O + o` of the stream; the bias is
/// input F.
pub fn train(cx: &mut LowerCx, rate: f32, stream: u32) -> Lowered {
    let (inputs, outputs) = weight_sizes(cx, &cx.operands[1].ty)?;
    let mask = Mask { rate: rate.into(), stream, inputs, outputs, lanes: cx.target.lanes };
    let (row, bias, zero) = (mask.add_row(cx, true), mask.add_row(cx, false), frame::zero(cx, outputs));
    let mut kernel = KernelBuilder::new(mask.name("train"));
    let [x, w, b] = ["x", "w", "b"].map(|name| kernel.buffer(name, Elem::F32, Access::Read));
    let key = kernel.buffer("key", Elem::I32, Access::Read);
    let y = kernel.buffer("y", Elem::F32, Access::ReadWrite);
    kernel.parallel("n", Expr::BATCH, |k, n| {
        let to = y.at(&n * outputs);
        k.call(zero, [to.clone()]);
        k.call(bias, mask.args([b.at(0), to.clone()], key, &n, inputs.into()));
        k.serial("i", inputs, |k, i| {
            let pointers = [w.at(&i * outputs), to.clone(), x.at(&n * inputs + &i)];
            k.call(row, mask.args(pointers, key, &n, i));
        });
    });
    launch(cx, "drop_connect_train", kernel, 4);
    Ok(())
}

/// `(w, dy, key) -> dx`
pub fn grad_input(cx: &mut LowerCx, rate: f32, stream: u32) -> Lowered {
    let (inputs, outputs) = weight_sizes(cx, &cx.operands[0].ty)?;
    let mask = Mask { rate: rate.into(), stream, inputs, outputs, lanes: cx.target.lanes };
    let dot = mask.dot(cx);
    let mut kernel = KernelBuilder::new(mask.name("grad_input"));
    let [w, dy] = ["w", "dy"].map(|name| kernel.buffer(name, Elem::F32, Access::Read));
    let key = kernel.buffer("key", Elem::I32, Access::Read);
    let dx = kernel.buffer("dx", Elem::F32, Access::Write);
    kernel.parallel("n", Expr::BATCH, |k, n| {
        k.serial("i", inputs, |k, i| {
            let pointers = [w.at(&i * outputs), dx.at(&n * inputs + &i), dy.at(&n * outputs)];
            k.call(dot, mask.args(pointers, key, &n, i));
        });
    });
    launch(cx, "drop_connect_grad_input", kernel, 3);
    Ok(())
}

/// `(x, dy, key) -> dw`
pub fn grad_weight(cx: &mut LowerCx, rate: f32, stream: u32) -> Lowered {
    let (inputs, outputs) = weight_sizes(cx, &cx.result.ty)?;
    let mask = Mask { rate: rate.into(), stream, inputs, outputs, lanes: cx.target.lanes };
    let (row, zero) = (mask.add_row(cx, true), frame::zero(cx, outputs));
    let mut kernel = KernelBuilder::new(mask.name("grad_weight"));
    let [x, dy] = ["x", "dy"].map(|name| kernel.buffer(name, Elem::F32, Access::Read));
    let key = kernel.buffer("key", Elem::I32, Access::Read);
    let dw = kernel.buffer("dw", Elem::F32, Access::ReadWrite);
    kernel.parallel("i", inputs, |k, i| {
        let to = dw.at(&i * outputs);
        k.call(zero, [to.clone()]);
        k.serial("n", Expr::BATCH, |k, n| {
            let pointers = [dy.at(&n * outputs), to.clone(), x.at(&n * inputs + &i)];
            k.call(row, mask.args(pointers, key, &n, i.clone()));
        });
    });
    launch(cx, "drop_connect_grad_weight", kernel, 3);
    Ok(())
}

/// `(dy, key) -> db`; `inputs` is F.
pub fn grad_bias(cx: &mut LowerCx, rate: f32, stream: u32, inputs: usize) -> Lowered {
    let outputs = cx.result.ty.elements();
    let mask = Mask { rate: rate.into(), stream, inputs, outputs, lanes: cx.target.lanes };
    let (row, zero) = (mask.add_row(cx, false), frame::zero(cx, outputs));
    let mut kernel = KernelBuilder::new(mask.name("grad_bias"));
    let dy = kernel.buffer("dy", Elem::F32, Access::Read);
    let key = kernel.buffer("key", Elem::I32, Access::Read);
    let db = kernel.buffer("db", Elem::F32, Access::ReadWrite);
    kernel.parallel("t", 1, |k, _| {
        k.call(zero, [db.at(0)]);
        k.serial("n", Expr::BATCH, |k, n| {
            k.call(row, mask.args([dy.at(&n * outputs), db.at(0)], key, &n, inputs.into()));
        });
    });
    launch(cx, "drop_connect_grad_bias", kernel, 2);
    Ok(())
}

/// Launches with the first `operands` operands and the result.
fn launch(cx: &mut LowerCx, what: &str, kernel: KernelBuilder, operands: usize) {
    let mut args: Vec<_> = cx.operands[..operands].iter().map(|o| o.buffer).collect();
    args.push(cx.result.buffer);
    let kernel = kernel.finish();
    cx.launch(what, kernel, &args);
}

impl Mask {
    fn name(&self, what: &str) -> String {
        let Mask { rate, stream, inputs, outputs, lanes } = self;
        format!("drop_connect_{what}_v{lanes}_{inputs}x{outputs}_{rate}_stream{stream}")
    }

    /// What micro-kernels over a row of weights depend on: not the number of rows.
    fn row(&self) -> Mask {
        Mask { inputs: 0, ..*self }
    }

    fn micro_kernel_name(&self, what: &str) -> String {
        format!("masked_{what}_{}_{}_stream{}_v{}", self.outputs, self.rate, self.stream, self.lanes)
    }

    /// Arguments of a micro-kernel: its pointers, the key, and the index of the first random element of (image,
    /// input), with its upper half.
    fn args(&self, pointers: impl Into<Vec<Arg>>, key: Memory, n: &Expr, input: Expr) -> Vec<Arg> {
        let image = Expr::FIRST + n;
        let index = (image * (self.inputs + 1) + input) * self.outputs;
        let high = index.div(1i64 << 32);
        let mut args = pointers.into();
        args.extend([key.at(0), Arg::Int(index), Arg::Int(high)]);
        args
    }

    /// `to[o] += mask[o] · from[o] (· scale[0])`. Parameters: from, to, [scale], key, index, high.
    fn add_row(&self, cx: &mut LowerCx, scaled: bool) -> MicroKernelId {
        let name = self.micro_kernel_name(if scaled { "add_scaled" } else { "add" });
        cx.micro_kernel(code(name, (self.row(), scaled), |&(mask, scaled), b| {
            let from = b.pointer("from", Elem::F32, Access::Read);
            let to = b.pointer("to", Elem::F32, Access::ReadWrite);
            let scale = scaled.then(|| b.pointer("scale", Elem::F32, Access::Read));
            let random = Random::new(b, &mask);
            b.elements(mask.outputs, mask.lanes, |b, at, lanes| {
                let value = random.masked(b, from, &at, lanes);
                let sum = b.load(to, at.clone(), lanes);
                let sum = match scale {
                    Some(scale) => {
                        let scale = b.broadcast(scale, 0i64, lanes);
                        b.fma(value, scale, sum)
                    }
                    None => b.add(sum, value),
                };
                b.store(to, at, sum);
            });
        }))
    }

    /// `to[0] = Σ_o mask[o] · w[o] · dy[o]`. Parameters: w, to, dy, key, index, high.
    fn dot(&self, cx: &mut LowerCx) -> MicroKernelId {
        cx.micro_kernel(code(self.micro_kernel_name("dot"), self.row(), |mask, b| {
            let w = b.pointer("w", Elem::F32, Access::Read);
            let to = b.pointer("to", Elem::F32, Access::Write);
            let dy = b.pointer("dy", Elem::F32, Access::Read);
            let random = Random::new(b, mask);
            let part = |b: &mut MicroKernelBuilder, at: Index, lanes: u32, sum: Val| {
                let value = random.masked(b, w, &at, lanes);
                let dy = b.load(dy, at, lanes);
                b.fma(value, dy, sum)
            };
            let lanes = mask.lanes;
            let whole = mask.outputs / lanes as usize;
            let zero = b.f32(0.0, lanes);
            let sums = b.repeat("v", whole, &[zero], |b, v, sum| {
                vec![part(b, Index::default().plus(v, lanes.into()), lanes, sum[0])]
            });
            let sum = b.reduce(Binary::Add, sums[0]);
            let done = whole * lanes as usize;
            let total = b.repeat("t", mask.outputs - done, &[sum], |b, t, sum| {
                vec![part(b, Index::from(done).plus(t, 1), 1, sum[0])]
            });
            b.store(to, 0i64, total[0]);
        }))
    }
}

/// The random words of a row of weights.
struct Random {
    key: Param,
    /// Index of the row's first element (its lower 32 bits count), and its upper 32 bits.
    index: Var,
    high: Var,
    rate: f32,
    stream: u32,
}

impl Random {
    fn new(b: &mut MicroKernelBuilder, mask: &Mask) -> Random {
        let key = b.pointer("key", Elem::I32, Access::Read);
        Random { key, index: b.int("index"), high: b.int("high"), rate: mask.rate.get(), stream: mask.stream }
    }

    /// `from[at ..]` where the weight is kept, else 0.
    fn masked(&self, b: &mut MicroKernelBuilder, from: Param, at: &Index, lanes: u32) -> Val {
        let first = b.op(Op::IndexI32 { index: self.index.into(), lanes });
        let low = b.op(Op::IndexI32 { index: at.clone().plus(self.index, 1), lanes });
        let iota = b.op(Op::Iota { lanes });
        let low = b.add(low, iota);
        // A carry into the upper half: the sum is below its first term, unsigned.
        let sign = b.i32(i32::MIN, lanes);
        let [a, c] = [low, first].map(|v| b.binary(Binary::Xor, v, sign));
        let carried = b.compare(Compare::Lt, a, c);
        let (one, none) = (b.i32(1, lanes), b.i32(0, lanes));
        let carry = b.select(carried, one, none);
        let high = b.op(Op::IndexI32 { index: self.high.into(), lanes });
        let high = b.add(high, carry);
        let word = random::word_at(b, self.key, self.stream, low, high);
        let unit = random::unit(b, word);
        let rate = b.f32(self.rate, lanes);
        let kept = b.compare(Compare::Ge, unit, rate);
        let (value, zero) = (b.load(from, at.clone(), lanes), b.f32(0.0, lanes));
        b.select(kept, value, zero)
    }
}
