//! Maxout: the maximum over consecutive channels.

use crate::kernel::ir::{Access, Compare, Elem, Index};
use crate::lower::{LowerCx, Lowered, code};
use crate::recipes::common::partition::{KernelWithOperands, Partition};

/// `x[C·pieces, …] -> y[C, …]`. One element at a time: the pieces of a channel lie side by side, which vectors cannot
/// gather.
pub fn forward(cx: &mut LowerCx, pieces: usize) -> Lowered {
    let elements = cx.result.ty.elements();
    let split = Partition::new(cx.target, cx.result.ty.batched, elements, pieces);
    let mut d = KernelWithOperands::new(cx, "maxout", Access::Write);
    let (x, y) = (d.operands[0], d.result);
    split.run(&mut d.kernel, |k, piece| {
        let count = piece.count;
        let micro_kernel =
            cx.micro_kernel(code(format!("maxout_{count}x{pieces}"), [count, pieces], |&[count, pieces], b| {
                let x = b.pointer("x", Elem::F32, Access::Read);
                let y = b.pointer("y", Elem::F32, Access::Write);
                b.repeat("c", count, &[], |b, c, _| {
                    let mut best = b.f32(f32::NEG_INFINITY, 1);
                    for i in 0..pieces {
                        let value = b.load(x, Index::from(i).plus(c, pieces as i64), 1);
                        best = b.max(best, value);
                    }
                    b.store(y, c, best);
                    vec![]
                });
            }));
        k.call(micro_kernel, [x.at(&piece.position * pieces), y.at(&piece.position)]);
    });
    d.launch(cx);
    Ok(())
}

/// `(x, dy) -> dx`, to the first maximum.
pub fn grad(cx: &mut LowerCx, pieces: usize) -> Lowered {
    let elements = cx.result.ty.elements() / pieces;
    let split = Partition::new(cx.target, cx.result.ty.batched, elements, pieces);
    let mut d = KernelWithOperands::new(cx, "maxout_grad", Access::Write);
    let (x, dy, dx) = (d.operands[0], d.operands[1], d.result);
    split.run(&mut d.kernel, |k, piece| {
        let count = piece.count;
        let micro_kernel =
            cx.micro_kernel(code(format!("maxout_grad_{count}x{pieces}"), [count, pieces], |&[count, pieces], b| {
                let x = b.pointer("x", Elem::F32, Access::Read);
                let dy = b.pointer("dy", Elem::F32, Access::Read);
                let dx = b.pointer("dx", Elem::F32, Access::Write);
                b.repeat("c", count, &[], |b, c, _| {
                    let place = |i: usize| Index::from(i).plus(c, pieces as i64);
                    let (mut best, mut first) = (b.f32(f32::NEG_INFINITY, 1), b.i32(0, 1));
                    for i in 0..pieces {
                        let value = b.load(x, place(i), 1);
                        let larger = b.compare(Compare::Gt, value, best);
                        let i = b.i32(i as i32, 1);
                        best = b.select(larger, value, best);
                        first = b.select(larger, i, first);
                    }
                    let (grad, zero) = (b.load(dy, c, 1), b.f32(0.0, 1));
                    for i in 0..pieces {
                        let number = b.i32(i as i32, 1);
                        let chosen = b.compare(Compare::Eq, first, number);
                        let value = b.select(chosen, grad, zero);
                        b.store(dx, place(i), value);
                    }
                    vec![]
                });
            }));
        let at = &piece.position * pieces;
        k.call(micro_kernel, [x.at(&at), dy.at(&piece.position), dx.at(at)]);
    });
    d.launch(cx);
    Ok(())
}
