//! Preparation of images: fitted on the training part alone, kept with the weights, applied to every input alike by
//! programs that are compiled for it.

use super::preparer::{Compile, Prepared, Preparer};
use super::{Dataset, zca};
use crate::spec::Prepare;
use crate::{Error, Result, Tensor};

/// One fitted step.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Scale {
        factor: f32,
    },
    /// Per channel.
    MeanStd {
        mean: Vec<f32>,
        std: Vec<f32>,
    },
    Gcn {
        scale: f32,
    },
    /// `x' = (x - mean) · matrix`, over all numbers of an image.
    Zca {
        mean: Vec<f32>,
        matrix: Vec<f32>,
    },
    Lcn,
}

/// All steps, in the order of the model file. Without any, images stay as they are: 0 to 255.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Preparation {
    spec: Vec<Prepare>,
    steps: Vec<Step>,
    dims: [usize; 3],
}

impl Preparation {
    /// Fits the steps to the training part, each to what the ones before it, compiled, make of it.
    pub fn fit(spec: &[Prepare], train: &Dataset, compile: &Compile) -> Result<Preparation> {
        let dims = train.images.dims;
        let mut fitted = Preparation { spec: vec![], steps: vec![], dims };
        for prepare in spec {
            let step = match prepare {
                Prepare::Scale { factor } => Step::Scale { factor: *factor as f32 },
                Prepare::MeanStd { mean: Some(mean), std: Some(std) } => {
                    Step::MeanStd { mean: per_channel("mean", mean, dims[0])?, std: per_channel("std", std, dims[0])? }
                }
                Prepare::MeanStd { mean, std } => {
                    let (fitted_mean, fitted_std) = moments(&mut fitted.prepared(train, compile)?, train)?;
                    let given = |name, given: &Option<Vec<f64>>, fitted| match given {
                        Some(values) => per_channel(name, values, dims[0]),
                        None => Ok(fitted),
                    };
                    Step::MeanStd { mean: given("mean", mean, fitted_mean)?, std: given("std", std, fitted_std)? }
                }
                Prepare::Gcn { scale } => Step::Gcn { scale: *scale as f32 },
                Prepare::Zca { epsilon } => {
                    let mut images = fitted.prepared(train, compile)?;
                    let read = |item: usize, target: &mut [f32]| images.copy(item, target);
                    let (mean, matrix) = zca::fit(train.len(), train.images.size(), *epsilon, read)?;
                    Step::Zca { mean, matrix }
                }
                Prepare::Lcn => Step::Lcn,
            };
            fitted.steps.push(step);
            fitted.spec.push(prepare.clone());
        }
        Ok(fitted)
    }

    fn prepared<'a>(&self, set: &'a Dataset, compile: &Compile) -> Result<Prepared<'a>> {
        Ok(Prepared::new(set, Preparer::new(self, compile)?))
    }

    /// Data of another size than this was fitted to are an error.
    pub fn check(&self, set: &Dataset) -> Result<()> {
        let (fitted, dims) = (self.dims, set.images.dims);
        match fitted == dims {
            true => Ok(()),
            false => {
                Err(Error::new(format!("the weights were trained on images of {fitted:?}, the data has {dims:?}"))
                    .with_help("are these the weights for this data?"))
            }
        }
    }

    /// A step costs so much for each image that a data set is better prepared once than in each epoch.
    pub fn is_heavy(&self) -> bool {
        self.steps.iter().any(|s| matches!(s, Step::Zca { .. } | Step::Lcn))
    }

    /// Returns the steps as the model file says them.
    pub fn spec(&self) -> &[Prepare] {
        &self.spec
    }

    /// The image size that it was fitted to.
    pub fn dims(&self) -> [usize; 3] {
        self.dims
    }

    /// All numbers, with their names and shapes: `prepare.0.mean`, … (no layer can have such a name).
    pub fn numbers(&self) -> Vec<(String, Vec<usize>, &[f32])> {
        let mut numbers = Vec::new();
        for (i, step) in self.steps.iter().enumerate() {
            let mut add = |name: &str, dims, data| numbers.push((format!("prepare.{i}.{name}"), dims, data));
            match step {
                Step::Scale { factor } => add("factor", vec![], std::slice::from_ref(factor)),
                Step::MeanStd { mean, std } => {
                    add("mean", vec![mean.len()], mean);
                    add("std", vec![std.len()], std);
                }
                Step::Gcn { scale } => add("scale", vec![], std::slice::from_ref(scale)),
                Step::Zca { mean, matrix } => {
                    add("mean", vec![mean.len()], mean);
                    add("matrix", vec![mean.len(), mean.len()], matrix);
                }
                Step::Lcn => {}
            }
        }
        numbers
    }

    /// All numbers as tensors, for files: they come back bit for bit.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let tensor = |(name, dims, data): (String, Vec<usize>, &[f32])| (name, Tensor { dims, data: data.to_vec() });
        self.numbers().into_iter().map(tensor).collect()
    }

    /// The reverse of [`Preparation::tensors`].
    pub fn from_tensors(
        spec: &[Prepare],
        dims: [usize; 3],
        find: impl Fn(&str) -> Option<Tensor>,
    ) -> Result<Preparation> {
        let mut steps = Vec::new();
        let size = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(0);
        if size == 0 {
            return Err(Error::new(format!("the stored preparation is for images of the size {dims:?}")));
        }
        for (i, prepare) in spec.iter().enumerate() {
            let get = |name: &str, shape: &[usize]| {
                let name = format!("prepare.{i}.{name}");
                match find(&name) {
                    Some(t) if t.dims == shape => Ok(t.data),
                    Some(t) => Err(Error::new(format!("{name} has the shape {:?} instead of {shape:?}", t.dims))),
                    None => Err(Error::new(format!("the stored preparation lacks {name}"))),
                }
            };
            steps.push(match prepare {
                Prepare::Scale { .. } => Step::Scale { factor: get("factor", &[])?[0] },
                Prepare::MeanStd { .. } => {
                    Step::MeanStd { mean: get("mean", &dims[..1])?, std: get("std", &dims[..1])? }
                }
                Prepare::Gcn { .. } => Step::Gcn { scale: get("scale", &[])?[0] },
                Prepare::Zca { .. } => Step::Zca { mean: get("mean", &[size])?, matrix: get("matrix", &[size, size])? },
                Prepare::Lcn => Step::Lcn,
            });
        }
        Ok(Preparation { spec: spec.to_vec(), steps, dims })
    }
}

/// One number for all channels, or one for each.
fn per_channel(name: &str, values: &[f64], channels: usize) -> Result<Vec<f32>> {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    if name == "std" && values.iter().any(|&v| v == 0.0 || !v.is_finite()) {
        return Err(Error::new("a `std` of 0 would divide by zero"));
    }
    match values.len() {
        1 => Ok(vec![values[0]; channels]),
        n if n == channels => Ok(values),
        n => Err(Error::new(format!("`{name}` of mean_std has {n} numbers, but the images have {channels} channels"))),
    }
}

/// Mean and standard deviation of each channel, in f64.
fn moments(images: &mut Prepared, train: &Dataset) -> Result<(Vec<f32>, Vec<f32>)> {
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
            for &v in pixels {
                let v = f64::from(v) - shift[c];
                sums[c] = (sums[c].0 + v, sums[c].1 + v * v);
            }
        }
    }
    let count = (train.len() * height * width).max(1) as f64;
    let moments = sums.iter().zip(&shift).map(|(&(sum, squares), shift)| {
        let mean = sum / count;
        let std = (squares / count - mean * mean).max(0.0).sqrt();
        // A constant channel is only centred.
        ((mean + shift) as f32, if std < 1e-8 { 1.0 } else { std as f32 })
    });
    Ok(moments.unzip())
}
