//! ZCA whitening exactly as pylearn2 fits it (`paper.md` 2.1): `m` the mean of the training part, `C = (X-m)ᵀ(X-m)/N +
//! εI`, `C = V diag(λ) Vᵀ`, `P = V diag(1/sqrt λ) Vᵀ`, `x' = (x - m) P`. Everything in f64 but the stored mean and
//! matrix.

use crate::{Error, Result};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};

/// The most numbers of an image. The covariance of larger ones would not fit: 8192² doubles are 512 MiB, and three such
/// matrices are alive.
pub const LARGEST: usize = 8192;
/// Images per block of the covariance.
const BLOCK: usize = 512;

/// Columns of the covariance that one task computes. Fixed, so that the sums do not depend on the number of threads.
const PANEL: usize = 192;

/// Fits mean and matrix. `read` gives an image by its number. The same bits for any number of threads: each panel of
/// columns has one owner, which adds up the images in their order.
pub fn fit(
    count: usize,
    size: usize,
    epsilon: f64,
    mut read: impl FnMut(usize, &mut [f32]) -> Result<()>,
) -> Result<(Vec<f32>, Vec<f32>)> {
    if size > LARGEST {
        return Err(Error::new(format!("zca on images of {size} numbers: more than {LARGEST} do not fit in memory"))
            .with_help("use smaller images, or gcn and mean_std alone"));
    }
    let mut image = vec![0.0f32; size];
    let mut mean = vec![0.0f64; size];
    for item in 0..count {
        read(item, &mut image)?;
        mean.iter_mut().zip(&image).for_each(|(m, &v)| *m += f64::from(v));
    }
    mean.iter_mut().for_each(|m| *m /= count.max(1) as f64);

    let mut covariance = Mat::<f64>::zeros(size, size);
    for start in (0..count).step_by(BLOCK) {
        let rows = BLOCK.min(count - start);
        // A column per image: contiguous in faer's order.
        let mut block = Mat::<f64>::zeros(size, rows);
        for column in 0..rows {
            read(start + column, &mut image)?;
            let centred = image.iter().zip(&mean).map(|(&v, m)| f64::from(v) - m);
            block.col_mut(column).iter_mut().zip(centred).for_each(|(b, v)| *b = v);
        }
        add_products(covariance.as_mut(), block.as_ref(), 1.0 / count as f64);
    }
    for i in 0..size {
        covariance[(i, i)] += epsilon;
    }
    let eigen = covariance.self_adjoint_eigen(Side::Lower).map_err(|_| {
        Error::new("the eigenvectors of the images' covariance could not be found: are there NaNs in the data?")
    })?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    if values.iter().any(|v| v.is_nan() || *v <= 0.0) {
        return Err(Error::new("the covariance of the images is not positive: zca needs a larger epsilon"));
    }
    // V diag(1/sqrt λ) Vᵀ = W Wᵀ with W = V diag(λ^(-1/4)): symmetric, so that its lower half is enough.
    let scaled = Mat::from_fn(size, size, |i, j| vectors[(i, j)] / values[j].sqrt().sqrt());
    let mut matrix = Mat::<f64>::zeros(size, size);
    add_products(matrix.as_mut(), scaled.as_ref(), 1.0);
    let at = |i: usize, j: usize| matrix[(i.max(j), i.min(j))] as f32;
    let matrix = (0..size * size).map(|i| at(i / size, i % size)).collect();
    Ok((mean.into_iter().map(|m| m as f32).collect(), matrix))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Adds `scale · B Bᵀ` to the lower half of `sum`, in panels that the threads share out among them.
fn add_products(sum: MatMut<f64>, block: MatRef<f64>, scale: f64) {
    let size = sum.nrows();
    let mut panels = Vec::new();
    let (mut rest, mut at) = (sum, 0);
    while at < size {
        let width = PANEL.min(size - at);
        let (panel, right) = rest.split_at_col_mut(width);
        panels.push((at, panel));
        (rest, at) = (right, at + width);
    }
    // The first panels are the tallest: dealt out one by one, each thread gets about as much work.
    let count = threads();
    let mut hands: Vec<Vec<(usize, MatMut<f64>)>> = (0..count).map(|_| vec![]).collect();
    for (i, panel) in panels.into_iter().enumerate() {
        hands[i % count].push(panel);
    }
    std::thread::scope(|scope| {
        for hand in hands {
            scope.spawn(move || {
                for (at, panel) in hand {
                    let (height, width) = (size - at, panel.ncols());
                    let below = panel.subrows_mut(at, height);
                    let (left, right) = (block.subrows(at, height), block.subrows(at, width).transpose());
                    matmul(below, Accum::Add, left, right, scale, Par::Seq);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::philox::Stream;

    #[test]
    fn whitened_images_have_unit_covariance() {
        let (count, size) = (400, 6);
        let mut random = Stream::new(7, 0, 0);
        let mut images: Vec<f32> = Vec::new();
        for _ in 0..count {
            let base = random.normal();
            images.extend((0..size).map(|i| 3.0 + base + (i + 1) as f32 * random.normal()));
        }
        let read = |i: usize, t: &mut [f32]| {
            t.copy_from_slice(&images[i * size..(i + 1) * size]);
            Ok(())
        };
        let (mean, matrix) = fit(count, size, 1e-9, read).expect("fits");
        let whiten =
            |image: &[f32], o: usize| -> f32 { (0..size).map(|i| (image[i] - mean[i]) * matrix[i * size + o]).sum() };
        let white: Vec<f32> =
            images.chunks_exact(size).flat_map(|image| (0..size).map(move |o| whiten(image, o))).collect();
        for a in 0..size {
            for b in 0..size {
                let sum: f64 = white.chunks_exact(size).map(|w| f64::from(w[a]) * f64::from(w[b])).sum();
                let expected = if a == b { 1.0 } else { 0.0 };
                assert!((sum / count as f64 - expected).abs() < 1e-4, "{a} {b}");
            }
        }
    }
}
