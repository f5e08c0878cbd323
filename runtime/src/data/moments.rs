//! Mean and standard deviation of each channel of images, as `mean_std` fits them.

use super::preparer::Prepared;
use super::{Dataset, Values};
use crate::Result;

/// A mean and a standard deviation for each channel; the deviation of a constant channel is 0.
pub type Moments = (Vec<f32>, Vec<f32>);

/// Up to this part of its mean a channel's deviation is what float32's rounding leaves of one number.
const CONSTANT: f64 = 1e-7;

/// Images that are read at once.
const BLOCK: usize = 512;

/// Bytes whose squares' sum fits 32 bits.
const RUN: usize = 1 << 16;

/// Computes the moments of any numbers, in f64.
pub fn of_floats(images: &mut Prepared, train: &Dataset) -> Result<Moments> {
    let [channels, height, width] = train.images.dims;
    let mut sums = vec![(0.0f64, 0.0f64); channels];
    let mut image = vec![0.0; channels * height * width];
    // Sums of squares around the first image's mean: exact enough whatever the offset of the data.
    let mut shift = vec![0.0f64; channels];
    for item in 0..train.len() {
        images.copy(item, &mut image)?;
        for (c, pixels) in image.chunks_exact(height * width).enumerate() {
            if item == 0 {
                shift[c] = pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / pixels.len() as f64;
            }
            sums[c] = pixels.iter().map(|&v| f64::from(v) - shift[c]).fold(sums[c], |(s, q), v| (s + v, q + v * v));
        }
    }
    let count = (train.len() * height * width).max(1) as f64;
    let moments = sums.iter().zip(&shift).map(|(&(sum, squares), shift)| {
        let mean = sum / count;
        (mean + shift, (squares / count - mean * mean).max(0.0).sqrt())
    });
    Ok(rounded(moments))
}

/// Computes the moments of bytes exactly: their sums, and those of their squares, are whole numbers.
pub fn of_bytes(train: &Dataset) -> Result<Moments> {
    let [channels, height, width] = train.images.dims;
    let mut sums = vec![(0u64, 0u64); channels];
    for first in (0..train.len()).step_by(BLOCK) {
        let values = train.values(first..(first + BLOCK).min(train.len()))?;
        let Values::Bytes(bytes) = values else { unreachable!("images of bytes") };
        for (i, plane) in bytes.chunks_exact((height * width).max(1)).enumerate() {
            for run in plane.chunks(RUN) {
                let (sum, squares) = sums_of(run);
                let (s, q) = &mut sums[i % channels];
                (*s, *q) = (*s + u64::from(sum), *q + u64::from(squares));
            }
        }
    }
    let count = (train.len() * height * width).max(1) as u64;
    let moments = sums.iter().map(|&(sum, squares)| {
        // count² · variance: the difference of two whole numbers.
        let scaled = u128::from(count) * u128::from(squares) - u128::from(sum) * u128::from(sum);
        (sum as f64 / count as f64, (scaled as f64).sqrt() / count as f64)
    });
    Ok(rounded(moments))
}

/// Returns the sum, and the sum of squares, of at most [`RUN`] bytes.
fn sums_of(bytes: &[u8]) -> (u32, u32) {
    bytes.iter().map(|&v| u32::from(v)).fold((0, 0), |(sum, squares), v| (sum + v, squares + v * v))
}

fn rounded(moments: impl Iterator<Item = (f64, f64)>) -> Moments {
    let constant = |mean: f64, std: f64| std <= CONSTANT * mean.abs() || std < f64::from(f32::MIN_POSITIVE);
    moments.map(|(mean, std)| (mean as f32, if constant(mean, std) { 0.0 } else { std as f32 })).unzip()
}

#[cfg(test)]
mod tests {
    use super::super::prepare::Preparation;
    use super::super::preparer::{Prepared, Preparer};
    use super::super::{Images, Pixels};
    use super::*;
    use crate::Error;
    use crate::philox::Stream;

    /// Random bytes, but for the last channel, which is constant.
    fn bytes([channels, height, width]: [usize; 3], count: usize) -> Vec<u8> {
        let mut random = Stream::new(3, 0, 0);
        let size = height * width;
        let value = |i: usize| if i / size % channels == channels - 1 { 255 } else { random.below(256) as u8 };
        (0..count * channels * size).map(value).collect()
    }

    #[test]
    fn bytes_and_floats_of_their_values_agree() {
        for (dims, count) in [([3, 5, 7], 1030), ([2, 300, 301], 3), ([1, 1, 1], 1)] {
            let bytes = bytes(dims, count);
            let floats = bytes.iter().map(|&v| f32::from(v)).collect();
            let set = |pixels| Dataset::new(Images { dims, pixels }, vec![0; count]);
            let (narrow, wide) = (set(Pixels::Bytes(bytes)), set(Pixels::Floats(floats)));
            let none =
                Preparer::new(&Preparation::default(), wide.images.dtype(), &|_, _| Err(Error::new("nothing to do")));
            let expected = of_floats(&mut Prepared::new(&wide, none.expect("no steps")), &wide).expect("finite");
            let found = of_bytes(&narrow).expect("finite");
            assert_eq!(found.0, expected.0, "means of {dims:?}");
            for (found, expected) in found.1.iter().zip(&expected.1) {
                assert!((found - expected).abs() <= 1e-6 * expected, "{found} {expected}");
            }
            assert_eq!((found.0[dims[0] - 1], found.1[dims[0] - 1]), (255.0, 0.0), "a constant channel");
        }
    }

    #[test]
    fn white_and_black_halves() {
        let pixels = Pixels::Bytes((0..2 * RUN as u32 * 2).map(|i| if i % 2 == 0 { 255 } else { 0 }).collect());
        let set = Dataset::new(Images { dims: [1, 2, 2 * RUN], pixels }, vec![0]);
        assert_eq!(of_bytes(&set).expect("finite"), (vec![127.5], vec![127.5]));
    }
}
