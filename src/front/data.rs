//! `data { … }`: where the examples come from, how they are prepared and augmented.

use super::ast::Section;
use super::codes;
use super::diag::Diagnostic;
use super::lower::Lower;
use super::section::{Called, Fun, named, positional, required};
use crate::ops::params::{Arg, Bounds, Kind};
use ninc_runtime::spec::{Augment, DataSpec, Prepare, Resize, Source};

const KEYS: &[&str] = &["source", "prepare", "augment", "valid"];

const SOURCES: &[Fun] = &[
    Fun { name: "digits", params: &[] },
    Fun { name: "mnist", params: &[positional("path", Kind::Text)] },
    Fun { name: "fashion_mnist", params: &[positional("path", Kind::Text)] },
    Fun { name: "cifar10", params: &[positional("path", Kind::Text)] },
    Fun { name: "cifar100", params: &[positional("path", Kind::Text)] },
    Fun { name: "svhn", params: &[positional("path", Kind::Text), named("extra", Kind::Bool)] },
    Fun {
        name: "folder",
        params: &[positional("path", Kind::Text), named("resize", Kind::Word(&["stretch", "crop"]))],
    },
    Fun { name: "npz", params: &[positional("path", Kind::Text)] },
];

const PREPARE: &[Fun] = &[
    Fun { name: "scale", params: &[positional("factor", Kind::Float(Bounds::POSITIVE))] },
    Fun {
        name: "mean_std",
        params: &[named("mean", Kind::Floats(Bounds::ANY)), named("std", Kind::Floats(Bounds::POSITIVE))],
    },
    Fun { name: "gcn", params: &[positional("scale", Kind::Float(Bounds::POSITIVE))] },
    Fun { name: "zca", params: &[positional("epsilon", Kind::Float(Bounds::POSITIVE))] },
    Fun { name: "lcn", params: &[] },
];

const AUGMENT: &[Fun] = &[
    Fun { name: "pad_crop", params: &[required("pixels", Kind::Int(1, 1024))] },
    Fun { name: "shift", params: &[required("pixels", Kind::Int(1, 1024))] },
    Fun { name: "flip", params: &[] },
    Fun { name: "rotate", params: &[required("degrees", Kind::Float(Bounds::POSITIVE))] },
    Fun {
        name: "brightness_contrast",
        params: &[named("brightness", Kind::Float(Bounds::NOT_NEGATIVE)), named("contrast", Kind::Float(Bounds::UNIT))],
    },
    Fun { name: "cutout", params: &[required("pixels", Kind::Int(1, 1024))] },
    Fun { name: "mixup", params: &[required("alpha", Kind::Float(Bounds::POSITIVE))] },
];

impl Lower<'_> {
    pub fn data(&mut self, section: &Section) -> Option<DataSpec> {
        let keys = self.keys(section, "data", KEYS);
        let prepare: Vec<Prepare> =
            self.functions(&keys, "prepare", PREPARE, "a preparation").iter().map(prepare).collect();
        let augment = self.functions(&keys, "augment", AUGMENT, "an augmentation").iter().map(augment).collect();
        let valid = self.valid(&keys);
        let Some(entry) = keys.get("source") else {
            let d = Diagnostic::error(codes::MISSING_KEY, section.word, "`data` needs a `source`");
            self.report(d.help("write for example `source = digits`"));
            return None;
        };
        let called = self.function(&entry.value, SOURCES, "a source")?;
        Some(DataSpec { source: source(&called), path: called.text("path"), prepare, augment, valid })
    }

    /// A whole number counts examples, a fraction below 1 is a part of them.
    fn valid(&mut self, keys: &super::section::Keys) -> Option<f64> {
        let Arg::Float(v) = self.key(keys, "valid", Kind::Float(Bounds::POSITIVE))? else { return None };
        if v >= 1.0 && v.fract() != 0.0 {
            let span = keys.get("valid")?.value.span;
            let message = format!("`valid` must be a fraction below 1 or a whole number of examples, not {v:?}");
            self.report(Diagnostic::error(codes::OUT_OF_RANGE, span, message));
            return None;
        }
        Some(v)
    }
}

fn source(called: &Called) -> Source {
    match called.name {
        "digits" => Source::Digits,
        "mnist" => Source::Mnist,
        "fashion_mnist" => Source::FashionMnist,
        "cifar10" => Source::Cifar10,
        "cifar100" => Source::Cifar100,
        "svhn" => Source::Svhn { extra: called.bool("extra").unwrap_or(false) },
        "folder" if called.word("resize") == Some("crop") => Source::Folder { resize: Resize::Crop },
        "folder" => Source::Folder { resize: Resize::Stretch },
        _ => Source::Npz,
    }
}

fn prepare(called: &Called) -> Prepare {
    match called.name {
        "scale" => Prepare::Scale { factor: called.float("factor").unwrap_or(1.0 / 255.0) },
        "mean_std" => Prepare::MeanStd { mean: called.floats("mean"), std: called.floats("std") },
        "gcn" => Prepare::Gcn { scale: called.float("scale").unwrap_or(55.0) },
        "zca" => Prepare::Zca { epsilon: called.float("epsilon").unwrap_or(0.1) },
        _ => Prepare::Lcn,
    }
}

fn augment(called: &Called) -> Augment {
    let pixels = called.int("pixels").unwrap_or(0);
    match called.name {
        "pad_crop" => Augment::PadCrop { pixels },
        "shift" => Augment::Shift { pixels },
        "flip" => Augment::Flip,
        "rotate" => Augment::Rotate { degrees: called.float("degrees").unwrap_or(0.0) },
        "brightness_contrast" => Augment::BrightnessContrast {
            brightness: called.float("brightness").unwrap_or(0.0),
            contrast: called.float("contrast").unwrap_or(0.0),
        },
        "cutout" => Augment::Cutout { pixels },
        _ => Augment::Mixup { alpha: called.float("alpha").unwrap_or(0.0) },
    }
}

/// Shape and number of classes of the examples, where the source alone decides.
pub fn examples(source: &Source) -> Option<([usize; 3], usize)> {
    match source {
        Source::Digits => Some(([1, 8, 8], 10)),
        Source::Mnist | Source::FashionMnist => Some(([1, 28, 28], 10)),
        Source::Cifar10 | Source::Svhn { .. } => Some(([3, 32, 32], 10)),
        Source::Cifar100 => Some(([3, 32, 32], 100)),
        Source::Folder { .. } | Source::Npz => None,
    }
}

/// The source's name in the language.
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
