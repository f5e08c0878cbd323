//! What `ninc run` is given: pictures, and arrays of images as the training data had them or prepared ones.

use super::Args;
use crate::cli::contents;
use crate::cli::glob;
use crate::cli::model_file::{self, image_dims};
use crate::cli::output::{self, Done, Failure, usage};
use crate::cli::preparation;
use crate::cli::sheet;
use ninc::model::Model;
use ninc::types::DType;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::data::range::{self, Range};
use ninc_runtime::data::{Values, channel_order, folder, layout};
use ninc_runtime::finite::first_broken;
use ninc_runtime::image::picture;
use ninc_runtime::train::views::View;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Feed, npy};
use std::path::{Path, PathBuf};

/// All images as the program takes them, and what each is called.
pub struct Images {
    /// Of each image.
    pub names: Vec<String>,
    /// All numbers, of the type that [`dtype`] says.
    pub values: Values,
    /// Numbers of an image.
    pub size: usize,
    /// Inputs that could not be read, which was said.
    pub failed: usize,
}

/// An array, not a picture?
pub fn is_array(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"))
}

/// The inputs with the files that fit a pattern, and the pictures of folders, in their place; says which files of
/// folders are left out.
pub fn expanded(inputs: &[PathBuf]) -> Done<Vec<PathBuf>> {
    let mut named = Vec::new();
    for path in inputs {
        match glob::files(path)? {
            Some(files) => named.extend(files),
            None => named.push(path.clone()),
        }
    }
    let mut all = Vec::new();
    for path in &named {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let (pictures, reading) = folder::pictures_in(path)?;
        let left_out = contents::left_out(&reading);
        if !left_out.is_empty() {
            output::note(left_out.trim_end());
        }
        all.extend(pictures);
    }
    Ok(all)
}

/// What a program behind this preparation takes: bytes where all inputs are pictures and the training data's numbers
/// were theirs.
pub fn dtype(args: &Args, model: &Model, preparation: Option<&Form>) -> DType {
    let learned = learned(args, model, preparation).unwrap_or(Range::BYTES);
    let pictures = !args.inputs.iter().any(|path| is_array(path));
    match preparation.is_some() && pictures && learned.divisor() == Some(1.0) {
        true => DType::U8,
        false => DType::F32,
    }
}

/// The range of the training data's numbers: as the weights state it, else as `--range` does, else as the model and its
/// preparation suggest.
fn learned(args: &Args, model: &Model, preparation: Option<&Form>) -> Option<Range> {
    let stated = preparation.and_then(Form::stated_range);
    stated.or(args.range).or_else(|| model_file::range(model, preparation))
}

/// Options that contradict the inputs are refused before anything is computed.
pub fn check(args: &Args) -> Done {
    match args.inputs.iter().find(|path| args.raw && !is_array(path)) {
        Some(picture) => Err(usage(
            format!("--raw is for arrays, and {} is a picture", picture.display()),
            "pictures are prepared as the training data were: leave --raw away, or run the arrays on their own",
        )),
        None => Ok(()),
    }
}

/// What a number of an input means.
struct Meaning<'a> {
    args: &'a Args,
    /// Of an image, before preparation.
    image: [usize; 3],
    /// The network's own input.
    dims: &'a [usize],
    /// What the program does to images; `None` where they are prepared already, or nobody knows how.
    preparation: Option<&'a Preparation>,
    /// The range of the training data, where it is known.
    learned: Option<Range>,
}

/// Refuses a range that contradicts the one that the weights state.
fn check_range(args: &Args, form: Option<&Form>) -> Done {
    if let (Some(given), Some(stated)) = (args.range, form.and_then(Form::stated_range))
        && given.unlike(stated).is_some()
    {
        return Err(usage(
            format!("the weights learned from numbers of {stated}, not of {given} as --range says"),
            "leave --range out: it is for weights that do not say it",
        ));
    }
    Ok(())
}

impl Images {
    /// Reads all inputs for a network with the input `dims`; errors are shown in colour or not.
    pub fn read(args: &Args, model: &Model, dims: &[usize], weights: &Weights, color: bool) -> Done<Images> {
        let preparation = weights.preparation.as_ref();
        // A network on flat features still gets images of the shape that its training data had.
        let image = preparation.map_or_else(|| image_dims(dims), |p| Ok(p.dims()));
        let form = preparation.map(Preparation::form);
        check_range(args, form)?;
        let learned = learned(args, model, form);
        // Without steps, and without anybody who knows better, numbers mean themselves.
        let steps = preparation.is_some_and(|p| !p.spec().is_empty());
        let prepared = preparation.is_some() && !args.raw && (steps || learned.is_some());
        let pictures = model_file::pictures(model, Some(weights));
        let values = match dtype(args, model, form) {
            DType::U8 => Values::Bytes(vec![]),
            _ => Values::Floats(vec![]),
        };
        let size = dims.iter().product();
        let mut images = Images { names: vec![], values, size, failed: 0 };
        let one = |path: &Path| -> Done<(Vec<String>, Values)> {
            let shown = path.display().to_string();
            if is_array(path) {
                // Networks without pictures still have arrays.
                let image = image.as_ref().map_or([1, 1, size], |image| *image);
                let preparation = preparation.filter(|_| prepared);
                let meaning = Meaning { args, image, dims, preparation, learned };
                let (count, values) = meaning.array(path)?;
                let name = |i: usize| if count == 1 { shown.clone() } else { format!("{shown}[{i}]") };
                return Ok(((0..count).map(name).collect(), Values::Floats(values)));
            }
            let shape = image.as_ref().map_or_else(|_| image_dims(dims), |shape| Ok(*shape))?;
            let divisor = learned.unwrap_or(Range::BYTES).divisor().ok_or_else(|| {
                let range = learned.unwrap_or(Range::BYTES);
                Error::new(format!("{shown} is a picture, but the weights learned from numbers of {range}"))
                    .with_help("how pictures became such numbers is not known: do it to them, and give .npy arrays")
            })?;
            let bytes = picture(path, shape, &pictures)?;
            let values = match divisor == 1.0 {
                true => Values::Bytes(bytes),
                false => Values::Floats(bytes.into_iter().map(|v| f32::from(v) / divisor).collect()),
            };
            Ok((vec![shown], values))
        };
        for path in &args.inputs {
            match one(path) {
                Ok((names, values)) => {
                    images.names.extend(names);
                    images.add(values);
                }
                // The others have an answer all the same.
                Err(Failure::Error(e)) if args.inputs.len() > 1 => {
                    output::complain(&e, color);
                    images.failed += 1;
                }
                Err(other) => return Err(other),
            }
        }
        if images.failed == args.inputs.len() {
            return Err(Failure::Shown);
        }
        Ok(images)
    }

    /// Adds numbers.
    fn add(&mut self, more: Values) {
        match (&mut self.values, more) {
            (Values::Bytes(all), Values::Bytes(more)) => all.extend(more),
            (own, more) => {
                let mut all = std::mem::replace(own, Values::Floats(vec![])).into_floats();
                all.extend(more.into_floats());
                *own = Values::Floats(all);
            }
        }
    }

    /// Returns the bytes that show an image; numbers of arrays from the least to the largest.
    pub fn shown(&self, image: usize) -> Vec<u8> {
        match &self.values {
            Values::Bytes(bytes) => bytes[image * self.size..][..self.size].to_vec(),
            Values::Floats(floats) => sheet::bytes(&floats[image * self.size..][..self.size], false),
        }
    }

    /// Returns these images of `dims` in a view; `None` where that is as they are.
    pub fn view(&self, view: &View, dims: [usize; 3]) -> Option<Images> {
        let values = view.of(self.values.feed(), dims)?;
        Some(Images { names: vec![], values, size: self.size, failed: 0 })
    }

    /// What the program gets, at most `batch` images in a run.
    pub fn feeds(&self, batch: usize) -> Vec<Feed<'_>> {
        match &self.values {
            Values::Bytes(bytes) => bytes.chunks(batch * self.size).map(Feed::U8).collect(),
            Values::Floats(floats) => floats.chunks(batch * self.size).map(Feed::F32).collect(),
        }
    }
}

impl Meaning<'_> {
    /// The number of images in an array, and their numbers.
    fn array(&self, path: &Path) -> Done<(usize, Vec<f32>)> {
        let shown = path.display().to_string();
        let array = npy::array(path)?;
        // Raw arrays have the shape of the network's own input.
        let raw = array.dims == self.dims || array.dims.get(1..) == Some(self.dims);
        let count = match raw {
            true if array.dims == self.dims => 1,
            true => array.dims[0],
            false => layout::count(&shown, &array.dims, self.image)?,
        };
        if count == 0 {
            return Err(usage(format!("{shown} holds no images"), "give at least one image"));
        }
        // Prepared ones mean themselves.
        let Some(preparation) = self.preparation else {
            let values = array.floats();
            finite(&shown, count, &values)?;
            return Ok((count, values));
        };
        let values = range::numbers(array);
        let bytes = matches!(values, Values::Bytes(_));
        let mut values = values.into_floats();
        finite(&shown, count, &values)?;
        let divisor =
            self.divisor(&shown, bytes, if bytes { Range::BYTES } else { Range::of(values.iter().copied()) })?;
        if divisor != 1.0 {
            values.iter_mut().for_each(|v| *v /= divisor);
        }
        if self.image[0] == 3 {
            let images = values.chunks_exact(values.len() / count);
            preparation::note_order(&shown, preparation, &images.map(channel_order::means).collect::<Vec<_>>());
        }
        Ok((count, values))
    }

    /// What the numbers of an array are divided by, which run from and to `found`.
    fn divisor(&self, shown: &str, bytes: bool, found: Range) -> Done<f32> {
        match (self.args.range, self.learned) {
            (Some(given), _) if !bytes && (found.low < given.low || found.high > given.high) => {
                Err(Error::new(format!("{shown} holds numbers from {found}, which is beyond --range"))
                    .with_help("--range LOW,HIGH is what the numbers of the training data ran from and to")
                    .into())
            }
            // Whoever says it vouches for the array.
            (Some(_), _) if !bytes => Ok(1.0),
            (_, Some(learned)) => Ok(found.taken(bytes, shown, learned)?),
            (_, None) => Err(usage(
                format!("the weights do not say from which range of numbers they learned, and {shown} has {found}"),
                "say it with `--range 0,255` or `--range 0,1`, or with `--raw` that the array is prepared already",
            )),
        }
    }
}

/// An image of an array that holds a value which is not finite is an error.
fn finite(shown: &str, count: usize, values: &[f32]) -> Done {
    let Some((at, what)) = first_broken(values) else { return Ok(()) };
    let image = if count == 1 { String::new() } else { format!("[{}]", at / (values.len() / count).max(1)) };
    let error = Error::new(format!("{shown}{image} holds a value that is {what}"));
    Err(error.with_help("a network takes numbers: NaN and infinities give none").into())
}
