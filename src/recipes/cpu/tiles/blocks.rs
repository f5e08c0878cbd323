//! Blocks of results on tiles, one after the other: while a block is multiplied, the sums of the one before it become
//! results, so that the tile unit never waits for them.
//!
//! A block is 32 rows and 32 columns (or half of either): four tiles of sums, two of A, two of B, which are all the
//! registers. Of its four tiles of sums two are stored at the end of their block and two at the start of the next
//! one, none right behind its last product. Sums lie in two buffers of float32 by turns; between two products one or
//! two of their rows get bias and activation and are rounded to their place.

use super::loaded::Loaded;
use super::parts::parts;
use super::unit::Unit;
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Compare, Elem, Index, Op, Param, Ty, Unary, Val, Var};
use crate::lower::MicroKernelSpec;
use crate::recipes::common::Epilogue;
use crate::recipes::common::int8::To;
use crate::recipes::common::names::elem_letters;
use ninc_runtime::init::fnv;
use std::fmt::{self, Display};

/// Rows of a tile, and its words across.
pub const TILE: usize = Ty::ROW as usize;
/// Columns of a block, and of a panel of B.
pub const COLUMNS: usize = 2 * TILE;
/// Words of B for a step.
pub const STEP_WORDS: usize = 2 * TILE * TILE;
/// Sums of a block.
const BUFFER: usize = COLUMNS * COLUMNS;
/// Numbers of scratch memory, of the type of sums, that the blocks want.
pub const SUMS: usize = 2 * BUFFER;
/// Longest run of steps without a store. After about 37 of them (half a microsecond) the next store takes 900 cycles,
/// on the first processors with AMX; a store in between, of anything, prevents it.
const WARM: usize = 16;

/// One micro-kernel: `(a, b, y, sums, [bias], [factor], [mask])`. Strides count elements, those of b words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Blocks {
    /// What is multiplied. Sums of bytes get a factor behind their bias.
    pub unit: Unit,
    /// Where each step's terms lie behind the first row of a tile of A.
    pub steps: Vec<i64>,
    /// From row to row of a tile of A.
    pub a_row: usize,
    /// From a part of the terms of A to the next, and of the results where these are such terms.
    pub apart: [i64; 2],
    /// From the block's first tile of A to the second; `None`: there is one.
    pub second: Option<i64>,
    /// Columns of the panel that are results, at most `COLUMNS`.
    pub columns: usize,
    /// Number of blocks.
    pub count: usize,
    /// From block to block.
    pub next: Next,
    /// Where each row's results go; `None` for rows that are not results.
    pub places: Vec<Option<i64>>,
    /// Zeros go behind the results of a row, up to `COLUMNS`.
    pub fill: bool,
    /// Sums start with a bias.
    pub bias: bool,
    /// What happens to sums before they are stored.
    pub end: End,
    /// Results are 0 where a number of this type, laid out as they are, is not above 0.
    pub mask: Option<Elem>,
    /// Of the results.
    pub elem: Elem,
}

/// What happens to sums before they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Sums of float32.
    Floats(Epilogue),
    /// Sums of products of bytes, times their factor.
    Whole(To),
}

impl End {
    /// A part of names.
    pub fn name(self) -> String {
        match self {
            End::Floats(epilogue) => epilogue.name(),
            End::Whole(to) => to.name(),
        }
    }
}

/// From block to block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Next {
    /// Elements of a.
    pub a: i64,
    /// Words of b.
    pub b: i64,
    /// Results.
    pub y: i64,
    /// Numbers of the bias.
    pub bias: i64,
}

impl Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // Steps and places are too many for a name.
        let hash = fnv(format!("{:?}", (&self.steps, &self.places, self.next, self.second, self.apart)).as_bytes());
        let (rows, columns) = (TILE * self.rows(), self.columns);
        let (unit, terms) = (self.unit.name(), self.unit.step() * self.steps.len());
        write!(f, "tiles{unit}_{}of{rows}x{columns}_k{terms}_a{}", self.count, self.a_row)?;
        let (bias, fill) = (if self.bias { "_bias" } else { "" }, if self.fill { "_fill" } else { "" });
        let mask = self.mask.map_or(String::new(), |elem| elem_letters("_mask", &[elem]));
        let elem = elem_letters("_", &[self.elem]);
        write!(f, "{bias}{fill}{}{mask}{elem}_{:08x}", self.end.name(), hash as u32)
    }
}

impl MicroKernelSpec for Blocks {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let p = Params {
            a: b.pointer("a", self.unit.elem(), Access::Read),
            b: b.pointer("b", Elem::I32, Access::Read),
            y: b.pointer("y", self.elem, Access::Write),
            sums: b.pointer("sums", self.unit.sums(), Access::ReadWrite),
            bias: self.bias.then(|| b.pointer("bias", self.unit.sums(), Access::Read)),
            factor: matches!(self.end, End::Whole(_)).then(|| b.pointer("factor", Elem::F32, Access::Read)),
            mask: self.mask.map(|elem| b.pointer("mask", elem, Access::Read)),
        };
        let mut late = self.block(b, &p, At::new(0, None), None);
        let rest = self.count - 1;
        if rest >= 2 {
            late = b.repeat("i", rest / 2, &late, |b, i, late| {
                let late = self.block(b, &p, At::new(1, Some(i)), Some((At::new(0, Some(i)), late)));
                self.block(b, &p, At::new(2, Some(i)), Some((At::new(1, Some(i)), &late)))
            });
        }
        if rest % 2 == 1 {
            late = self.block(b, &p, At::new(rest, None), Some((At::new(rest - 1, None), &late)));
        }
        let mut last = Finish::new(self, b, &p, At::new(rest, None));
        late.iter().enumerate().for_each(|(i, tile)| last.store(b, self.early() + i, *tile));
        while last.done < last.rows.len() {
            last.next(b);
        }
    }
}

struct Params {
    a: Param,
    b: Param,
    y: Param,
    sums: Param,
    bias: Option<Param>,
    factor: Option<Param>,
    mask: Option<Param>,
}

/// Number of a block: a constant, and two for each iteration of a loop.
#[derive(Clone, Copy)]
struct At {
    block: usize,
    pairs: Option<Var>,
}

impl At {
    fn new(block: usize, pairs: Option<Var>) -> At {
        At { block, pairs }
    }

    /// The number times `step`.
    fn times(self, step: i64) -> Index {
        let index = Index::from(self.block as i64 * step);
        self.pairs.map_or(index.clone(), |var| index.plus(var, 2 * step))
    }

    /// Where its sums lie.
    fn buffer(self) -> usize {
        BUFFER * (self.block % 2)
    }
}

impl Blocks {
    /// Tiles of A.
    fn rows(&self) -> usize {
        1 + usize::from(self.second.is_some())
    }

    /// Tiles of B.
    fn across(&self) -> usize {
        self.columns.div_ceil(TILE)
    }

    fn tiles(&self) -> usize {
        self.rows() * self.across()
    }

    /// Tiles of sums that are stored at the end of their own block.
    fn early(&self) -> usize {
        self.tiles() - self.tiles() / 2
    }

    /// Emits a block between whose products the one `before` it is finished; gives the tiles that are not stored yet.
    fn block(&self, b: &mut MicroKernelBuilder, p: &Params, at: At, before: Option<(At, &[Val])>) -> Vec<Val> {
        let (tiles, early) = (self.tiles(), self.early());
        let mut sums: Vec<Val> = Vec::new();
        let mut finish = before.map(|(at, late)| (Finish::new(self, b, p, at), late.to_vec()));
        let mut own = Finish::new_stores(self, p, at);
        let places = self.factors();
        let last = places.len() - 1;
        let (mut rows, mut columns) = (Loaded::default(), Loaded::default());
        for (step, &[row, column]) in places.iter().enumerate() {
            for n in 0..self.across() {
                let from = at.times(self.next.b).offset(column + (n * TILE * TILE) as i64);
                columns.tile(column, n, || b.load_tile(p.b, from, TILE, true));
            }
            for m in 0..self.rows() {
                let from = at.times(self.next.a).offset(row + m as i64 * self.second.unwrap_or(0));
                let row = rows.tile(row, m, || b.load_tile(p.a, from, self.a_row, false));
                for (n, column) in columns.tiles.iter().enumerate() {
                    let i = m * self.across() + n;
                    let sum = if step == 0 { b.zero_tile(self.unit.sums()) } else { sums[i] };
                    let sum = b.outer(self.unit.outer(), sum, row, *column);
                    if step == 0 {
                        sums.push(sum)
                    } else {
                        sums[i] = sum
                    }
                    if let Some((finish, late)) = &mut finish {
                        if step == 0 && i < late.len() {
                            finish.store(b, early + i, late[i]);
                        }
                        finish.rows_at(b, step * tiles + i, self.gaps());
                    }
                    if step == last && (1..=early).contains(&i) {
                        own.store(b, i - 1, sums[i - 1]);
                    }
                }
            }
            if step % WARM == WARM - 1 && step + 2 < last {
                own.store(b, 0, sums[0]);
            }
        }
        (tiles - 1..early).for_each(|i| own.store(b, i, sums[i]));
        sums.split_off(early)
    }

    /// Where the factors of each product lie: elements of A, words of B.
    fn factors(&self) -> Vec<[i64; 2]> {
        let of = |(step, from): (usize, &i64)| {
            let (from, parts) = (*from, self.unit.parts());
            let place = move |&[row, column]: &[usize; 2]| {
                [from + row as i64 * self.apart[0], ((step * parts + column) * STEP_WORDS) as i64]
            };
            self.unit.products().iter().map(place).collect::<Vec<_>>()
        };
        self.steps.iter().enumerate().flat_map(of).collect()
    }

    /// The products behind which rows of the block before are finished: not while its tiles are still being stored.
    fn gaps(&self) -> std::ops::Range<usize> {
        let all = self.tiles() * self.steps.len() * self.unit.products().len();
        let begin = self.tiles() / 2;
        begin.min(all - 1)..all
    }
}

/// What remains to be done with the sums of a block.
struct Finish<'a> {
    spec: &'a Blocks,
    params: &'a Params,
    at: At,
    bias: Vec<Val>,
    factor: Vec<Val>,
    /// Rows of the block with their places.
    rows: Vec<(usize, i64)>,
    done: usize,
}

impl<'a> Finish<'a> {
    fn new_stores(spec: &'a Blocks, params: &'a Params, at: At) -> Finish<'a> {
        Finish { spec, params, at, bias: vec![], factor: vec![], rows: vec![], done: 0 }
    }

    fn new(spec: &'a Blocks, b: &mut MicroKernelBuilder, params: &'a Params, at: At) -> Finish<'a> {
        let places = spec.places.iter().enumerate().take(TILE * spec.rows());
        let rows = places.filter_map(|(row, place)| place.map(|place| (row, place))).collect();
        let mut parts = |memory: Option<Param>| -> Vec<Val> {
            let mut part = |n: usize| {
                let index = at.times(spec.next.bias).offset((n * TILE) as i64);
                memory.map(|memory| b.load_partial(memory, index, Ty::ROW, spec.width(n)))
            };
            (0..spec.across()).filter_map(&mut part).collect()
        };
        let (bias, factor) = (parts(params.bias), parts(params.factor));
        Finish { spec, params, at, bias, factor, rows, done: 0 }
    }

    /// Stores tile `i` of the block.
    fn store(&mut self, b: &mut MicroKernelBuilder, i: usize, tile: Val) {
        let (m, n) = (i / self.spec.across(), i % self.spec.across());
        let place = self.at.buffer() + m * TILE * COLUMNS + n * TILE;
        b.store_tile(self.params.sums, place, tile, COLUMNS);
    }

    /// The rows that are due behind a product, of all that are done in these gaps.
    fn rows_at(&mut self, b: &mut MicroKernelBuilder, product: usize, gaps: std::ops::Range<usize>) {
        if !gaps.contains(&product) {
            return;
        }
        let due = (self.rows.len() * (product + 1 - gaps.start)).div_ceil(gaps.len());
        while self.done < due.min(self.rows.len()) {
            self.next(b);
        }
    }

    /// The next row, or two rows of bytes, whose stores lie together: instructions that pack take four vectors.
    fn next(&mut self, b: &mut MicroKernelBuilder) {
        let count = if self.spec.elem == Elem::U8 { 2.min(self.rows.len() - self.done) } else { 1 };
        let rows = self.done..self.done + count;
        self.done += count;
        let stores: Vec<_> = rows.flat_map(|row| self.row(b, self.rows[row])).collect();
        stores.into_iter().for_each(|(to, value, width)| b.store_partial(self.params.y, to, value, width));
    }

    /// The values of a row, where they go and how many lanes of each.
    fn row(&self, b: &mut MicroKernelBuilder, (row, place): (usize, i64)) -> Vec<(Index, Val, u32)> {
        let from = self.at.buffer() + row * COLUMNS;
        let to = self.at.times(self.spec.next.y).offset(place);
        let elem = self.spec.elem;
        let mut values = Vec::new();
        for n in 0..self.spec.across() {
            let mut value = b.load(self.params.sums, from + n * TILE, Ty::ROW);
            if let Some(bias) = self.bias.get(n) {
                value = b.add(value, *bias);
            }
            if let Some(mask) = self.params.mask {
                let y = b.load_partial(mask, to.clone().offset((n * TILE) as i64), Ty::ROW, self.spec.width(n));
                let zero = b.f32(0.0, Ty::ROW);
                let passes = b.compare(Compare::Gt, y, zero);
                value = b.select(passes, value, zero);
            }
            values.push(match self.spec.end {
                End::Floats(epilogue) if self.spec.unit.parts() > 1 => epilogue.apply(b, value),
                End::Floats(epilogue) => epilogue.stored_as(elem).apply(b, value),
                End::Whole(to) => {
                    let value = b.unary(Unary::ToFloat, value);
                    let value = b.mul(value, self.factor[n]);
                    to.apply(b, value)
                }
            });
        }
        if self.spec.fill {
            values = (0..2).map(|n| self.spec.filled(b, values.get(n).copied(), n)).collect();
        }
        let width = |n| if self.spec.fill { Ty::ROW } else { self.spec.width(n) };
        let unit = self.spec.unit;
        let parts: Vec<Vec<Val>> = match unit.parts() {
            count @ 2.. if elem == Elem::Bf16 => {
                let all: Vec<Vec<Val>> = values.into_iter().map(|value| parts(b, unit, value)).collect();
                (0..count).map(|part| all.iter().map(|parts| parts[part]).collect()).collect()
            }
            _ => vec![values],
        };
        let mut stores = Vec::new();
        for (part, values) in parts.into_iter().enumerate() {
            let place = |n| to.clone().offset(part as i64 * self.spec.apart[1] + (n * TILE) as i64);
            stores.extend(values.into_iter().enumerate().map(|(n, value)| (place(n), value, width(n))));
        }
        stores
    }
}

impl Blocks {
    /// Results of a row in vector `n`.
    fn width(&self, n: usize) -> u32 {
        self.columns.saturating_sub(n * TILE).min(TILE) as u32
    }

    /// The vector with zeros in the lanes that are not results.
    fn filled(&self, b: &mut MicroKernelBuilder, value: Option<Val>, n: usize) -> Val {
        match (value, self.width(n)) {
            (Some(value), Ty::ROW) => value,
            (Some(value), width) => {
                let (lane, end) = (b.op(Op::Iota { lanes: Ty::ROW }), b.i32(width as i32, Ty::ROW));
                let (inside, zero) = (b.compare(Compare::Lt, lane, end), b.f32(0.0, Ty::ROW));
                b.select(inside, value, zero)
            }
            (None, _) => b.f32(0.0, Ty::ROW),
        }
    }
}
