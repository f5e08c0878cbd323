//! What prepares images for a network. The numbers that these operators take are fitted once, by a trainer, and fixed
//! from then on. Every target computes the same bits: the order of each sum is fixed, and no product is fused with a
//! sum.

use super::attr::attributes;
use super::error::ShapeError;
use super::facts::Receptive;
use super::{Case, Draw, OperatorDef, check, reference};
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::prepare::{LEAST_DEVIATION, LEAST_NORM, REACH, gaussian};
use crate::recipes::{elementwise, prepare};
use crate::types::Type;

attributes! {
    /// `(x, mean[C], [std[C]]) -> (x - mean) / std` per channel: the difference rounded, then the quotient.
    Standardise {}
}

impl OperatorDef for Standardise {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let ([x, mean], std) = check::with_optional(operands)?;
        let channels = check::channels(x)?;
        check::weight(mean, &[channels], "the mean")?;
        std.map_or(Ok(()), |std| check::weight(std, &[channels], "the standard deviation"))?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let number = |i: usize, c: usize| operands.get(i).map(|o| o.real().data[c].f64());
        reference::over_channels(cx, [operands[0]], |[x]| {
            let one = |(c, x): (usize, &f64)| (x - number(1, c).unwrap_or(0.0)) / number(2, c).unwrap_or(1.0);
            x.iter().enumerate().map(one).collect()
        })
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let divided = cx.operands.len() == 3;
        elementwise::map_with(cx, if divided { "standardise" } else { "centre" }, divided, |&divided, b, v, _| {
            let difference = b.sub(v[0], v[1]);
            if divided { b.div(difference, v[2]) } else { difference }
        })
    }

    super::no_products!();
    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |dims: &[usize], shared: usize| {
            let channels = Type::shared(&dims[..1]);
            let operands = [vec![Type::batched(dims)], vec![channels; shared]].concat();
            Case::new(Standardise {}, 3, &operands).drawn(Draw::Positive)
        };
        vec![case(&[3, 4, 5], 2), case(&[1, 7, 3], 2), case(&[19], 1), case(&[3, 2, 2], 1)]
    }
}

attributes! {
    /// `(x, scale[]) -> (x - mean of x) · scale / L2 norm of x - mean`, over all numbers of an image (global contrast
    /// normalisation as pylearn2 has it with `use_std = False, sqrt_bias = 0`); a norm below 1e-8 of the scale counts
    /// as the scale. [`prepare::global_contrast`] defines the order of the sums.
    GlobalContrast {}
}

impl OperatorDef for GlobalContrast {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x, scale] = check::exactly(operands)?;
        check::per_image(x)?;
        check::scalar(scale, "the scale")?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let (x, scale) = (operands[0].real(), operands[1].real().data[0].f64());
        let mut data = Vec::with_capacity(x.data.len());
        for image in x.data.chunks_exact(cx.ty.elements()) {
            let mean = image.iter().map(|v| v.f64()).sum::<f64>() / image.len() as f64;
            let norm = image.iter().map(|v| (v.f64() - mean).powi(2)).sum::<f64>().sqrt() / scale;
            let norm = if norm < f64::from(LEAST_NORM) { 1.0 } else { norm };
            data.extend(image.iter().map(|v| (v.f64() - mean) / norm));
        }
        reference::result(cx, data)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        prepare::global_contrast(cx)
    }

    super::no_products!();
    super::usual!(elements, storage, reads_bf16, memory, folding);

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Whole
    }

    fn cases() -> Vec<Case> {
        let case = |dims: &[usize]| {
            Case::new(GlobalContrast {}, 3, &[Type::batched(dims), Type::shared(&[])]).drawn(Draw::Positive)
        };
        vec![case(&[3, 5, 7]), case(&[1, 8, 8]), case(&[11]), case(&[3, 40, 40])]
    }
}

attributes! {
    /// `x -> c / max(d, mean of d, 1e-4)` in each channel of an image, with `G` a 7x7 Gaussian (σ = 2, its sum 1,
    /// zeros outside the image), `c = x - G*x` and `d = sqrt(G*x²)` of the uncentred `x`: local contrast normalisation
    /// as maxout's preparation of SVHN has it. [`prepare::local_contrast`] defines the order of the sums.
    LocalContrast {}
}

impl OperatorDef for LocalContrast {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let [x] = check::exactly(operands)?;
        check::image(x)?;
        Ok(x.clone())
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let [height, width] = [cx.ty.dims[1], cx.ty.dims[2]];
        let x: Vec<f64> = operands[0].real().data.iter().map(|v| v.f64()).collect();
        let mut data = Vec::with_capacity(x.len());
        for plane in x.chunks_exact(height * width) {
            let mean = blur(plane, width);
            let squares: Vec<f64> = plane.iter().map(|v| v * v).collect();
            let deviation: Vec<f64> = blur(&squares, width).into_iter().map(|v| v.max(0.0).sqrt()).collect();
            let average = deviation.iter().sum::<f64>() / deviation.len() as f64;
            let least = average.max(f64::from(LEAST_DEVIATION));
            data.extend(plane.iter().zip(mean).zip(deviation).map(|((v, mean), d)| (v - mean) / d.max(least)));
        }
        reference::result(cx, data)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        prepare::local_contrast(cx)
    }

    /// Two blurs in both directions.
    fn multiply_adds(&self, _operands: &[Type], result: &Type) -> u64 {
        (result.elements() * 4 * (2 * REACH + 1)) as u64
    }

    super::usual!(factors, elements, storage, reads_bf16, memory, folding);

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Whole
    }

    fn cases() -> Vec<Case> {
        let case = |dims: &[usize]| Case::new(LocalContrast {}, 2, &[Type::batched(dims)]);
        vec![case(&[3, 9, 11]), case(&[1, 8, 8]), case(&[2, 3, 20]), case(&[17, 5, 4])]
    }
}

/// `G * plane`: the Gaussian is separable.
fn blur(plane: &[f64], width: usize) -> Vec<f64> {
    let weights = gaussian();
    let along = |source: &[f64], step: usize, place: &dyn Fn(usize) -> usize, length: usize| -> Vec<f64> {
        let tap = |i: usize, k: usize| {
            let inside = (REACH..length + REACH).contains(&(place(i) + k));
            if inside { source[i + k * step - REACH * step] * weights[k] } else { 0.0 }
        };
        (0..source.len()).map(|i| (0..weights.len()).map(|k| tap(i, k)).sum()).collect()
    };
    let rows = along(plane, 1, &|i| i % width, width);
    along(&rows, width, &|i| i / width, plane.len() / width)
}
