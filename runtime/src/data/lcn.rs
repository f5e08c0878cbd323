//! Local contrast normalisation as in maxout's SVHN preparation (`paper.md` 2.1): with G a normalised 7x7 Gaussian (σ =
//! 2), zero-padded, `c = x - G*x`, `d = sqrt(G*x²)` (of the uncentred x, as there), `out = c / max(d, mean of d,
//! 1e-4)`.

const SIDE: usize = 7;
const HALF: usize = SIDE / 2;

/// One channel of one image, in place.
pub fn normalize(pixels: &mut [f32], height: usize, width: usize) {
    let mean = blur(pixels.iter().map(|&v| f64::from(v)), height, width);
    let deviation: Vec<f64> = blur(pixels.iter().map(|&v| f64::from(v) * f64::from(v)), height, width)
        .into_iter()
        .map(|v| v.max(0.0).sqrt())
        .collect();
    let average = deviation.iter().sum::<f64>() / deviation.len().max(1) as f64;
    for ((v, mean), deviation) in pixels.iter_mut().zip(&mean).zip(&deviation) {
        *v = ((f64::from(*v) - mean) / deviation.max(average).max(1e-4)) as f32;
    }
}

/// One side of the Gaussian, and its sum.
pub fn gaussian() -> ([f64; SIDE], f64) {
    let raw: [f64; SIDE] = std::array::from_fn(|i| (-(i as f64 - HALF as f64).powi(2) / 8.0).exp());
    let total = raw.iter().sum();
    (raw, total)
}

/// The Gaussian is separable: rows, then columns.
fn blur(values: impl Iterator<Item = f64>, height: usize, width: usize) -> Vec<f64> {
    let (raw, total) = gaussian();
    let values: Vec<f64> = values.collect();
    let pass = |source: &[f64], step: usize, at: &dyn Fn(usize) -> (usize, usize)| -> Vec<f64> {
        let tap = |i: usize, k: usize| {
            let (position, length) = at(i);
            let inside = position + k >= HALF && position + k - HALF < length;
            if inside { source[i + k * step - HALF * step] * raw[k] / total } else { 0.0 }
        };
        (0..source.len()).map(|i| (0..SIDE).map(|k| tap(i, k)).sum()).collect()
    };
    let rows = pass(&values, 1, &|i| (i % width, width));
    pass(&rows, width, &|i| (i / width, height))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_middle_of_a_constant_image_becomes_zero() {
        let mut pixels = vec![3.0; 15 * 15];
        super::normalize(&mut pixels, 15, 15);
        assert!(pixels[7 * 15 + 7].abs() < 1e-6);
        // At the corner the zero padding darkens the local mean: 3 - 3·(0.6..)² over 3.
        assert!(pixels[0] > 0.1 && pixels[0] < 1.0);
    }
}
