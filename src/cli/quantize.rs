//! `ninc quantize`: float weights become bytes where that costs little accuracy.

use super::classes;
use super::foreign;
use super::model_file::{input, load_data, result};
use super::options::{GlobalOptions, number};
use super::output::{self, Done, usage};
use super::preparation;
use super::programs::find_weights;
use super::weights::Renames;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ninc::pipeline::Options;
use ninc::quantize::ranges::Method;
use ninc::quantize::{Image, Network, Quantised};
use ninc_runtime::data::batches::Source;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::data::{Dataset, Sets};
use ninc_runtime::formats::LayerFormat;
use ninc_runtime::store::System;
use ninc_runtime::train::{evaluate, step_inputs};
use ninc_runtime::weights::Weights;
use ninc_runtime::{Engine, Error, Tensor};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Images of a run.
const BATCH: usize = 64;
/// Images that ranges are measured on.
const CALIBRATION: usize = 1024;
/// Images that are kept apart to validate, where the data have no validation part.
const VALIDATION: usize = 5000;

/// Decibels of the scores' ratio of signal to noise that room in 16 bits may cost.
const MOST_NOISE: f64 = 3.0;

#[derive(clap::Args)]
pub struct Args {
    /// The network
    file: PathBuf,
    /// Its float weights; without it they are looked for beside the model and in out/
    #[arg(long)]
    weights: Option<PathBuf>,
    #[command(flatten)]
    renames: Renames,
    /// File or folder of the data
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Formats that layers may have, the first that loses little enough; f32 may always be taken
    #[arg(long, value_name = "FORMAT,…", value_enum, value_delimiter = ',', default_value = "int8,bf16")]
    formats: Vec<Format>,
    /// Accuracy that may be lost on the validation part, in percentage points
    #[arg(long, value_name = "POINTS", default_value_t = 0.2, value_parser = number(0.0, 100.0))]
    max_drop: f64,
    /// Terms that int8 weights leave room to add in 16 bits, in layers of 1x1 windows, of strides, and linear ones:
    /// with 4 they are x1.5 as fast with AVX2 and without VNNI (2: x1.2; 1: no room), at a small loss; fewer where more
    /// accuracy is lost than may be, or 3 dB of signal to noise
    #[arg(long, value_name = "TERMS", value_parser = narrow(), default_value = "4")]
    narrow: usize,
    /// Where to write the weights
    #[arg(short, long, value_name = "FILE.safetensors")]
    out: PathBuf,
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Format {
    Int8,
    Bf16,
    F32,
}

impl Format {
    fn layer(self) -> LayerFormat {
        match self {
            Format::Int8 => LayerFormat::Int8,
            Format::Bf16 => LayerFormat::Bf16,
            Format::F32 => LayerFormat::F32,
        }
    }
}

/// How good a network is.
#[derive(Clone, Copy, Debug)]
struct Quality {
    /// Accuracy in per cent.
    accuracy: f64,
    /// Signal to noise of the scores against the float network's: squares of the scores over squares of the
    /// differences, in decibels; of several results the least.
    snr: f64,
}

/// The scores of a part of the data, with its classes.
struct Scored {
    /// Of each result; accuracy is that of the first.
    scores: Vec<Vec<f32>>,
    labels: Vec<u32>,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    if !args.formats.contains(&Format::Int8) {
        return Err(usage("--formats without int8 leaves nothing to quantise", "put it first: --formats int8,bf16"));
    }
    if global.precision().is_some() {
        return Err(usage("quantisation begins with float32", "leave --precision out"));
    }
    let model = global.model_on(&args.file, args.data.as_deref())?;
    result(&model)?;
    let Some(path) = find_weights(args.weights.as_deref(), &model, &args.file)? else {
        return Err(usage(
            format!("{} has no parameters: nothing to quantise", args.file.display()),
            "run it as it is",
        ));
    };
    let read = [Some(&args.file), Some(&path), args.data.as_ref()].into_iter().flatten().map(PathBuf::as_path);
    output::not_read(&[("--out", &args.out)], &read.collect::<Vec<_>>())?;
    output::has_place(&args.out)?;
    let weights = foreign::with_fixed(&args.file, args.renames.read(&path, &global.foreign)?);
    if weights.formats.is_some() {
        return Err(usage(
            format!("{} is quantised already", path.display()),
            "give the float weights it was made from",
        ));
    }
    let data = Data::load(args, global, &model, &weights, &path)?;
    let options = Options { emit: vec![], ..global.options()? };
    let mut network = Network::new(&model, &weights.tensors)?;
    let image = Image { preparation: Some(&data.preparation), dtype: data.validation.images.dtype() };
    network
        .calibrate(&image, &options, &mut |engine, names, take| data.each(&data.calibration, engine, names, take))?;

    let mut bench = Bench { args, data: &data, network, image: &image, options: &options, float: None };
    let float = bench.score(None)?;
    let float_accuracy = accuracy(&float);
    bench.float = Some(float);
    let (mut method, mut best, mut quality) = bench.with_room()?;
    let rows = bench.layers(method)?;
    let mut order: Vec<&Row> = rows.iter().collect();
    order.sort_by(|a, b| a.quality.snr.total_cmp(&b.quality.snr));
    let mut formats = best.formats.layers.clone();
    for row in order {
        if bench.keeps(&quality) {
            break;
        }
        formats.insert(row.name.clone(), bench.instead());
        (method, best, quality) = bench.best(&formats)?;
    }
    write(args, weights, &best)?;
    bench.show(&rows, &best, method, (float_accuracy, quality))
}

fn write(args: &Args, weights: Weights, best: &Quantised) -> Done {
    let tensors = best.tensors.clone();
    let quantised = Weights { tensors, formats: Some(best.formats.clone()), ..weights };
    Ok(quantised.write(&args.out, &System)?)
}

/// The images.
struct Data {
    preparation: Preparation,
    calibration: Dataset,
    validation: Dataset,
}

impl Data {
    fn load(
        args: &Args,
        global: &GlobalOptions,
        model: &ninc::model::Model,
        weights: &Weights,
        path: &std::path::Path,
    ) -> Done<Data> {
        let sets = load_data(model, &args.file, args.data.as_deref(), Some(weights))?;
        let (calibration, validation) = parts(&sets)?;
        let classes = classes::of_weights(model, weights, path)?;
        let validation = classes.relabel(&validation, &sets.names)?;
        let (_, _, outputs) = result(model)?;
        validation.check("validation", &input(model)?, outputs)?;
        let preparation = preparation::of_weights(model, &args.file, (weights, true), &sets.train, global)?;
        preparation.check(&validation)?;
        Ok(Data { preparation, calibration, validation })
    }

    /// Runs a program on a part, batch after batch.
    fn each(
        &self,
        part: &Dataset,
        engine: &mut dyn Engine,
        names: &[&str],
        take: &mut dyn FnMut(Vec<Tensor>) -> ninc_runtime::Result<()>,
    ) -> ninc_runtime::Result<()> {
        let input = step_inputs::image(engine.inputs())?.name.clone();
        for batch in Source::plain(part, None, BATCH)?.once()? {
            let batch = batch?;
            take(engine.run(batch.labels.len(), &[(&input, batch.images.feed())], names)?)?;
        }
        Ok(())
    }
}

/// Picks images to measure ranges on, and others to validate on: the data's own validation part, else images of the
/// training part at equal distances.
fn parts(sets: &Sets) -> Done<(Dataset, Dataset)> {
    let rows = &sets.train.rows;
    let part = |rows: Vec<u32>| Dataset { rows: Arc::new(rows), ..sets.train.clone() };
    let spread = |rows: &[u32], count: usize| {
        let step = rows.len().div_ceil(count.max(1)).max(1);
        rows.iter().step_by(step).copied().collect::<Vec<u32>>()
    };
    let (validation, rest) = match &sets.valid {
        Some(valid) => (valid.clone(), rows.to_vec()),
        None => {
            let apart = spread(rows, VALIDATION.min(rows.len() / 2));
            let rest = rows.iter().filter(|row| apart.binary_search(row).is_err()).copied().collect();
            (part(apart), rest)
        }
    };
    let calibration = part(spread(&rest, CALIBRATION));
    match calibration.is_empty() || validation.is_empty() {
        true => Err(Error::new("the training part has too few images to measure ranges and to validate").into()),
        false => Ok((calibration, validation)),
    }
}

/// A layer alone in bytes.
struct Row {
    name: String,
    quality: Quality,
}

/// Measures quantised networks beside the float one.
struct Bench<'a> {
    args: &'a Args,
    data: &'a Data,
    network: Network,
    image: &'a Image<'a>,
    options: &'a Options,
    float: Option<Scored>,
}

impl Bench<'_> {
    fn score(&self, quantised: Option<&Quantised>) -> Done<Scored> {
        let mut program = self.network.program(quantised, self.image, self.options)?;
        let part = &self.data.validation;
        let names = self.network.results();
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut scores = vec![Vec::new(); names.len()];
        self.data.each(part, &mut *program.engine, &wanted, &mut |results| {
            scores.iter_mut().zip(&results).for_each(|(all, some)| all.extend(&some.data));
            Ok(())
        })?;
        Ok(Scored { scores, labels: (0..part.len()).map(|item| part.label(item)).collect() })
    }

    fn quality(&self, quantised: &Quantised) -> Done<Quality> {
        let scored = self.score(Some(quantised))?;
        let float = self.float.as_ref().map_or(&[][..], |float| &float.scores);
        let ratios = float.iter().zip(&scored.scores).map(|(float, found)| decibels(float, found));
        Ok(Quality { accuracy: accuracy(&scored), snr: ratios.fold(f64::INFINITY, f64::min) })
    }

    /// The best method for all layers with as much room in 16 bits as may be: none where the scores would suffer.
    fn with_room(&mut self) -> Done<(Method, Quantised, Quality)> {
        self.network.narrow = 1;
        let full = self.method()?;
        for narrow in [4, 2].into_iter().filter(|narrow| *narrow <= self.args.narrow) {
            self.network.narrow = narrow;
            let found = self.method()?;
            if self.keeps(&found.2) && found.2.snr >= full.2.snr - MOST_NOISE {
                return Ok(found);
            }
        }
        self.network.narrow = 1;
        Ok(full)
    }

    /// The best method for all layers.
    fn method(&self) -> Done<(Method, Quantised, Quality)> {
        let all = self.network.layers().into_iter().map(|name| (name, LayerFormat::Int8)).collect();
        self.best(&all)
    }

    /// The best method for these formats: of those that lose no more than they may, the one with the highest ratio of
    /// signal to noise, which chance moves less than accuracy; else the most accurate one.
    fn best(&self, formats: &BTreeMap<String, LayerFormat>) -> Done<(Method, Quantised, Quality)> {
        let mut best: Option<(Method, Quantised, Quality)> = None;
        for method in Method::ALL {
            let quantised = self.network.quantised(formats, method)?;
            let quality = self.quality(&quantised)?;
            if best.as_ref().is_none_or(|(_, _, other)| self.rank(&quality) > self.rank(other)) {
                best = Some((method, quantised, quality));
            }
        }
        best.ok_or_else(|| Error::new("no method gives a number that can be compared").into())
    }

    /// Does it lose no more accuracy than it may?
    fn keeps(&self, quality: &Quality) -> bool {
        self.float.as_ref().is_some_and(|float| accuracy(float) - quality.accuracy <= self.args.max_drop)
    }

    fn rank(&self, quality: &Quality) -> (bool, f64, f64) {
        if self.keeps(quality) { (true, quality.snr, quality.accuracy) } else { (false, quality.accuracy, quality.snr) }
    }

    /// Each layer alone in bytes.
    fn layers(&self, method: Method) -> Done<Vec<Row>> {
        let names = self.network.layers();
        let row = |name: String| -> Done<Row> {
            let formats = [(name.clone(), LayerFormat::Int8)].into_iter().collect();
            Ok(Row { quality: self.quality(&self.network.quantised(&formats, method)?)?, name })
        };
        names.into_iter().map(row).collect()
    }

    /// The format of a layer that bytes hurt.
    fn instead(&self) -> LayerFormat {
        let others = self.args.formats.iter().map(|format| format.layer());
        others.into_iter().find(|format| *format != LayerFormat::Int8).unwrap_or(LayerFormat::F32)
    }

    fn show(&self, rows: &[Row], best: &Quantised, method: Method, (float, quality): (f64, Quality)) -> Done {
        let format = |row: &Row| best.formats.layers.get(&row.name).map_or("f32", |format| format.name());
        if self.args.json {
            let layers = rows.iter().map(|row| {
                serde_json::json!({
                    "layer": row.name,
                    "format": format(row),
                    "narrow": best.formats.narrow.get(&row.name).copied().unwrap_or(1),
                    "snr_db": row.quality.snr,
                    "accuracy": row.quality.accuracy / 100.0,
                })
            });
            return output::json(&serde_json::json!({
                "file": self.args.out,
                "method": method.name(),
                "images": { "calibration": self.data.calibration.len(), "validation": self.data.validation.len() },
                "accuracy": { "float": float / 100.0, "quantised": quality.accuracy / 100.0 },
                "snr_db": quality.snr,
                "layers": layers.collect::<Vec<_>>(),
            }));
        }
        let mut table =
            vec![["layer", "format", "narrow", "signal to noise", "accuracy", "lost"].map(String::from).to_vec()];
        let line = |name: &str, format: &str, snr: f64, accuracy: f64| {
            let lost = format!("{:+.2}", accuracy - float);
            let narrow = best.formats.narrow.get(name).map_or(String::new(), u8::to_string);
            [name.into(), format.into(), narrow, format!("{snr:.1} dB"), format!("{accuracy:.2} %"), lost].to_vec()
        };
        table.extend(rows.iter().map(|row| line(&row.name, format(row), row.quality.snr, row.quality.accuracy)));
        table.push(line("the network", "", quality.snr, quality.accuracy));
        output::print(&output::table(&table))?;
        let (calibration, validation) = (self.data.calibration.len(), self.data.validation.len());
        output::line(&format!(
            "{}: ranges by {} of {}; float32 {float:.2} % of {}",
            self.args.out.display(),
            method.name(),
            output::counted(calibration, "image"),
            output::counted(validation, "image")
        ))
    }
}

/// Parses the number of terms that weights leave room for.
fn narrow() -> impl TypedValueParser<Value = usize> {
    PossibleValuesParser::new(["1", "2", "4"]).map(|text| text.parse().expect("a number"))
}

/// Returns the ratio of signal to noise in decibels.
fn decibels(float: &[f32], found: &[f32]) -> f64 {
    let square = |v: f32| f64::from(v) * f64::from(v);
    let signal: f64 = float.iter().map(|&v| square(v)).sum();
    let noise: f64 = float.iter().zip(found).map(|(a, b)| square(a - b)).sum();
    10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10()
}

/// Returns the accuracy in per cent.
fn accuracy(scored: &Scored) -> f64 {
    let scores = scored.scores.first().map_or(&[][..], |scores| scores);
    let outputs = (scores.len() / scored.labels.len().max(1)).max(1);
    let right = |(scores, label): &(&[f32], &u32)| evaluate::best(scores) == **label as usize;
    let count = scores.chunks_exact(outputs).zip(&scored.labels).filter(right).count();
    100.0 * count as f64 / scored.labels.len().max(1) as f64
}
