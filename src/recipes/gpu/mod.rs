//! Recipes that only make sense on a GPU: work groups that share a tile of both factors of a product.
//!
//! Everything else runs on a GPU by the recipes for all targets, whose rounds are work items there (see `split`).

mod cells;
mod chain;
mod conv;
mod cost;
mod product;
mod rows;
pub mod softmax;
pub mod sums;
mod winograd;

pub use conv::{forward, grad_input, grad_weight, linear_forward, linear_grad_input, linear_grad_weight};

use super::split::Dressed;
use crate::kernel::ir::{Access, Elem};
use crate::lower::{BufferId, LowerCx};

/// `to[i] = Σ over parts, in their order, of partial[part][i]`: the second half of a sum that work groups share.
fn sum_parts(cx: &mut LowerCx, partial: BufferId, to: BufferId, elements: usize, parts: usize) {
    let mut d = Dressed::bare(cx, "sum_parts");
    let from = d.buffer("partial", Elem::F32, Access::Read, partial);
    let y = d.buffer("y", Elem::F32, Access::Write, to);
    let micro_kernel = cx.module().micro_kernel(&format!("sum_{parts}_parts_of_{elements}"), |b| {
        let x = b.pointer("x", Elem::F32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        let zero = b.f32(0.0, 1);
        let sum = b.repeat("part", parts, &[zero], |b, part, carried| {
            let value = b.load(x, crate::kernel::ir::Index::default().plus(part, elements as i64), 1);
            vec![b.add(carried[0], value)]
        });
        b.store(y, 0i64, sum[0]);
    });
    d.kernel.parallel("i", elements, |k, i| k.call(micro_kernel, [from.at(&i), y.at(&i)]));
    d.launch(cx);
}
