//! What prepares images for a network. The numbers that these operators take are fitted once, by a trainer, and fixed
//! from then on. Every target computes the same bits: the order of each sum is fixed, and no product is fused with a
//! sum.

use super::attr::{Attr, AttrValue, attributes};
use super::error::ShapeError;
use super::facts::Receptive;
use super::{Case, Draw, OperatorDef, check, reference};
use crate::graph::interp::{EvalCx, Real, Value};
use crate::kernel::ir::Unary;
use crate::lower::{LowerCx, Lowered};
use crate::recipes::prepare::{LEAST_DEVIATION, REACH, ROUNDING, gaussian};
use crate::recipes::{elementwise, prepare};
use crate::types::{DType, Type};

/// A step of [`Pixelwise`] and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelStep {
    /// `x · factor`, with `factor[]`.
    Scale,
    /// `x / divisor`, with `divisor[]`.
    Divide,
    /// `x - mean`, with `mean[C]`.
    Centre,
    /// `(x - mean) / std`, with `mean[C]` and `std[C]`: the difference rounded, then the quotient.
    Standardise,
}

impl PixelStep {
    const ALL: [PixelStep; 4] = [PixelStep::Scale, PixelStep::Divide, PixelStep::Centre, PixelStep::Standardise];

    fn name(self) -> &'static str {
        match self {
            PixelStep::Scale => "scale",
            PixelStep::Divide => "divide",
            PixelStep::Centre => "centre",
            PixelStep::Standardise => "standardise",
        }
    }

    /// Operands that it takes.
    pub fn numbers(self) -> usize {
        match self {
            PixelStep::Scale | PixelStep::Divide | PixelStep::Centre => 1,
            PixelStep::Standardise => 2,
        }
    }
}

impl AttrValue for PixelStep {
    fn to_attr(&self) -> Attr {
        Attr::word(self.name())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        PixelStep::ALL.into_iter().find(|step| step.to_attr() == *attr)
    }
}

attributes! {
    /// `(x, numbers…) -> y`: a byte becomes the float of its value, a float stays, and the steps follow, each with the
    /// next of the fitted numbers. All steps are one pass over memory. `x[C, places]` are the planes of an image one
    /// after the other, as files have them.
    Pixelwise {
        steps: Vec<PixelStep>,
    }
}

impl Pixelwise {
    /// Fitted numbers (operands) that one of these takes: a micro-kernel has six parameters.
    pub const MOST: usize = 4;
}

impl OperatorDef for Pixelwise {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let needed = 1 + self.steps.iter().map(|step| step.numbers()).sum::<usize>();
        let Some((x, mut numbers)) = operands.split_first().filter(|_| operands.len() == needed) else {
            return Err(format!("{needed} operands are needed, but there are {}", operands.len()).into());
        };
        let floats = Type { dtype: if x.dtype == DType::U8 { DType::F32 } else { x.dtype }, ..x.clone() };
        check::per_image(&floats)?;
        let channels = match floats.dims.as_slice() {
            &[channels] | &[channels, _, _] => channels,
            &[channels, places] if places > 1 => channels,
            _ => return Err(format!("images, features or planes are needed, but this is {floats}").into()),
        };
        for step in &self.steps {
            let (own, rest) = numbers.split_at(step.numbers());
            let scalar = matches!(step, PixelStep::Scale | PixelStep::Divide);
            let dims = if scalar { &[][..] } else { &[channels] };
            own.iter().try_for_each(|number| check::weight(number, dims, step.name()))?;
            numbers = rest;
        }
        Ok(floats)
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let mut data: Vec<f64> = match operands[0] {
            Value::Int(bytes) => bytes.data.iter().map(|&v| f64::from(v)).collect(),
            Value::Real(x) => x.data.iter().map(|v| v.f64()).collect(),
        };
        let (channels, size) = (cx.ty.dims[0], cx.ty.elements());
        let mut numbers = operands[1..].iter().map(|number| &number.real().data);
        for step in &self.steps {
            let (first, second) = (numbers.next(), if step.numbers() == 2 { numbers.next() } else { None });
            for (i, v) in data.iter_mut().enumerate() {
                let channel = i % size / (size / channels);
                let of = |numbers: Option<&Vec<T>>, c: usize| numbers.map_or(1.0, |n| n[c].f64());
                *v = match step {
                    PixelStep::Scale => *v * of(first, 0),
                    PixelStep::Divide => *v / of(first, 0),
                    PixelStep::Centre => *v - of(first, channel),
                    PixelStep::Standardise => (*v - of(first, channel)) / of(second, channel),
                };
            }
        }
        reference::result(cx, data)
    }

    super::first_order_only!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let bytes = cx.operands[0].ty.dtype == DType::U8;
        let steps: Vec<&str> = self.steps.iter().map(|step| step.name()).collect();
        let name = if steps.is_empty() { "float".into() } else { steps.join("_") };
        elementwise::map_with(cx, &name, (bytes, self.steps.clone()), |(bytes, steps), b, v, _| {
            let mut value = if *bytes { b.unary(Unary::ToFloat, v[0]) } else { v[0] };
            let mut at = 1;
            for step in steps {
                value = match step {
                    PixelStep::Scale => b.mul(value, v[at]),
                    PixelStep::Divide => b.div(value, v[at]),
                    PixelStep::Centre | PixelStep::Standardise => b.sub(value, v[at]),
                };
                if *step == PixelStep::Standardise {
                    value = b.div(value, v[at + 1]);
                }
                at += step.numbers();
            }
            value
        })
    }

    super::no_products!();
    super::usual!(elements, storage, reads_bf16, receptive, memory, folding);

    fn cases() -> Vec<Case> {
        let case = |x: Type, steps: &[PixelStep]| {
            let numbers = |step: &PixelStep| match step {
                PixelStep::Scale | PixelStep::Divide => vec![Type::shared(&[]); 1],
                step => vec![Type::shared(&x.dims[..1]); step.numbers()],
            };
            let operands: Vec<Type> = [x.clone()].into_iter().chain(steps.iter().flat_map(numbers)).collect();
            Case::new(Pixelwise { steps: steps.to_vec() }, 3, &operands).drawn(Draw::Positive)
        };
        let [scale, divide, centre, standardise] = PixelStep::ALL;
        let mut cases = Vec::new();
        for dims in [&[3, 4, 5][..], &[1, 7, 3], &[19], &[3, 35], &[2, 5000]] {
            for steps in [&[standardise][..], &[centre], &[divide, standardise, scale], &[]] {
                cases.extend([Type::batched(dims), Type::bytes(dims)].map(|x| case(x, steps)));
            }
        }
        cases
    }
}

attributes! {
    /// `(x, scale[]) -> (x - mean of x) · scale / L2 norm of x - mean`, over all numbers of an image (global contrast
    /// normalisation as pylearn2 has it with `use_std = False, sqrt_bias = 0`). Where the norm is not above what
    /// rounding leaves of an image of one colour ([`ROUNDING`]), all become 0. [`prepare::global_contrast`] defines the
    /// order of the sums.
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
            let norm = image.iter().map(|v| (v.f64() - mean).powi(2)).sum::<f64>().sqrt();
            let largest = image.iter().fold(0.0f64, |largest, v| largest.max(v.f64().abs()));
            let flat = norm <= largest * f64::from(ROUNDING) * (image.len() as f64).sqrt();
            let norm = if flat { f64::INFINITY } else { norm / scale };
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
