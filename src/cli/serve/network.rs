//! The network that is served: how it reads images, runs, and names classes.

use crate::cli::answers;
use crate::cli::classes;
use crate::cli::export;
use crate::cli::model_file::{input, result};
use crate::cli::numbers::{Reader, Words};
use crate::cli::opened::{Opening, filled};
use crate::cli::options::GlobalOptions;
use crate::cli::output::{Done, Failure, usage};
use ninc::model::Model;
use ninc::pipeline::Dump;
use ninc::prepare;
use ninc::serve::{self, Array, Body, Images, Kind, Meaning, Network, Refusal, array};
use ninc::types::DType;
use ninc_runtime::classes::Classes;
use ninc_runtime::data::Values;
use ninc_runtime::data::range::{self, Range};
use ninc_runtime::train::{Scores, step_inputs};
use ninc_runtime::weights::Weights;
use ninc_runtime::{Engine, Error, Feed, image, npy};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

type Boxed = Box<dyn Engine + Send>;

/// A network with all that answers need.
pub struct Served {
    pub name: String,
    /// Texts that `--emit` asked for.
    pub dumps: Vec<Dump>,
    about: Value,
    plain: Reader,
    prepared: Reader,
    /// What computes; nobody waits for another's.
    engines: Vec<Mutex<Boxed>>,
    /// Makes an engine for prepared images on first use; `None` where the others take them.
    make_prepared: Option<Box<dyn Fn() -> Done<Boxed> + Send + Sync>>,
    engines_prepared: Vec<Mutex<Option<Boxed>>>,
    /// The program's input, and the network's result.
    ports: (String, String),
    scores: Scores,
    classes: Classes,
    /// Pixels of a request's pictures at most.
    pixels: u64,
}

impl Served {
    /// Opens a network whose result is one number a class, for runs by several engines at once; a request's pictures
    /// may have that number of pixels.
    pub fn open(
        opening: &Opening,
        model: Model,
        range: Option<Range>,
        (count, pixels): (usize, u64),
        global: &GlobalOptions,
    ) -> Done<Served> {
        let machine = global.machine();
        let threads = (global.threads() / count).max(1);
        let global = &global.with(&[], threads as u16);
        let (dims, (output, scores, outputs)) = (input(&model)?, result(&model)?);
        let mut opened = opening.open(&model, &dims, |_, _| DType::F32, global)?;
        let classes = classes::of_weights(&model, &opened.weights, &opened.from)?;
        opened.fill(false)?;
        let weights = opened.weights;
        let read = |raw| Reader::new(&model, &dims, &weights, range, (raw, WORDS));
        let (plain, prepared) = (read(false)?, read(true)?);
        let preparation = match &weights.preparation {
            None => "none: numbers are used as they are, pixels as 0 to 255".to_string(),
            Some(own) => export::list(own).unwrap_or_else(|| format!("{:?}", own.spec())),
        };
        let about = json!({
            "name": model.name,
            "input": dims,
            "outputs": outputs,
            "classes": (0..outputs).map(|output| classes.name(output)).collect::<Vec<_>>(),
            "preparation": preparation,
            "image": plain.image().ok(),
            "weights": opened.from.display().to_string(),
            "machine": machine,
            "version": env!("CARGO_PKG_VERSION"),
        });
        let mut engines = vec![opened.program.engine];
        for _ in 1..count {
            let compiled = opened.program.compiled.as_ref().ok_or_else(|| {
                usage("--engines is for processors", "leave it out: a device runs one batch after the other")
            })?;
            let mut engine = compiled.engine(threads)?;
            weights.load_into(&mut *engine)?;
            weights.preparation.as_ref().map_or(Ok(()), |fitted| prepare::write(&mut *engine, fitted))?;
            engines.push(engine);
        }
        let ports = (step_inputs::image(engines[0].inputs())?.name.clone(), output);
        let name = model.name.clone();
        let make_prepared = weights.preparation.is_some().then(|| make_prepared(model, weights, opened.from, global));
        Ok(Served {
            name,
            dumps: opened.program.dumps,
            about,
            plain,
            prepared,
            engines: engines.into_iter().map(Mutex::new).collect(),
            engines_prepared: (0..count).map(|_| Mutex::new(None)).collect(),
            make_prepared,
            ports,
            scores,
            classes,
            pixels,
        })
    }

    /// Refuses pictures of too many pixels, before any of them is decoded.
    fn check_pixels<'a>(&self, pictures: impl Iterator<Item = &'a [u8]>) -> Result<(), Refusal> {
        let sizes = pictures.filter_map(image::extent);
        let sum = sizes.map(|[width, height]| width.saturating_mul(height)).fold(0u64, u64::saturating_add);
        if sum <= self.pixels {
            return Ok(());
        }
        let message = format!("the pictures of the request have {sum} pixels, and {} are the most", self.pixels);
        Err(Refusal::new(413, message).with_help("make them smaller; `ninc serve --pixels` sets the limit"))
    }

    /// Reads one picture.
    fn picture(&self, bytes: &[u8], name: &str) -> Result<Vec<f32>, Refusal> {
        let values = self.plain.picture(bytes, Path::new(name)).map_err(refusal)?;
        Ok(values.into_floats())
    }

    /// Reads an array.
    fn numbers(&self, meaning: Meaning, array: Array) -> Result<Images, Refusal> {
        let reader = if meaning == Meaning::Prepared { &self.prepared } else { &self.plain };
        let (count, values) = reader.numbers(BODY, &array.dims, array.values).map_err(refusal)?;
        let name = |i: usize| if count == 1 { BODY.to_string() } else { format!("{BODY}[{i}]") };
        Ok(Images { meaning, names: (0..count).map(name).collect(), values })
    }
}

/// How clients say what numbers mean; the range is for the server to know.
const WORDS: Words = Words { raw: "`?prepared=true`", range: "`ninc serve --range 0,255`" };

/// What a body is called.
const BODY: &str = "body";

/// Compiles the network without a preparation and gives it its weights.
fn make_prepared(
    model: Model,
    weights: Weights,
    from: PathBuf,
    global: &GlobalOptions,
) -> Box<dyn Fn() -> Done<Boxed> + Send + Sync> {
    let global = global.silent();
    Box::new(move || Ok(filled(&model, (&weights, &from), None, DType::F32, &[], &global)?.engine))
}

fn refusal(failure: Failure) -> Refusal {
    match failure {
        Failure::Error(e) | Failure::Usage(e) => Refusal::bad(e),
        _ => Refusal::new(400, "the body cannot be read"),
    }
}

impl Network for Served {
    fn engines(&self) -> usize {
        self.engines.len()
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn about(&self) -> Value {
        self.about.clone()
    }

    fn read(&self, body: &Body) -> Result<Images, Refusal> {
        let meaning = body.meaning;
        if meaning == Meaning::Prepared && matches!(body.kind, Kind::Picture | Kind::Form(_)) {
            return Err(Refusal::new(400, "?prepared=true is for arrays, and the body is a picture")
                .with_help("pictures are prepared as the training data were: leave it out"));
        }
        match &body.kind {
            Kind::Picture => {
                self.check_pixels([&body.bytes[..]].into_iter())?;
                Ok(Images { meaning, names: vec![BODY.into()], values: self.picture(&body.bytes, BODY)? })
            }
            Kind::Form(boundary) => {
                let mut images = Images { meaning, names: vec![], values: vec![] };
                let parts = serve::parts(&body.bytes, boundary)?;
                self.check_pixels(parts.iter().map(|part| &part.bytes[..]))?;
                for part in parts {
                    let name = if part.name.is_empty() { BODY.to_string() } else { part.name };
                    if part.bytes.starts_with(npy::MAGIC) {
                        let message = format!("{name} is an array of NumPy, and files of a form are pictures");
                        return Err(Refusal::new(400, message)
                            .with_help("send an array as the whole body, with the type application/x-npy"));
                    }
                    images.values.extend(self.picture(&part.bytes, &name)?);
                    images.names.push(name);
                }
                Ok(images)
            }
            Kind::Npy => {
                let array = npy::parse(body.bytes.to_vec(), Path::new(BODY)).map_err(Refusal::bad)?;
                self.numbers(meaning, Array { dims: array.dims.clone(), values: range::numbers(array) })
            }
            Kind::Json => self.numbers(meaning, array(&body.bytes).map_err(Refusal::bad)?),
            Kind::Floats => {
                let (bytes, size) = (body.bytes.len(), self.plain.size());
                if bytes % (4 * size) != 0 {
                    let message = format!("{bytes} bytes are no whole images of {size} float32 numbers");
                    return Err(Refusal::new(400, message)
                        .with_help("a picture has a type like image/png, not application/octet-stream"));
                }
                let (words, _) = body.bytes.as_chunks::<4>();
                let values = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
                let dims = [&[bytes / (4 * size)], self.plain.dims()].concat();
                self.numbers(meaning, Array { dims, values: Values::Floats(values) })
            }
        }
    }

    fn run(&self, engine: usize, meaning: Meaning, count: usize, values: &[f32]) -> Result<Vec<f32>, Refusal> {
        let (input, output) = (&self.ports.0[..], &self.ports.1[..]);
        let by =
            |engine: &mut Boxed| engine.run(count, &[(input, Feed::F32(values))], &[output]).map_err(Refusal::failed);
        let mut results = match &self.make_prepared {
            Some(make) if meaning == Meaning::Prepared => {
                let mut place = self.engines_prepared[engine].lock().unwrap_or_else(PoisonError::into_inner);
                let engine = match &mut *place {
                    Some(engine) => engine,
                    none => none.insert(make().map_err(|failure| Refusal { status: 500, ..refusal(failure) })?),
                };
                by(engine)?
            }
            _ => by(&mut self.engines[engine].lock().unwrap_or_else(PoisonError::into_inner))?,
        };
        results.pop().map(|result| result.data).ok_or_else(|| Refusal::failed(Error::new("the network gave no result")))
    }

    fn answer(&self, name: &str, results: &[f32], top: usize) -> Result<Value, Refusal> {
        answers::finite(&self.ports.1, results, 1, |_| name.into()).map_err(Refusal::failed)?;
        let probabilities = self.scores.probabilities(results);
        Ok(answers::json(name, &answers::best(&probabilities, top), &probabilities, &self.classes))
    }
}
