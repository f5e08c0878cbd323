//! Softmax and related functions over the channels of each position, and the loss.  A position is a row of C
//! consecutive floats. Its end that does not fill a vector is a partial vector, so that the ten classes of a small
//! network still run as vectors.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Binary, Compare, Elem, Index, Op, Param, Val};
use crate::lower::{Constant, LowerCx, Lowered, Stateless, code};
use crate::recipes::common::math;
use crate::recipes::common::partition::{KernelWithOperands, Partition, rows};

/// A row of `width` elements as vectors.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Line {
    width: usize,
    lanes: u32,
}

impl Line {
    /// Carries vectors over the row: `body(builder, element, lanes that count) -> next`.
    fn fold(
        self,
        b: &mut MicroKernelBuilder,
        init: &[Val],
        mut body: impl FnMut(&mut MicroKernelBuilder, Index, u32, &[Val]) -> Vec<Val>,
    ) -> Vec<Val> {
        let lanes = self.lanes as usize;
        let (whole, rest) = (self.width / lanes, self.width % lanes);
        let mut carried = init.to_vec();
        if whole > 2 {
            carried = b.repeat("v", whole, init, |b, v, carried| {
                body(b, Index::default().plus(v, lanes as i64), self.lanes, carried)
            });
        } else {
            for v in 0..whole {
                carried = body(b, (v * lanes).into(), self.lanes, &carried);
            }
        }
        if rest > 0 {
            carried = body(b, (whole * lanes).into(), rest as u32, &carried);
        }
        carried
    }

    fn load(self, b: &mut MicroKernelBuilder, from: Param, at: Index, count: u32) -> Val {
        b.load_partial(from, at, self.lanes, count)
    }

    /// Like `load`, with minus infinity in the lanes that do not count.
    fn load_low(self, b: &mut MicroKernelBuilder, from: Param, at: Index, count: u32) -> Val {
        let value = self.load(b, from, at, count);
        if count == self.lanes {
            return value;
        }
        let (lane, count) = (b.op(Op::Iota { lanes: self.lanes }), b.i32(count as i32, self.lanes));
        let counts = b.compare(Compare::Lt, lane, count);
        let low = b.f32(f32::NEG_INFINITY, self.lanes);
        b.select(counts, value, low)
    }

    /// The row's maximum in every lane.
    fn maximum(self, b: &mut MicroKernelBuilder, x: Param, row: impl Fn(Index) -> Index) -> Val {
        let low = b.f32(f32::NEG_INFINITY, self.lanes);
        let top = self.fold(b, &[low], |b, at, count, carried| {
            let value = self.load_low(b, x, row(at), count);
            vec![b.max(carried[0], value)]
        });
        let top = b.reduce(Binary::Max, top[0]);
        b.splat(top, self.lanes)
    }

    /// The sum of all lanes, in every lane.
    fn total(self, b: &mut MicroKernelBuilder, sum: Val) -> Val {
        let sum = b.reduce(Binary::Add, sum);
        b.splat(sum, self.lanes)
    }

    /// `Σ exp(x - top)`, in every lane.
    fn exp_sum(self, b: &mut MicroKernelBuilder, x: Param, top: Val, row: impl Fn(Index) -> Index) -> Val {
        let zero = b.f32(0.0, self.lanes);
        let sum = self.fold(b, &[zero], |b, at, count, carried| {
            let value = self.load_low(b, x, row(at), count);
            let below = b.sub(value, top);
            let e = math::exp(b, below);
            vec![b.add(carried[0], e)]
        });
        self.total(b, sum[0])
    }
}

/// A kernel of one micro-kernel over all rows: operands and result are walked row by row, `strides` elements a row
/// each.
fn row_kernel<B>(cx: &mut LowerCx, what: &str, width: usize, strides: &[usize], access: Access, body: B) -> Lowered
where
    B: Fn(&mut MicroKernelBuilder, &[Param], Line, &dyn Fn(Index) -> Index, &Index) + Stateless,
{
    let ty = cx.operands[0].ty.clone();
    let line = Line { width, lanes: cx.target.lanes };
    let split = Partition::of(cx.target, &ty, width);
    let mut d = KernelWithOperands::new(cx, what, access);
    let mut memories = d.operands.clone();
    memories.push(d.result);
    split.run(&mut d.kernel, |k, piece| {
        let name = format!("{what}_{}x{width}_v{}", piece.count, line.lanes);
        let params = (piece.count, line, memories.len(), access);
        let micro_kernel = cx.micro_kernel(code(name, params, move |&(count, line, pointers, access), b| {
            let (last, width) = (pointers - 1, line.width);
            let mut params = Vec::new();
            for i in 0..pointers {
                let access = if i == last { access } else { Access::Read };
                params.push(b.pointer(&format!("p{i}"), Elem::F32, access));
            }
            rows(b, count, |b, row| {
                // Elements of a full row, and the single element of a parameter with one a row.
                let full = |at: Index| row.at(at, width);
                let single = row.at(Index::default(), 1);
                body(b, &params, line, &full, &single);
            });
        }));
        let args: Vec<_> = memories.iter().zip(strides).map(|(m, s)| m.at(&piece.position * *s)).collect();
        k.call(micro_kernel, args);
    });
    d.launch(cx);
    Ok(())
}

/// `x -> exp(x) / Σ exp(x)` over rows of `c` numbers.
pub fn softmax(cx: &mut LowerCx, c: usize) -> Lowered {
    row_kernel(cx, "softmax", c, &[c, c], Access::ReadWrite, |b, p, line, row, _| {
        let top = line.maximum(b, p[0], row);
        let zero = b.f32(0.0, line.lanes);
        let sum = line.fold(b, &[zero], |b, at, count, carried| {
            let value = line.load_low(b, p[0], row(at.clone()), count);
            let below = b.sub(value, top);
            let e = math::exp(b, below);
            b.store_partial(p[1], row(at), e, count);
            vec![b.add(carried[0], e)]
        });
        let sum = line.total(b, sum[0]);
        line.fold(b, &[], |b, at, count, _| {
            let e = line.load(b, p[1], row(at.clone()), count);
            let y = b.div(e, sum);
            b.store_partial(p[1], row(at), y, count);
            vec![]
        });
    })
}

/// `(y, dy) -> dx`
pub fn softmax_grad(cx: &mut LowerCx, c: usize) -> Lowered {
    row_kernel(cx, "softmax_grad", c, &[c, c, c], Access::Write, |b, p, line, row, _| {
        let zero = b.f32(0.0, line.lanes);
        let dot = line.fold(b, &[zero], |b, at, count, carried| {
            let (y, dy) = (line.load(b, p[0], row(at.clone()), count), line.load(b, p[1], row(at), count));
            vec![b.fma(y, dy, carried[0])]
        });
        let dot = line.total(b, dot[0]);
        line.fold(b, &[], |b, at, count, _| {
            let (y, dy) = (line.load(b, p[0], row(at.clone()), count), line.load(b, p[1], row(at.clone()), count));
            let difference = b.sub(dy, dot);
            let dx = b.mul(y, difference);
            b.store_partial(p[2], row(at), dx, count);
            vec![]
        });
    })
}

/// `x -> x - ln Σ exp(x)` over rows of `c` numbers.
pub fn log_softmax(cx: &mut LowerCx, c: usize) -> Lowered {
    row_kernel(cx, "log_softmax", c, &[c, c], Access::Write, |b, p, line, row, _| {
        let top = line.maximum(b, p[0], row);
        let sum = line.exp_sum(b, p[0], top, row);
        let log = math::ln(b, sum);
        line.fold(b, &[], |b, at, count, _| {
            let x = line.load(b, p[0], row(at.clone()), count);
            let below = b.sub(x, top);
            let y = b.sub(below, log);
            b.store_partial(p[1], row(at), y, count);
            vec![]
        });
    })
}

/// `(y, dy) -> dx`
pub fn log_softmax_grad(cx: &mut LowerCx, c: usize) -> Lowered {
    row_kernel(cx, "log_softmax_grad", c, &[c, c, c], Access::Write, |b, p, line, row, _| {
        let zero = b.f32(0.0, line.lanes);
        let sum = line.fold(b, &[zero], |b, at, count, carried| {
            let dy = line.load(b, p[1], row(at), count);
            vec![b.add(carried[0], dy)]
        });
        let sum = line.total(b, sum[0]);
        line.fold(b, &[], |b, at, count, _| {
            let (y, dy) = (line.load(b, p[0], row(at.clone()), count), line.load(b, p[1], row(at.clone()), count));
            let e = math::exp(b, y);
            let share = b.mul(e, sum);
            let dx = b.sub(dy, share);
            b.store_partial(p[2], row(at), dx, count);
            vec![]
        });
    })
}

/// `(logits[C], target[C]) -> []` per image: `-Σ target · log_softmax(logits)`.
pub fn cross_entropy(cx: &mut LowerCx, c: usize) -> Lowered {
    row_kernel(cx, "cross_entropy", c, &[c, c, 1], Access::Write, |b, p, line, row, single| {
        let top = line.maximum(b, p[0], row);
        let sum = line.exp_sum(b, p[0], top, row);
        let log = math::ln(b, sum);
        let zero = b.f32(0.0, line.lanes);
        let loss = line.fold(b, &[zero], |b, at, count, carried| {
            let (x, t) = (line.load(b, p[0], row(at.clone()), count), line.load(b, p[1], row(at), count));
            // Lanes that do not count have the target 0 and finite logits.
            let below = b.sub(x, top);
            let minus = b.sub(log, below);
            vec![b.fma(t, minus, carried[0])]
        });
        let loss = b.reduce(Binary::Add, loss[0]);
        b.store(p[2], single.clone(), loss);
    })
}

/// `(logits, target, dy[] per image) -> dlogits = dy · (softmax(logits) · Σ target - target)`
pub fn cross_entropy_grad(cx: &mut LowerCx, c: usize) -> Lowered {
    row_kernel(cx, "cross_entropy_grad", c, &[c, c, 1, c], Access::Write, |b, p, line, row, single| {
        let top = line.maximum(b, p[0], row);
        let sum = line.exp_sum(b, p[0], top, row);
        let zero = b.f32(0.0, line.lanes);
        let weight = line.fold(b, &[zero], |b, at, count, carried| {
            let t = line.load(b, p[1], row(at), count);
            vec![b.add(carried[0], t)]
        });
        let weight = line.total(b, weight[0]);
        let share = b.div(weight, sum);
        let dy = b.broadcast(p[2], single.clone(), line.lanes);
        line.fold(b, &[], |b, at, count, _| {
            let (x, t) = (line.load(b, p[0], row(at.clone()), count), line.load(b, p[1], row(at.clone()), count));
            let below = b.sub(x, top);
            let e = math::exp(b, below);
            let expected = b.mul(e, share);
            let difference = b.sub(expected, t);
            let dx = b.mul(dy, difference);
            b.store_partial(p[3], row(at), dx, count);
            vec![]
        });
    })
}

/// `labels (I32, one per image) -> [C]`: `1 - smoothing + smoothing/C` at the label, `smoothing/C` elsewhere.
pub fn one_hot(cx: &mut LowerCx, smoothing: f32) -> Lowered {
    let c = cx.result.ty.elements();
    let line = Line { width: c, lanes: cx.target.lanes };
    let split = Partition::new(cx.target, cx.result.ty.batched, 1, c);
    let mut d = KernelWithOperands::new(cx, "one_hot", Access::Write);
    let smoothing = Constant::from(smoothing);
    let name = format!("one_hot_{c}_{smoothing}_v{}", line.lanes);
    let micro_kernel = cx.micro_kernel(code(name, (line, smoothing), |&(line, smoothing), b| {
        let labels = b.pointer("labels", Elem::I32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        let label = b.broadcast(labels, 0i64, line.lanes);
        let rest = smoothing.get() / line.width as f32;
        let (on, off) = (b.f32(1.0 - smoothing.get() + rest, line.lanes), b.f32(rest, line.lanes));
        let lane = b.op(Op::Iota { lanes: line.lanes });
        line.fold(b, &[], |b, at, count, _| {
            let first = b.op(Op::IndexI32 { index: at.clone(), lanes: line.lanes });
            let class = b.add(first, lane);
            let is_label = b.compare(Compare::Eq, class, label);
            let value = b.select(is_label, on, off);
            b.store_partial(y, at, value, count);
            vec![]
        });
    }));
    let (labels, y) = (d.operands[0], d.result);
    split.run(&mut d.kernel, |k, piece| k.call(micro_kernel, [labels.at(&piece.position), y.at(&piece.position * c)]));
    d.launch(cx);
    Ok(())
}
