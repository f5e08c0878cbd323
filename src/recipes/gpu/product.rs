//! `C[m, n] = f(Σ_k A[m, k] · B[k, n] + bias[n])` by work groups: each owns a tile of C and goes over k in steps. For each
//! step its items bring a tile of A and a tile of B into local memory, wait, and multiply; each item keeps a small tile of C
//! in registers. Where A and B lie is said by functions, so that a convolution is a product whose A is never written down
//! (implicit GEMM). Sums have a fixed order: that of k.

use super::cells::{Cells, Epilogue, Fill, Item, Place, SKEW, Warps, arguments};
use super::cost::usual;
use super::rows::{Row, Rows};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr};
use crate::lower::target::{Gpu, GroupTile};
use crate::lower::{BufferId, LowerCx};
use crate::types::Format;

/// Terms `begin .. begin + length` of the sum that a part adds up.
pub struct Span {
    pub begin: Expr,
    pub length: Expr,
}

impl Span {
    pub fn all(length: usize) -> Span {
        Span { begin: 0.into(), length: length.into() }
    }
}

/// A factor: where its elements lie, and how they are fetched.
pub struct Factor<'a> {
    pub buffer: BufferId,
    /// Of row and term (A), or of term and column (B), in a group.
    pub along_k: bool,
    /// Neighbours that are there together or not at all, along k or across; divides the sizes that it runs along.
    pub run: usize,
    pub at: &'a dyn Fn(&Row, &Expr, &Expr) -> Place,
}

pub struct Product<'a> {
    /// All that decides the code.
    pub name: String,
    pub rows: Rows,
    /// Columns of one group.
    pub columns: usize,
    /// Products beside each other: the groups of a convolution, or frequencies.
    pub groups: usize,
    /// Work groups that share a sum; each writes a C of its own.
    pub parts: usize,
    pub span: &'a dyn Fn(&Expr) -> Span,
    /// `at(row, k, group)`
    pub a: Factor<'a>,
    /// `at(column, k, group)`; columns have no image.
    pub b: Factor<'a>,
    /// Of row, first column, group and part; columns are neighbours.
    pub c: &'a dyn Fn(&Row, &Expr, &Expr, &Expr) -> Expr,
    pub result: BufferId,
    /// One number a column, group after group.
    pub bias: Option<BufferId>,
    pub epilogue: Epilogue,
    /// What `epilogue.mask` looks at, laid out as C.
    pub mask: Option<BufferId>,
}

/// How a group and its items share a tile of C.
struct Cut {
    name: String,
    rows: usize,
    columns: usize,
    /// Terms of the sum at a time.
    depth: usize,
    items: usize,
    cells: Cells,
}

/// Four times 32 items that multiply together, each 32 rows and columns.
const TOGETHER: usize = 128;

/// The format of the numbers in these slots if 32 items of this device multiply such numbers together.
pub fn together(cx: &LowerCx, factors: [BufferId; 2]) -> Option<Format> {
    let able = cx.target.gpu.as_ref().is_some_and(|gpu| gpu.tensor && gpu.group_items >= TOGETHER);
    let [a, b] = factors.map(|f| cx.builder.exact.get(&f).copied());
    a.filter(|_| able && a == b)
}

impl Cut {
    fn of(cx: &LowerCx, product: &Product) -> Cut {
        let gpu = cx.target.gpu.as_ref().expect("only called for GPUs");
        if let Some(format) = together(cx, [product.a.buffer, product.b.buffer]) {
            let side = if product.columns > 32 { 2 } else { 1 };
            let (rows, columns, depth) = (TOGETHER / side, 32 * side, 32);
            let name = format!("tensor{rows}x{columns}x{depth}_{}", format.name());
            return Cut {
                name,
                rows,
                columns,
                depth,
                items: TOGETHER,
                cells: Cells::together(2, 4, Warps { across: side, format }),
            };
        }
        let t = tile(gpu, &product.name, product.columns);
        let GroupTile { rows, columns, depth, .. } = t;
        Cut { name: format!("tile{}", t.name()), rows, columns, depth, items: t.items(), cells: Cells::of(&t) }
    }
}

/// The measured tile for this product, or the usual one; narrower for narrow results with as many items, shorter for a device
/// with small groups.
fn tile(gpu: &Gpu, name: &str, columns: usize) -> GroupTile {
    let mut t = gpu.measured.tiles.get(name).copied().unwrap_or_else(|| usual(gpu.tile, columns));
    while t.items() > gpu.group_items && t.rows >= 2 * t.item_rows {
        t.rows /= 2;
    }
    t
}

impl Product<'_> {
    pub fn launch(&self, cx: &mut LowerCx) {
        let t = Cut::of(cx, self);
        let cells = t.cells;
        let [elem_a, elem_b, elem_c] = [self.a.buffer, self.b.buffer, self.result].map(|s| cx.elem(s));
        let mut k = KernelBuilder::new(format!("{}_{}", self.name, t.name));
        let a = k.buffer("a", elem_a, Access::Read);
        let b = k.buffer("b", elem_b, Access::Read);
        let bias = self.bias.map(|_| k.buffer("bias", Elem::F32, Access::Read));
        let mask = self.mask.map(|_| k.buffer("mask", Elem::F32, Access::Read));
        let c = k.buffer("c", elem_c, Access::Write);
        let (pitch_a, pitch_b) = (t.rows + SKEW, t.columns + SKEW);
        let tile_a = k.local("tile_a", Elem::F32, t.depth * pitch_a);
        let tile_b = k.local("tile_b", Elem::F32, t.depth * pitch_b);
        let acc = k.private("acc", Elem::F32, cells.len());
        let (zero, multiply) = (cells.zero(cx), cells.multiply(cx, t.depth, [pitch_a, pitch_b]));
        let fill = |factor: &Factor, elem: Elem, across: usize, pitch: usize| Fill {
            across,
            depth: t.depth,
            along_depth: factor.along_k,
            run: factor.run,
            pitch,
            elem,
        };
        let columns = self.columns.div_ceil(t.columns);
        let count = self.rows.tiles(t.rows) * (columns * self.groups * self.parts);
        k.groups(count, t.items, |k, number, item| {
            let (column_tile, rest) = (number.rem(columns), number.div(columns));
            let (group, rest) = (rest.rem(self.groups), rest.div(self.groups));
            let (part, rest) = (rest.rem(self.parts), rest.div(self.parts));
            let rows = self.rows.tile(t.rows, &rest);
            let column = &column_tile * t.columns;
            let span = (self.span)(&part);
            let by = (&item, t.items);
            k.call(zero, [acc.at(0)]);
            k.serial("step", span.length.ceil_div(t.depth as i64), |k, step| {
                let first = &step * t.depth;
                let place = |factor: &Factor, row: &Row, there: Expr, d: &Expr| {
                    let term = &first + d;
                    let Place { at, inside } = (factor.at)(row, &(&span.begin + &term), &group);
                    Place { at, inside: there * self.within(&term, &span, t.depth) * inside }
                };
                fill(&self.a, elem_a, t.rows, pitch_a).write(cx, k, by, a, tile_a, |r, d| {
                    let (row, there) = rows.row(r);
                    place(&self.a, &row, there, d)
                });
                fill(&self.b, elem_b, t.columns, pitch_b).write(cx, k, by, b, tile_b, |n, d| {
                    let index = &column + n;
                    let there = self.column_exists(&t, &index);
                    place(&self.b, &Row { image: 0.into(), index }, there, d)
                });
                k.barrier();
                k.call(multiply, [tile_a.at(cells.row(&item)), tile_b.at(cells.column(&item, 0)), acc.at(0)]);
                k.barrier();
            });
            let own = Item { number: &item, acc, rows: &rows };
            cells.store(cx, k, (&self.epilogue, elem_c), (&column, self.columns), &own, |row, column, from| {
                let at = (self.c)(row, column, &group, &part);
                let bias = bias.map(|b| b.at(&group * self.columns + column));
                arguments([from, c.at(&at)], [bias, mask.map(|m| m.at(&at))])
            });
        });
        let mut buffers = vec![self.a.buffer, self.b.buffer];
        buffers.extend(self.bias);
        buffers.extend(self.mask);
        buffers.push(self.result);
        cx.launch(k.finish(), &buffers);
    }

    /// Is a term one of the span? There is nothing to ask where steps end with it.
    fn within(&self, term: &Expr, span: &Span, depth: usize) -> Expr {
        match span.length {
            Expr::Const(length) if length % depth as i64 == 0 => 1.into(),
            _ => term.lt(&span.length),
        }
    }

    fn column_exists(&self, t: &Cut, column: &Expr) -> Expr {
        if self.columns.is_multiple_of(t.columns) { 1.into() } else { column.lt(self.columns) }
    }
}
