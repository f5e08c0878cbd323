//! Filters that whiten patches of images: eigenvectors of the patches' second moments, each divided by the root of its
//! eigenvalue, and their negatives (Page's ResNet, 2019; Jordan's airbench, 2024).

use crate::data::Dataset;
use crate::data::preparer::Preparer;
use crate::{Error, Result, Tensor};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, Side};

/// The most images that patches are taken from, spread evenly over the training part.
const IMAGES: usize = 5000;
/// Images that are prepared at once.
const BLOCK: usize = 100;

/// Fits the weight `[filters, channels, height, width]` of a convolution of prepared images: the eigenvectors of the
/// largest eigenvalues first, their negatives behind them all. Filters beyond the eigenvectors and their negatives are
/// an error.
pub fn fit(dims: &[usize], epsilon: f64, set: &Dataset, preparer: &Preparer) -> Result<Tensor> {
    let &[filters, channels, height, width] = dims else {
        return Err(Error::new(format!("a weight of shape {dims:?} cannot whiten patches")));
    };
    let size = channels * height * width;
    let (count, image) = (set.len().min(IMAGES), set.images.dims);
    let fits = image[0] == channels && image[1] >= height && image[2] >= width && filters <= 2 * size;
    if !fits || count == 0 {
        return Err(Error::new(format!("{count} images of {image:?} give no patches for a weight of shape {dims:?}")));
    }
    let mut moments = Mat::<f64>::zeros(size, size);
    for first in (0..count).step_by(BLOCK) {
        let items = (first..(first + BLOCK).min(count)).map(|i| i * set.len() / count);
        let prepared = preparer.apply(set.values(items)?)?;
        for pixels in prepared.chunks_exact(set.images.size()) {
            add_patches(&mut moments, pixels, image, [height, width]);
        }
    }
    let patches = count * (image[1] - height + 1) * (image[2] - width + 1);
    filters_of(&moments, patches as f64, epsilon, dims)
}

/// Adds the products of all pairs of numbers of each patch.
fn add_patches(moments: &mut Mat<f64>, pixels: &[f32], [channels, rows, columns]: [usize; 3], [h, w]: [usize; 2]) {
    let (down, across) = (rows - h + 1, columns - w + 1);
    // A column per number of a patch: copied in runs of a row.
    let mut patches = vec![0.0; channels * h * w * down * across];
    for (number, column) in patches.chunks_exact_mut(down * across).enumerate() {
        let (channel, y, x) = (number / (h * w), number / w % h, number % w);
        for (row, run) in column.chunks_exact_mut(across).enumerate() {
            let start = (channel * rows + row + y) * columns + x;
            run.iter_mut().zip(&pixels[start..]).for_each(|(to, &from)| *to = f64::from(from));
        }
    }
    let patches = MatRef::from_column_major_slice(&patches, down * across, channels * h * w);
    matmul(moments.as_mut(), Accum::Add, patches.transpose(), patches, 1.0, Par::Seq);
}

fn filters_of(moments: &Mat<f64>, patches: f64, epsilon: f64, dims: &[usize]) -> Result<Tensor> {
    let size = moments.nrows();
    let mean = Mat::from_fn(size, size, |i, j| moments[(i, j)] / patches);
    let eigen = mean.self_adjoint_eigen(Side::Lower).map_err(|_| {
        Error::new("the eigenvectors of the images' patches could not be found: are there NaNs in the data?")
    })?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    let half = dims[0] / 2;
    let mut data = Vec::with_capacity(dims.iter().product());
    for filter in 0..half {
        // They come in increasing order; what rounding made negative is 0.
        let from = size - 1 - filter;
        let column: Vec<f64> = (0..size).map(|i| vectors[(i, from)]).collect();
        let largest = column.iter().fold(0.0, |most: f64, v| if v.abs() > most.abs() { *v } else { most });
        // An eigenvector has no sign of its own: the largest number of each is positive.
        let factor = largest.signum() / (values[from].max(0.0) + epsilon).sqrt();
        data.extend(column.iter().map(|v| (v * factor) as f32));
    }
    let negative: Vec<f32> = data.iter().map(|v| -v).collect();
    data.extend(negative);
    Ok(Tensor { dims: dims.to_vec(), data })
}
