//! A product with a constant matrix on both sides, `M X Mᵀ`, as micro-kernel code: first along columns, then along
//! rows.

use super::matrices::Matrix;
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Index, Param, Val};

/// Two rows (or columns) that are equal in some places and opposite in the others, and in which ones they are equal.
fn opposites(a: &[f64], b: &[f64]) -> Option<Vec<bool>> {
    let alike = a.iter().zip(b).all(|(x, y)| x.abs() == y.abs());
    let same: Vec<bool> = a.iter().zip(b).map(|(x, y)| x == y).collect();
    let both = same.contains(&false) && a.iter().zip(&same).any(|(x, s)| *s && *x != 0.0);
    (alike && both).then_some(same)
}

/// Pairs of rows as `opposites` says; each row in one pair at most.
fn pairs(matrix: &Matrix) -> Vec<(usize, usize, Vec<bool>)> {
    let mut found: Vec<(usize, usize, Vec<bool>)> = Vec::new();
    for i in 0..matrix.len() {
        for j in i + 1..matrix.len() {
            let taken = found.iter().any(|(a, b, _)| [*a, *b].contains(&i) || [*a, *b].contains(&j));
            match opposites(&matrix[i], &matrix[j]) {
                Some(same) if !taken => found.push((i, j, same)),
                _ => {}
            }
        }
    }
    found
}

/// `Σ coefficient · value`. Constants are made where they are used, so that none waits in a register.
fn sum(b: &mut MicroKernelBuilder, terms: &[(f64, Val)], lanes: u32) -> Val {
    let mut terms: Vec<(f64, Val)> = terms.iter().copied().filter(|t| t.0 != 0.0).collect();
    // A term without factor first: it costs nothing.
    let first = terms.iter().position(|t| t.0 == 1.0).unwrap_or(0);
    if terms.is_empty() {
        return b.f32(0.0, lanes);
    }
    let (c, value) = terms.remove(first);
    let mut acc = value;
    if c != 1.0 {
        let factor = b.f32(c as f32, lanes);
        acc = b.mul(value, factor);
    }
    for (c, value) in terms {
        acc = if c == 1.0 {
            b.add(acc, value)
        } else if c == -1.0 {
            b.sub(acc, value)
        } else {
            let factor = b.f32(c as f32, lanes);
            b.fma(value, factor, acc)
        };
    }
    acc
}

/// `matrix · x`. Points come in pairs ±p, whose rows (or columns, of a transposed matrix) share their even and odd
/// parts.
pub fn apply(b: &mut MicroKernelBuilder, matrix: &Matrix, x: &[Val], lanes: u32) -> Vec<Val> {
    let rows = pairs(matrix);
    if rows.is_empty() {
        return apply_columns(b, matrix, x, lanes);
    }
    let terms = |row: &[f64]| row.iter().copied().zip(x.iter().copied()).collect::<Vec<_>>();
    let mut out: Vec<Option<Val>> = vec![None; matrix.len()];
    for (i, j, same) in rows {
        let part = |equal: bool| -> Vec<(f64, Val)> {
            terms(&matrix[i]).into_iter().zip(&same).filter(|(_, s)| **s == equal).map(|(t, _)| t).collect()
        };
        let (even, odd) = (sum(b, &part(true), lanes), sum(b, &part(false), lanes));
        out[i] = Some(b.add(even, odd));
        out[j] = Some(b.sub(even, odd));
    }
    (0..matrix.len()).map(|i| out[i].unwrap_or_else(|| sum(b, &terms(&matrix[i]), lanes))).collect()
}

fn apply_columns(b: &mut MicroKernelBuilder, matrix: &Matrix, x: &[Val], lanes: u32) -> Vec<Val> {
    let column = |c: usize| matrix.iter().map(|row| row[c]).collect::<Vec<f64>>();
    let columns: Matrix = (0..x.len()).map(column).collect();
    let found = pairs(&columns);
    let mut rows: Vec<Vec<(f64, Val)>> = vec![Vec::new(); matrix.len()];
    for (c, &value) in x.iter().enumerate() {
        match found.iter().find(|(i, j, _)| *i == c || *j == c) {
            Some((i, j, same)) if *i == c => {
                let (added, subtracted) = (b.add(x[*i], x[*j]), b.sub(x[*i], x[*j]));
                for (r, row) in rows.iter_mut().enumerate() {
                    row.push((matrix[r][c], if same[r] { added } else { subtracted }));
                }
            }
            Some(_) => {}
            None => rows.iter_mut().enumerate().for_each(|(r, row)| row.push((matrix[r][c], value))),
        }
    }
    rows.iter().map(|terms| sum(b, terms, lanes)).collect()
}

/// Where the elements of a patch are: `base + row·i + column·j`.
#[derive(Clone, Debug)]
pub struct Patch {
    /// The memory.
    pub memory: Param,
    /// The first element.
    pub base: Index,
    /// Elements from row to row.
    pub row: i64,
    /// Elements from column to column.
    pub column: i64,
    /// Number of lanes that exist.
    pub count: u32,
}

/// `matrix · patch · matrixᵀ` for one vector of channels; the first half goes through `between` (`rows x columns of the
/// matrix` vectors). `store(builder, row of the result, column, value)` for the first `rows` rows.
pub fn both_sides(
    b: &mut MicroKernelBuilder,
    matrix: &Matrix,
    patch: &Patch,
    between: Param,
    rows: impl Into<Index>,
    lanes: u32,
    store: impl Fn(&mut MicroKernelBuilder, Index, usize, Val),
) {
    let (side, step) = (matrix[0].len(), i64::from(lanes));
    b.repeat("j", side, &[], |b, j, _| {
        let at = |i: usize| patch.base.clone().offset(i as i64 * patch.row).plus(j, patch.column);
        let x: Vec<Val> = (0..side).map(|i| b.load_partial(patch.memory, at(i), lanes, patch.count)).collect();
        for (i, value) in apply(b, matrix, &x, lanes).into_iter().enumerate() {
            b.store(between, Index::from((i * side) as i64 * step).plus(j, step), value);
        }
        vec![]
    });
    b.repeat("i", rows, &[], |b, i, _| {
        let at = |j: usize| Index::from(j as i64 * step).plus(i, side as i64 * step);
        let x: Vec<Val> = (0..side).map(|j| b.load(between, at(j), lanes)).collect();
        for (j, value) in apply(b, matrix, &x, lanes).into_iter().enumerate() {
            store(b, i.into(), j, value);
        }
        vec![]
    });
}
