//! `ninc compare`: the same network on two devices, value by value.
//!
//! Twice over: once as each device runs it at its best, which gives the results, and once with every layer's value
//! kept, which says where a difference begins. Keeping a value may keep layers from being fused, so the first run is
//! the one that judges.

use super::classes;
use super::foreign;
use super::model_file::{input, load_data, result};
use super::options::{GlobalOptions, number};
use super::output::{self, Done, Failure, usage};
use super::preparation;
use super::programs::{find_weights, initialise, use_weights};
use super::weights::Renames;
use ninc::model::Model;
use ninc_runtime::data::Values;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::philox::Stream;
use ninc_runtime::spec::Source;
use ninc_runtime::train::step_inputs;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Tensor};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin, NAME.onnx or NAME.prototxt
    file: PathBuf,
    /// Another network, which is compared with the first on the same images, values of the same name with each other
    other: Option<PathBuf>,
    /// The weights; without it they are looked for as `run` does, and where there are none, one network is as it
    /// starts. For two networks it may stand twice, in their order; .onnx files have theirs
    #[arg(long)]
    weights: Vec<PathBuf>,
    #[command(flatten)]
    renames: Renames,
    /// File or folder of the data whose test images are used; without it, random numbers unless the data need no file
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Images to compare on
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    images: u32,
    /// Differences up to this part of a value's largest number are rounding
    #[arg(long, default_value_t = 1e-4, value_name = "PART", value_parser = number(0.0, 1.0))]
    tolerance: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How far one value differs.
struct Row {
    name: String,
    /// Largest absolute difference.
    difference: f64,
    /// It, as a part of the value's largest number.
    part: f64,
    differs: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let model = global.model(&args.file)?;
    let options = [global.side(0), global.side(1)];
    let mut left = args.weights.iter();
    let given = weights(args, &args.file, &model, &mut left)?;
    let second = args.other.as_ref().map(|file| second(args, file, global, &mut left)).transpose()?;
    if let Some(more) = left.next() {
        return Err(usage(format!("--weights {} is for no network", more.display()), "leave it out"));
    }
    let images = images(args, &model, given.as_ref(), global)?;
    let first = Side { options: &options[0], model: &model, given: given.as_ref() };
    let side = match &second {
        Some((model, given)) => Side { options: &options[1], model, given: given.as_ref() },
        None => Side { options: &options[1], ..first },
    };
    let names = match &args.other {
        Some(other) => [&args.file, other].map(|file| file.display().to_string()),
        None => [options[0].describe(), options[1].describe()],
    };
    let sides = [first, side];
    if input(sides[0].model)?.iter().product::<usize>() != input(sides[1].model)?.iter().product::<usize>() {
        let (a, b) = (input(sides[0].model)?, input(sides[1].model)?);
        return Err(Error::new(format!("{} takes images of {a:?}, {} of {b:?}", names[0], names[1])).into());
    }
    let outputs = sides.map(|side| side.model.graph.outputs.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>());
    let layers = common(&sides, &outputs);

    let at_best = both(&sides, &images, &[], &outputs)?;
    let each = both(&sides, &images, &layers, &[layers.clone(), layers.clone()])?;
    let mut rows = compare(&layers, &each, args.tolerance);
    let results = compare(&outputs[0], &at_best, args.tolerance);
    let (layer, result) = (rows.iter().position(|r| r.differs), results.iter().position(|r| r.differs));
    let first = layer.map(|at| rows[at].name.clone());
    let wrong = result.map(|at| results[at].name.clone());
    rows.extend(results);
    show(args, &rows, &names, first.as_ref().or(wrong.as_ref()))?;
    let between = format!("between {} and {} by more than {}", names[0], names[1], args.tolerance);
    let (message, help) = match (first, wrong) {
        (None, None) => return Ok(()),
        (Some(name), _) => (format!("`{name}` is the first value that differs {between}"), "values before it agree"),
        (None, Some(name)) => (
            format!("the result `{name}` differs {between}, though every layer agrees on its own"),
            "what is fused together computes something else: `ninc build FILE --emit opt` shows it",
        ),
    };
    Err(Failure::Error(Error::new(message).with_help(help)))
}

/// Weights and the file that they came from.
type Given = (PathBuf, Weights);

/// Images for both sides: prepared ones, or of 0 to 255 with their preparation.
type Images = (Values, Option<Preparation>);

fn images(args: &Args, model: &Model, given: Option<&Given>, global: &GlobalOptions) -> Done<Images> {
    let size: usize = input(model)?.iter().product();
    let count = args.images as usize;
    let embedded = model.data.as_ref().is_some_and(|spec| spec.source == Source::Digits);
    if args.data.is_none() && !embedded {
        let mut random = Stream::new(1, 0, 0);
        return Ok((Values::Floats((0..count * size).map(|_| random.normal()).collect()), None));
    }
    let sets = load_data(model, &args.file, args.data.as_deref(), given.map(|(_, weights)| weights))?;
    let none = Weights::default();
    let weights = given.map_or((&none, false), |(_, weights)| (weights, true));
    let preparation = preparation::of_weights(model, &args.file, weights, &sets.train, &global.side(0))?;
    sets.test.check("test", &input(model)?, usize::MAX)?;
    if let Some((path, weights)) = given.filter(|_| result(model).is_ok()) {
        // Images of any class show differences: it is enough to say that these are others.
        if let Err(e) = classes::of_weights(model, weights, path)?.relabel(&sets.test, &sets.names) {
            output::note(&format!("note: {}", e.message));
        }
    }
    preparation.check(&sets.test)?;
    Ok((sets.test.values(0..count.min(sets.test.len()))?, Some(preparation)))
}

/// One of the two programs that are compared.
#[derive(Clone, Copy)]
struct Side<'a> {
    options: &'a GlobalOptions,
    model: &'a Model,
    given: Option<&'a Given>,
}

/// Reads the second network with its weights.
fn second<'a>(
    args: &Args,
    file: &Path,
    global: &GlobalOptions,
    left: &mut impl Iterator<Item = &'a PathBuf>,
) -> Done<(Model, Option<Given>)> {
    let model = global.model(file)?;
    let given = weights(args, file, &model, left)?;
    Ok((model, given))
}

/// The layers that are compared: all but results, and of two networks those of one name and size.
fn common(sides: &[Side; 2], outputs: &[Vec<String>; 2]) -> Vec<String> {
    let size = |side: &Side, name: &str| {
        let layer = side.model.layers.iter().find(|layer| layer.name == name)?;
        Some(side.model.graph.ty(layer.value).elements())
    };
    let names = sides[0].model.layers.iter().map(|layer| &layer.name);
    let fits = |name: &&String| {
        let result = outputs.iter().any(|outputs| outputs.contains(*name));
        !result && size(&sides[0], name) == size(&sides[1], name)
    };
    names.filter(fits).cloned().collect()
}

/// Reads the weights that were given next or lie where `run` would find them. Two networks need theirs.
fn weights<'a>(
    args: &Args,
    file: &Path,
    model: &Model,
    left: &mut impl Iterator<Item = &'a PathBuf>,
) -> Done<Option<Given>> {
    let given = if foreign::has_weights(file) { None } else { left.next() };
    match find_weights(given.map(PathBuf::as_path), model, file) {
        Ok(path) => path.map(|path| Ok((path.clone(), args.renames.read(&path)?))).transpose(),
        Err(_) if given.is_none() && args.other.is_none() => Ok(None),
        Err(e) => Err(e),
    }
}

/// Computes values on both sides.
fn both(
    sides: &[Side; 2],
    (images, preparation): &Images,
    dumps: &[String],
    values: &[Vec<String>; 2],
) -> Done<[Vec<Tensor>; 2]> {
    let one = |side: &Side, values: &[String]| -> Done<Vec<Tensor>> {
        let Side { options: side, model, given } = *side;
        let formats = given.and_then(|(_, weights)| weights.formats.as_ref());
        let own = side.with_formats(model, formats);
        let mut program = side.inference_of(&own, preparation.as_ref(), images.feed().dtype(), dumps)?;
        match given {
            Some((path, weights)) => use_weights(&mut program, &side.with_numbers(model, weights.clone())?, path)?,
            None => initialise(&mut program)?,
        }
        let port = step_inputs::image(program.engine.inputs())?.clone();
        let names: Vec<&str> = values.iter().map(String::as_str).collect();
        let count = images.feed().len() / port.elements();
        Ok(program.engine.run(count, &[(&port.name, images.feed())], &names)?)
    };
    Ok([one(&sides[0], &values[0])?, one(&sides[1], &values[1])?])
}

fn compare(names: &[String], [a, b]: &[Vec<Tensor>; 2], tolerance: f64) -> Vec<Row> {
    let row = |((name, a), b): ((&String, &Tensor), &Tensor)| {
        let (mut difference, mut largest) = (0.0f64, 0.0f64);
        for (&x, &y) in a.data.iter().zip(&b.data) {
            // Equal infinities do not differ; NaN on one side only does.
            let apart = if x == y || (x.is_nan() && y.is_nan()) { 0.0 } else { f64::from(x) - f64::from(y) };
            difference = if apart.is_nan() { f64::INFINITY } else { difference.max(apart.abs()) };
            largest = largest.max(if x.is_finite() { f64::from(x.abs()) } else { 0.0 });
        }
        let part = if difference == 0.0 { 0.0 } else { difference / largest.max(f64::from(f32::MIN_POSITIVE)) };
        let differs = a.data.len() != b.data.len() || part > tolerance;
        Row { name: name.clone(), difference, part, differs }
    };
    names.iter().zip(a).zip(b).map(row).collect()
}

fn show(args: &Args, rows: &[Row], names: &[String; 2], first: Option<&String>) -> Done {
    if args.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|r| json!({ "value": r.name, "difference": r.difference, "part": r.part, "differs": r.differs }))
            .collect();
        let agree = first.is_none();
        return output::json(&json!({ "sides": names, "values": rows, "agree": agree, "first": first }));
    }
    let heading = ["value", "largest difference", "of the largest number", ""].map(String::from).to_vec();
    let mut table = vec![heading];
    for row in rows {
        let mark = if row.differs { "differs" } else { "" };
        table.push(vec![row.name.clone(), format!("{:.2e}", row.difference), format!("{:.2e}", row.part), mark.into()]);
    }
    output::print(&output::table(&table))?;
    match first {
        None => output::line(&format!("{} and {} agree within {}", names[0], names[1], args.tolerance)),
        Some(_) => Ok(()),
    }
}
