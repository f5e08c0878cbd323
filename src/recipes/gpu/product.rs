//! `C[m, n] = f(Σ_k A[m, k] · B[k, n] + bias[n])` by work groups: each owns a tile of C and goes over k in steps. For
//! each step its items bring a tile of A and a tile of B into local memory, wait, and multiply; each item keeps a
//! small tile of C in registers. Where A and B lie is said by functions, so that a convolution is a product whose A
//! is never written down (implicit GEMM). Sums have a fixed order: that of k.

use super::cells::{Cells, Fill, Item, Place, SKEW, TileEpilogue, Warps, arguments};
use super::cost::usual;
use super::rows::{Row, Rows};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr, Memory};
use crate::lower::target::{Gpu, GroupTile};
use crate::lower::{BufferId, LowerCx, Method, Provenance, Tunable};
use crate::types::Format;

/// Terms `begin .. begin + length` of the sum that a part adds up.
pub struct Span {
    /// The first term.
    pub begin: Expr,
    /// The number of terms.
    pub length: Expr,
}

impl Span {
    /// The terms of part `part` of `total` terms in `parts` parts.
    pub fn share(part: &Expr, parts: usize, total: &Expr) -> Span {
        let share = total.ceil_div(parts as i64);
        let begin = (part * share.clone()).min(total);
        Span { length: (total - &begin).min(share), begin }
    }

    /// All `length` terms.
    pub fn all(length: usize) -> Span {
        Span { begin: 0.into(), length: length.into() }
    }
}

/// A factor: where its elements lie, and how they are fetched.
pub struct Factor<'a> {
    /// Its memory.
    pub buffer: BufferId,
    /// Whether neighbouring terms are neighbours in memory (else neighbouring rows of A, or columns of B, are).
    pub along_k: bool,
    /// Neighbours that are there together or not at all, along k or across; divides the sizes that it runs along.
    pub run: usize,
    /// Where the element of a row (or column), a term and a group lies.
    pub at: &'a dyn Fn(&Row, &Expr, &Expr) -> Place,
}

impl Factor<'_> {
    /// How its tiles come into local memory.
    fn fill(&self, elem: Elem, [across, depth]: [usize; 2], pitch: usize) -> Fill {
        Fill { across, depth, along_depth: self.along_k, run: self.run, pitch, elem }
    }
}

/// A product with a tile of results for each work group.
pub struct Product<'a> {
    /// The name by which `ninc tune` keeps the tile that it finds best.
    pub name: String,
    /// Its method, for reports.
    pub method: Method,
    /// Rows of results.
    pub rows: Rows,
    /// Columns of one group.
    pub columns: usize,
    /// Products beside each other: the groups of a convolution, or frequencies.
    pub groups: usize,
    /// Work groups that share a sum; each writes a C of its own.
    pub parts: usize,
    /// The terms of each part.
    pub span: &'a dyn Fn(&Expr) -> Span,
    /// The first factor, `at(row, k, group)`.
    pub a: Factor<'a>,
    /// The second factor, `at(column, k, group)`; columns have no image.
    pub b: Factor<'a>,
    /// Place in C of a row, a first column, a group and a part; columns are neighbours.
    pub c: &'a dyn Fn(&Row, &Expr, &Expr, &Expr) -> Expr,
    /// The memory of C.
    pub result: BufferId,
    /// One number a column, group after group.
    pub bias: Option<BufferId>,
    /// What happens to sums before they are stored.
    pub epilogue: TileEpilogue,
    /// The memory that `epilogue.mask` looks at, laid out as C.
    pub mask: Option<BufferId>,
}

/// How a group and its items share a tile of C.
struct Cut {
    name: String,
    /// The tile, where it can be another.
    tile: Option<GroupTile>,
    rows: usize,
    columns: usize,
    /// Terms of the sum at a time.
    depth: usize,
    items: usize,
    cells: Cells,
}

/// Items of four warps that multiply cooperatively, each 32 rows and columns.
const WARP_ITEMS: usize = 128;

/// Returns the format of the numbers in these buffers if the 32 items of a warp of this device multiply such numbers
/// cooperatively.
pub fn warp_cooperative(cx: &LowerCx, gpu: &Gpu, factors: [BufferId; 2]) -> Option<Format> {
    let able = gpu.tensor && gpu.group_items >= WARP_ITEMS;
    let [a, b] = factors.map(|f| cx.builder.exact.get(&f).copied());
    a.filter(|_| able && a == b)
}

impl Cut {
    fn of(cx: &LowerCx, gpu: &Gpu, product: &Product) -> Cut {
        if let Some(format) = warp_cooperative(cx, gpu, [product.a.buffer, product.b.buffer]) {
            let side = if product.columns > 32 { 2 } else { 1 };
            let (rows, columns, depth) = (WARP_ITEMS / side, 32 * side, 32);
            let name = format!("tensor{rows}x{columns}x{depth}_{}", format.name());
            return Cut {
                name,
                tile: None,
                rows,
                columns,
                depth,
                items: WARP_ITEMS,
                cells: Cells::warp_cooperative(2, 4, Warps { across: side, format }),
            };
        }
        let t = tile(gpu, &product.name, product.columns);
        let GroupTile { rows, columns, depth, .. } = t;
        Cut {
            name: format!("tile{}", t.name()),
            tile: Some(t),
            rows,
            columns,
            depth,
            items: t.items(),
            cells: Cells::of(&t),
        }
    }
}

/// Returns the measured tile for this product, or the usual one; narrower for narrow results with the same number of
/// items, shorter for a device with small groups.
fn tile(gpu: &Gpu, name: &str, columns: usize) -> GroupTile {
    let mut t = gpu.measured.tiles.get(name).copied().unwrap_or_else(|| usual(gpu.tile, columns));
    while t.items() > gpu.group_items && t.rows >= 2 * t.item_rows {
        t.rows /= 2;
    }
    t
}

/// What a product reads and writes.
struct Memories {
    a: Memory,
    b: Memory,
    bias: Option<Memory>,
    mask: Option<Memory>,
    c: Memory,
    /// Types of the elements of a, b and c.
    elems: [Elem; 3],
}

impl Product<'_> {
    /// Appends the launch.
    pub fn launch(&self, cx: &mut LowerCx, gpu: &Gpu) {
        let t = Cut::of(cx, gpu, self);
        let cells = t.cells;
        let mut k = KernelBuilder::new(format!("{}_{}", self.name, t.name));
        let Memories { a, b, bias, mask, c, elems: [elem_a, elem_b, elem_c] } = self.memories(cx, &mut k);
        let (pitch_a, pitch_b) = (t.rows + SKEW, t.columns + SKEW);
        let tile_a = k.local("tile_a", Elem::F32, t.depth * pitch_a);
        let tile_b = k.local("tile_b", Elem::F32, t.depth * pitch_b);
        let acc = k.private("acc", Elem::F32, cells.len());
        let (zero, multiply) = (cells.zero(cx), cells.multiply(cx, t.depth, [pitch_a, pitch_b]));
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
                self.a.fill(elem_a, [t.rows, t.depth], pitch_a).write(cx, k, by, a, tile_a, |r, d| {
                    let (row, there) = rows.row(r);
                    place(&self.a, &row, there, d)
                });
                self.b.fill(elem_b, [t.columns, t.depth], pitch_b).write(cx, k, by, b, tile_b, |n, d| {
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
        let buffers = [self.a.buffer, self.b.buffer].into_iter().chain(self.bias).chain(self.mask).chain([self.result]);
        let buffers: Vec<BufferId> = buffers.collect();
        let tunable = t.tile.map(|tile| Tunable::Product { name: self.name.clone(), tile });
        cx.launch(Provenance { method: self.method.clone(), tunable }, k.finish(), &buffers);
    }

    /// The kernel's buffers.
    fn memories(&self, cx: &LowerCx, k: &mut KernelBuilder) -> Memories {
        let elems = [self.a.buffer, self.b.buffer, self.result].map(|buffer| cx.elem(buffer));
        let a = k.buffer("a", elems[0], Access::Read);
        let b = k.buffer("b", elems[1], Access::Read);
        let bias = self.bias.map(|_| k.buffer("bias", Elem::F32, Access::Read));
        let mask = self.mask.map(|_| k.buffer("mask", Elem::F32, Access::Read));
        let c = k.buffer("c", elems[2], Access::Write);
        Memories { a, b, bias, mask, c, elems }
    }

    /// Is a term one of the span? Always, where steps end with it.
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
