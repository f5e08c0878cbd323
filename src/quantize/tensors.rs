//! Weights and biases as whole numbers.

use super::narrow;
use super::ranges::Coding;
use ninc_runtime::Tensor;
use ninc_runtime::formats::narrow_groups;

/// The largest weight.
const MOST: f32 = 127.0;
/// Beyond this a bias would leave no room for the sum of products.
const MOST_BIAS: f64 = (1u32 << 30) as f64;

/// A layer's float numbers.
#[derive(Clone, Debug)]
pub struct Floats {
    /// `[out, in, kh, kw]`
    pub weight: Tensor,
    /// One for each output; zeros where the layer has none.
    pub bias: Tensor,
    /// Mean of each channel that the layer reads.
    pub means: Vec<f64>,
}

/// A layer's numbers, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// -127 to 127.
    pub weight: Tensor,
    /// Scales of each output's weights.
    pub scales: Tensor,
    /// In units of the product of both scales.
    pub bias: Tensor,
}

/// Rounds a layer's numbers: weights symmetrically for each output, and the bias with what rounding the weights changes
/// in the mean. Weights leave room to add `terms` terms of sums in 16 bits: 1, 2 or 4.
pub fn whole(floats: &Floats, image: Coding, terms: usize) -> Whole {
    let (outputs, inputs) = (floats.weight.dims[0], floats.weight.dims[1]);
    let dims = [1, 2, 3].map(|i| floats.weight.dims[i]);
    let groups = if terms > 1 { narrow_groups(dims, terms) } else { vec![] };
    let terms = floats.weight.data.len() / outputs;
    let mut whole = Whole {
        weight: Tensor { dims: floats.weight.dims.clone(), data: Vec::with_capacity(floats.weight.data.len()) },
        scales: Tensor::zeros(&[outputs]),
        bias: Tensor::zeros(&[outputs]),
    };
    for (o, row) in floats.weight.data.chunks(terms).enumerate() {
        let largest = row.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        let scale = if largest > f32::MIN_POSITIVE * MOST { largest / MOST } else { 1.0 };
        let (scale, weights) = match groups.is_empty() {
            true => (scale, row.iter().map(|w| rounded(*w, scale)).collect()),
            false => narrow::row(row, &groups, scale),
        };
        whole.weight.data.extend(weights);
        let own = &whole.weight.data[o * terms..];
        let change = |i: usize| f64::from(own[i]) * f64::from(scale) - f64::from(row[i]);
        let places = terms / inputs;
        let shift: f64 = (0..terms).map(|i| change(i) * floats.means[i / places]).sum();
        let unit = f64::from(image.scale) * f64::from(scale);
        let bias = ((f64::from(floats.bias.data[o]) - shift) / unit).round_ties_even().clamp(-MOST_BIAS, MOST_BIAS);
        whole.scales.data[o] = scale;
        whole.bias.data[o] = bias as f32;
    }
    whole
}

/// A weight in units of its scale.
pub(super) fn rounded(weight: f32, scale: f32) -> f32 {
    (weight / scale).round_ties_even().clamp(-MOST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_changes_no_mean() {
        let weight = Tensor { dims: vec![2, 2, 1, 1], data: vec![1.0, 0.49 / 127.0, 0.0, 0.0] };
        let floats = Floats { weight, bias: Tensor { dims: vec![2], data: vec![1.0, -3.0] }, means: vec![2.0, 127.0] };
        let whole = whole(&floats, Coding { scale: 0.5, zero: 3 }, 1);
        assert_eq!(whole.weight.data, [127.0, 0.0, 0.0, 0.0]);
        assert_eq!(whole.scales.data, [1.0 / 127.0, 1.0]);
        // The second weight is lost: 0.49 in the mean.
        assert_eq!(whole.bias.data, [((1.0 + 0.49) * 2.0 * 127.0f32).round(), -6.0]);
    }
}
