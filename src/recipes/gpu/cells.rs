//! The innermost part of products on a GPU: the cells of a group's tile of results that one item keeps in registers,
//! and how a group brings the factors into local memory.

use super::rows::{Row, RowTile};
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Compare, Elem, Expr, Index, Memory, MicroKernelId, Val, WarpProduct};
use crate::lower::target::GroupTile;
use crate::lower::{LowerCx, code};
use crate::recipes::common::Epilogue;
use crate::recipes::common::partition::run;
use crate::types::Format;

/// Elements between the rows of a tile in local memory beyond its contents: items that store columns of a tile should
/// not meet in one bank, and vectors of four should stay whole.
pub const SKEW: usize = 4;

/// The cells of one item: `rows` neighbouring rows of `vectors` vectors of columns. Neighbouring items have
/// neighbouring vectors, so that all items of a group together read and write consecutive memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cells {
    /// Neighbouring rows.
    pub rows: usize,
    /// Vectors of columns.
    pub vectors: usize,
    /// Columns of a vector: 1, 2 or 4.
    pub lanes: usize,
    /// Items side by side.
    pub across: usize,
    /// Set where the items multiply together ([`WarpProduct`]); their rows are 8 apart.
    pub warps: Option<Warps>,
}

/// Items that multiply together.
const WARP: usize = 32;

/// Warps that multiply numbers of this format, 32 items each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Warps {
    /// How many warps are side by side.
    pub across: usize,
    /// Format of the factors.
    pub format: Format,
}

/// What happens to a sum before it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TileEpilogue {
    /// Whether a bias is added first.
    pub bias: bool,
    /// What happens after that.
    pub epilogue: Epilogue,
    /// Whether the sum counts only where another value at the same place is above 0.
    pub mask: bool,
}

impl Cells {
    /// Returns an item's part of a measured tile.
    pub fn of(t: &GroupTile) -> Cells {
        let lanes = run(t.item_columns);
        let across = t.columns / t.item_columns;
        Cells { rows: t.item_rows, vectors: t.item_columns / lanes, lanes, across, warps: None }
    }

    /// A warp computes a tile of `16·down` rows and `8·along` columns; `warps` says how many warps share the group's
    /// tile.
    pub fn warp_cooperative(down: usize, along: usize, warps: Warps) -> Cells {
        Cells { rows: 2 * down, vectors: along, lanes: 2, across: 4, warps: Some(warps) }
    }

    /// As few cells as make `columns` columns, in vectors as wide as that allows.
    pub fn for_columns(columns: usize, rows: usize, across: usize) -> Cells {
        let cells =
            |lanes: usize| Cells { rows, vectors: columns.div_ceil(across * lanes), lanes, across, warps: None };
        [4, 2, 1].map(cells).into_iter().min_by_key(Cells::width).expect("one of three")
    }

    /// Columns of the group's tile.
    pub fn width(&self) -> usize {
        self.columns() * self.across * self.warps.map_or(1, |w| w.across)
    }

    /// From one row of an item to the next.
    fn step(&self) -> usize {
        if self.warps.is_some() { WARP / self.across } else { 1 }
    }

    /// Columns of an item.
    pub fn columns(&self) -> usize {
        self.vectors * self.lanes
    }

    /// Cells of an item.
    pub fn len(&self) -> usize {
        self.rows * self.columns()
    }

    /// Returns the multiply-adds that one takes the time of, together with the operands that it reads from local
    /// memory.
    pub fn effort(&self) -> f64 {
        1.0 + 2.0 / self.rows as f64 + 2.0 / self.columns() as f64
    }

    /// The first row of an item in the tile.
    pub fn row(&self, item: &Expr) -> Expr {
        match self.warps {
            None => item.div(self.across) * self.rows,
            Some(warps) => item.div(WARP * warps.across) * (self.step() * self.rows) + item.rem(WARP).div(self.across),
        }
    }

    /// The first column of an item's vector `v` in the tile.
    pub fn column(&self, item: &Expr, v: usize) -> Expr {
        let own = item.rem(self.across) * self.lanes + v * self.lanes * self.across;
        match self.warps {
            None => own,
            Some(warps) => item.rem(WARP * warps.across).div(WARP) * (self.columns() * self.across) + own,
        }
    }

    fn name(&self) -> String {
        let together = self.warps.map_or(String::new(), |w| format!("_together_{}", w.format.name()));
        format!("{}x{}v{}{together}", self.rows, self.vectors, self.lanes)
    }

    /// Sets all cells to zero: `(acc)`.
    pub fn zero(&self, cx: &mut LowerCx) -> MicroKernelId {
        zeros(cx, self.len(), 1)
    }

    /// `acc[i][j] += Σ over depth of a[k][i] · b[k][j]`: `(a, b, acc)`, a and b at the item's first row and column.
    pub fn multiply(&self, cx: &mut LowerCx, depth: usize, [pitch_a, pitch_b]: [usize; 2]) -> MicroKernelId {
        // Code does not look at how many warps are side by side.
        let cells = Cells { warps: self.warps.map(|w| Warps { across: 1, ..w }), ..*self };
        let name = format!("multiply_{}of{}_k{depth}_a{pitch_a}_b{pitch_b}", self.name(), self.across);
        cx.micro_kernel(code(name, (cells, depth, [pitch_a, pitch_b]), |&(cells, depth, [pitch_a, pitch_b]), b| {
            let Cells { rows, vectors, lanes, across, warps } = cells;
            let step = cells.step();
            let pa = b.pointer("a", Elem::F32, Access::Read);
            let pb = b.pointer("b", Elem::F32, Access::Read);
            let pc = b.pointer("acc", Elem::F32, Access::ReadWrite);
            if let Some(warps) = warps {
                b.warp_cooperative(WarpProduct {
                    format: warps.format,
                    rows: rows as u32 / 2,
                    columns: vectors as u32,
                    depth: depth as u32,
                    pitches: [pitch_a as u32, pitch_b as u32],
                });
            }
            let wide = lanes as u32;
            let start: Vec<Val> = (0..rows * vectors).map(|i| b.load(pc, i * lanes, wide)).collect();
            let sums = b.repeat("k", depth, &start, |b, k, acc| {
                let at = |place: usize, pitch: usize| Index::from(place).plus(k, pitch as i64);
                let x: Vec<Val> = (0..rows).map(|i| b.broadcast(pa, at(i * step, pitch_a), wide)).collect();
                let y: Vec<Val> = (0..vectors).map(|v| b.load(pb, at(v * lanes * across, pitch_b), wide)).collect();
                let cell = |(i, &sum): (usize, &Val)| b.fma(x[i / vectors], y[i % vectors], sum);
                acc.iter().enumerate().map(cell).collect()
            });
            for (i, sum) in sums.into_iter().enumerate() {
                b.store(pc, i * lanes, sum);
            }
        }))
    }

    /// Stores `count` lanes of a vector: `(acc, to, [bias], [mask])`.
    pub fn finish(&self, cx: &mut LowerCx, epilogue: &TileEpilogue, elem: Elem, count: usize) -> MicroKernelId {
        let (lanes, count) = (self.lanes as u32, count as u32);
        let name = format!("epilogue{}_{count}of{lanes}{}", epilogue.name(), short(elem));
        let params = (epilogue.stored_as(elem), elem, [lanes, count]);
        cx.micro_kernel(code(name, params, |&(epilogue, elem, [lanes, count]), b| {
            let acc = b.pointer("acc", Elem::F32, Access::Read);
            let to = b.pointer("to", elem, Access::Write);
            let bias = epilogue.bias.then(|| b.pointer("bias", Elem::F32, Access::Read));
            let mask = epilogue.mask.then(|| b.pointer("mask", Elem::F32, Access::Read));
            let value = b.load(acc, 0usize, lanes);
            let bias = bias.map(|p| b.load_partial(p, 0usize, lanes, count));
            let mask = mask.map(|p| b.load_partial(p, 0usize, lanes, count));
            let value = epilogue.apply(b, value, bias, mask);
            b.store_partial(to, 0usize, value, count);
        }))
    }

    /// Writes the item's cells to the result, whose elements are of type `elem`, from column `first` of `columns` on:
    /// `arguments(row, column, cells)` are those of [`Cells::finish`].
    pub fn store(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        (epilogue, elem): (&TileEpilogue, Elem),
        (first, columns): (&Expr, usize),
        item: &Item,
        arguments: impl Fn(&Row, &Expr, Arg) -> Vec<Arg>,
    ) {
        let (lanes, rest) = (self.lanes, columns % self.lanes);
        let whole = (columns >= lanes).then(|| self.finish(cx, epilogue, elem, lanes));
        let partial = (rest > 0).then(|| self.finish(cx, epilogue, elem, rest));
        for i in 0..self.rows {
            let (row, there) = item.rows.row(&(self.row(item.number) + i * self.step()));
            k.when(there, |k| {
                for v in 0..self.vectors {
                    let column = first + self.column(item.number, v);
                    let args = arguments(&row, &column, item.acc.at((i * self.vectors + v) * lanes));
                    if let Some(whole) = whole {
                        let full = columns.is_multiple_of(self.width());
                        let there = if full { 1.into() } else { column.lt(columns - lanes + 1) };
                        k.when(there, |k| k.call(whole, args.clone()));
                    }
                    if let Some(partial) = partial {
                        k.when(column.equals(columns - rest), |k| k.call(partial, args));
                    }
                }
            });
        }
    }

    /// One column of an item's cells to local memory, where its rows are neighbours: `(acc, to, [bias])`.
    pub fn keep(&self, cx: &mut LowerCx, epilogue: &TileEpilogue) -> MicroKernelId {
        let step = self.columns();
        let name = format!("keep{}_{}of{step}", epilogue.name(), self.rows);
        cx.micro_kernel(code(name, (*epilogue, [self.rows, step]), |&(epilogue, [rows, step]), b| {
            let acc = b.pointer("acc", Elem::F32, Access::Read);
            let to = b.pointer("to", Elem::F32, Access::Write);
            let bias = epilogue.bias.then(|| b.pointer("bias", Elem::F32, Access::Read));
            let bias = bias.map(|bias| b.load(bias, 0usize, 1));
            for i in 0..rows {
                let value = b.load(acc, i * step, 1);
                let value = epilogue.apply(b, value, bias, None);
                b.store(to, i, value);
            }
        }))
    }
}

/// The item whose cells they are.
pub struct Item<'a> {
    /// Its number in the group.
    pub number: &'a Expr,
    /// Its sums.
    pub acc: Memory,
    /// The rows of its group.
    pub rows: &'a RowTile,
}

impl TileEpilogue {
    /// Returns a part of a name, which tells what decides the code.
    pub fn name(&self) -> String {
        let epilogue = self.epilogue.name();
        format!("{}{epilogue}{}", if self.bias { "_bias" } else { "" }, if self.mask { "_mask" } else { "" })
    }

    /// Returns what is left to do where a store rounds by itself.
    pub fn stored_as(&self, elem: Elem) -> TileEpilogue {
        TileEpilogue { epilogue: self.epilogue.stored_as(elem), ..*self }
    }

    /// Applies it to a sum.
    pub fn apply(&self, b: &mut MicroKernelBuilder, mut value: Val, bias: Option<Val>, mask: Option<Val>) -> Val {
        if let Some(bias) = bias {
            value = b.add(value, bias);
        }
        value = self.epilogue.apply(b, value);
        if let Some(mask) = mask {
            let lanes = b.ty(value).lanes;
            let zero = b.f32(0.0, lanes);
            let above = b.compare(Compare::Gt, mask, zero);
            value = b.select(above, value, zero);
        }
        value
    }
}

/// A tile of a factor on its way into local memory: `across` rows (or columns) times `depth` terms of the sum.
pub struct Fill {
    /// Rows or columns.
    pub across: usize,
    /// Terms of the sum.
    pub depth: usize,
    /// Whether neighbouring terms are neighbours in memory (else neighbouring rows or columns are).
    pub along_depth: bool,
    /// Number of neighbours that are there together or not at all.
    pub run: usize,
    /// Elements between terms in local memory.
    pub pitch: usize,
    /// Type of the factor's elements; local memory holds float32.
    pub elem: Elem,
}

/// Returns a part of a name for elements that are not float32.
pub fn short(elem: Elem) -> &'static str {
    if elem == Elem::Bf16 { "_h" } else { "" }
}

/// Where an element lies, and the condition under which it is there at all (else it counts as 0).
pub struct Place {
    /// The element's index.
    pub at: Expr,
    /// 1 where it is there, else 0.
    pub inside: Expr,
}

impl From<Expr> for Place {
    fn from(at: Expr) -> Place {
        Place { at, inside: 1.into() }
    }
}

impl Fill {
    /// The tile's elements from `from` to `to`, dealt out to the items; neighbouring items take neighbours in memory.
    /// `place(row or column, term)` says where an element is.
    pub fn write(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        (item, items): (&Expr, usize),
        from: Memory,
        to: Memory,
        place: impl FnOnce(&Expr, &Expr) -> Place,
    ) {
        let &Fill { across, depth, along_depth, run, pitch, elem } = self;
        let step = if along_depth { pitch } else { 1 };
        let (copy, zero) = (copy_run(cx, elem, run, step), zeros(cx, run, step));
        let runs = across * depth / run;
        let body = |k: &mut KernelBuilder, e: Expr| {
            let (r, d) = match along_depth {
                true => (e.div(depth / run), e.rem(depth / run) * run),
                false => (e.rem(across / run) * run, e.div(across / run)),
            };
            let Place { at, inside } = place(&r, &d);
            let target = to.at(&d * pitch + &r);
            match inside {
                Expr::Const(1) => k.call(copy, [from.at(at), target]),
                inside => {
                    let source = from.at(at);
                    k.either(inside, |k| k.call(copy, [source, target.clone()]), |k| k.call(zero, [target.clone()]));
                }
            }
        };
        k.serial("e", runs.div_ceil(items), |k, i| {
            let e = i * items + item;
            if runs.is_multiple_of(items) { body(k, e) } else { k.when(e.lt(runs), |k| body(k, e.clone())) }
        });
    }
}

/// `run` neighbours of this type to places `step` apart, as float32: `(from, to)`.
pub fn copy_run(cx: &mut LowerCx, elem: Elem, run: usize, step: usize) -> MicroKernelId {
    let name = format!("copy_{run}_by{step}{}", short(elem));
    cx.micro_kernel(code(name, (elem, [run, step]), |&(elem, [run, step]), b| {
        let from = b.pointer("from", elem, Access::Read);
        let to = b.pointer("to", Elem::F32, Access::Write);
        if step == 1 {
            let value = b.load(from, 0usize, run as u32);
            return b.store(to, 0usize, value);
        }
        for i in 0..run {
            let value = b.load(from, i, 1);
            b.store(to, i * step, value);
        }
    }))
}

/// `count` zeros at places `step` apart: `(to)`.
pub fn zeros(cx: &mut LowerCx, count: usize, step: usize) -> MicroKernelId {
    cx.micro_kernel(code(format!("zeros_{count}_by{step}"), [count, step], |&[count, step], b| {
        let to = b.pointer("to", Elem::F32, Access::Write);
        let zero = b.f32(0.0, 1);
        for i in 0..count {
            b.store(to, i * step, zero);
        }
    }))
}

/// An argument list with those that exist.
pub fn arguments(first: impl IntoIterator<Item = Arg>, more: impl IntoIterator<Item = Option<Arg>>) -> Vec<Arg> {
    first.into_iter().chain(more.into_iter().flatten()).collect()
}
