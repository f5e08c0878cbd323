//! `ninc run` as a network that stays open and answers again and again.

use super::fault::Fault;
use super::{begin, parsed, path};
use crate::cli::numbers::{self, Reader};
use crate::cli::opened::{GivenWeights, Opened, filled};
use crate::cli::options::GlobalOptions;
use crate::cli::output::{self, Done, Failure, usage};
use crate::cli::run::inputs::Images;
use crate::cli::run::{BATCH, compute_of};
use crate::cli::{answers, classes, export, foreign, graph, inspect, model_file, preparation};
use given::Fed;
use ninc::drawing;
use ninc::model::Model;
use ninc::pipeline::Program;
use ninc::sizes;
use ninc::types::DType;
use ninc_runtime::classes::Classes;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::data::range::Range;
use ninc_runtime::data::{Values, channel_order};
use ninc_runtime::train::Scores;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Tensor, image};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod given;
mod maps;

pub use given::Given;
pub use maps::Map;

/// Programs of a network that are kept: what takes bytes and what takes floats, and some with other values.
const KEPT: usize = 4;

#[derive(clap::Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct Words {
    #[command(flatten)]
    global: GlobalOptions,
    file: PathBuf,
    #[arg(long)]
    raw: bool,
    #[arg(long, value_name = "LOW,HIGH", value_parser = numbers::range, conflicts_with = "raw")]
    range: Option<Range>,
    #[command(flatten)]
    given: GivenWeights,
}

#[derive(clap::Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct ExportWords {
    #[command(flatten)]
    args: export::Args,
}

/// A picture: a file, or what stands in one.
pub enum Picture {
    /// Its path.
    File(PathBuf),
    /// Its bytes.
    Bytes(Vec<u8>),
}

/// A class that an image may be of: its name, its probability, its output.
pub type Guess = (String, f64, usize);

/// What a network gives for images.
pub enum Answer {
    /// The probabilities of the classes, a row for each image.
    Probabilities(Vec<f64>),
    /// A result that is not one number a class.
    Result(Tensor),
}

/// A network with its weights, ready to answer.
pub struct Network {
    global: GlobalOptions,
    file: PathBuf,
    raw: bool,
    range: Option<Range>,
    model: Model,
    weights: Arc<Weights>,
    /// Where the weights came from.
    from: PathBuf,
    reader: Reader,
    /// What the outputs stand for, where they are classes.
    scored: Option<(Scores, Classes)>,
    /// Programs by the type that they take and the values that they give too; those used last come last.
    programs: Vec<(DType, Vec<String>, Program)>,
    /// The process whose threads the programs have.
    process: u32,
}

impl Network {
    /// Opens what `ninc run` opens with these words behind it, which end before the pictures.
    pub fn open(words: &[OsString]) -> Result<Network, Fault> {
        let Words { global, file, raw, range, given } = parsed(words)?;
        begin();
        global.at_most(1)?;
        global.refuse_int8()?;
        let checked = global.checked(&file, given.data())?;
        let shown = file.display().to_string();
        let model = checked.model.ok_or_else(|| Fault::of_text(&checked.diagnostics, &checked.text, &shown))?;
        global.check_class_names(&file, &model)?;
        let dims = model_file::input(&model)?;
        let weights = given.find(&model, &file)?;
        let opening = given.opening(&file, weights.as_deref(), raw, &[]);
        let dtype = |model: &Model, form: Option<&Form>| dtype(range, model, form);
        let mut opened = opening.open(&model, &dims, dtype, &global)?;
        opened.fill(raw)?;
        let Opened { weights, from, program } = opened;
        let taken = dtype(&model, weights.preparation.as_ref().filter(|_| !raw).map(Preparation::form));
        let reader = Reader::new(&model, &dims, &weights, range, (raw, numbers::OPTIONS))?;
        let scored = match model_file::result(&model) {
            Ok((_, scores, _)) => Some((scores, classes::of_weights(&model, &weights, &from)?)),
            Err(_) => None,
        };
        let programs = vec![(taken, vec![], program)];
        let (weights, process) = (Arc::new(weights), std::process::id());
        Ok(Network { global, file, raw, range, model, weights, from, reader, scored, programs, process })
    }

    /// Says what the network is: `name`, `weights`, `input_shape`, `image_shape`, `output_shape`, `classes`, `layers`,
    /// `parameters`, `multiply_adds`, and `summary`, a table for people.
    pub fn facts(&self) -> Value {
        let graph = &self.model.graph;
        let rows = sizes::rows(graph, &self.model.layers);
        let sums = sizes::sums(graph, self.model.layers.iter(), &rows);
        let output = graph.outputs.first().map(|(_, id)| graph.ty(*id).dims.clone()).unwrap_or_default();
        let input = model_file::input(&self.model).unwrap_or_default();
        let image = self.reader.image().map_or_else(|_| input.clone(), |image| image.to_vec());
        let classes: Vec<String> = match &self.scored {
            Some((_, classes)) => (0..classes.outputs()).map(|output| classes.name(output)).collect(),
            None => vec![],
        };
        let weights = (self.from != self.file || foreign::has_weights(&self.file)).then(|| path(&self.from));
        json!({
            "name": self.model.name,
            "weights": weights,
            "input_shape": input,
            "image_shape": image,
            "output_shape": output,
            "classes": classes,
            "layers": rows,
            "parameters": sums.parameters,
            "multiply_adds": sums.multiply_adds,
            "summary": output::table(&inspect::cells(&self.model)),
        })
    }

    /// Returns how many classes there are; 0 where the result is not one number a class.
    pub fn outputs(&self) -> usize {
        self.scored.as_ref().map_or(0, |(_, classes)| classes.outputs())
    }

    /// Answers images of an array of the shape `dims`; asks now and then whether to go on.
    pub fn answer(&mut self, dims: &[usize], given: Given, go_on: &mut dyn FnMut() -> bool) -> Result<Answer, Fault> {
        let mut results = self.results(dims, given, &[], go_on)?;
        let result = results.swap_remove(0);
        let images = result.dims.first().copied().unwrap_or(1);
        answers::finite(&self.result_name()?, &result.data, images, |image| format!("image {image}"))?;
        Ok(match &self.scored {
            Some((scores, classes)) => {
                let rows = result.data.chunks_exact(classes.outputs());
                Answer::Probabilities(rows.flat_map(|row| scores.probabilities(row)).collect())
            }
            None => Answer::Result(result),
        })
    }

    /// Returns named values of the network for images of an array of the shape `dims`.
    pub fn values(
        &mut self,
        dims: &[usize],
        given: Given,
        names: &[String],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Tensor>, Fault> {
        let mut results = self.results(dims, given, names, go_on)?;
        Ok(results.split_off(1))
    }

    /// Names the best classes of each picture; pictures have names for messages.
    pub fn classify(
        &mut self,
        pictures: &[(String, Picture)],
        top: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Vec<Guess>>, Fault> {
        let (scores, classes) = self.scored()?;
        let images = self.images(pictures)?;
        let result = self.compute(&images, go_on)?;
        let rows = result.data.chunks_exact(classes.outputs());
        let guesses = |row: &[f32]| {
            let probabilities = scores.probabilities(row);
            let order = answers::best(&probabilities, top);
            order.into_iter().map(|class| (classes.name(class), probabilities[class], class)).collect()
        };
        Ok(rows.map(guesses).collect())
    }

    /// Writes an ONNX file, as `ninc export` with these words behind it, and says what is in it.
    pub fn export(&self, words: &[OsString]) -> Result<String, Fault> {
        let file = self.file.clone().into_os_string();
        let words: Vec<OsString> = [file].into_iter().chain(words.iter().cloned()).collect();
        let ExportWords { args } = parsed(&words)?;
        let from = self.from.as_path();
        export::check(&args, Some(from))?;
        Ok(export::write(&args, &self.model, (*self.weights).clone(), Some(from), &self.global)?)
    }

    /// Draws the network as SVG: a frame for each layer, or for each kernel.
    pub fn svg(&self, layers: bool) -> Result<String, Fault> {
        Ok(drawing::svg(&graph::drawing(&self.model, layers, &self.global)?))
    }

    /// Returns the classes, or says why there are none.
    fn scored(&self) -> Done<(Scores, Classes)> {
        match &self.scored {
            Some((scores, classes)) => Ok((*scores, classes.clone())),
            None => Err(model_file::result(&self.model).err().unwrap_or_else(|| Error::new("no classes").into())),
        }
    }

    /// Does a program behind the preparation take bytes?
    fn takes_bytes(&self) -> bool {
        dtype(self.range, &self.model, self.fitted().map(Preparation::form)) == DType::U8
    }

    /// What programs do to images first.
    fn fitted(&self) -> Option<&Preparation> {
        self.weights.preparation.as_ref().filter(|_| !self.raw)
    }

    /// Returns the program that takes this type and gives these values too, compiled if there is none yet.
    fn program(&mut self, dtype: DType, values: &[String]) -> Done<&mut Program> {
        if self.process != std::process::id() {
            // A copy of the process has none of the threads, for which ending these programs would wait.
            std::mem::forget(std::mem::take(&mut self.programs));
            self.process = std::process::id();
        }
        let known = self.programs.iter().position(|(of, with, _)| *of == dtype && with == values);
        let entry = match known {
            Some(at) => self.programs.remove(at),
            None => {
                let weights = (&*self.weights, &*self.from);
                let program = filled(&self.model, weights, self.fitted(), dtype, values, &self.global)?;
                if self.programs.len() >= KEPT {
                    self.programs.remove(0);
                }
                (dtype, values.to_vec(), program)
            }
        };
        self.programs.push(entry);
        let (_, _, program) = self.programs.last_mut().expect("just put there");
        Ok(program)
    }

    /// Runs the network on an array: its result, and these values.
    fn results(
        &mut self,
        dims: &[usize],
        given: Given,
        values: &[String],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Done<Vec<Tensor>> {
        const SHOWN: &str = "the array";
        let fed = Fed::new(&self.reader, self.takes_bytes(), SHOWN, dims, given)?;
        let size = self.reader.size();
        if let (Some(preparation), Ok([3, ..]), true) =
            (&self.weights.preparation, self.reader.image(), self.reader.prepares())
        {
            let means: Vec<_> = fed.images(size).map(|image| channel_order::means(&image)).collect();
            preparation::note_order(SHOWN, preparation, &means);
        }
        let name = self.result_name()?;
        let names: Vec<&str> = [name.as_str()].into_iter().chain(values.iter().map(String::as_str)).collect();
        let program = self.program(fed.dtype(), values)?;
        compute_of(&mut *program.engine, fed.feeds(BATCH * size), size, &names, &mut asked(go_on))
    }

    fn result_name(&self) -> Done<String> {
        let first = self.model.graph.outputs.first();
        Ok(first.map(|(name, _)| name.clone()).ok_or_else(|| Error::new("the network has no result"))?)
    }

    /// Decodes pictures.
    fn images(&self, pictures: &[(String, Picture)]) -> Done<Images> {
        if self.raw {
            return Err(usage("--raw is for arrays, and these are pictures", "load the network without it"));
        }
        let stated = self.model.data.as_ref().is_some_and(|data| !data.prepare.is_empty());
        self.global.need_preparation(&self.file, stated)?;
        let values = if self.takes_bytes() { Values::Bytes(vec![]) } else { Values::Floats(vec![]) };
        let mut images = Images { names: vec![], values, size: self.reader.size(), failed: 0 };
        for (name, picture) in pictures {
            // A network without pictures says so before any file is looked at.
            self.reader.pictured()?;
            let shown = Path::new(name);
            let values = match picture {
                Picture::File(path) => self.reader.picture(&image::contents(path)?, shown)?,
                Picture::Bytes(bytes) => self.reader.picture(bytes, shown)?,
            };
            images.add(values);
            images.names.push(name.clone());
        }
        Ok(images)
    }

    /// Runs the network on pictures.
    fn compute(&mut self, images: &Images, go_on: &mut dyn FnMut() -> bool) -> Done<Tensor> {
        let name = self.result_name()?;
        let program = self.program(images.values.feed().dtype(), &[])?;
        let feeds = images.feeds(BATCH);
        let mut results = compute_of(&mut *program.engine, feeds, images.size, &[&name], &mut asked(go_on))?;
        let none = || Tensor { dims: vec![0], data: vec![] };
        let result = if results.is_empty() { none() } else { results.swap_remove(0) };
        answers::finite(&name, &result.data, images.names.len(), |image| images.names[image].clone())?;
        Ok(result)
    }
}

/// What a program behind this preparation takes where it can choose: bytes where the training data were bytes.
fn dtype(range: Option<Range>, model: &Model, form: Option<&Form>) -> DType {
    let learned = numbers::learned(range, model, form).unwrap_or(Range::BYTES);
    if form.is_some() && learned.divisor() == Some(1.0) { DType::U8 } else { DType::F32 }
}

/// Asks a caller whether to go on.
fn asked(go_on: &mut dyn FnMut() -> bool) -> impl FnMut() -> Done {
    move || if go_on() { Ok(()) } else { Err(Failure::Interrupted) }
}
