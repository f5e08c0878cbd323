//! The matrices of F(m, r) in whole numbers, by which sums of products of bytes come out exactly.
//!
//! They are those of Toom and Cook (see `recipes/common/winograd`), each row freed of its fractions: with points
//! `(pⱼ : qⱼ)` and `(1 : 0)` for infinity, row j of `Bᵀ` holds the coefficients of `Π_{l≠j} (qₗ x - pₗ)` without their
//! common divisor gⱼ, `G[j][k] = pⱼᵏ qⱼʳ⁻¹⁻ᵏ`, and `y[i] = Σⱼ pⱼⁱ qⱼᵐ⁻¹⁻ⁱ · gⱼ / Nⱼ · (G g)ⱼ (Bᵀ d)ⱼ` with
//! `Nⱼ = Π_{l≠j} (qₗ pⱼ - pₗ qⱼ)`. Row i of `Aᵀ` is that times the least `Lᵢ` that leaves no fraction.
//!
//! So sums give `Lᵢ · y[i]`, and `y[i]` follows from it in arithmetic that wraps: `Lᵢ = 2ˢ · odd`, an odd number has an
//! inverse modulo 2³², and a shift divides by 2ˢ as long as `y[i]` lies within 32 - s bits. Nothing is rounded, and
//! what overflows on the way does no harm.

use crate::recipes::common::winograd::Matrix;

/// Numbers that products of 16-bit numbers can have as factors.
const LIMIT: i64 = i16::MAX as i64;
/// Most of an image's byte, and of a weight.
const BYTE: [i64; 2] = [255, 128];
/// The points in the order of preference, as `(p, q)`: small ones keep numbers small.
const POINTS: [(i64, i64); 7] = [(0, 1), (1, 1), (-1, 1), (2, 1), (-2, 1), (1, 2), (-1, 2)];
/// Most points of a row, with infinity.
pub const MOST: usize = POINTS.len() + 1;

/// A row of the way back: what sums are multiplied with, and how a result follows from that.
#[derive(Clone, Debug, PartialEq)]
pub struct Back {
    /// Coefficients of the sums.
    pub coefficients: Vec<i64>,
    /// The inverse, modulo 2³², of the odd part of what they give too much.
    pub inverse: i32,
    /// The rest of it: a power of two.
    pub shift: u32,
}

/// The matrices of F(m, r), with t = m + r - 1 points.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// Bᵀ, t x t, whole numbers.
    pub input: Matrix,
    /// G, t x r, whole numbers.
    pub kernel: Matrix,
    /// The way back, m rows.
    pub output: Vec<Back>,
}

/// Rows of a window in groups, each by F(2, taps) down the columns: what more results would save, they would lose by
/// their shifts.
#[derive(Clone, Debug, PartialEq)]
pub struct Down {
    /// The first tap of each group, and its matrices.
    pub groups: Vec<(usize, Whole)>,
    /// The way back: [`Down::RESULTS`] rows, with the points of all groups one after the other.
    pub output: Vec<Back>,
}

impl Down {
    /// Rows of results of a tile.
    pub const RESULTS: usize = 2;

    /// Returns the groups of a window of `taps` rows: of two and three taps.
    pub fn new(taps: usize) -> Down {
        let groups: Vec<_> = groups(taps).map(|(first, own)| (first, Whole::new(Down::RESULTS, own))).collect();
        // A group whose results come out smaller than another's is multiplied up.
        let row = |i: usize| {
            let rows = || groups.iter().map(move |(_, whole)| &whole.output[i]);
            let times = |row: &Back| row.divisor();
            let common = rows().map(times).fold(1, |l, d| l / gcd(l, d) * d);
            let terms = rows().flat_map(|row| row.coefficients.iter().map(move |c| c * (common / times(row))));
            Back { coefficients: terms.collect(), ..Back::dividing(common) }
        };
        let output = (0..Down::RESULTS).map(row).collect();
        Down { groups, output }
    }

    /// Returns the points of all groups, without making their matrices.
    pub fn points(taps: usize) -> usize {
        groups(taps).map(|(_, own)| Down::RESULTS + own - 1).sum()
    }
}

/// The groups of a window of `taps` rows, `(first tap, taps)`.
fn groups(taps: usize) -> impl Iterator<Item = (usize, usize)> {
    let group = move |first: usize| {
        let rest = taps - first;
        let own = if rest == 2 || rest == 4 { 2 } else { rest.min(3) };
        (first, own)
    };
    let next = move |(first, own): &(usize, usize)| Some(first + own).filter(|first| *first < taps).map(group);
    std::iter::successors(Some(group(0)), next)
}

impl Back {
    /// What divides by a number, with nothing to add up.
    fn dividing(divisor: i64) -> Back {
        let shift = divisor.trailing_zeros();
        Back { coefficients: Vec::new(), inverse: inverse(divisor >> shift), shift }
    }

    /// What the sums give too much: the odd part is small.
    fn divisor(&self) -> i64 {
        i64::from(inverse(i64::from(self.inverse))) << self.shift
    }

    /// The same row, where what it adds up is already too large by another's divisor.
    pub fn after(&self, other: &Back) -> Back {
        let inverse = self.inverse.wrapping_mul(other.inverse);
        Back { inverse, shift: self.shift + other.shift, ..self.clone() }
    }
}

impl Whole {
    /// Returns the matrices of F(m, r), which has at most [`MOST`] points.
    pub fn new(m: usize, r: usize) -> Whole {
        let t = m + r - 1;
        let points: Vec<(i64, i64)> = POINTS[..t - 1].iter().copied().chain([(1, 0)]).collect();
        let (mut input, mut kernel, mut scale) = (Matrix::new(), Matrix::new(), Vec::new());
        for (j, &(p, q)) in points.iter().enumerate() {
            let others = || points.iter().enumerate().filter(move |(l, _)| *l != j).map(|(_, point)| *point);
            let row = others().fold(vec![1], times);
            let divisor = row.iter().fold(0, |g, c| gcd(g, *c));
            scale.push((divisor, others().map(|(pl, ql)| ql * p - pl * q).product::<i64>()));
            input.push(row.iter().map(|c| (c / divisor) as f64).collect());
            kernel.push((0..r).map(|k| (power(p, k) * power(q, r - 1 - k)) as f64).collect());
        }
        let output = (0..m).map(|i| {
            let terms = points.iter().zip(&scale).map(|(&(p, q), &(g, n))| (power(p, i) * power(q, m - 1 - i) * g, n));
            back(&terms.collect::<Vec<_>>())
        });
        Whole { input, kernel, output: output.collect() }
    }
}

/// Do sums of this many products of bytes come out exactly? Factors must fit 16 bits, results what shifts leave.
pub fn exact(across: &Whole, down: Option<&Down>, terms: usize) -> bool {
    let one = [([1, 0], 1)];
    let rows = |whole: &Whole| {
        let image = whole.input.iter().map(|row| [part(row, 1.0), part(row, -1.0)]).collect::<Vec<_>>();
        let weights = whole.kernel.iter().map(|row| part(row, 1.0) + part(row, -1.0));
        image.into_iter().zip(weights).collect::<Vec<_>>()
    };
    let below = match down {
        Some(down) => down.groups.iter().flat_map(|(_, whole)| rows(whole)).collect(),
        None => one.to_vec(),
    };
    // Bytes have no sign: what is added and what is taken off count apart.
    let fits = |([p, n], w): ([i64; 2], i64)| {
        below
            .iter()
            .all(|([q, m], u)| BYTE[0] * (p * q + n * m).max(p * m + n * q) <= LIMIT && BYTE[1] * w * u <= LIMIT)
    };
    let most = |rows: &[Back]| rows.iter().map(|row| row.shift).max().unwrap_or(0);
    let shift = most(&across.output) + down.map_or(0, |down| most(&down.output));
    let sum = BYTE[0].saturating_mul(BYTE[1]).saturating_mul(terms as i64);
    rows(across).into_iter().all(fits) && sum < 1 << (31 - shift)
}

/// The sum of the coefficients of one sign, without it.
fn part(row: &[f64], sign: f64) -> i64 {
    row.iter().map(|c| (c * sign).max(0.0) as i64).sum()
}

/// The product of a polynomial, lowest power first, with `q x - p`.
fn times(poly: Vec<i64>, (p, q): (i64, i64)) -> Vec<i64> {
    let mut next = vec![0; poly.len() + 1];
    for (i, c) in poly.iter().enumerate() {
        next[i + 1] += c * q;
        next[i] -= c * p;
    }
    next
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

fn power(base: i64, exponent: usize) -> i64 {
    base.pow(exponent as u32)
}

/// The row whose coefficients are these fractions, `(numerator, denominator)`.
fn back(terms: &[(i64, i64)]) -> Back {
    let common = terms.iter().fold(1, |l, &(n, d)| {
        let denominator = (d / gcd(n, d)).abs();
        l / gcd(l, denominator) * denominator
    });
    Back { coefficients: terms.iter().map(|(n, d)| common * n / d).collect(), ..Back::dividing(common) }
}

/// The inverse of an odd number modulo 2³², by Newton's iteration: each step doubles the bits that are right.
fn inverse(odd: i64) -> i32 {
    let odd = odd as u32;
    let step = |x: u32| x.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(x)));
    (0..5).fold(odd, |x, _| step(x)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes() -> impl Iterator<Item = (usize, usize)> {
        (1..=MOST).flat_map(|m| (1..=MOST).map(move |r| (m, r))).filter(|(m, r)| (2..=MOST).contains(&(m + r - 1)))
    }

    /// Each tap and input alone, so by linearity all sums, in arithmetic that wraps.
    #[test]
    fn computes_a_correlation() {
        for (m, r) in sizes() {
            let f = Whole::new(m, r);
            for (tap, at) in (0..r).flat_map(|tap| (0..m + r - 1).map(move |at| (tap, at))) {
                for (i, row) in f.output.iter().enumerate() {
                    // The largest products that the shift allows.
                    let most = ((1i64 << (31 - row.shift)) - 1) as f64;
                    let term = |(j, c): (usize, &i64)| {
                        let product = f.kernel[j][tap] * f.input[j][at];
                        (*c as i32).wrapping_mul((product as i64).wrapping_mul(most as i64) as i32)
                    };
                    let sum = row.coefficients.iter().enumerate().map(term).fold(0, i32::wrapping_add);
                    let y = sum.wrapping_mul(row.inverse) >> row.shift;
                    let want = if i + tap == at { most as i32 } else { 0 };
                    assert_eq!(y, want, "F({m},{r}): result {i}, tap {tap}, input {at}");
                }
            }
        }
    }

    /// Groups of rows together, each tap and input alone.
    #[test]
    fn groups_compute_a_correlation() {
        for taps in 2..=9 {
            let down = Down::new(taps);
            for (tap, at) in (0..taps).flat_map(|tap| (0..taps + 1).map(move |at| (tap, at))) {
                for (i, row) in down.output.iter().enumerate() {
                    let points = down.groups.iter().flat_map(|(first, f)| {
                        let own = move |j: usize| {
                            let [tap, at] = [tap, at].map(|place| place.wrapping_sub(*first));
                            let (u, v) = (f.kernel[j].get(tap), f.input[j].get(at));
                            u.zip(v).map_or(0, |(u, v)| (u * v) as i64)
                        };
                        (0..f.input.len()).map(own)
                    });
                    let sum: i64 = points.zip(&row.coefficients).map(|(product, c)| product * c).sum();
                    let want = if i + tap == at { row.divisor() } else { 0 };
                    assert_eq!(sum, want, "{taps} taps: result {i}, tap {tap}, input {at}");
                }
            }
        }
    }

    /// Which sums fit, at the edges: those of 1,024 channels of a 3x3 window do not beside a shift by three.
    #[test]
    fn exact_where_numbers_fit() {
        for (m, r) in [(4, 3), (6, 3), (4, 5), (2, 7), (5, 4), (7, 2)] {
            assert!(exact(&Whole::new(m, r), None, 8000), "F({m},{r})");
            assert!(!exact(&Whole::new(m, r), None, 9 * 1024), "F({m},{r})");
        }
        assert!(exact(&Whole::new(2, 3), None, 9 * 1024));
        let (five, three) = (Down::new(5), Down::new(3));
        assert!(exact(&Whole::new(4, 5), Some(&five), 25 * 160));
        assert!(!exact(&Whole::new(4, 5), Some(&five), 25 * 170));
        assert!(exact(&Whole::new(4, 3), Some(&three), 9 * 400));
    }
}
