//! What `ninc run` is given: pictures, and arrays of images as the training data had them or prepared ones.

use super::Args;
use crate::cli::contents;
use crate::cli::glob;
use crate::cli::numbers::{self, Reader};
use crate::cli::output::{self, Done, Failure, usage};
use crate::cli::preparation;
use crate::cli::sheet;
use ninc::model::Model;
use ninc::types::DType;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::data::range::{self, Range};
use ninc_runtime::data::{Values, channel_order, folder};
use ninc_runtime::train::views::View;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Feed, image, npy};
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
    let learned = numbers::learned(args.range, model, preparation).unwrap_or(Range::BYTES);
    let pictures = !args.inputs.iter().any(|path| is_array(path));
    match preparation.is_some() && pictures && learned.divisor() == Some(1.0) {
        true => DType::U8,
        false => DType::F32,
    }
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

impl Images {
    /// Reads all inputs for a network with the input `dims`; errors are shown in colour or not.
    pub fn read(args: &Args, model: &Model, dims: &[usize], weights: &Weights, color: bool) -> Done<Images> {
        let preparation = weights.preparation.as_ref();
        let reader = Reader::new(model, dims, weights, args.range, (args.raw, numbers::OPTIONS))?;
        let values = match dtype(args, model, preparation.map(Preparation::form)) {
            DType::U8 => Values::Bytes(vec![]),
            _ => Values::Floats(vec![]),
        };
        let mut images = Images { names: vec![], values, size: reader.size(), failed: 0 };
        let one = |path: &Path| -> Done<(Vec<String>, Values)> {
            let shown = path.display().to_string();
            if !is_array(path) {
                // A network without pictures says so before the file is looked at.
                reader.pictured()?;
                return Ok((vec![shown], reader.picture(&image::contents(path)?, path)?));
            }
            let array = npy::array(path)?;
            let (count, values) = reader.numbers(&shown, &array.dims.clone(), range::numbers(array))?;
            if let (Some(preparation), Ok([3, ..]), true) = (preparation, reader.image(), reader.prepares()) {
                let images = values.chunks_exact(values.len() / count);
                preparation::note_order(&shown, preparation, &images.map(channel_order::means).collect::<Vec<_>>());
            }
            let name = |i: usize| if count == 1 { shown.clone() } else { format!("{shown}[{i}]") };
            Ok(((0..count).map(name).collect(), Values::Floats(values)))
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
    pub fn add(&mut self, more: Values) {
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
