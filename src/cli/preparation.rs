//! The preparation of images: fitted before a training, and that of a model's text for weights that hold none.

use super::contents;
use super::model_file::{self, image_dims, input, load_data};
use super::options::GlobalOptions;
use super::output::{self, Done, Failure};
use ninc::front::examples;
use ninc::model::Model;
use ninc_runtime::data::look::Look;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::data::preparer::Compile;
use ninc_runtime::data::{Dataset, cache, channel_order};
use ninc_runtime::spec::{DataSpec, Prepare};
use ninc_runtime::store::System;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, cache_folder};
use std::path::Path;
use std::time::Instant;

/// Fits the steps of a text to the training part of the data. Whitening takes long enough that people should know what
/// they wait for.
pub fn fit(spec: &DataSpec, train: &Dataset, compile: &Compile) -> Done<Preparation> {
    let begin = Instant::now();
    if spec.prepare.iter().any(|p| matches!(p, Prepare::Zca { .. })) {
        output::note("fitting the whitening to the training images");
    }
    let (preparation, found) = cache::fit(&spec.prepare, train, cache_folder::folder().as_deref(), &System, compile)?;
    match (found, begin.elapsed().as_secs_f64()) {
        (true, _) => output::note("taken from the cache"),
        (false, seconds) if seconds > 2.0 => output::note(&format!("fitted in {seconds:.1} s")),
        _ => {}
    }
    for channel in preparation.only_centred() {
        output::note(&format!(
            "note: channel {channel} has the same number in all training images: `mean_std` only centres it"
        ));
    }
    Ok(preparation.of_inputs(Some(spec.pictures()), Some(train.range())))
}

/// The data that steps are fitted to.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    /// The training part, which was read already.
    Read(&'a Dataset),
    /// What `--data` gave; without it, the model says where its data are.
    At(Option<&'a Path>),
}

/// The preparation that a model's text says, for weights that hold none; `None` where the text has none either. Data
/// are read only where a step is fitted to them.
pub fn of_text(model: &Model, file: &Path, data: Data, global: &GlobalOptions) -> Done<Option<Preparation>> {
    let Some(spec) = model.data.as_ref().filter(|data| !data.prepare.is_empty()) else { return Ok(None) };
    let given = given(model, spec)?;
    if given.is_some() {
        return Ok(given);
    }
    let compile = || global.silent().compile_preparations();
    let path = match data {
        Data::Read(train) => return fit(spec, train, &compile()?).map(Some),
        Data::At(path) => path,
    };
    let needed = |e: Error| {
        let help = "give the data with `--data PATH`; `mean_std(mean = [...], std = [...])` needs none";
        Error::new(format!("`prepare` is fitted to the training data, which cannot be read: {}", e.message))
            .with_help(help)
    };
    let sets = load_data(model, file, path, None).map_err(|e| match e {
        Failure::Error(e) => Failure::Error(needed(e)),
        other => other,
    })?;
    contents::look([&sets.train], Look::Heads, global)?;
    fit(spec, &sets.train, &compile()?).map(Some)
}

/// The preparation that weights hold, else the one that the model's text says, fitted to `train`. `given` says whether
/// there are weights at all: where they lack a preparation, this is said.
pub fn of_weights(
    model: &Model,
    file: &Path,
    (weights, given): (&Weights, bool),
    train: &Dataset,
    global: &GlobalOptions,
) -> Done<Preparation> {
    if let Some(preparation) = &weights.preparation {
        return Ok(preparation.clone());
    }
    let own = of_text(model, file, Data::Read(train), global)?;
    if given {
        note(file, own.as_ref());
    }
    Ok(own.map_or_else(|| Preparation::without_steps(train.images.dims), Ok)?)
}

/// Says how images are prepared for weights that hold no preparation.
pub fn note(file: &Path, of_text: Option<&Preparation>) {
    let how = match of_text {
        Some(_) => format!("images are prepared as {} says", file.display()),
        None => "numbers are used as they are, pixels as 0 to 255".into(),
    };
    output::note(&format!("note: the weights hold no data preparation; {how}"));
}

/// Says where images look as if their channels came in another order than those that the weights learned from. `images`
/// are the means of each image's channels, before all steps.
pub fn note_order(what: &str, preparation: &Preparation, images: &[[f64; 3]]) {
    let Some(learned) = preparation.channel_means().and_then(|means| <[f64; 3]>::try_from(means).ok()) else { return };
    let Some(found) = channel_order::backwards(learned, images) else { return };
    let list = |means: [f64; 3]| means.map(|m| format!("{m:.4}")).join(", ");
    output::note(&format!(
        "note: {what} looks like blue, green, red: its channels' means are {}, where the weights learned from {}; if \
         it is, give `x[:, ::-1]`",
        list(found),
        list(learned)
    ));
}

/// The preparation of a text that gives all numbers of its steps, where the size of its images is known.
pub fn given(model: &Model, spec: &DataSpec) -> Done<Option<Preparation>> {
    let input = input(model)?;
    // Steps that take an image as a list of numbers.
    let flat = spec.prepare.iter().all(|step| matches!(step, Prepare::Scale { .. } | Prepare::Gcn { .. }));
    let dims = match examples(&spec.source) {
        Some((dims, _)) => dims,
        None if input.len() == 1 && !flat => return Ok(None),
        None => image_dims(&input)?,
    };
    let given = Preparation::given(&spec.prepare, dims)?;
    Ok(given.map(|given| given.of_inputs(Some(spec.pictures()), model_file::range(model, None))))
}
