//! `ninc run`: classify pictures.

use super::answers;
use super::classes;
use super::completions;
use super::model_file::{image_dims, input, result};
use super::numbers;
use super::opened::{GivenWeights, Opened};
use super::options::GlobalOptions;
use super::output::{self, Done, Failure, cell};
use super::programs::show_dumps;
use super::tta::TtaArgs;
use clap_complete::engine::ArgValueCompleter;
use inputs::Images;
use ninc::model::Model;
use ninc_runtime::classes::Classes;
use ninc_runtime::data::range::Range;
use ninc_runtime::npy;
use ninc_runtime::store::{System, write_atomically};
use ninc_runtime::train::Scores;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Engine, Error, Feed, Tensor};
use std::path::{Path, PathBuf};

pub mod inputs;
pub mod maps;
pub mod views;

/// Images per run of the program.
pub const BATCH: usize = 64;

#[derive(clap::Args, Clone)]
pub struct Args {
    /// Model file, NAME.nin
    file: PathBuf,
    /// Pictures (PNG, JPEG, BMP, WebP, GIF, TIFF, QOI), folders of them, or .npy arrays [N,C,H,W], as the training data
    /// were before their preparation
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Arrays are prepared already: pass them to the network as they are
    #[arg(long)]
    raw: bool,
    /// What the numbers of the training data ran from and to, where the weights do not say it: `0,255` or `0,1`
    #[arg(long, value_name = "LOW,HIGH", value_parser = numbers::range, conflicts_with = "raw")]
    range: Option<Range>,
    #[command(flatten)]
    given: GivenWeights,
    /// How many classes to show
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// One JSON object an image
    #[arg(long)]
    json: bool,
    /// A table of comma-separated values: a row for each image with its classes and their probabilities, best first
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Write the network's result, [N, …]
    #[arg(long, value_name = "OUT.npy")]
    output: Option<PathBuf>,
    /// Write any named value of the network, [N, …]
    #[arg(long, value_name = "VALUE=OUT.npy", value_parser = dump, add = ArgValueCompleter::new(completions::values))]
    dump: Vec<(String, PathBuf)>,
    #[command(flatten)]
    maps: maps::MapArgs,
    #[command(flatten)]
    tta: TtaArgs,
}

fn dump(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((value, path)) if !value.is_empty() && !path.is_empty() => Ok((value.into(), path.into())),
        _ => Err("expected VALUE=OUT.npy".into()),
    }
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let args = &Args { inputs: inputs::expanded(&args.inputs)?, ..args.clone() };
    let mut model = global.model_on(&args.file, args.given.data())?;
    let maps = maps::Wanted::new(&args.maps, &mut model)?;
    let dims = input(&model)?;
    let weights_path = args.given.find(&model, &args.file)?;
    let dumped = args.dump.iter().map(|(value, _)| value.as_str());
    let wanted: Vec<String> = dumped.chain(maps.iter().filter_map(|maps| maps.value())).map(String::from).collect();
    let read = checked(args, &model, weights_path.as_deref(), global)?;
    let opening = args.given.opening(&args.file, weights_path.as_deref(), args.raw, &wanted);
    let mut opened = opening.open(&model, &dims, |model, form| inputs::dtype(args, model, form), global)?;
    let scored = scored(args, &model, &opened.weights, &opened.from)?;
    show_dumps(&opened.program.dumps)?;
    opened.fill(args.raw)?;
    let Opened { weights, mut program, .. } = opened;
    let fitted = weights.preparation.as_ref().filter(|_| !args.raw);
    let images = Images::read(args, &model, &dims, &weights, global.color_stderr())?;
    let files = maps.iter().map(|maps| maps.files(&images.names, &arrays(args), &read)).next().transpose()?;

    let (name, _) = model.graph.outputs.first().ok_or_else(|| Error::new("the network has no result"))?;
    let names: Vec<&str> = [name].into_iter().chain(&wanted).map(String::as_str).collect();
    let seen = fitted.map_or_else(|| image_dims(&dims), |fitted| Ok(fitted.dims()));
    let looked = views::Looked {
        images: (&images, seen.as_ref().ok().copied().unwrap_or_default()),
        names: &names,
        scores: scored.as_ref().map(|(scores, _)| *scores),
        value: maps.iter().any(|maps| maps.value().is_some()),
    };
    let (results, looks) = looked.at(&args.tta, &mut *program.engine)?;
    write_results(args, &images, name, &results)?;
    if let (Some(maps), Some(files), Some((scores, classes))) = (&maps, &files, &scored) {
        let run = maps::Run {
            global,
            model: &model,
            weights: &weights,
            preparation: fitted,
            images: (&images, seen?),
            looks: &looks,
            result: &results[0],
            scores: *scores,
            classes,
            top: args.top as usize,
            files,
        };
        maps.write(&run, &mut *program.engine)?;
    }
    if let Some((scores, classes)) = scored {
        show(args, &images.names, &results[0], scores, &classes)?;
    }
    if images.failed > 0 { Err(Failure::Shown) } else { Ok(()) }
}

/// Refuses options that contradict the inputs, before anything is computed; gives the files that will be read.
fn checked<'a>(
    args: &'a Args,
    model: &Model,
    weights: Option<&'a Path>,
    global: &GlobalOptions,
) -> Done<Vec<&'a Path>> {
    inputs::check(args)?;
    if !args.inputs.iter().all(|path| inputs::is_array(path)) {
        let stated = model.data.as_ref().is_some_and(|data| !data.prepare.is_empty());
        global.need_preparation(&args.file, stated)?;
    }
    let read = args.inputs.iter().chain([&args.file]).map(PathBuf::as_path).chain(args.given.data());
    let read: Vec<_> = read.chain(weights).collect();
    output::not_read(&arrays(args), &read)?;
    Ok(read)
}

/// The arrays that are written, with their options.
fn arrays(args: &Args) -> Vec<(&str, &Path)> {
    let dumps = args.dump.iter().map(|(_, path)| ("--dump", path.as_path()));
    args.output.iter().map(|path| ("--output", path.as_path())).chain(dumps).collect()
}

/// Says what the network's results are, and names their classes; `None` for a network whose result is not one number a
/// class, which can still be written.
fn scored(args: &Args, model: &Model, weights: &Weights, from: &Path) -> Done<Option<(Scores, Classes)>> {
    match result(model) {
        Ok((_, scores, _)) => Ok(Some((scores, classes::of_weights(model, weights, from)?))),
        Err(_) if args.maps.is_none() && (args.output.is_some() || !args.dump.is_empty()) => Ok(None),
        Err(Failure::Error(e)) => Err(e.and_help("`--output FILE.npy` writes it as it is").into()),
        Err(other) => Err(other),
    }
}

/// Writes what `--dump` and `--output` ask for; a result that is not a number is an error.
fn write_results(args: &Args, images: &Images, name: &str, results: &[Tensor]) -> Done {
    // What was asked for to look for the cause is written whatever it holds.
    for (path, tensor) in args.dump.iter().map(|(_, path)| path).zip(&results[1..]) {
        write_atomically(path, &npy::to_bytes(tensor), &System)?;
    }
    answers::finite(name, &results[0].data, images.names.len(), |image| images.names[image].clone())?;
    for (path, tensor) in args.output.iter().zip(results) {
        write_atomically(path, &npy::to_bytes(tensor), &System)?;
    }
    Ok(())
}

fn compute(engine: &mut dyn Engine, images: &Images, names: &[&str]) -> Done<Vec<Tensor>> {
    compute_of(engine, images.feeds(BATCH), images.size, names, &mut || Ok(()))
}

/// Runs the program on these parts of all images, of `size` numbers each, and asks between them whether to go on.
pub fn compute_of(
    engine: &mut dyn Engine,
    feeds: Vec<Feed>,
    size: usize,
    names: &[&str],
    go_on: &mut dyn FnMut() -> Done,
) -> Done<Vec<Tensor>> {
    let input = ninc_runtime::train::step_inputs::image(engine.inputs())?.name.clone();
    // Values that are not one per image are the same for every batch.
    let per_image = |name: &&str| engine.outputs().iter().any(|port| port.name == **name && port.batched);
    let per_image: Vec<bool> = names.iter().map(per_image).collect();
    let mut all: Vec<Tensor> = Vec::new();
    for (i, some) in feeds.into_iter().enumerate() {
        if i > 0 {
            go_on()?;
        }
        let count = some.len() / size;
        let results = engine.run(count, &[(&input, some)], names)?;
        if all.is_empty() {
            all = results;
            continue;
        }
        for ((whole, part), per_image) in all.iter_mut().zip(results).zip(&per_image) {
            if *per_image {
                whole.dims[0] += part.dims[0];
                whole.data.extend(part.data);
            }
        }
    }
    Ok(all)
}

fn show(args: &Args, images: &[String], result: &Tensor, scores: Scores, classes: &Classes) -> Done {
    let (name, outputs) = (|output| classes.name(output), classes.outputs());
    if args.csv {
        let columns = (1..=(args.top as usize).min(outputs)).map(|k| format!(",class{k},probability{k}"));
        output::line(&format!("input{}", columns.collect::<String>()))?;
    }
    for (image, scored) in images.iter().zip(result.data.chunks_exact(outputs)) {
        let probabilities = scores.probabilities(scored);
        let order = answers::best(&probabilities, args.top as usize);
        if args.json {
            output::json(&answers::json(image, &order, &probabilities, classes))?;
            continue;
        }
        if args.csv {
            let cells = order.iter().map(|&c| format!(",{},{:.6}", cell(&name(c)), probabilities[c]));
            output::line(&(cell(image) + &cells.collect::<String>()))?;
            continue;
        }
        output::line(image)?;
        let width = order.iter().map(|&c| name(c).chars().count()).max().unwrap_or(0);
        for class in order {
            output::line(&format!("  {:<width$}  {:6.2} %", name(class), probabilities[class] * 100.0))?;
        }
    }
    Ok(())
}
