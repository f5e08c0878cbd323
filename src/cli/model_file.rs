//! Model files, and what commands ask of the network and the data in them.

use super::foreign;
use super::options::GlobalOptions;
use super::output::{self, Done, Failure};
use ninc::front;
use ninc::front::diag::{Diagnostic, has_errors, render};
use ninc::model::Model;
use ninc::ops::Operator;
use ninc::ops::reshape::without_reshape;
use ninc::ops::source::Input;
use ninc::pipeline::Stage;
use ninc::types::DType;
use ninc_runtime::Error;
use ninc_runtime::data::prepare::Form;
use ninc_runtime::data::range::Range;
use ninc_runtime::data::{self, Sets, files};
use ninc_runtime::spec::{DataSpec, Pictures, Source};
use ninc_runtime::train::Scores;
use ninc_runtime::weights::Weights;
use std::path::{Path, PathBuf};

/// A model file that was read and checked.
pub struct Checked {
    /// Its text.
    pub text: String,
    /// The model, if the text is right.
    pub model: Option<Model>,
    /// What is wrong with the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl GlobalOptions {
    /// Reads and checks a model file, or a network of another program for data that it does not know.
    pub fn checked(&self, path: &Path, data: Option<&Path>) -> Done<Checked> {
        let text = match foreign::is(path) {
            true => foreign::read(path, &self.foreign, data)?.text.clone(),
            false => {
                self.refuse_foreign(path)?;
                text(path)?
            }
        };
        let (model, diagnostics) = front::load(&text, &path.display().to_string(), &self.set);
        Ok(Checked { text, model, diagnostics })
    }

    /// Reads and checks a model file; what is wrong with it is shown.
    pub fn model(&self, path: &Path) -> Done<Model> {
        self.model_on(path, None)
    }

    /// Like [`GlobalOptions::model`], for data that a network of another program does not know.
    pub fn model_on(&self, path: &Path, data: Option<&Path>) -> Done<Model> {
        let Checked { text, model, diagnostics } = self.checked(path, data)?;
        if self.emit.iter().any(|e| e.stage == Stage::Ast) {
            output::print(&format!("{:#?}\n", front::syntax_tree(&text).0))?;
        }
        let file = path.display().to_string();
        if !diagnostics.is_empty() {
            let told = match foreign::is(path) {
                true => foreign::told(&file, &text, &diagnostics),
                false => render(&diagnostics, &text, &file, self.color_stderr()),
            };
            output::coloured_once(told.trim_end_matches('\n'));
        }
        match model {
            Some(model) => {
                self.check_class_names(path, &model)?;
                Ok(model)
            }
            None if has_errors(&diagnostics) => Err(Failure::Shown),
            None => Err(Error::new(format!("{file} holds no network")).into()),
        }
    }
}

/// Reads a model file's text.
pub fn text(path: &Path) -> Done<String> {
    if foreign::is(path) {
        let kind = if foreign::has_weights(path) { "ONNX" } else { "Caffe's form" };
        let message = format!("{} is a network in {kind}, not the text of a model", path.display());
        return Err(Error::new(message).with_help(foreign::import_help(path)).into());
    }
    let bytes = files::read(path, front::MAX_BYTES as u64)?;
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
        let error = Error::new(format!("{} is not text: line {line} is not valid UTF-8", path.display()));
        error.with_help("a model is a text file that starts like `network NAME { … }`").into()
    })
}

/// Loads a source's data. `given` is `--data`; the model's own path is relative to its file. Pictures are read as the
/// weights learned them, where there are weights.
pub fn load_data(model: &Model, file: &Path, given: Option<&Path>, weights: Option<&Weights>) -> Done<Sets> {
    Ok(load_split(model, file, given, pictures(model, weights), false)?.0)
}

/// Loads a source's data, and gives the place of their files; `former` splits them as former versions did.
pub fn load_split(
    model: &Model,
    file: &Path,
    given: Option<&Path>,
    pictures: Pictures,
    former: bool,
) -> Done<(Sets, Option<PathBuf>)> {
    if foreign::is(file) && !foreign::says_preparation(file) {
        let message = format!("{} does not say how images are prepared for it", file.display());
        let help = "`--prepare '[scale(1/255)]'` does, or `--prepare none`; `--data PLACE` holds the images";
        return Err(Error::new(message).with_help(help).into());
    }
    let spec = model.data.as_ref().ok_or_else(|| {
        Error::new(format!("{} has no `data {{ … }}`: there is nothing to train on or to test with", file.display()))
            .with_help("add for example `data { source = digits  prepare = [scale] }`")
    })?;
    let own = spec.path.as_ref().map(|p| file.parent().unwrap_or(Path::new("")).join(p));
    let path = given.map(Path::to_path_buf).or(own);
    Ok((data::load_split(&spec.clone().reading(pictures), path.as_deref(), &input(model)?, former)?, path))
}

/// Returns how pictures are read: as the weights say; those of a former version, which prepared images, meant what it
/// did.
pub fn pictures(model: &Model, weights: Option<&Weights>) -> Pictures {
    let spec = model.data.as_ref().map(DataSpec::pictures).unwrap_or_default();
    match weights.and_then(|w| w.preparation.as_ref()) {
        Some(preparation) => preparation.pictures().unwrap_or(Pictures::former(spec.resize)),
        None => spec,
    }
}

/// Returns the range of the training data's numbers, where anybody knows it: only arrays may have another than bytes.
pub fn range(model: &Model, preparation: Option<&Form>) -> Option<Range> {
    let bytes = model.data.as_ref().is_some_and(|d| d.source != Source::Npz);
    preparation.and_then(Form::range).or(bytes.then_some(Range::BYTES))
}

/// Returns the shape of the network's input.
pub fn input(model: &Model) -> Done<Vec<usize>> {
    Ok(the_input(model)?.dims.clone())
}

/// Returns the name of the network's input.
pub fn input_name(model: &Model) -> Done<String> {
    Ok(the_input(model)?.name.clone())
}

fn the_input(model: &Model) -> Done<&Input> {
    let graph = &model.graph;
    let mut inputs = graph.ids().into_iter().filter_map(|id| match graph.op(id) {
        Operator::Input(input) if input.batched && input.dtype == DType::F32 => Some(input),
        _ => None,
    });
    match (inputs.next(), inputs.next()) {
        (Some(input), None) => Ok(input),
        (None, _) => Err(Error::new(format!("network {} has no input", model.name)).into()),
        _ => Err(Error::new(format!("network {} has several inputs; pictures feed just one", model.name)).into()),
    }
}

/// Returns the dimensions of an image for this input; `[features]` counts as one row.
pub fn image_dims(input: &[usize]) -> Done<[usize; 3]> {
    match *input {
        [c, h, w] => Ok([c, h, w]),
        [n] => Ok([1, 1, n]),
        _ => Err(Error::new(format!("an input of the shape {input:?} takes no pictures")).into()),
    }
}

/// Returns the dimensions of pictures for this input: those of the images that weights learned from, where these are
/// known. A network whose input is a list of numbers takes pictures only where its weights learned from pictures.
pub fn picture_dims(input: &[usize], learned: Option<[usize; 3]>) -> Done<[usize; 3]> {
    match (input, learned) {
        (&[n], None | Some([1, 1, _])) => {
            Err(Error::new(format!("the network takes no pictures: its input is a list of {n} numbers"))
                .with_help("give the numbers, as arrays")
                .into())
        }
        (_, Some(learned)) => Ok(learned),
        (_, None) => image_dims(input),
    }
}

/// Finds the network's result with one number a class: its name, what it holds, and how many classes there are.
pub fn result(model: &Model) -> Done<(String, Scores, usize)> {
    let graph = &model.graph;
    let (name, id) = graph.outputs.first().ok_or_else(|| Error::new("the network has no result"))?;
    let scores = match graph.op(without_reshape(graph, *id)) {
        Operator::Softmax(_) => Scores::Probabilities,
        Operator::LogSoftmax(_) => Scores::LogProbabilities,
        _ => Scores::Logits,
    };
    let ty = graph.ty(*id);
    match (ty.classes(), &ty.dims) {
        (Some(classes), _) => Ok((name.clone(), scores, classes)),
        (None, dims) => Err(Error::new(format!("the result `{name}` has the shape {dims:?}, not one number a class"))
            .with_help("end the network with `global_avg_pool |> softmax`, or name another result with `output`")
            .into()),
    }
}
