//! Products of weights as matrices. In memory a weight is `[all the rest][outputs]`, so both products have outputs as
//! columns.

use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr};
use crate::lower::tile::tile;
use crate::lower::{BufferId, LowerCx, Lowered};
use crate::recipes::common::Epilogue;
use crate::recipes::common::loops::{image_tiles, piece};
use crate::recipes::cpu::contraction::{Contraction, Count, Init};

/// `c[rows, columns] = Σ_k a[row, k] · b[k, columns]`; `row` and `step` are the strides of `a`.
struct Product {
    name: &'static str,
    a: BufferId,
    b: BufferId,
    rows: usize,
    columns: usize,
    depth: usize,
    row: usize,
    step: usize,
}

/// `x[O, …] -> [O, O]`
pub fn gram(cx: &mut LowerCx) -> Lowered {
    let (x, ty) = (cx.operands[0].buffer, &cx.operands[0].ty);
    let (outputs, rest) = (ty.dims[0], ty.elements() / ty.dims[0]);
    let (rows, columns, depth) = (outputs, outputs, rest);
    product(cx, &Product { name: "gram", a: x, b: x, rows, columns, depth, row: 1, step: outputs });
    Ok(())
}

/// `(b[O, O], x[O, …]) -> b·x`
pub fn times(cx: &mut LowerCx) -> Lowered {
    let (b, x, ty) = (cx.operands[0].buffer, cx.operands[1].buffer, &cx.operands[1].ty);
    let (outputs, rest) = (ty.dims[0], ty.elements() / ty.dims[0]);
    let (rows, columns, depth) = (rest, outputs, outputs);
    product(cx, &Product { name: "times", a: x, b, rows, columns, depth, row: outputs, step: 1 });
    Ok(())
}

/// An iteration is a panel of columns of some rows: each number has one owner, who adds its terms in order.
fn product(cx: &mut LowerCx, p: &Product) {
    let tile = tile(cx.target, p.rows, p.columns);
    let (width, block) = (tile.columns(), 4 * tile.rows);
    let name = format!("{}_v{}_{}x{}x{}", p.name, tile.lanes, p.rows, p.depth, p.columns);
    let mut kernel = KernelBuilder::new(name);
    let twice = p.a == p.b;
    let a = kernel.buffer("a", Elem::F32, Access::Read);
    let b = if twice { a } else { kernel.buffer("b", Elem::F32, Access::Read) };
    let c = kernel.buffer("c", Elem::F32, Access::Write);
    let panels = p.columns.div_ceil(width);
    kernel.parallel("t", p.rows.div_ceil(block) * panels, |k, t| {
        let (begin, panel) = (t.div(panels) * block, t.rem(panels));
        let end = (&begin + block).min(p.rows);
        let column = &panel * width;
        piece(k, &panel, p.columns, width, |k, size| {
            image_tiles(k, &begin, &end, tile.rows, |k, row: Expr, height| {
                let contraction = Contraction {
                    elems: [Elem::F32; 3],
                    lanes: tile.lanes,
                    rows: height,
                    columns: size,
                    counts: [1, 1, p.depth].map(Count::Fixed),
                    a: [0, 0, p.step as i64],
                    a_row: p.row as i64,
                    a_columns: false,
                    b: [0, 0, p.columns as i64],
                    b_padded: false,
                    next: 0,
                    a_ahead: 0,
                    c_row: p.columns as i64,
                    c_vector: tile.lanes.into(),
                    init: Init::Zero,
                    epilogue: Epilogue::NONE,
                };
                let args = [a.at(&row * p.row), b.at(&column), c.at(&row * p.columns + &column)];
                k.call(cx.micro_kernel(contraction), args);
            });
        });
    });
    let kernel = kernel.finish();
    let buffers = if twice { vec![p.a] } else { vec![p.a, p.b] };
    cx.launch(p.name, kernel, &[&buffers[..], &[cx.result.buffer]].concat());
}
