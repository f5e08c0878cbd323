//! Recipes that only make sense on a GPU: work groups that share a tile of both factors of a product.
//!
//! Everything else runs on a GPU by the recipes for all targets, whose iterations are work items there (see
//! `partition`).

mod cells;
mod chain;
pub mod conv;
mod cost;
pub mod linear;
mod link;
mod product;
mod rows;
pub mod softmax;
pub mod sums;
mod window;
mod winograd;

use crate::kernel::ir::{Access, Elem};
use crate::lower::{BufferId, LowerCx, code};
use crate::recipes::common::partition::KernelWithOperands;

/// `to[i] = Σ over parts, in their order, of partial[part][i]`: the second half of a sum that work groups share.
fn sum_parts(cx: &mut LowerCx, partial: BufferId, to: BufferId, elements: usize, parts: usize) {
    let mut d = KernelWithOperands::bare(cx, "sum_parts");
    let from = d.buffer("partial", Elem::F32, Access::Read, partial);
    let y = d.buffer("y", Elem::F32, Access::Write, to);
    let name = format!("sum_{parts}_parts_of_{elements}");
    let micro_kernel = cx.micro_kernel(code(name, [parts, elements], |&[parts, elements], b| {
        let x = b.pointer("x", Elem::F32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        let zero = b.f32(0.0, 1);
        let sum = b.repeat("part", parts, &[zero], |b, part, carried| {
            let value = b.load(x, crate::kernel::ir::Index::default().plus(part, elements as i64), 1);
            vec![b.add(carried[0], value)]
        });
        b.store(y, 0i64, sum[0]);
    }));
    d.kernel.parallel("i", elements, |k, i| k.call(micro_kernel, [from.at(&i), y.at(&i)]));
    d.launch(cx);
}
