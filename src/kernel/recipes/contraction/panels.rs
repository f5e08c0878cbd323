//! Weights in the form that contractions read: panels `[group][panel][k][width]`, each row padded with zeros to whole
//! vectors, so that a tile's loads are consecutive, full, and one stream.

use super::Tile;
use crate::kernel::build::{KernelBuilder, LeafBuilder};
use crate::kernel::ir::{Access, Elem, Index, Param, Var};
use crate::kernel::site::{Site, Slot};

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
pub fn panels(site: &mut Site, weights: Slot, m: Matrix, tile: Tile) -> Slot {
    let (width, rows) = (tile.columns(), m.taps * m.inner);
    let count = m.columns.div_ceil(width);
    let form = format!("panels{width}g{}", m.groups);
    site.prepared(weights, &form, Elem::F32, m.groups * count * rows * width, |site| {
        let pitch = m.groups * m.columns;
        let mut kernel = KernelBuilder::new(format!("panels_{rows}x{pitch}_g{}_{width}", m.groups));
        let from = kernel.buffer("w", Elem::F32, Access::Read);
        let to = kernel.buffer("panels", Elem::F32, Access::Write);
        let mut leaf = |columns: usize| {
            let name = format!("panel_{rows}x{columns}_of{pitch}_to{width}_v{}", tile.lanes);
            site.module().leaf(&name, |b| {
                let (w, p) = pointers(b);
                b.repeat("k", rows, &[], |b, k, _| {
                    copy_row(b, (w, k, pitch), (p, k, width), columns, tile);
                    vec![]
                });
            })
        };
        let rest = m.columns % width;
        let full = (rest < m.columns).then(|| leaf(width));
        let last = (rest > 0).then(|| leaf(rest));
        kernel.parallel("t", m.groups * count, |k, t| {
            let (g, p) = (t.div(count), t.rem(count));
            let args = [from.at(&g * m.columns + &p * width), to.at(&t * (rows * width))];
            if let Some(leaf) = full {
                k.when(p.lt(m.columns / width), |k| k.call(leaf, args.clone()));
            }
            if let Some(leaf) = last {
                k.when(p.equals(m.columns / width), |k| k.call(leaf, args.clone()));
            }
        });
        kernel.finish()
    })
}

/// Panels of the transposed `weights` for products `dy · wᵀ`: rows are (tap, output of the group), columns are the group's inputs.
/// Element (g, p, k, j) is at `((g·P + p)·K + k)·width + j`, `P = ceil(inner / width)`, `K = taps·columns`.
pub fn transposed_panels(site: &mut Site, weights: Slot, m: Matrix, tile: Tile) -> Slot {
    let (width, rows) = (tile.columns(), m.taps * m.columns);
    let count = m.inner.div_ceil(width);
    let form = format!("transposed{width}g{}", m.groups);
    site.prepared(weights, &form, Elem::F32, m.groups * count * rows * width, |site| {
        let pitch = m.groups * m.columns;
        let name = format!("transposed_{}x{}x{pitch}_g{}_{width}", m.taps, m.inner, m.groups);
        let mut kernel = KernelBuilder::new(name);
        let from = kernel.buffer("w", Elem::F32, Access::Read);
        let to = kernel.buffer("panels", Elem::F32, Access::Write);
        let mut leaf = |inner: usize| {
            let name = format!("transpose_{inner}x{}_of{pitch}_to{width}", m.columns);
            site.module().leaf(&name, |b| transpose(b, inner, m.columns, pitch, width))
        };
        let rest = m.inner % width;
        let full = (rest < m.inner).then(|| leaf(width));
        let last = (rest > 0).then(|| leaf(rest));
        kernel.parallel("t", m.groups * count * m.taps, |k, t| {
            let (tap, p, g) = (t.rem(m.taps), t.div(m.taps).rem(count), t.div(m.taps * count));
            let source = from.at((&tap * m.inner + &p * width) * pitch + &g * m.columns);
            let args = [source, to.at(&t * (m.columns * width))];
            if let Some(leaf) = full {
                k.when(p.lt(m.inner / width), |k| k.call(leaf, args.clone()));
            }
            if let Some(leaf) = last {
                k.when(p.equals(m.inner / width), |k| k.call(leaf, args.clone()));
            }
        });
        kernel.finish()
    })
}

fn pointers(b: &mut LeafBuilder) -> (Param, Param) {
    (b.pointer("w", Elem::F32, Access::Read), b.pointer("panel", Elem::F32, Access::Write))
}

/// One row: `columns` values, then zeros up to the panel's width.
fn copy_row(b: &mut LeafBuilder, from: (Param, Var, usize), to: (Param, Var, usize), columns: usize, tile: Tile) {
    let lanes = tile.lanes as usize;
    for v in 0..tile.vectors {
        let at = (v * lanes) as i64;
        let left = columns.saturating_sub(v * lanes).min(lanes) as u32;
        let source = Index::from(at).plus(from.1, from.2 as i64);
        let value = match left {
            0 => b.f32(0.0, tile.lanes),
            _ => b.load_partial(from.0, source, tile.lanes, left),
        };
        b.store(to.0, Index::from(at).plus(to.1, to.2 as i64), value);
    }
}

/// `panel[o][j] = w[j][o]` for `inner` values of j, zeros beyond.
fn transpose(b: &mut LeafBuilder, inner: usize, columns: usize, pitch: usize, width: usize) {
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
