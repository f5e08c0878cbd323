//! A network with its weights and its preparation, compiled for inference: what `run` and `serve` open.

use super::foreign;
use super::options::GlobalOptions;
use super::output::Done;
use super::preparation::{self, Data};
use super::programs::{find_weights, use_weights};
use super::weights::Renames;
use ninc::model::Model;
use ninc::pipeline::Program;
use ninc::prepare;
use ninc::types::DType;
use ninc_runtime::Error;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::formats::Formats;
use ninc_runtime::weights::Weights;
use std::path::{Path, PathBuf};

/// Where the numbers of a network come from.
#[derive(clap::Args, Clone)]
pub struct GivenWeights {
    /// The weights; without it they are looked for beside the model and in out/
    #[arg(long)]
    weights: Option<PathBuf>,
    #[command(flatten)]
    renames: Renames,
    /// File or folder of the data, to which `prepare` is fitted where the weights hold no preparation
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
}

impl GivenWeights {
    /// Returns the data that a preparation may be fitted to.
    pub fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// Finds the weights of a network; `None` where it has no parameters.
    pub fn find(&self, model: &Model, file: &Path) -> Done<Option<PathBuf>> {
        find_weights(self.weights.as_deref(), model, file)
    }

    /// What to open: a network in a file, with the weights that were found, which gives these values too.
    pub fn opening<'a>(
        &'a self,
        file: &'a Path,
        weights: Option<&'a Path>,
        raw: bool,
        values: &'a [String],
    ) -> Opening<'a> {
        Opening { file, weights, renames: &self.renames, data: self.data(), raw, values }
    }
}

/// What is to be opened.
pub struct Opening<'a> {
    /// The model's file.
    file: &'a Path,
    /// Where its weights are; `None` for a network without parameters.
    weights: Option<&'a Path>,
    /// Other names of tensors.
    renames: &'a Renames,
    /// The data that a preparation is fitted to where the weights hold none.
    data: Option<&'a Path>,
    /// Does the program take images that are prepared already?
    raw: bool,
    /// Named values that are outputs too.
    values: &'a [String],
}

/// What was opened.
pub struct Opened {
    /// With the preparation of the model's text where the file holds none.
    pub weights: Weights,
    /// Where the weights came from.
    pub from: PathBuf,
    /// The program, which has no numbers yet.
    pub program: Program,
}

impl Opening<'_> {
    /// Compiles the network, of input `dims`, while its weights are read. `dtype` says what the program takes behind a
    /// preparation.
    pub fn open(
        &self,
        model: &Model,
        dims: &[usize],
        dtype: impl Fn(&Model, Option<&Form>) -> DType,
        global: &GlobalOptions,
    ) -> Done<Opened> {
        let work = |stated: Option<&Form>, formats: Option<&Formats>| -> Done<_> {
            let model = global.with_formats(model, formats);
            let of_text = match stated {
                None if !self.raw => preparation::of_text(&model, self.file, Data::At(self.data), global)?,
                _ => None,
            };
            let form = stated.or(of_text.as_ref().map(Preparation::form)).filter(|_| !self.raw);
            form.map_or(Ok(()), |form| of_size(form, dims))?;
            let program = global.inference_behind(&model, form, dtype(&model, form), self.values)?;
            Ok((of_text, program))
        };
        let (weights, made) = match self.weights {
            Some(path) if foreign::is_foreign(path) => {
                let weights = foreign::any_weights(path, &global.foreign)?;
                let made = work(None, weights.formats.as_ref());
                (weights, made)
            }
            Some(path) => Weights::read_beside(path, work)?,
            None => (Weights::default(), work(None, None)),
        };
        let from = self.weights.unwrap_or(self.file);
        let weights = foreign::with_fixed(self.file, self.renames.apply(weights, from)?);
        let mut weights = global.with_numbers(model, weights)?;
        let (of_text, program) = made?;
        if weights.preparation.is_none() && !self.raw && !foreign::is(from) {
            self.weights.iter().for_each(|_| preparation::note(self.file, of_text.as_ref()));
        }
        weights.preparation = weights.preparation.or(of_text);
        Ok(Opened { weights, from: from.to_path_buf(), program })
    }
}

impl Opened {
    /// Gives the program the numbers of the weights and, unless images are prepared already, of the preparation.
    pub fn fill(&mut self, raw: bool) -> Done {
        use_weights(&mut self.program, &self.weights, &self.from)?;
        let fitted = self.weights.preparation.as_ref().filter(|_| !raw);
        Ok(fitted.map_or(Ok(()), |fitted| prepare::write(&mut *self.program.engine, fitted))?)
    }
}

/// Compiles a program of a network whose weights came from `from`, with these values as outputs too and the numbers in
/// it. Images are prepared already unless there is a preparation; then the program takes them as `dtype`.
pub fn filled(
    model: &Model,
    (weights, from): (&Weights, &Path),
    preparation: Option<&Preparation>,
    dtype: DType,
    values: &[String],
    global: &GlobalOptions,
) -> Done<Program> {
    let model = global.with_formats(model, weights.formats.as_ref());
    let mut program = global.inference_of(&model, preparation, dtype, values)?;
    use_weights(&mut program, weights, from)?;
    Ok(program)
}

/// Weights that were trained on images of another size than the network's input are an error.
pub fn of_size(fitted: &Form, dims: &[usize]) -> Done {
    let fitted = fitted.dims();
    if fitted.iter().product::<usize>() == dims.iter().product::<usize>() {
        return Ok(());
    }
    let message = format!("the weights were trained on images of {fitted:?}, the input is {dims:?}");
    Err(Error::new(message).with_help("whitening and means are for one size").into())
}
