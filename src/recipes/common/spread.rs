//! One number to all images: the beginning of the backward pass.

use crate::kernel::ir::{Access, Arg, Elem, Expr, Op, Unary};
use crate::lower::{LowerCx, Lowered, code};
use crate::recipes::common::partition::{KernelWithOperands, Partition};

/// `dy (shared number) -> dy/total for each image`: the gradient of a mean over the whole batch.
pub fn loss_mean_grad(cx: &mut LowerCx) -> Lowered {
    let mut d = KernelWithOperands::new(cx, "loss_mean_grad", Access::Write);
    let (dy, dx) = (d.operands[0], d.result);
    let (split, _, lanes) = Partition::of(cx.target, &cx.result.ty, 1).items(cx.target, 1);
    split.run(&mut d.kernel, |k, piece| {
        let count = piece.count;
        let name = format!("loss_mean_grad_{count}_v{lanes}");
        let micro_kernel = cx.micro_kernel(code(name, (count, lanes), |&(count, lanes), b| {
            let dy = b.pointer("dy", Elem::F32, Access::Read);
            let dx = b.pointer("dx", Elem::F32, Access::Write);
            let total = b.int("total");
            b.elements(count, lanes, |b, i, lanes| {
                let total = b.op(Op::IndexI32 { index: total.into(), lanes });
                let total = b.unary(Unary::ToFloat, total);
                let dy = b.broadcast(dy, 0usize, lanes);
                let share = b.div(dy, total);
                b.store(dx, i, share);
            });
        }));
        k.call(micro_kernel, [dy.at(0), dx.at(&piece.position), Arg::Int(Expr::TOTAL)]);
    });
    d.launch(cx);
    Ok(())
}
