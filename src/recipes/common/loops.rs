//! Loops over tiles: sizes that are constants have their remainder unrolled, the batch has one at run time.

use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Expr, Index, LoopKind};

/// Splits `0..len` into pieces: a loop over the full ones, then the remainder. `body(kernel, begin, size)`.
pub fn pieces(
    kernel: &mut KernelBuilder,
    name: &str,
    len: usize,
    piece: usize,
    mut body: impl FnMut(&mut KernelBuilder, Expr, usize),
) {
    let full = len / piece;
    if full == 1 {
        body(kernel, 0.into(), piece);
    } else if full > 1 {
        kernel.range(name, LoopKind::Serial, 0, full, |k, i| body(k, i * piece, piece));
    }
    if !len.is_multiple_of(piece) {
        body(kernel, (full * piece).into(), len % piece);
    }
}

/// `body(kernel, index)` for `0..count`, without a loop for one.
pub fn for_each(k: &mut KernelBuilder, name: &str, count: usize, body: impl FnOnce(&mut KernelBuilder, Expr)) {
    if count == 1 { body(k, 0.into()) } else { k.serial(name, count, body) }
}

/// The panels of `columns` that belong to `block.0` of `block.1` blocks: `body(kernel, panel, columns of it)`.
pub fn panel_loop(
    k: &mut KernelBuilder,
    columns: usize,
    width: usize,
    (block, blocks): (&Expr, usize),
    mut body: impl FnMut(&mut KernelBuilder, Expr, usize),
) {
    let (full, rest) = (columns / width, columns % width);
    let share = columns.div_ceil(width).div_ceil(blocks);
    let (begin, end) = (block * share, (block * share + share).min(full));
    if blocks == 1 {
        for_each_if(k, "p", full, |k, panel| body(k, panel, width));
    } else if full > 0 {
        k.range("p", LoopKind::Serial, begin.clone(), end, |k, panel| body(k, panel, width));
    }
    if rest > 0 && blocks == 1 {
        body(k, full.into(), rest);
    } else if rest > 0 {
        let mine = begin.lt(full + 1) * Expr::from(full).lt(begin + share);
        k.when(mine, |k| body(k, full.into(), rest));
    }
}

fn for_each_if(k: &mut KernelBuilder, name: &str, count: usize, body: impl FnOnce(&mut KernelBuilder, Expr)) {
    if count > 0 {
        for_each(k, name, count, body);
    }
}

/// The images `begin .. end` in tiles of `rows`, then one by one: `body(kernel, first image, images)`.
pub fn image_tiles(
    k: &mut KernelBuilder,
    begin: &Expr,
    end: &Expr,
    rows: usize,
    mut body: impl FnMut(&mut KernelBuilder, Expr, usize),
) {
    let tiles = (end.clone() + begin * -1).div(rows);
    k.serial("m", tiles.clone(), |k, i| body(k, begin + i * rows, rows));
    if rows > 1 {
        k.range("n", LoopKind::Serial, begin + tiles * rows, end.clone(), |k, n| body(k, n, 1));
    }
}

/// Tile `index` of `0..len` in pieces: `body` is written for a full one and for the remainder, and gets the size.
pub fn piece(
    k: &mut KernelBuilder,
    index: &Expr,
    len: usize,
    piece: usize,
    mut body: impl FnMut(&mut KernelBuilder, usize),
) {
    let (full, rest) = (len / piece, len % piece);
    match (full, rest) {
        (_, 0) => body(k, piece),
        (0, _) => body(k, rest),
        _ => {
            k.when(index.lt(full), |k| body(k, piece));
            k.when(index.equals(full), |k| body(k, rest));
        }
    }
}

/// `body(builder, first channel, channels)` for each vector of `count` channels; the last may be partly used.
pub fn for_vectors(
    b: &mut MicroKernelBuilder,
    count: usize,
    lanes: u32,
    body: impl Fn(&mut MicroKernelBuilder, Index, u32),
) {
    let whole = count / lanes as usize;
    if whole > 0 {
        b.repeat("v", whole, &[], |b, v, _| {
            body(b, Index::default().plus(v, lanes.into()), lanes);
            vec![]
        });
    }
    let rest = count % lanes as usize;
    if rest > 0 {
        body(b, Index::from(whole * lanes as usize), rest as u32);
    }
}
