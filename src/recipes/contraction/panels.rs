//! Weights in the form that contractions read: panels `[group][panel][k][width]`, each row padded with zeros to whole
//! vectors, so that a tile's loads are consecutive, full, and one stream.

use super::{Tile, elem_letters};
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Binary, Elem, Index, Param, Unary, Val};
use crate::lower::{BufferId, LowerCx};

/// Weights `[taps][inner][groups · columns]` in memory (HWIO): each group is a matrix of `taps · inner` rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// kh·kw, or positions·kh·kw of an unshared convolution.
    pub taps: usize,
    /// Input channels of a group.
    pub inner: usize,
    pub groups: usize,
    /// Output channels of a group.
    pub columns: usize,
}

/// Panels of `weights` for products `x · w`: rows are (tap, input), columns are outputs.
/// Element (g, p, k, j) is at `((g·P + p)·K + k)·width + j`, `P = ceil(columns / width)`, `K = taps·inner`.
///
/// With `run`, whose weights are bf16: rows 2k and 2k + 1 of each run of that many rows as pairs, the last one with a zero if the
/// run is odd; K counts pairs.
pub fn panels(cx: &mut LowerCx, weights: BufferId, m: Matrix, tile: Tile, run: Option<usize>) -> BufferId {
    let (width, rows) = (tile.columns(), m.taps * m.inner);
    let count = m.columns.div_ceil(width);
    let form = format!("panels{width}g{}{}", m.groups, run.map_or(String::new(), |run| format!("pairs{run}")));
    let (source, kind) = (cx.elem(weights), if run.is_some() { Elem::I32 } else { Elem::F32 });
    let length = run.map_or(rows, |run| rows / run * run.div_ceil(2));
    cx.prepared(weights, &form, kind, m.groups * count * length * width, |cx| {
        let pitch = m.groups * m.columns;
        let letters = elem_letters("", &[source, kind]);
        let runs = run.map_or(String::new(), |run| format!("_{run}"));
        let mut kernel = KernelBuilder::new(format!("panels_{rows}x{pitch}_g{}_{width}{letters}{runs}", m.groups));
        let from = kernel.buffer("w", source, Access::Read);
        let to = kernel.buffer("panels", kind, Access::Write);
        let mut micro_kernel = |columns: usize| {
            let name = format!("panel_{rows}x{columns}_of{pitch}_to{width}{letters}{runs}_v{}", tile.lanes);
            cx.module().micro_kernel(&name, |b| {
                let (w, p) = (b.pointer("w", source, Access::Read), b.pointer("panel", kind, Access::Write));
                match run {
                    Some(run) => pair_rows(b, (w, pitch), (p, width), [rows / run, run], columns, tile),
                    None => {
                        b.repeat("k", rows, &[], |b, k, _| {
                            let (from, to) =
                                (Index::default().plus(k, pitch as i64), Index::default().plus(k, width as i64));
                            copy_row(b, (w, from), (p, to), columns, tile);
                            vec![]
                        });
                    }
                }
            })
        };
        let rest = m.columns % width;
        let full = (rest < m.columns).then(|| micro_kernel(width));
        let last = (rest > 0).then(|| micro_kernel(rest));
        kernel.parallel("t", m.groups * count, |k, t| {
            let (g, p) = (t.div(count), t.rem(count));
            let args = [from.at(&g * m.columns + &p * width), to.at(&t * (length * width))];
            if let Some(micro_kernel) = full {
                k.when(p.lt(m.columns / width), |k| k.call(micro_kernel, args.clone()));
            }
            if let Some(micro_kernel) = last {
                k.when(p.equals(m.columns / width), |k| k.call(micro_kernel, args.clone()));
            }
        });
        kernel.finish()
    })
}

/// Panels of the transposed `weights` for products `dy · wᵀ`: rows are (tap, output of the group), columns are the group's inputs.
/// Element (g, p, k, j) is at `((g·P + p)·K + k)·width + j`, `P = ceil(inner / width)`, `K = taps·columns`.
pub fn transposed_panels(cx: &mut LowerCx, weights: BufferId, m: Matrix, tile: Tile) -> BufferId {
    let (width, rows) = (tile.columns(), m.taps * m.columns);
    let count = m.inner.div_ceil(width);
    let form = format!("transposed{width}g{}", m.groups);
    cx.prepared(weights, &form, Elem::F32, m.groups * count * rows * width, |cx| {
        let pitch = m.groups * m.columns;
        let name = format!("transposed_{}x{}x{pitch}_g{}_{width}", m.taps, m.inner, m.groups);
        let mut kernel = KernelBuilder::new(name);
        let from = kernel.buffer("w", Elem::F32, Access::Read);
        let to = kernel.buffer("panels", Elem::F32, Access::Write);
        let mut micro_kernel = |inner: usize| {
            let name = format!("transpose_{inner}x{}_of{pitch}_to{width}", m.columns);
            cx.module().micro_kernel(&name, |b| transpose(b, inner, m.columns, pitch, width))
        };
        let rest = m.inner % width;
        let full = (rest < m.inner).then(|| micro_kernel(width));
        let last = (rest > 0).then(|| micro_kernel(rest));
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
    })
}

fn pointers(b: &mut MicroKernelBuilder) -> (Param, Param) {
    (b.pointer("w", Elem::F32, Access::Read), b.pointer("panel", Elem::F32, Access::Write))
}

/// One row: `columns` values, then zeros up to the panel's width.
fn copy_row(b: &mut MicroKernelBuilder, from: (Param, Index), to: (Param, Index), columns: usize, tile: Tile) {
    for v in 0..tile.vectors {
        let value = part(b, from.0, &from.1, v, columns, tile);
        b.store(to.0, to.1.clone().offset(i64::from(tile.lanes) * v as i64), value);
    }
}

/// Vector `v` of a row of `columns` values, zeros beyond.
fn part(b: &mut MicroKernelBuilder, from: Param, row: &Index, v: usize, columns: usize, tile: Tile) -> Val {
    let lanes = tile.lanes as usize;
    match columns.saturating_sub(v * lanes).min(lanes) as u32 {
        0 => b.f32(0.0, tile.lanes),
        left => b.load_partial(from, row.clone().offset((v * lanes) as i64), tile.lanes, left),
    }
}

/// The rows of `runs` runs of `run` rows in pairs: the first of two in the lower half of a word.
fn pair_rows(
    b: &mut MicroKernelBuilder,
    (w, pitch): (Param, usize),
    (panel, width): (Param, usize),
    [runs, run]: [usize; 2],
    columns: usize,
    tile: Tile,
) {
    let pairs = run.div_ceil(2);
    let write = |b: &mut MicroKernelBuilder, from: Index, to: Index, both: bool| {
        for v in 0..tile.vectors {
            let sixteen = b.i32(16, tile.lanes);
            let first = part(b, w, &from, v, columns, tile);
            let first = b.unary(Unary::AsInt, first);
            let mut pair = b.binary(Binary::ShrU, first, sixteen);
            if both {
                let second = part(b, w, &from.clone().offset(pitch as i64), v, columns, tile);
                let second = b.unary(Unary::AsInt, second);
                pair = b.binary(Binary::Or, pair, second);
            }
            b.store(panel, to.clone().offset(i64::from(tile.lanes) * v as i64), pair);
        }
    };
    b.repeat("i", runs, &[], |b, i, _| {
        let (from, to) =
            (Index::default().plus(i, (run * pitch) as i64), Index::default().plus(i, (pairs * width) as i64));
        b.repeat("k", run / 2, &[], |b, k, _| {
            write(b, from.clone().plus(k, 2 * pitch as i64), to.clone().plus(k, width as i64), true);
            vec![]
        });
        if !run.is_multiple_of(2) {
            write(b, from.offset(((run - 1) * pitch) as i64), to.offset(((pairs - 1) * width) as i64), false);
        }
        vec![]
    });
}

/// `panel[o][j] = w[j][o]` for `inner` values of j, zeros beyond.
fn transpose(b: &mut MicroKernelBuilder, inner: usize, columns: usize, pitch: usize, width: usize) {
    let (w, p) = pointers(b);
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
