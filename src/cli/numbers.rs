//! What numbers and pictures that come from outside mean to a network: which shape they have, what they are divided by,
//! and whether they are like those that the weights learned from.

use super::model_file::{self, image_dims, picture_dims};
use super::output::{Done, usage};
use ninc::model::Model;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::data::range::Range;
use ninc_runtime::data::{Values, layout};
use ninc_runtime::finite::first_broken;
use ninc_runtime::spec::Pictures;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, image};
use std::path::Path;

/// How whoever gives the numbers says what they mean, for messages.
#[derive(Clone, Copy)]
pub struct Words {
    /// That they are prepared already.
    pub raw: &'static str,
    /// What those of the training data ran from and to.
    pub range: &'static str,
}

/// The words of commands.
pub const OPTIONS: Words = Words { raw: "`--raw`", range: "`--range 0,255`" };

/// Reads images for one network.
pub struct Reader {
    words: Words,
    /// The network's own input.
    dims: Vec<usize>,
    /// Of an image, before preparation; `None` for networks that take no pictures.
    image: Option<[usize; 3]>,
    /// Are numbers those of images before a preparation? Else they mean themselves.
    prepared: bool,
    /// The range that `--range` gave.
    given: Option<Range>,
    /// The range of the training data, where it is known.
    learned: Option<Range>,
    /// How pictures become bytes.
    pictures: Pictures,
}

/// The range of the training data's numbers: as the weights state it, else as `--range` does, else as the model and its
/// preparation suggest.
pub fn learned(given: Option<Range>, model: &Model, preparation: Option<&Form>) -> Option<Range> {
    let stated = preparation.and_then(Form::stated_range);
    stated.or(given).or_else(|| model_file::range(model, preparation))
}

/// Reads the range of `--range`.
pub fn range(text: &str) -> Result<Range, String> {
    let ends = text.split_once(',').and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)));
    match ends {
        Some((low, high)) if f32::is_finite(low) && f32::is_finite(high) && low < high => Ok(Range { low, high }),
        _ => Err("expected LOW,HIGH like `0,255`".into()),
    }
}

/// Refuses a range that contradicts the one that the weights state.
fn check_range(given: Option<Range>, form: Option<&Form>) -> Done {
    if let (Some(given), Some(stated)) = (given, form.and_then(Form::stated_range))
        && given.unlike(stated).is_some()
    {
        return Err(usage(
            format!("the weights learned from numbers of {stated}, not of {given} as --range says"),
            "leave --range out: it is for weights that do not say it",
        ));
    }
    Ok(())
}

impl Reader {
    /// Makes a reader for a network with the input `dims` and weights that hold their preparation. Numbers are prepared
    /// already where `raw` says so.
    pub fn new(
        model: &Model,
        dims: &[usize],
        weights: &Weights,
        given: Option<Range>,
        (is_raw, words): (bool, Words),
    ) -> Done<Reader> {
        let preparation = weights.preparation.as_ref();
        let form = preparation.map(Preparation::form);
        check_range(given, form)?;
        let learned = learned(given, model, form);
        // Without steps, and without anybody who knows better, numbers mean themselves.
        let steps = preparation.is_some_and(|p| !p.spec().is_empty());
        Ok(Reader {
            words,
            dims: dims.to_vec(),
            // A network on flat features still gets images of the shape that its training data had.
            image: preparation.map_or_else(|| image_dims(dims).ok(), |p| Some(p.dims())),
            prepared: preparation.is_some() && !is_raw && (steps || learned.is_some()),
            given,
            learned,
            pictures: model_file::pictures(model, Some(weights)),
        })
    }

    /// Returns what an image consists of before preparation: channels, height, width.
    pub fn image(&self) -> Done<[usize; 3]> {
        self.image.map_or_else(|| image_dims(&self.dims), Ok)
    }

    /// Returns the same for pictures, which not all networks take.
    pub fn pictured(&self) -> Done<[usize; 3]> {
        picture_dims(&self.dims, self.image)
    }

    /// Is something done to numbers before the network gets them?
    pub fn prepares(&self) -> bool {
        self.prepared
    }

    /// Returns the shape of the network's own input.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Numbers of an image.
    pub fn size(&self) -> usize {
        self.dims.iter().product()
    }

    /// Decodes a picture into bytes, or into numbers where the training data were no bytes. `shown` is its name.
    pub fn picture(&self, bytes: &[u8], shown: &Path) -> Done<Values> {
        let shape = self.pictured()?;
        let learned = self.learned.unwrap_or(Range::BYTES);
        let divisor = learned.divisor().ok_or_else(|| {
            Error::new(format!("{} is a picture, but the weights learned from numbers of {learned}", shown.display()))
                .with_help("how pictures became such numbers is not known: do it to them, and give .npy arrays")
        })?;
        let bytes = image::of_contents(bytes, shown, shape, &self.pictures)?;
        Ok(match divisor == 1.0 {
            true => Values::Bytes(bytes),
            false => Values::Floats(bytes.into_iter().map(|v| f32::from(v) / divisor).collect()),
        })
    }

    /// Returns the number of images in an array of this shape, and their numbers as the program takes them.
    pub fn numbers(&self, shown: &str, dims: &[usize], values: Values) -> Done<(usize, Vec<f32>)> {
        let count = self.count(shown, dims)?;
        let bytes = matches!(values, Values::Bytes(_));
        let mut values = values.into_floats();
        let divisor = self.meaning(shown, count, &values, bytes)?;
        if divisor != 1.0 {
            values.iter_mut().for_each(|v| *v /= divisor);
        }
        Ok((count, values))
    }

    /// Returns the number of images in an array of this shape.
    pub fn count(&self, shown: &str, dims: &[usize]) -> Done<usize> {
        // Networks without pictures still have arrays.
        let image = self.image.unwrap_or([1, 1, self.size()]);
        // Raw arrays have the shape of the network's own input.
        let raw = *dims == self.dims || dims.get(1..) == Some(&self.dims);
        let count = match raw {
            true if *dims == self.dims => 1,
            true => dims[0],
            false => layout::count(shown, dims, image)?,
        };
        if count == 0 {
            return Err(usage(format!("{shown} holds no images"), "give at least one image"));
        }
        Ok(count)
    }

    /// Returns what the numbers of `count` images are divided by; of `bytes` none need be given.
    pub fn meaning(&self, shown: &str, count: usize, values: &[f32], bytes: bool) -> Done<f32> {
        finite(shown, count, values)?;
        // Prepared ones mean themselves.
        if !self.prepared {
            return Ok(1.0);
        }
        let found = if bytes { Range::BYTES } else { Range::of(values.iter().copied()) };
        self.divisor(shown, bytes, found)
    }

    /// What the numbers of an array are divided by, which run from and to `found`.
    fn divisor(&self, shown: &str, bytes: bool, found: Range) -> Done<f32> {
        match (self.given, self.learned) {
            (Some(given), _) if !bytes && (found.low < given.low || found.high > given.high) => {
                Err(Error::new(format!("{shown} holds numbers from {found}, which is beyond {given}"))
                    .with_help(format!("{} says what the training data's ran from and to", self.words.range))
                    .into())
            }
            // Whoever says it vouches for the array.
            (Some(_), _) if !bytes => Ok(1.0),
            (_, Some(learned)) => Ok(found.taken(bytes, shown, learned).map_err(|e| self.or_said(e))?),
            (_, None) => Err(usage(
                format!("the weights do not say from which range of numbers they learned, and {shown} has {found}"),
                format!(
                    "say it with {} or the like, or with {} that the array is prepared already",
                    self.words.range, self.words.raw
                ),
            )),
        }
    }

    /// Adds how to say that refused numbers are right all the same.
    fn or_said(&self, e: Error) -> Error {
        let help = e.help.clone().unwrap_or_default();
        let Words { raw, range } = self.words;
        e.with_help(format!(
            "{help}; where they are right, say with {raw} that they are prepared, or with {range} or the like what the \
             training data's ran from and to"
        ))
    }
}

/// An image of an array that holds a value which is not finite is an error.
fn finite(shown: &str, count: usize, values: &[f32]) -> Done {
    let Some((at, what)) = first_broken(values) else { return Ok(()) };
    let image = if count == 1 { String::new() } else { format!("[{}]", at / (values.len() / count).max(1)) };
    let error = Error::new(format!("{shown}{image} holds a value that is {what}"));
    Err(error.with_help("a network takes numbers: NaN and infinities give none").into())
}
