//! Preparation of images: fitted on the training part alone, kept with the weights, applied to every input alike by
//! programs that are compiled for it.

use super::preparer::{Compile, Prepared, Preparer};
use super::range::Range;
use super::{Dataset, moments, zca};
use crate::finite::first_broken;
use crate::plan::DType;
use crate::spec::{Pictures, Prepare};
use crate::{Error, Result, Tensor};

/// One fitted step.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Scale {
        factor: f32,
    },
    /// Subtracts a mean and divides by a standard deviation, channel by channel.
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

/// A step of a model file, before anything is fitted.
enum Written<'a> {
    /// All of its numbers are given.
    Whole(Step),
    /// The mean, the standard deviation or both are to be fitted.
    MeanStd { mean: &'a Option<Vec<f64>>, std: &'a Option<Vec<f64>> },
    /// Mean and matrix are to be fitted.
    Zca { epsilon: f64 },
}

impl Written<'_> {
    fn of(prepare: &Prepare, dims: [usize; 3]) -> Result<Written<'_>> {
        Ok(Written::Whole(match prepare {
            Prepare::Scale { factor } => Step::Scale { factor: *factor as f32 },
            Prepare::MeanStd { mean: Some(mean), std: Some(std) } => {
                Step::MeanStd { mean: per_channel("mean", mean, dims[0])?, std: per_channel("std", std, dims[0])? }
            }
            Prepare::MeanStd { mean, std } => return Ok(Written::MeanStd { mean, std }),
            Prepare::Gcn { scale } => Step::Gcn { scale: *scale as f32 },
            Prepare::Zca { epsilon } => return Ok(Written::Zca { epsilon: *epsilon }),
            Prepare::Lcn => Step::Lcn,
        }))
    }
}

impl Step {
    /// Returns its numbers, in the order of [`Form::shapes`].
    fn numbers(&self) -> Vec<&[f32]> {
        match self {
            Step::Scale { factor: number } | Step::Gcn { scale: number } => vec![std::slice::from_ref(number)],
            Step::MeanStd { mean: first, std: second } | Step::Zca { mean: first, matrix: second } => {
                vec![first, second]
            }
            Step::Lcn => vec![],
        }
    }
}

/// What a preparation does and to which images, without its fitted numbers: all that compiling it takes.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Form {
    spec: Vec<Prepare>,
    dims: [usize; 3],
    range: Option<Range>,
}

impl Form {
    /// Makes the form for images of `[channels, height, width]`; an image without numbers is an error.
    pub fn new(spec: Vec<Prepare>, dims: [usize; 3]) -> Result<Form> {
        match dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) {
            Some(1..) => Ok(Form { spec, dims, range: None }),
            _ => Err(Error::new(format!("the stored preparation is for images of the size {dims:?}"))),
        }
    }

    /// Returns the steps as the model file says them.
    pub fn spec(&self) -> &[Prepare] {
        &self.spec
    }

    /// The size of the images.
    pub fn dims(&self) -> [usize; 3] {
        self.dims
    }

    /// Sets the range of the training data's numbers.
    pub fn of_range(self, range: Option<Range>) -> Form {
        Form { range, ..self }
    }

    /// Returns the range, where it was given and not concluded.
    pub fn stated_range(&self) -> Option<Range> {
        self.range
    }

    /// Returns the range of the training data's numbers. Former versions did not keep it, but what was scaled were
    /// bytes.
    pub fn range(&self) -> Option<Range> {
        let bytes = matches!(self.spec.first(), Some(Prepare::Scale { factor }) if *factor < 0.02);
        self.range.or(bytes.then_some(Range::BYTES))
    }

    /// Returns names and shapes of the fitted numbers: `prepare.0.mean`, … (no layer can have such a name).
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (channels, size) = (self.dims[0], self.dims.iter().product());
        let mut shapes = Vec::new();
        for (i, step) in self.spec.iter().enumerate() {
            let of_step = match step {
                Prepare::Scale { .. } => vec![("factor", vec![])],
                Prepare::MeanStd { .. } => vec![("mean", vec![channels]), ("std", vec![channels])],
                Prepare::Gcn { .. } => vec![("scale", vec![])],
                Prepare::Zca { .. } => vec![("mean", vec![size]), ("matrix", vec![size, size])],
                Prepare::Lcn => vec![],
            };
            shapes.extend(of_step.into_iter().map(|(name, dims)| (format!("prepare.{i}.{name}"), dims)));
        }
        shapes
    }
}

/// All steps, in the order of the model file. Without any, images stay as they are: 0 to 255.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Preparation {
    form: Form,
    steps: Vec<Step>,
    pictures: Option<Pictures>,
    /// Channels that were constant when a `mean_std` was fitted: it only centres them.
    centred: Vec<usize>,
}

impl Preparation {
    /// Leaves images of `dims` as they are.
    pub fn without_steps(dims: [usize; 3]) -> Result<Preparation> {
        Ok(Preparation { form: Form::new(vec![], dims)?, ..Preparation::default() })
    }

    /// Makes the steps of which the model file gives all numbers, for images of `dims`; `None` where one is to be
    /// fitted.
    pub fn given(spec: &[Prepare], dims: [usize; 3]) -> Result<Option<Preparation>> {
        let mut steps = Vec::new();
        for prepare in spec {
            let Written::Whole(step) = Written::of(prepare, dims)? else { return Ok(None) };
            steps.push(step);
        }
        Ok(Some(Preparation { form: Form::new(spec.to_vec(), dims)?, steps, ..Preparation::default() }))
    }

    /// Fits the steps to the training part, each to what the ones before it, compiled, make of it.
    pub fn fit(spec: &[Prepare], train: &Dataset, compile: &Compile) -> Result<Preparation> {
        let dims = train.images.dims;
        let mut fitted = Preparation { form: Form { dims, ..Form::default() }, ..Preparation::default() };
        for prepare in spec {
            let step = match Written::of(prepare, dims)? {
                Written::Whole(step) => step,
                _ if train.is_empty() => {
                    return Err(Error::new(
                        "`prepare` is fitted to the training part of the data, which has no images",
                    )
                    .with_help("`mean_std(mean = [...], std = [...])` needs none"));
                }
                Written::MeanStd { mean, std } => {
                    let (fitted_mean, mut fitted_std) = fitted.moments(train, compile)?;
                    if std.is_none() {
                        fitted.centred = (0..fitted_std.len()).filter(|&c| fitted_std[c] == 0.0).collect();
                    }
                    fitted_std.iter_mut().filter(|std| **std == 0.0).for_each(|std| *std = 1.0);
                    let given = |name, given: &Option<Vec<f64>>, fitted| match given {
                        Some(values) => per_channel(name, values, dims[0]),
                        None => Ok(fitted),
                    };
                    Step::MeanStd { mean: given("mean", mean, fitted_mean)?, std: given("std", std, fitted_std)? }
                }
                Written::Zca { epsilon } => {
                    let mut images = fitted.prepared(train, compile)?;
                    let read = |item: usize, target: &mut [f32]| images.copy(item, target);
                    let (mean, matrix) = zca::fit(train.len(), train.images.size(), epsilon, read)?;
                    Step::Zca { mean, matrix }
                }
            };
            fitted.steps.push(step);
            fitted.form.spec.push(prepare.clone());
        }
        fitted.finite("the preparation fitted to these images").map_err(|e| {
            e.with_help(
                "the values of the images are too large for float32: scale them first, `prepare = [scale(1e-6), …]`",
            )
        })?;
        Ok(fitted)
    }

    /// Refuses numbers that are not finite; `what` they belong to.
    fn finite(&self, what: &str) -> Result<()> {
        for (name, dims, data) in self.numbers() {
            if let Some((at, value)) = first_broken(data) {
                return Err(Error::new(format!("{what}: value {at} of `{name}` {dims:?} is {value}")));
            }
        }
        Ok(())
    }

    /// Returns mean and standard deviation of each channel of what this makes of the images.
    fn moments(&self, train: &Dataset, compile: &Compile) -> Result<(Vec<f32>, Vec<f32>)> {
        if self.steps.is_empty() && train.images.dtype() == DType::U8 {
            return moments::of_bytes(train);
        }
        moments::of_floats(&mut self.prepared(train, compile)?, train)
    }

    fn prepared<'a>(&self, set: &'a Dataset, compile: &Compile) -> Result<Prepared<'a>> {
        Ok(Prepared::new(set, Preparer::new(self, set.images.dtype(), compile)?))
    }

    /// Sets how pictures are read, and the range of the training data's numbers.
    pub fn of_inputs(self, pictures: Option<Pictures>, range: Option<Range>) -> Preparation {
        Preparation { pictures, form: self.form.of_range(range), ..self }
    }

    /// Like [`Form::range`].
    pub fn range(&self) -> Option<Range> {
        self.form.range()
    }

    /// Returns the means of the channels before all steps, where a `mean_std` behind nothing but `scale` knows them.
    pub fn channel_means(&self) -> Option<Vec<f64>> {
        let mut factor = 1.0;
        for step in &self.steps {
            match step {
                Step::Scale { factor: by } => factor *= f64::from(*by),
                Step::MeanStd { mean, .. } => return Some(mean.iter().map(|&m| f64::from(m) / factor).collect()),
                _ => return None,
            }
        }
        None
    }

    /// Returns the channels that a fitted `mean_std` only centres, because they were constant; weights do not keep it.
    pub fn only_centred(&self) -> &[usize] {
        &self.centred
    }

    /// Returns how pictures are read before all steps; weights of former versions do not say.
    pub fn pictures(&self) -> Option<Pictures> {
        self.pictures
    }

    /// Brings prepared images back to bytes, or near them where they were changed since. `false`, and nothing done,
    /// where a step has no way back or nobody knows how the data's numbers were made of bytes.
    pub fn undo(&self, images: &mut [f32]) -> bool {
        let back = |step: &Step| matches!(step, Step::Scale { .. } | Step::MeanStd { .. });
        let Some(by) = self.range().unwrap_or(Range::BYTES).divisor().filter(|_| self.steps.iter().all(back)) else {
            return false;
        };
        let [channels, height, width] = self.dims();
        for (plane, pixels) in images.chunks_exact_mut((height * width).max(1)).enumerate() {
            for value in pixels {
                *value = self.steps.iter().rev().fold(*value, |v, step| match step {
                    Step::Scale { factor } => v / factor,
                    Step::MeanStd { mean, std } => v * std[plane % channels] + mean[plane % channels],
                    _ => v,
                }) * by;
            }
        }
        true
    }

    /// Refuses data of another size than it was fitted to, or of numbers that mean something else.
    pub fn check(&self, set: &Dataset) -> Result<()> {
        let (fitted, dims) = (self.dims(), set.images.dims);
        if fitted != dims {
            return Err(Error::new(format!("the weights were trained on images of {fitted:?}, the data has {dims:?}"))
                .with_help("are these the weights for this data?"));
        }
        let bytes = set.images.dtype() == DType::U8;
        self.range().map_or(Ok(()), |learned| set.range().taken(bytes, "the data", learned).map(drop))
    }

    /// Does a step cost so much for each image that a data set is better prepared once than in each epoch?
    pub fn is_heavy(&self) -> bool {
        self.steps.iter().any(|s| matches!(s, Step::Zca { .. } | Step::Lcn))
    }

    /// Returns what it does and to which images.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Like [`Form::spec`].
    pub fn spec(&self) -> &[Prepare] {
        self.form.spec()
    }

    /// Like [`Form::dims`].
    pub fn dims(&self) -> [usize; 3] {
        self.form.dims()
    }

    /// Returns all numbers, with their names and shapes as in [`Form::shapes`].
    pub fn numbers(&self) -> Vec<(String, Vec<usize>, &[f32])> {
        let numbers = self.steps.iter().flat_map(Step::numbers);
        self.form.shapes().into_iter().zip(numbers).map(|((name, dims), data)| (name, dims, data)).collect()
    }

    /// Returns all numbers as tensors, for files: they come back bit for bit.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let tensor = |(name, dims, data): (String, Vec<usize>, &[f32])| (name, Tensor { dims, data: data.to_vec() });
        self.numbers().into_iter().map(tensor).collect()
    }

    /// Makes a preparation of the tensors that [`Preparation::tensors`] gave.
    pub fn from_tensors(form: Form, find: impl Fn(&str) -> Option<Tensor>) -> Result<Preparation> {
        let value = |(name, shape): (String, Vec<usize>)| match find(&name) {
            Some(t) if t.dims == shape => Ok(t.data),
            Some(t) => Err(Error::new(format!("{name} has the shape {:?} instead of {shape:?}", t.dims))),
            None => Err(Error::new(format!("the stored preparation lacks {name}"))),
        };
        let mut values = form.shapes().into_iter().map(value).collect::<Result<Vec<_>>>()?.into_iter();
        let mut next = || values.next().unwrap_or_default();
        let step = |prepare: &Prepare| match prepare {
            Prepare::Scale { .. } => Step::Scale { factor: next()[0] },
            Prepare::MeanStd { .. } => Step::MeanStd { mean: next(), std: next() },
            Prepare::Gcn { .. } => Step::Gcn { scale: next()[0] },
            Prepare::Zca { .. } => Step::Zca { mean: next(), matrix: next() },
            Prepare::Lcn => Step::Lcn,
        };
        let steps = form.spec.iter().map(step).collect();
        let preparation = Preparation { form, steps, ..Preparation::default() };
        preparation.finite("the stored preparation").map(|()| preparation)
    }
}

/// Expands one number for all channels, or one for each, to one for each; another count is an error.
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
