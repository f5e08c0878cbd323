//! Choice of the register tile.

use super::target::{Cpu, Isa, Target};

/// A register tile: rows x vectors of accumulators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows of results.
    pub rows: usize,
    /// Vectors of columns.
    pub vectors: usize,
    /// Columns of a vector.
    pub lanes: u32,
}

impl Tile {
    /// Columns of a full tile: the width of a panel of B.
    pub fn columns(&self) -> usize {
        self.vectors * self.lanes as usize
    }
}

/// Registers that accumulators, the row of B and one broadcast may take together. Cranelift's only form of the fused
/// multiply-add on x86 overwrites a factor, so that each needs a register to move through.
fn budget(target: &Target) -> usize {
    let free = match target.cpu().isa {
        Isa::Portable if target.by_lane() => 2,
        Isa::Portable => 3,
        _ => 1,
    };
    (target.registers as usize).saturating_sub(free).max(4)
}

/// Time of one term of the sum in one tile, in multiply-adds of a vector. Loads go beside the arithmetic; fewer than
/// ten independent accumulators wait for each other (two units of four cycles; measured: nine reach 90 %, ten 95 %).
/// A load brings `together` terms of a row.
fn step(together: f64, rows: usize, vectors: usize) -> f64 {
    let (work, loads) = ((rows * vectors) as f64, rows as f64 / together + vectors as f64);
    work.max(loads).max(10.0) + 0.1 * loads
}

/// Time of one term of the sums of `m` rows and `width` vectors, in multiply-adds of a vector.
fn vectors_time(together: f64, tile: Tile, m: usize, width: usize) -> f64 {
    let row_tiles = |v: usize| {
        let rest = m % tile.rows;
        let last = if rest > 0 { step(together, rest, v) } else { 0.0 };
        (m / tile.rows) as f64 * step(together, tile.rows, v) + last
    };
    let rest = width % tile.vectors;
    (width / tile.vectors) as f64 * row_tiles(tile.vectors) + if rest > 0 { row_tiles(rest) } else { 0.0 }
}

/// Time of one term of the sums of `m` rows and `n` columns, in multiply-adds of a vector.
pub fn tile_time(tile: Tile, m: usize, n: usize) -> f64 {
    vectors_time(1.0, tile, m, n.div_ceil(tile.lanes as usize))
}

/// The tile that wastes least for `m` x `n` results: no spill, few loads, short remainders.
pub fn tile(target: &Target, m: usize, n: usize) -> Tile {
    tile_by(target, m, n, |_| 1.0)
}

/// Like [`tile`], where a tile has other costs too: `factor` of its time.
pub fn tile_by(target: &Target, m: usize, n: usize, factor: impl Fn(Tile) -> f64) -> Tile {
    let broadcasts = |rows| if target.by_lane() { rows } else { 1 };
    tile_within(target, m, n, budget(target), |rows, vectors| rows * vectors + vectors + broadcasts(rows), factor)
}

/// Registers that products of whole numbers take beside their sums.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// Is there one for each vector of a panel's row?
    pub panel: bool,
    /// How many others.
    pub others: usize,
}

/// The tile for products of whole numbers, which lie in a register of their own before they are added where no
/// instruction does both.
pub fn tile_of_whole(target: &Target, m: usize, n: usize, beside: Beside) -> Tile {
    match target.cpu() {
        Cpu { vnni: false, isa: Isa::Avx2 | Isa::Avx512, .. } => {
            let Beside { panel, others } = beside;
            let demand = |rows, vectors| rows * vectors + others + if panel { vectors } else { 0 };
            tile_within(target, m, n, target.registers as usize, demand, |_| 1.0)
        }
        _ => tile(target, m, n),
    }
}

/// The tile that wastes least of those whose `demand` of registers, by rows and vectors, is at most `registers`.
fn tile_within(
    target: &Target,
    m: usize,
    n: usize,
    registers: usize,
    demand: impl Fn(usize, usize) -> usize,
    factor: impl Fn(Tile) -> f64,
) -> Tile {
    let lanes = target.lanes;
    let together = if target.by_lane() { lanes as f64 } else { 1.0 };
    let (m, width) = (m.max(1), n.div_ceil(lanes as usize).max(1));
    let mut best = (f64::INFINITY, Tile { rows: 1, vectors: 1, lanes });
    let most = width.min(8);
    // A measured width, as far as there are columns and registers for it.
    let measured = target.cpu().vectors.filter(|_| target.has_widths());
    let given = measured.map(|v| usize::from(v).min(most)).filter(|&v| demand(1, v) <= registers);
    for vectors in given.unwrap_or(1)..=given.unwrap_or(most) {
        for rows in 1..=m.min(16) {
            if demand(rows, vectors) > registers {
                break;
            }
            let tile = Tile { rows, vectors, lanes };
            let time = vectors_time(together, tile, m, width) * factor(tile);
            if time < best.0 {
                best = (time, tile);
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(isa: Isa, lanes: u32, registers: u32) -> Target {
        Target { lanes, registers, ..Target::portable(true).with_vectors(isa) }
    }

    #[test]
    fn tiles_fit_the_registers() {
        for target in [Target::portable(true), Target::neon(), wide(Isa::Avx2, 8, 16), wide(Isa::Avx512, 16, 32)] {
            for m in [1, 2, 3, 5, 8, 13, 32, 100] {
                for n in [1, 3, 10, 16, 48, 96, 160, 192, 1000] {
                    let t = tile(&target, m, n);
                    assert!(t.rows * t.vectors + t.vectors < target.registers as usize, "{m}x{n}: {t:?}");
                    assert!(t.rows <= m && t.rows >= 1 && t.vectors >= 1);
                }
            }
        }
    }

    /// The tiles that measured best.
    #[test]
    fn well_known_shapes() {
        let t = tile(&Target::portable(true), 1000, 192);
        assert_eq!((t.rows, t.vectors), (5, 2));
        let t = tile(&wide(Isa::Avx2, 8, 16), 96, 192);
        assert_eq!((t.rows, t.vectors), (6, 2));
        let t = tile(&wide(Isa::Avx512, 16, 32), 32, 192);
        assert!(t.rows * t.vectors >= 24, "{t:?}");
    }
}
