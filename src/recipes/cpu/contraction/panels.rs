//! Weights in the form that contractions read: panels `[group][panel][k][width]`, each row padded with zeros to whole
//! vectors, so that a tile's loads are consecutive, full, and one stream.

use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Binary, Elem, Index, Kernel, Param, Unary, Val};
use crate::lower::tile::Tile;
use crate::lower::{BufferId, LowerCx, MicroKernelSpec, Packing, ProgramBuilder, code};
use crate::recipes::common::names::elem_letters;
use std::fmt::{self, Display};

/// Weights `[taps][inner][groups · columns]` in memory (HWIO): each group is a matrix of `taps · inner` rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matrix {
    /// kh·kw, or positions·kh·kw of an unshared convolution.
    pub taps: usize,
    /// Input channels of a group.
    pub inner: usize,
    /// Groups of the convolution.
    pub groups: usize,
    /// Output channels of a group.
    pub columns: usize,
}

impl Matrix {
    /// Rows of a group's matrix.
    fn rows(&self) -> usize {
        self.taps * self.inner
    }
}

/// Columns of a panel: whole vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Width {
    vectors: usize,
    lanes: u32,
}

impl Width {
    fn of(tile: Tile) -> Width {
        Width { vectors: tile.vectors, lanes: tile.lanes }
    }

    fn columns(self) -> usize {
        self.vectors * self.lanes as usize
    }
}

/// Panels of `weights` for products `x · w`: rows are (tap, input), columns are outputs.
/// Element (g, p, k, j) is at `((g·P + p)·K + k)·width + j`, `P = ceil(columns / width)`, `K = taps·inner`.
///
/// With `run`, whose weights are bf16: rows 2k and 2k + 1 of each run of that many rows as pairs, the last one with a
/// zero if the run is odd; K counts pairs.
pub fn panels(cx: &mut LowerCx, weights: BufferId, matrix: Matrix, tile: Tile, run: Option<usize>) -> BufferId {
    let source = cx.elem(weights);
    cx.packed(weights, Panels { matrix, width: Width::of(tile), run, source })
}

#[derive(PartialEq, Eq, Hash)]
struct Panels {
    matrix: Matrix,
    width: Width,
    run: Option<usize>,
    source: Elem,
}

impl Display for Panels {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "panels{}g{}", self.width.columns(), self.matrix.groups)?;
        self.run.map_or(Ok(()), |run| write!(f, "pairs{run}"))
    }
}

impl Panels {
    fn elem(&self) -> Elem {
        if self.run.is_some() { Elem::I32 } else { Elem::F32 }
    }

    /// Rows of the packed matrix of a group.
    fn length(&self) -> usize {
        let rows = self.matrix.rows();
        self.run.map_or(rows, |run| rows / run * run.div_ceil(2))
    }

    /// What the names of kernel and micro-kernel end with.
    fn suffix(&self) -> String {
        elem_letters("", &[self.source, self.elem()]) + &self.run.map_or(String::new(), |run| format!("_{run}"))
    }
}

impl Packing for Panels {
    fn layout(&self) -> (Elem, usize) {
        let m = &self.matrix;
        let panels = m.groups * m.columns.div_ceil(self.width.columns());
        (self.elem(), panels * self.length() * self.width.columns())
    }

    fn kernel(&self, builder: &mut ProgramBuilder) -> Kernel {
        let (m, width) = (&self.matrix, self.width.columns());
        let (pitch, suffix) = (m.groups * m.columns, self.suffix());
        let mut kernel = KernelBuilder::new(format!("panels_{}x{pitch}_g{}_{width}{suffix}", m.rows(), m.groups));
        let from = kernel.buffer("w", self.source, Access::Read);
        let to = kernel.buffer("panels", self.elem(), Access::Write);
        let mut panel = |columns: usize| {
            builder.micro_kernel(Panel {
                rows: m.rows(),
                pitch,
                columns,
                width: self.width,
                run: self.run,
                elems: [self.source, self.elem()],
            })
        };
        let rest = m.columns % width;
        let full = (rest < m.columns).then(|| panel(width));
        let last = (rest > 0).then(|| panel(rest));
        let count = m.columns.div_ceil(width);
        kernel.parallel("t", m.groups * count, |k, t| {
            let (g, p) = (t.div(count), t.rem(count));
            let args = [from.at(&g * m.columns + &p * width), to.at(&t * (self.length() * width))];
            if let Some(micro_kernel) = full {
                k.when(p.lt(m.columns / width), |k| k.call(micro_kernel, args.clone()));
            }
            if let Some(micro_kernel) = last {
                k.when(p.equals(m.columns / width), |k| k.call(micro_kernel, args.clone()));
            }
        });
        kernel.finish()
    }
}

/// One panel: `columns` columns of rows that are `pitch` elements apart: `(w, panel)`.
#[derive(PartialEq, Eq, Hash)]
struct Panel {
    rows: usize,
    pitch: usize,
    columns: usize,
    width: Width,
    run: Option<usize>,
    /// Types of the weights' and of the panel's elements.
    elems: [Elem; 2],
}

impl Display for Panel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Panel { rows, pitch, columns, width, run, elems } = self;
        write!(f, "panel_{rows}x{columns}_of{pitch}_to{}{}", width.columns(), elem_letters("", elems))?;
        run.map_or(Ok(()), |run| write!(f, "_{run}"))?;
        write!(f, "_v{}", width.lanes)
    }
}

impl MicroKernelSpec for Panel {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let (w, p) = (b.pointer("w", self.elems[0], Access::Read), b.pointer("panel", self.elems[1], Access::Write));
        match self.run {
            Some(run) => self.pair_rows(b, w, p, run),
            None => {
                b.repeat("k", self.rows, &[], |b, k, _| {
                    let from = Index::default().plus(k, self.pitch as i64);
                    let to = Index::default().plus(k, self.width.columns() as i64);
                    self.copy_row(b, (w, from), (p, to));
                    vec![]
                });
            }
        }
    }
}

impl Panel {
    /// One row: `columns` values, then zeros up to the panel's width.
    fn copy_row(&self, b: &mut MicroKernelBuilder, from: (Param, Index), to: (Param, Index)) {
        for v in 0..self.width.vectors {
            let value = self.part(b, from.0, &from.1, v);
            b.store(to.0, to.1.clone().offset(i64::from(self.width.lanes) * v as i64), value);
        }
    }

    /// Vector `v` of a row of `columns` values, zeros beyond.
    fn part(&self, b: &mut MicroKernelBuilder, from: Param, row: &Index, v: usize) -> Val {
        let lanes = self.width.lanes as usize;
        match self.columns.saturating_sub(v * lanes).min(lanes) as u32 {
            0 => b.f32(0.0, self.width.lanes),
            left => b.load_partial(from, row.clone().offset((v * lanes) as i64), self.width.lanes, left),
        }
    }

    /// The rows, in runs of `run` rows, in pairs: the first of two in the lower half of a word.
    fn pair_rows(&self, b: &mut MicroKernelBuilder, w: Param, panel: Param, run: usize) {
        let (pairs, pitch, width) = (run.div_ceil(2), self.pitch, self.width.columns());
        b.repeat("i", self.rows / run, &[], |b, i, _| {
            let (from, to) =
                (Index::default().plus(i, (run * pitch) as i64), Index::default().plus(i, (pairs * width) as i64));
            b.repeat("k", run / 2, &[], |b, k, _| {
                let (from, to) = (from.clone().plus(k, 2 * pitch as i64), to.clone().plus(k, width as i64));
                self.pair(b, (w, from), (panel, to), true);
                vec![]
            });
            if !run.is_multiple_of(2) {
                let (from, to) = (from.offset(((run - 1) * pitch) as i64), to.offset(((pairs - 1) * width) as i64));
                self.pair(b, (w, from), (panel, to), false);
            }
            vec![]
        });
    }

    /// A row of pairs: `both` of them, or the first with zeros.
    fn pair(&self, b: &mut MicroKernelBuilder, (w, from): (Param, Index), (panel, to): (Param, Index), both: bool) {
        let lanes = self.width.lanes;
        for v in 0..self.width.vectors {
            let sixteen = b.i32(16, lanes);
            let first = self.part(b, w, &from, v);
            let first = b.unary(Unary::AsInt, first);
            let mut pair = b.binary(Binary::ShrU, first, sixteen);
            if both {
                let second = self.part(b, w, &from.clone().offset(self.pitch as i64), v);
                let second = b.unary(Unary::AsInt, second);
                pair = b.binary(Binary::Or, pair, second);
            }
            b.store(panel, to.clone().offset(i64::from(lanes) * v as i64), pair);
        }
    }
}

/// Panels of the transposed `weights` for products `dy · wᵀ`: rows are (tap, output of the group), columns are the
/// group's inputs. Element (g, p, k, j) is at `((g·P + p)·K + k)·width + j`, `P = ceil(inner / width)`, `K =
/// taps·columns`.
pub fn transposed_panels(cx: &mut LowerCx, weights: BufferId, matrix: Matrix, tile: Tile) -> BufferId {
    cx.packed(weights, Transposed { matrix, width: tile.columns() })
}

#[derive(PartialEq, Eq, Hash)]
struct Transposed {
    matrix: Matrix,
    width: usize,
}

impl Display for Transposed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "transposed{}g{}", self.width, self.matrix.groups)
    }
}

impl Packing for Transposed {
    fn layout(&self) -> (Elem, usize) {
        let m = &self.matrix;
        (Elem::F32, m.groups * m.inner.div_ceil(self.width) * m.taps * m.columns * self.width)
    }

    fn kernel(&self, builder: &mut ProgramBuilder) -> Kernel {
        let &Transposed { matrix: m, width } = self;
        let (count, pitch) = (m.inner.div_ceil(width), m.groups * m.columns);
        let name = format!("transposed_{}x{}x{pitch}_g{}_{width}", m.taps, m.inner, m.groups);
        let mut kernel = KernelBuilder::new(name);
        let from = kernel.buffer("w", Elem::F32, Access::Read);
        let to = kernel.buffer("panels", Elem::F32, Access::Write);
        let mut transpose = |inner: usize| {
            let name = format!("transpose_{inner}x{}_of{pitch}_to{width}", m.columns);
            builder.micro_kernel(code(name, [inner, m.columns, pitch, width], |&sizes, b| transpose(b, sizes)))
        };
        let rest = m.inner % width;
        let full = (rest < m.inner).then(|| transpose(width));
        let last = (rest > 0).then(|| transpose(rest));
        kernel.parallel("t", m.groups * count * m.taps, |k, t| {
            let (tap, p, g) = (t.rem(m.taps), t.div(m.taps).rem(count), t.div(m.taps * count));
            let source = from.at((&tap * m.inner + &p * width) * pitch + &g * m.columns);
            let args = [source, to.at(&t * (m.columns * width))];
            if let Some(micro_kernel) = full {
                k.when(p.lt(m.inner / width), |k| k.call(micro_kernel, args.clone()));
            }
            if let Some(micro_kernel) = last {
                k.when(p.equals(m.inner / width), |k| k.call(micro_kernel, args.clone()));
            }
        });
        kernel.finish()
    }
}

/// `panel[o][j] = w[j][o]` for `inner` values of j, zeros beyond.
fn transpose(b: &mut MicroKernelBuilder, [inner, columns, pitch, width]: [usize; 4]) {
    let (w, p) = (b.pointer("w", Elem::F32, Access::Read), b.pointer("panel", Elem::F32, Access::Write));
    b.repeat("o", columns, &[], |b, o, _| {
        b.repeat("j", inner, &[], |b, j, _| {
            let value = b.load(w, Index::default().plus(j, pitch as i64).plus(o, 1), 1);
            b.store(p, Index::default().plus(o, width as i64).plus(j, 1), value);
            vec![]
        });
        if inner < width {
            let zero = b.f32(0.0, 1);
            b.repeat("z", width - inner, &[], |b, z, _| {
                b.store(p, Index::from(inner).plus(o, width as i64).plus(z, 1), zero);
                vec![]
            });
        }
        vec![]
    });
}
