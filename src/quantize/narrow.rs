//! Weights that leave room to add some terms of a sum in 16 bits: smaller than they might be, so their rounding costs
//! some 2 decibels for two terms, and 4 to 5 for four.

use super::tensors::rounded;
use ninc_runtime::formats::MOST_NARROW;

/// Scales that are tried, from the one that all weights fit to the one that all groups fit.
const SCALES: usize = 16;

/// Rounds the weights of an output from this scale or a larger one: that with the least error. `groups` are the places
/// of weights whose terms are added in 16 bits. Returns the scale and the weights.
pub fn row(row: &[f32], groups: &[Vec<usize>], least: f32) -> (f32, Vec<f32>) {
    let sum = |group: &Vec<usize>| {
        let own = group.iter().map(|&i| row[i]);
        let (more, less) = own.fold((0.0f32, 0.0f32), |(more, less), w| (more + w.max(0.0), less - w.min(0.0)));
        more.max(less)
    };
    let most = groups.iter().map(sum).fold(0.0, f32::max) / MOST_NARROW as f32;
    let scales = (0..=SCALES).map(|i| least + (most - least).max(0.0) * i as f32 / SCALES as f32);
    let tried = scales.map(|scale| {
        let weights = fitted(row, groups, scale);
        let error = |(w, float): (&f32, &f32)| (f64::from(*w) * f64::from(scale) - f64::from(*float)).powi(2);
        let error: f64 = weights.iter().zip(row).map(error).sum();
        (error, scale, weights)
    });
    let best = tried.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, scale, weights)| (scale, weights)).expect("there are scales")
}

/// Weights in units of their scale. Where those of one sign in a group are too large together, they go down by single
/// units, each time that which this moves least from its float.
fn fitted(row: &[f32], groups: &[Vec<usize>], scale: f32) -> Vec<f32> {
    let mut weights: Vec<f32> = row.iter().map(|w| rounded(*w, scale)).collect();
    for group in groups {
        for sign in [1.0, -1.0] {
            let sum: f32 = group.iter().map(|&i| (weights[i] * sign).max(0.0)).sum();
            for _ in MOST_NARROW..sum as i32 {
                let own = group.iter().copied().filter(|&i| weights[i] * sign > 0.0);
                let above = |i: usize| (weights[i] - row[i] / scale) * sign;
                if let Some(i) = own.max_by(|&a, &b| above(a).total_cmp(&above(b))) {
                    weights[i] -= sign;
                }
            }
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use ninc_runtime::Tensor;
    use ninc_runtime::formats::{narrow, narrow_groups};
    use ninc_runtime::philox::Stream;

    /// Error of a row in whole numbers, squares added.
    fn error(row: &[f32], scale: f32, weights: &[f32]) -> f32 {
        row.iter().zip(weights).map(|(float, w)| (w * scale - float).powi(2)).sum()
    }

    #[test]
    fn weights_leave_the_room_and_lose_little() {
        let mut random = Stream::new(3, 0, 0);
        for dims in [[1, 1, 1], [2, 1, 1], [13, 1, 1], [64, 1, 1], [8, 3, 3], [24, 2, 2], [3, 11, 11]] {
            let floats: Vec<f32> = (0..dims.iter().product()).map(|_| random.normal()).collect();
            let least = floats.iter().fold(0.0f32, |m, w| m.max(w.abs())) / 127.0;
            for terms in [2, 4] {
                let (scale, weights) = row(&floats, &narrow_groups(dims, terms), least);
                let weight = Tensor { dims: [&[1], &dims[..]].concat(), data: weights.clone() };
                assert!(narrow(&weight) >= terms, "{dims:?} {terms}: {weights:?}");
                // No scale is better than the two ends by themselves: that of all weights, and that of all groups.
                let most = scale.max(terms as f32 * 127.0 / 128.0 * least);
                let usual: Vec<f32> = floats.iter().map(|w| rounded(*w, most)).collect();
                assert!(error(&floats, scale, &weights) <= error(&floats, most, &usual) * 1.001, "{dims:?} {terms}");
                assert!(scale >= least && weights.iter().all(|w| w.abs() <= 127.0));
            }
        }
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let groups = [vec![0, 1, 4, 5], vec![2, 3, 6, 7]];
        let floats = [127.0, -127.0, 1.0, 0.0, 0.25, -0.75, 0.0, 3.0];
        assert_eq!(row(&floats, &groups, 1.0), (1.0, vec![127.0, -127.0, 1.0, 0.0, 0.0, -1.0, 0.0, 3.0]));
        // Too much by 3 in one group, by 1 in the other: those that were rounded up go down first.
        let floats = [100.0, 27.6, 64.0, 64.6, 1.6, 1.4, 0.0, 0.0];
        assert_eq!(fitted(&floats, &groups, 1.0), [99.0, 27.0, 64.0, 64.0, 1.0, 1.0, 0.0, 0.0]);
    }
}
