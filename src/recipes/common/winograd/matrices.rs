//! The matrices of F(m, r): `y = Aᵀ [(G g) ⊙ (Bᵀ d)]` gives m results of a correlation with r taps from m + r - 1
//! inputs with as many products (Winograd, "Arithmetic complexity of computations", 1980; Lavin and Gray, CVPR 2016).
//!
//! They follow from evaluation points p₀, p₁, … and infinity (Toom and Cook), with `Nⱼ = Π_{l≠j} (pⱼ - pₗ)`:
//! `Aᵀ[i][j] = pⱼⁱ`, `G[j][k] = pⱼᵏ / Nⱼ`, row j of `Bᵀ` holds the coefficients of `Π_{l≠j} (x - pₗ)`; for infinity
//! the last power, the last tap, and `Π (x - pₗ)`.

use crate::lower::Method;
use std::fmt::{self, Display};

/// Rows of coefficients.
pub type Matrix = Vec<Vec<f64>>;

/// F(m, r), as a part of specifications: [`Transforms::new`] makes the matrices of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Results in a row of a tile.
    pub m: usize,
    /// Taps.
    pub r: usize,
}

impl Size {
    /// The matrices.
    pub fn transforms(self) -> Transforms {
        Transforms::new(self.m, self.r)
    }

    /// Points per side of a tile.
    pub fn points(self) -> usize {
        self.m + self.r - 1
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}x{}", self.m, self.r)
    }
}

/// The matrices of F(m, r), with t = m + r - 1 points.
#[derive(Clone, Debug, PartialEq)]
pub struct Transforms {
    /// Results in a row of a tile.
    pub m: usize,
    /// Taps.
    pub r: usize,
    /// Bᵀ, t x t.
    pub input: Matrix,
    /// G, t x r.
    pub kernel: Matrix,
    /// Aᵀ, m x t.
    pub output: Matrix,
}

/// Finite points: 0, then pairs ±p. The choice decides the rounding error: small fractions near 1 whose powers stay
/// near 1. Measured: for 6 points ±2/3, ±3/2 have half the error of ±1, ±2; for 8 ±1/2, ±1, ±2 are best.
fn points(count: usize) -> Vec<f64> {
    let pairs: &[f64] = match count {
        0..=3 => &[1.0],
        4..=5 => &[2.0 / 3.0, 1.5],
        6..=7 => &[0.5, 1.0, 2.0],
        _ => &[0.5, 1.0, 2.0, 2.0 / 3.0, 1.5, 1.0 / 3.0, 3.0],
    };
    let signed = pairs.iter().flat_map(|&p| [p, -p]);
    std::iter::once(0.0).chain(signed).take(count).collect()
}

/// Coefficients of `Π (x - p)`, lowest power first.
fn product(roots: impl Iterator<Item = f64>) -> Vec<f64> {
    roots.fold(vec![1.0], |poly, root| {
        let mut next = vec![0.0; poly.len() + 1];
        for (i, c) in poly.iter().enumerate() {
            next[i + 1] += c;
            next[i] -= root * c;
        }
        next
    })
}

impl Transforms {
    /// Returns m and r, of which these are the matrices.
    pub fn size(&self) -> Size {
        Size { m: self.m, r: self.r }
    }

    /// Returns the method, for reports.
    pub fn method(&self) -> Method {
        Method::Winograd { results: self.m, taps: self.r }
    }

    /// F(m, r); at most 16 points.
    pub fn new(m: usize, r: usize) -> Transforms {
        let t = m + r - 1;
        let points = points(t - 1);
        assert_eq!(points.len(), t - 1, "points for F({m}, {r})");
        let others = |j: usize| points.iter().enumerate().filter(move |(l, _)| *l != j).map(|(_, &p)| p);
        let last = |len: usize| (0..len).map(|k| f64::from(u8::from(k + 1 == len))).collect::<Vec<f64>>();
        let (mut input, mut kernel, mut output) = (Matrix::new(), Matrix::new(), Matrix::new());
        for (j, &p) in points.iter().enumerate() {
            let norm: f64 = others(j).map(|q| p - q).product();
            let mut row = product(others(j));
            row.push(0.0);
            input.push(row);
            kernel.push((0..r).map(|k| p.powi(k as i32) / norm).collect());
        }
        input.push(product(points.iter().copied()));
        kernel.push(last(r));
        for i in 0..m {
            let at_infinity = f64::from(u8::from(i + 1 == m));
            output.push(points.iter().map(|p| p.powi(i as i32)).chain([at_infinity]).collect());
        }
        Transforms { m, r, input, kernel, output }
    }

    /// Points: the side of a tile of inputs.
    pub fn points(&self) -> usize {
        self.m + self.r - 1
    }

    /// Products of a tile.
    pub fn frequencies(&self) -> usize {
        self.points() * self.points()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The identity that makes the algorithm: exact up to the rounding of f64, for each tap and input alone.
    #[test]
    fn computes_a_correlation() {
        for (m, r) in [(2, 2), (2, 3), (3, 2), (4, 3), (6, 3), (2, 5), (4, 5), (3, 4), (2, 7)] {
            let f = Transforms::new(m, r);
            for tap in 0..r {
                for at in 0..f.points() {
                    for i in 0..m {
                        let y: f64 = (0..f.points()).map(|j| f.output[i][j] * f.kernel[j][tap] * f.input[j][at]).sum();
                        let want = if i + tap == at { 1.0 } else { 0.0 };
                        assert!((y - want).abs() < 1e-9, "F({m},{r}): result {i}, tap {tap}, input {at}: {y}");
                    }
                }
            }
        }
    }

    type Numbers = Box<dyn FnMut() -> f64>;

    /// Nearly normal numbers.
    fn numbers() -> Numbers {
        let mut state = 7u64;
        Box::new(move || {
            let mut uniform = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 40) as f64 / (1u64 << 24) as f64
            };
            f64::from(((0..12).map(|_| uniform()).sum::<f64>() - 6.0) as f32)
        })
    }

    /// `a · x · aᵀ`, rounded to float32 after each operation, or not at all.
    fn both(a: &Matrix, x: &Matrix, round: fn(f64) -> f64) -> Matrix {
        let times = |a: &Matrix, x: &Matrix| -> Matrix {
            let sum = |row: &Vec<f64>, j: usize| {
                row.iter().zip(x).fold(0.0, |s, (c, line)| round(s + round(round(*c) * line[j])))
            };
            // Transposed, so that the second time gives the other side.
            (0..x[0].len()).map(|j| a.iter().map(|row| sum(row, j)).collect()).collect()
        };
        times(a, &times(a, x))
    }

    /// The tiles that the choice of algorithms may take, by the measure that decides: rectified normal input, He's
    /// weights, root mean square of the error, at most six times that of the direct sum.
    #[test]
    fn errors_stay_near_those_of_the_direct_form() {
        let single = |v: f64| f64::from(v as f32);
        for (m, r) in [(2, 2), (3, 2), (2, 3), (3, 3), (4, 3), (2, 4), (3, 4), (2, 5), (4, 5)] {
            let (f, mut draw, channels) = (Transforms::new(m, r), numbers(), 48);
            let t = f.points();
            let (mut winograd, mut direct) = (0.0, 0.0);
            for _ in 0..12 {
                let mut products = vec![vec![0.0; t]; t];
                let (mut exact, mut plain) = (vec![vec![0.0; m]; m], vec![vec![0.0; m]; m]);
                let spread = (2.0 / (channels * r * r) as f64).sqrt();
                for _ in 0..channels {
                    let mut square = |n: usize, value: &mut dyn FnMut(f64) -> f64| -> Matrix {
                        (0..n).map(|_| (0..n).map(|_| value(draw())).collect()).collect()
                    };
                    let x = square(t, &mut |v| v.max(0.0));
                    let w = square(r, &mut |v| single(v * spread));
                    let (u, v) = (both(&f.kernel, &w, |v| v), both(&f.input, &x, single));
                    for (i, j) in (0..t).flat_map(|i| (0..t).map(move |j| (i, j))) {
                        products[i][j] = single(products[i][j] + single(single(u[i][j]) * v[i][j]));
                    }
                    for (i, j, y, z) in (0..m * m * r * r).map(|n| (n / r / r / m, n / r / r % m, n / r % r, n % r)) {
                        let product = x[i + y][j + z] * w[y][z];
                        exact[i][j] += product;
                        plain[i][j] = single(plain[i][j] + single(product));
                    }
                }
                let got = both(&f.output, &products, single);
                for (i, j) in (0..m).flat_map(|i| (0..m).map(move |j| (i, j))) {
                    winograd += (got[i][j] - exact[i][j]).powi(2);
                    direct += (plain[i][j] - exact[i][j]).powi(2);
                }
            }
            let ratio = (winograd / direct).sqrt();
            assert!(ratio < 6.0, "F({m}, {r}): {ratio} times the direct error");
        }
    }
}
