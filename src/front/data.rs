//! `data { … }`: where the examples come from, how they are prepared and augmented.

use super::ast::Section;
use super::bind::Callee;
use super::codes;
use super::described::{Key, Takes};
use super::diag::Diagnostic;
use super::evaluate::Consts;
use super::function::{Called, FunctionSpec, Table};
use super::section::Reader;
use super::sink::Diagnostics;
use super::train;
use crate::ops::params::{Bounds, Param, ParamSpec, Word};
use ninc_runtime::spec::{Augment, DataSpec, Grey, Prepare, Resize, Source};

/// The key of the source.
pub const SOURCE: &str = "source";
/// The key of the preparation.
pub const PREPARE: &str = "prepare";
/// The key of the augmentations.
pub const AUGMENT: &str = "augment";
const VALID: Param<Option<f64>> =
    Param::float("valid", Bounds::POSITIVE, "Examples kept apart: a fraction below 1 or a count.").optional();
const ALLOW_EMPTY: Param<bool> = Param::bool("allow_empty", "Trains outputs without training images too.").or(false);
const GREY: Param<Grey> = Param::word("grey", "How colours become grey.").or_word("rec601");
const BACKGROUND: Param<Option<Vec<usize>>> =
    Param::ints("background", 0, 255, "What shows through transparent pixels: red, green, blue.").optional();
pub(super) const KEYS: &[Key] = &[
    Key { name: SOURCE, doc: "Where the examples come from.", takes: Takes::Function(|| SOURCES.described()) },
    Key {
        name: PREPARE,
        doc: "How images are prepared, step by step; fitted on the training part.",
        takes: Takes::Functions(|| PREPARATIONS.described()),
    },
    Key {
        name: AUGMENT,
        doc: "How training images are changed at random.",
        takes: Takes::Functions(|| AUGMENTATIONS.described()),
    },
    Key::constant(&[VALID.spec]),
    Key::constant(&[ALLOW_EMPTY.spec]),
    Key::constant(&[GREY.spec]),
    Key::constant(&[BACKGROUND.spec]),
];

impl Word for Resize {
    const WORDS: &'static [&'static str] = &["stretch", "crop"];

    fn from_word(word: &str) -> Option<Resize> {
        match word {
            "stretch" => Some(Resize::Stretch),
            "crop" => Some(Resize::Crop),
            _ => None,
        }
    }
}

impl Word for Grey {
    const WORDS: &'static [&'static str] = &["rec601", "rec709"];

    fn from_word(word: &str) -> Option<Grey> {
        match word {
            "rec601" => Some(Grey::Rec601),
            "rec709" => Some(Grey::Rec709),
            _ => None,
        }
    }
}

const PATH: Param<Option<String>> =
    Param::text("path", "Where the files are, relative to the model file.").optional().positional();
const EXTRA: Param<bool> = Param::bool("extra", "Trains on the additional part too.").or(false);
const RESIZE: Param<Resize> = Param::word("resize", "How pictures are brought to the input's size.").or_word("stretch");

/// A source with the path of its files.
type Located = (Source, Option<String>);

const fn located(
    name: &'static str,
    doc: &'static str,
    make: fn(&Called, &mut Diagnostics) -> Option<Located>,
) -> FunctionSpec<Located> {
    FunctionSpec { name, doc, params: &[PATH.spec], make }
}

const SOURCES: Table<Located> = Table {
    what: "a source",
    callee: Callee::Function,
    functions: &[
        FunctionSpec {
            name: "digits",
            doc: "The 1,797 handwritten digits of 8 x 8 pixels that come with ninc.",
            params: &[],
            make: |_, _| Some((Source::Digits, None)),
        },
        located("mnist", "Handwritten digits, 28 x 28 pixels, 10 classes.", |c, _| Some((Source::Mnist, c.get(PATH)))),
        located("fashion_mnist", "Pieces of clothing, 28 x 28 pixels, 10 classes.", |c, _| {
            Some((Source::FashionMnist, c.get(PATH)))
        }),
        located("cifar10", "Photographs of 32 x 32 pixels, 10 classes.", |c, _| Some((Source::Cifar10, c.get(PATH)))),
        located("cifar100", "Photographs of 32 x 32 pixels, 100 classes.", |c, _| {
            Some((Source::Cifar100, c.get(PATH)))
        }),
        FunctionSpec {
            name: "svhn",
            doc: "Street View House Numbers, 32 x 32 pixels, 10 classes.",
            params: &[PATH.spec, EXTRA.spec],
            make: |c, _| Some((Source::Svhn { extra: c.get(EXTRA) }, c.get(PATH))),
        },
        FunctionSpec {
            name: "folder",
            doc: "A folder of pictures, with a folder for each class.",
            params: &[PATH.spec, RESIZE.spec],
            make: |c, _| Some((Source::Folder { resize: c.get(RESIZE) }, c.get(PATH))),
        },
        located("npz", "Arrays of images and labels in a file of NumPy.", |c, _| Some((Source::Npz, c.get(PATH)))),
    ],
};

const FACTOR: Param<f64> = Param::float("factor", Bounds::POSITIVE, "Factor on bytes.").or(1.0 / 255.0).positional();
const MEAN: Param<Option<Vec<f64>>> = Param::floats("mean", Bounds::ANY, "The channels' means.").optional();
const STD: Param<Option<Vec<f64>>> =
    Param::floats("std", Bounds::POSITIVE, "The channels' standard deviations.").optional();
const SCALE: Param<f64> = Param::float("scale", Bounds::POSITIVE, "L2 norm of an image.").or(55.0).positional();
const EPSILON: Param<f64> =
    Param::float("epsilon", Bounds::POSITIVE, "Added to the covariance's diagonal.").or(0.1).positional();

const PREPARATIONS: Table<Prepare> = Table {
    what: "a preparation",
    callee: Callee::Function,
    functions: &[
        FunctionSpec {
            name: "scale",
            doc: "Multiplies all numbers by a factor.",
            params: &[FACTOR.spec],
            make: |c, _| Some(Prepare::Scale { factor: c.get(FACTOR) }),
        },
        FunctionSpec {
            name: "mean_std",
            doc: "Subtracts each channel's mean and divides by its standard deviation; fitted where not given.",
            params: &[MEAN.spec, STD.spec],
            make: |c, _| Some(Prepare::MeanStd { mean: c.get(MEAN), std: c.get(STD) }),
        },
        FunctionSpec {
            name: "gcn",
            doc: "Global contrast normalisation: centres each image and scales it to a norm.",
            params: &[SCALE.spec],
            make: |c, _| Some(Prepare::Gcn { scale: c.get(SCALE) }),
        },
        FunctionSpec {
            name: "zca",
            doc: "Whitens the images (ZCA), fitted on the training part.",
            params: &[EPSILON.spec],
            make: |c, _| Some(Prepare::Zca { epsilon: c.get(EPSILON) }),
        },
        FunctionSpec {
            name: "lcn",
            doc: "Local contrast normalisation: centres and scales each pixel by its neighbourhood.",
            params: &[],
            make: |_, _| Some(Prepare::Lcn),
        },
    ],
};

const PIXELS: Param<usize> = Param::int("pixels", 1, 1024, "A number of pixels.").positional();
const DEGREES: Param<f64> = Param::float("degrees", Bounds::POSITIVE, "The largest angle.").positional();
const BRIGHTNESS: Param<f64> =
    Param::float("brightness", Bounds::NOT_NEGATIVE, "The largest number added to pixels.").or(0.0);
const CONTRAST: Param<f64> = Param::float("contrast", Bounds::UNIT, "The largest change of the contrast.").or(0.0);
const ALPHA: Param<f64> = Param::float("alpha", Bounds::POSITIVE, "Parameter of the Beta distribution.").positional();
const PART: Param<Option<Vec<f64>>> =
    Param::floats("scale", Bounds::FRACTION, "The least and the largest part of the area.").optional();
const RATIO: Param<Option<Vec<f64>>> =
    Param::floats("ratio", Bounds::POSITIVE, "The least and the largest ratio of width to height.").optional();
const MORE: Bounds = Bounds::NOT_NEGATIVE;
const LIGHT: Param<f64> = Param::float("brightness", MORE, "The largest change of the factor on all bytes.").or(0.0);
const CONTRASTS: Param<f64> =
    Param::float("contrast", MORE, "The largest change of the factor around the mean.").or(0.0);
const SATURATION: Param<f64> =
    Param::float("saturation", MORE, "The largest change of the factor around the grey of a pixel.").or(0.0);
const HUE: Param<f64> = Param::float("hue", Bounds::closed(0.0, 0.5), "The largest turn of the colours.").or(0.0);
const OPS: Param<usize> = Param::int("ops", 1, 100, "Operations on a picture.").or(2);
const MAGNITUDE: Param<usize> = Param::int("magnitude", 0, 30, "Their strength.").or(9);
const PIXELS_ONLY: &[ParamSpec] = &[PIXELS.spec];
const MODE: Param<&str> = Param::one_of("mode", &["zeros", "reflect"], "What the border is made of.").or("zeros");
const ALTERNATING: Param<bool> = Param::bool("alternating", "Mirrors each image in every other epoch.").or(false);

const AUGMENTATIONS: Table<Augment> = Table {
    what: "an augmentation",
    callee: Callee::Function,
    functions: &[
        FunctionSpec {
            name: "pad_crop",
            doc: "Cuts a window of the image's size out of the image with a border around it.",
            params: &[PIXELS.spec, MODE.spec],
            make: |c, _| Some(Augment::PadCrop { pixels: c.get(PIXELS), reflect: c.get(MODE) == "reflect" }),
        },
        FunctionSpec {
            name: "shift",
            doc: "Moves the image by a random number of pixels.",
            params: PIXELS_ONLY,
            make: |c, _| Some(Augment::Shift { pixels: c.get(PIXELS) }),
        },
        FunctionSpec {
            name: "flip",
            doc: "Mirrors the image from left to right with probability 1/2.",
            params: &[ALTERNATING.spec],
            make: |c, _| Some(if c.get(ALTERNATING) { Augment::AlternatingFlip } else { Augment::Flip }),
        },
        FunctionSpec {
            name: "rotate",
            doc: "Turns the image by a random angle.",
            params: &[DEGREES.spec],
            make: |c, _| Some(Augment::Rotate { degrees: c.get(DEGREES) }),
        },
        FunctionSpec {
            name: "brightness_contrast",
            doc: "Adds a random number to all pixels and changes the contrast.",
            params: &[BRIGHTNESS.spec, CONTRAST.spec],
            make: |c, _| Some(Augment::BrightnessContrast { brightness: c.get(BRIGHTNESS), contrast: c.get(CONTRAST) }),
        },
        FunctionSpec {
            name: "cutout",
            doc: "Sets a random square to 0.",
            params: PIXELS_ONLY,
            make: |c, _| Some(Augment::Cutout { pixels: c.get(PIXELS) }),
        },
        FunctionSpec {
            name: "mixup",
            doc: "Mixes images and labels of a batch in pairs.",
            params: &[ALPHA.spec],
            make: |c, _| Some(Augment::Mixup { alpha: c.get(ALPHA) }),
        },
        FunctionSpec {
            name: "random_resized_crop",
            doc: "Cuts a random part out of the picture and brings it to the input's size.",
            params: &[PART.spec, RATIO.spec],
            make: resized_crop,
        },
        FunctionSpec {
            name: "color_jitter",
            doc: "Changes brightness, contrast, saturation and hue at random.",
            params: &[LIGHT.spec, CONTRASTS.spec, SATURATION.spec, HUE.spec],
            make: jitter,
        },
        FunctionSpec {
            name: "rand_augment",
            doc: "Does a few operations drawn from a list of changes of pictures.",
            params: &[OPS.spec, MAGNITUDE.spec],
            make: |c, _| Some(Augment::RandAugment { ops: c.get(OPS), magnitude: c.get(MAGNITUDE) }),
        },
    ],
};

fn resized_crop(called: &Called, sink: &mut Diagnostics) -> Option<Augment> {
    let mut range = |param: Param<Option<Vec<f64>>>, default: [f64; 2]| {
        let given = called.get(param).map_or(Ok(default), <[f64; 2]>::try_from);
        let range = given.ok().filter(|[low, high]| low <= high);
        if range.is_none() {
            let message = format!("`{}` is the least and the largest value", param.spec.name);
            let d = called.error(codes::OUT_OF_RANGE, param, &message);
            sink.report(d.help(format!("write for example `{} = {default:.2?}`", param.spec.name)));
        }
        range
    };
    let (scale, ratio) = (range(PART, [0.08, 1.0]), range(RATIO, [0.75, 4.0 / 3.0]));
    Some(Augment::RandomResizedCrop { scale: scale?, ratio: ratio? })
}

fn jitter(called: &Called, sink: &mut Diagnostics) -> Option<Augment> {
    let ranges = [called.get(LIGHT), called.get(CONTRASTS), called.get(SATURATION), called.get(HUE)];
    let [brightness, contrast, saturation, hue] = ranges;
    if ranges == [0.0; 4] {
        let d =
            Diagnostic::error(codes::MISSING_ARGUMENT, called.span, "`color_jitter` changes nothing without a range");
        sink.report(d.help("write for example `color_jitter(brightness = 0.2, saturation = 0.2)`"));
        return None;
    }
    Some(Augment::ColorJitter { brightness, contrast, saturation, hue })
}

/// What changes pictures as they are read comes before what changes prepared images.
fn ordered(augment: &[Augment], reader: &mut Reader) {
    let last = augment.iter().rposition(Augment::of_pictures).unwrap_or(0);
    let anywhere = |step: &Augment| matches!(step, Augment::Flip | Augment::AlternatingFlip);
    let early = augment[..last].iter().find(|step| !step.of_pictures() && !anywhere(step));
    if let (Some(early), Some(entry)) = (early, reader.entry(AUGMENT)) {
        let (late, early) = (augment[last].word(), early.word());
        let message = format!(
            "`{late}` changes pictures as they are read, so it cannot come after `{early}`, which changes them prepared"
        );
        let d = Diagnostic::error(codes::CONFLICT, entry.value.span, message);
        reader.report(d.help(format!("put `{late}` before `{early}`")));
    }
}

/// An image is flipped or not: a second flip would take back what the first one does.
fn flipped_once(augment: &[Augment], reader: &mut Reader) {
    let flips = augment.iter().filter(|step| matches!(step, Augment::Flip | Augment::AlternatingFlip)).count();
    if let (2.., Some(entry)) = (flips, reader.entry(AUGMENT)) {
        let message = "`flip` is given twice: the second takes back what the first one does";
        let d = Diagnostic::error(codes::CONFLICT, entry.value.span, message);
        reader.report(d.help("leave one of them out"));
    }
}

/// Reads a `data` section; `None` if it has no usable source, which is reported.
pub fn data(section: &Section, consts: &Consts, sink: &mut Diagnostics) -> Option<DataSpec> {
    let mut reader = Reader::new(section, "data", KEYS, elsewhere, consts, sink);
    let prepare = reader.functions(PREPARE, &PREPARATIONS);
    let augment = reader.functions(AUGMENT, &AUGMENTATIONS);
    ordered(&augment, &mut reader);
    flipped_once(&augment, &mut reader);
    let valid = valid(&mut reader);
    let allow_empty = reader.constant(ALLOW_EMPTY);
    let grey = reader.constant(GREY);
    let background = background(&mut reader);
    let Some(source) = reader.function(SOURCE, &SOURCES) else {
        let d = Diagnostic::error(codes::MISSING_KEY, section.word, "`data` needs a `source`");
        reader.report(d.help("write for example `source = digits`"));
        return None;
    };
    let (source, path) = source?;
    Some(DataSpec { source, path, prepare, augment, valid, allow_empty, grey, background })
}

fn elsewhere(key: &str) -> Option<String> {
    let train = || train::KEYS.iter().any(|k| k.name == key).then(|| format!("`{key}` is a key of `train`"));
    train().or_else(|| SOURCES.parameter(key, SOURCE))
}

/// Reads the validation part: a whole number counts examples, a fraction below 1 is a part of them.
fn valid(reader: &mut Reader) -> Option<f64> {
    let (v, entry) = (reader.constant(VALID)?, reader.entry_of(VALID)?);
    if v >= 1.0 && v.fract() != 0.0 {
        let message = format!("`valid` must be a fraction below 1 or a whole number of examples, not {v:?}");
        reader.report(Diagnostic::error(codes::OUT_OF_RANGE, entry.value.span, message));
    }
    Some(v)
}

/// Reads the background's colour; white unless said.
fn background(reader: &mut Reader) -> [u8; 3] {
    let (Some(colour), Some(entry)) = (reader.constant(BACKGROUND), reader.entry_of(BACKGROUND)) else {
        return [255; 3];
    };
    let bytes: Vec<u8> = colour.iter().filter_map(|&v| u8::try_from(v).ok()).collect();
    bytes.try_into().unwrap_or_else(|_| {
        let message = format!("`background` is red, green and blue, not {} numbers", colour.len());
        let d = Diagnostic::error(codes::WRONG_KIND, entry.value.span, message);
        reader.report(d.help("write for example `background = [255, 255, 255]`"));
        [255; 3]
    })
}

/// Returns shape `[channels, height, width]` and number of classes of the examples, where the source alone decides.
pub fn examples(source: &Source) -> Option<([usize; 3], usize)> {
    match source {
        Source::Digits => Some(([1, 8, 8], 10)),
        Source::Mnist | Source::FashionMnist => Some(([1, 28, 28], 10)),
        Source::Cifar10 | Source::Svhn { .. } => Some(([3, 32, 32], 10)),
        Source::Cifar100 => Some(([3, 32, 32], 100)),
        Source::Folder { .. } | Source::Npz => None,
    }
}

/// Returns the source's name in the language.
pub fn source_name(source: &Source) -> &'static str {
    match source {
        Source::Digits => "digits",
        Source::Mnist => "mnist",
        Source::FashionMnist => "fashion_mnist",
        Source::Cifar10 => "cifar10",
        Source::Cifar100 => "cifar100",
        Source::Svhn { .. } => "svhn",
        Source::Folder { .. } => "folder",
        Source::Npz => "npz",
    }
}
