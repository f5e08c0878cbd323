//! `C[m, n] = f(Σ_k A[m, k] · B[k, n] + bias[n])` by work groups: each owns a tile of C and goes over k in steps. For each
//! step its items bring a tile of A and a tile of B into local memory, wait, and multiply; each item keeps a small tile of C
//! in registers. Where A and B lie is said by functions, so that a convolution is a product whose A is never written down
//! (implicit GEMM). Sums have a fixed order: that of k.

use crate::kernel::build::{KernelBuilder, LeafBuilder};
use crate::kernel::ir::{Access, Elem, Expr, Index, KVar, LeafId, Memory};
use crate::kernel::recipes::Finish;
use crate::kernel::site::{Site, Slot};
use crate::kernel::target::{Gpu, GroupTile};

/// Rows of C.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    Fixed(usize),
    PerImage(usize),
}

/// A row: its image (0 for fixed rows) and its number there.
pub struct Row {
    pub image: Expr,
    pub index: Expr,
}

/// Where an element lies, and the condition under which it is there at all (else it counts as 0).
pub struct Place {
    pub at: Expr,
    pub inside: Option<Expr>,
}

impl From<Expr> for Place {
    fn from(at: Expr) -> Place {
        Place { at, inside: None }
    }
}

/// Terms `begin .. begin + length` of the sum that a part adds up.
pub struct Span {
    pub begin: Expr,
    pub length: Expr,
}

pub struct Product<'a> {
    /// All that decides the code.
    pub name: String,
    pub rows: Rows,
    /// Columns of one group.
    pub columns: usize,
    pub groups: usize,
    /// Work groups that share a sum; each writes a C of its own.
    pub parts: usize,
    pub span: &'a dyn Fn(&Expr) -> Span,
    /// Of row and k, in a group; of k and column; of row and column in a part.
    pub a: &'a dyn Fn(&Row, &Expr, &Expr) -> Place,
    pub b: &'a dyn Fn(&Expr, &Expr, &Expr) -> Place,
    pub c: &'a dyn Fn(&Row, &Expr, &Expr, &Expr) -> Expr,
    /// Neighbouring k are neighbours in memory (else neighbouring rows, or columns, are).
    pub a_along_k: bool,
    pub b_along_k: bool,
    /// Of group and column.
    pub bias: Option<&'a dyn Fn(&Expr, &Expr) -> Expr>,
    pub finish: Finish,
    /// A, B, C, and the bias where there is one.
    pub slots: [Slot; 3],
    pub bias_slot: Option<Slot>,
}

/// The measured tile for this product, or the usual one, made narrower for narrow results with as many items.
fn tiles(gpu: &Gpu, name: &str, columns: usize) -> GroupTile {
    if let Some(tile) = gpu.tuned.get(name) {
        return *tile;
    }
    let t = gpu.tile;
    let fits = |shrink: &usize| t.item_columns.is_multiple_of(*shrink) && columns <= t.columns / shrink;
    let shrink = [4, 2].into_iter().find(fits).unwrap_or(1);
    GroupTile { columns: t.columns / shrink, item_columns: t.item_columns / shrink, ..t }
}

/// A tile of rows: the row at a place in it, and whether it exists.
struct RowTile {
    first: Expr,
    rows: Rows,
    tile: usize,
    /// Images of a tile, where they are smaller than it.
    images: usize,
    /// Tiles of an image, where they are larger.
    per_image: usize,
}

impl RowTile {
    fn sizes(rows: Rows, tile: usize) -> (usize, usize) {
        match rows {
            Rows::PerImage(n) if n <= tile => ((tile / n.max(1)).max(1), 1),
            Rows::PerImage(n) => (1, n.div_ceil(tile)),
            Rows::Fixed(n) => (1, n.div_ceil(tile)),
        }
    }

    /// Number of tiles.
    fn count(rows: Rows, tile: usize) -> Expr {
        let (images, per_image) = RowTile::sizes(rows, tile);
        match rows {
            Rows::PerImage(_) if images > 1 => Expr::BATCH.ceil_div(images as i64),
            Rows::PerImage(_) => KVar::BATCH * per_image,
            Rows::Fixed(_) => per_image.into(),
        }
    }

    fn new(rows: Rows, tile: usize, number: &Expr) -> RowTile {
        let (images, per_image) = RowTile::sizes(rows, tile);
        RowTile { first: number.clone(), rows, tile, images, per_image }
    }

    fn row(&self, r: &Expr) -> (Row, Expr) {
        match self.rows {
            Rows::Fixed(n) => {
                let index = &self.first * self.tile + r;
                (Row { image: 0.into(), index: index.clone() }, index.lt(n))
            }
            Rows::PerImage(n) if self.images > 1 => {
                let image = &self.first * self.images + r.div(n);
                let there = r.lt(self.images * n) * image.lt(KVar::BATCH);
                (Row { image, index: r.rem(n) }, there)
            }
            Rows::PerImage(n) => {
                let index = self.first.rem(self.per_image) * self.tile + r;
                (Row { image: self.first.div(self.per_image), index: index.clone() }, index.lt(n))
            }
        }
    }
}

impl Product<'_> {
    pub fn launch(&self, site: &mut Site) {
        let gpu = site.target.gpu.as_ref().expect("only called for GPUs");
        let t = tiles(gpu, &self.name, self.columns);
        let mut k = KernelBuilder::new(format!("{}_tile{}", self.name, t.name()));
        let a = k.buffer("a", Elem::F32, Access::Read);
        let b = k.buffer("b", Elem::F32, Access::Read);
        let bias = self.bias_slot.map(|_| k.buffer("bias", Elem::F32, Access::Read));
        let c = k.buffer("c", Elem::F32, Access::Write);
        // Pitches that are no powers of two: items store columns of a tile without meeting in one bank.
        let (pitch_a, pitch_b) = (t.rows + 4, t.columns + 4);
        let tile_a = k.local("tile_a", Elem::F32, t.depth * pitch_a);
        let tile_b = k.local("tile_b", Elem::F32, t.depth * pitch_b);
        let acc = k.private("acc", Elem::F32, t.item_rows * t.item_columns);
        let leaves = Leaves::new(site, &t, [pitch_a, pitch_b], self.finish, bias.is_some());
        let columns = self.columns.div_ceil(t.columns);
        let count = RowTile::count(self.rows, t.rows) * (columns * self.groups * self.parts);
        k.groups(count, t.items(), |k, number, item| {
            let (column_tile, rest) = (number.rem(columns), number.div(columns));
            let (group, rest) = (rest.rem(self.groups), rest.div(self.groups));
            let (part, rest) = (rest.rem(self.parts), rest.div(self.parts));
            let rows = RowTile::new(self.rows, t.rows, &rest);
            let across = t.columns / t.item_columns;
            let (item_row, item_column) = (item.div(across) * t.item_rows, item.rem(across) * t.item_columns);
            let span = (self.span)(&part);
            k.call(leaves.zero_all, [acc.at(0)]);
            k.serial("step", span.length.ceil_div(t.depth as i64), |k, step| {
                let k_first = &step * t.depth;
                fill(k, "i", &item, t.items(), [t.rows, t.depth], self.a_along_k, |k, r, d| {
                    let (row, there) = rows.row(&r);
                    let term = &k_first + &d;
                    let place = (self.a)(&row, &(&span.begin + &term), &group);
                    let there = there * term.lt(&span.length);
                    leaves.bring(k, a, place, there, tile_a.at(d * pitch_a + r));
                });
                fill(k, "j", &item, t.items(), [t.columns, t.depth], self.b_along_k, |k, n, d| {
                    let column = &column_tile * t.columns + &n;
                    let term = &k_first + &d;
                    let place = (self.b)(&(&span.begin + &term), &column, &group);
                    let there = column.lt(self.columns) * term.lt(&span.length);
                    leaves.bring(k, b, place, there, tile_b.at(d * pitch_b + n));
                });
                k.barrier();
                k.call(leaves.multiply, [tile_a.at(&item_row), tile_b.at(&item_column), acc.at(0)]);
                k.barrier();
            });
            for i in 0..t.item_rows {
                let (row, there) = rows.row(&(&item_row + i));
                k.when(there, |k| {
                    for j in 0..t.item_columns {
                        let column = &column_tile * t.columns + &item_column + j;
                        k.when(column.lt(self.columns), |k| {
                            let at = (self.c)(&row, &column, &group, &part);
                            let mut args = vec![acc.at(i * t.item_columns + j), c.at(at)];
                            if let (Some(bias), Some(place)) = (bias, self.bias) {
                                args.push(bias.at(place(&group, &column)));
                            }
                            k.call(leaves.finish, args);
                        });
                    }
                });
            }
        });
        let mut slots = vec![self.slots[0], self.slots[1]];
        slots.extend(self.bias_slot);
        slots.push(self.slots[2]);
        site.launch(k.finish(), &slots);
    }
}

/// All elements of a tile, dealt out to the items: `body(kernel, place across, place along k)`. Neighbouring items take
/// neighbours in memory.
fn fill(
    k: &mut KernelBuilder,
    name: &str,
    item: &Expr,
    items: usize,
    [across, depth]: [usize; 2],
    along_k: bool,
    body: impl FnOnce(&mut KernelBuilder, Expr, Expr),
) {
    let all = across * depth;
    let split = |e: &Expr| if along_k { (e.div(depth), e.rem(depth)) } else { (e.rem(across), e.div(across)) };
    k.serial(name, all.div_ceil(items), |k, i| {
        let e = i * items + item;
        let (r, d) = split(&e);
        if all.is_multiple_of(items) {
            body(k, r, d);
        } else {
            k.when(e.lt(all), |k| body(k, r, d));
        }
    });
}

struct Leaves {
    zero_all: LeafId,
    copy: LeafId,
    zero: LeafId,
    multiply: LeafId,
    finish: LeafId,
}

impl Leaves {
    fn new(site: &mut Site, t: &GroupTile, pitch: [usize; 2], finish: Finish, bias: bool) -> Leaves {
        let size = t.item_rows * t.item_columns;
        let zeros = |b: &mut LeafBuilder, count: usize| {
            let to = b.pointer("to", Elem::F32, Access::Write);
            let zero = b.f32(0.0, 1);
            for i in 0..count {
                b.store(to, i as i64, zero);
            }
        };
        let zero_all = site.module().leaf(&format!("zeros_{size}"), |b| zeros(b, size));
        let zero = site.module().leaf("zeros_1", |b| zeros(b, 1));
        let copy = site.module().leaf("copy_one", |b| {
            let from = b.pointer("from", Elem::F32, Access::Read);
            let to = b.pointer("to", Elem::F32, Access::Write);
            let value = b.load(from, 0i64, 1);
            b.store(to, 0i64, value);
        });
        let multiply = site.module().leaf(&format!("multiply_{}", t.name()), |b| multiply(b, t, pitch));
        let name = format!("finish{}{}", if bias { "_bias" } else { "" }, finish.name());
        let finish = site.module().leaf(&name, |b| {
            let acc = b.pointer("acc", Elem::F32, Access::Read);
            let to = b.pointer("to", Elem::F32, Access::Write);
            let bias = bias.then(|| b.pointer("bias", Elem::F32, Access::Read));
            let mut value = b.load(acc, 0i64, 1);
            if let Some(bias) = bias {
                let bias = b.load(bias, 0i64, 1);
                value = b.add(value, bias);
            }
            value = finish.apply(b, value);
            b.store(to, 0i64, value);
        });
        Leaves { zero_all, copy, zero, multiply, finish }
    }

    /// An element into local memory, or a zero where there is none.
    fn bring(&self, k: &mut KernelBuilder, from: Memory, place: Place, there: Expr, to: crate::kernel::ir::Arg) {
        let condition = match place.inside {
            Some(inside) => there * inside,
            None => there,
        };
        let (source, target) = (from.at(place.at), to.clone());
        k.either(condition, |k| k.call(self.copy, [source, target]), |k| k.call(self.zero, [to]));
    }
}

/// `acc[i][j] += Σ over the step's k of a[k][i] · b[k][j]`.
fn multiply(b: &mut LeafBuilder, t: &GroupTile, [pitch_a, pitch_b]: [usize; 2]) {
    let pa = b.pointer("a", Elem::F32, Access::Read);
    let pb = b.pointer("b", Elem::F32, Access::Read);
    let pc = b.pointer("acc", Elem::F32, Access::ReadWrite);
    let start: Vec<_> = (0..t.item_rows * t.item_columns).map(|i| b.load(pc, i as i64, 1)).collect();
    let sums = b.repeat("k", t.depth, &start, |b, k, acc| {
        let row = |b: &mut LeafBuilder, from, pitch: usize, count: usize| -> Vec<_> {
            (0..count).map(|i| b.load(from, Index::from(i).plus(k, pitch as i64), 1)).collect()
        };
        let x = row(b, pa, pitch_a, t.item_rows);
        let y = row(b, pb, pitch_b, t.item_columns);
        let cell = |(i, &sum): (usize, &_)| b.fma(x[i / t.item_columns], y[i % t.item_columns], sum);
        acc.iter().enumerate().map(cell).collect()
    });
    for (i, sum) in sums.into_iter().enumerate() {
        b.store(pc, i as i64, sum);
    }
}
