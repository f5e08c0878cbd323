//! `ninc export`: a network with its weights as an ONNX file.

use super::classes::builtin;
use super::foreign;
use super::model_file::input;
use super::opened::of_size;
use super::options::GlobalOptions;
use super::output::{self, Done, Failure, usage};
use super::preparation::{self, Data};
use super::programs::{find_weights, parameters};
use super::weights::Renames;
use ninc::graph::Graph;
use ninc::io::onnx::{self, Export};
use ninc::model::Model;
use ninc::pipeline;
use ninc::prepare;
use ninc::quantize::coded::{self, Coded};
use ninc::types::DType;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::formats::{Formats, LayerFormat};
use ninc_runtime::spec::{Prepare, Resize};
use ninc_runtime::store::{System, write_atomically};
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Tensor};
use std::path::{Path, PathBuf};

/// The operator set that is written unless said: the newest that the engines of today all read.
const OPSET: i64 = 17;

#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin
    file: PathBuf,
    /// The weights; without it they are looked for beside the model and in out/
    #[arg(long)]
    weights: Option<PathBuf>,
    #[command(flatten)]
    renames: Renames,
    /// Where to write it
    #[arg(short, long, value_name = "NAME.onnx")]
    out: PathBuf,
    /// The version of ONNX's operators, 13 to 22
    #[arg(long, value_name = "N", default_value_t = OPSET)]
    opset: i64,
    /// Put the preparation of images in front, so that the file takes pictures' numbers of 0 to 255
    #[arg(long)]
    with_preparation: bool,
    /// File or folder of the data, to which `prepare` is fitted where the weights hold no preparation
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    overwrite: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let model = global.model_on(&args.file, args.data.as_deref())?;
    let path = find_weights(args.weights.as_deref(), &model, &args.file)?;
    check(args, path.as_deref())?;
    let weights = args.renames.read_if_any(path.as_ref(), &global.foreign)?;
    let weights = foreign::with_fixed(&args.file, weights);
    output::line(&write(args, &model, weights, path.as_deref(), global)?)
}

/// Refuses options that cannot be, before anything is computed; `weights` is the file that they are read from.
pub fn check(args: &Args, weights: Option<&Path>) -> Done {
    let read: Vec<&Path> = [Some(&*args.file), weights].into_iter().flatten().collect();
    output::not_read(&[("--out", &args.out)], &read)?;
    output::not_there(&args.out, args.overwrite)?;
    if !onnx::OPSETS.contains(&args.opset) {
        let (first, last) = (onnx::OPSETS.start(), onnx::OPSETS.end());
        return Err(usage(format!("--opset {} is not written", args.opset), format!("{first} to {last} are")));
    }
    Ok(())
}

/// Writes the file, and says what is in it.
pub fn write(
    args: &Args,
    model: &Model,
    mut weights: Weights,
    from: Option<&Path>,
    global: &GlobalOptions,
) -> Done<String> {
    let params = match &weights.formats {
        Some(formats) => pipeline::params(&coded::graph(model, formats)?),
        None => pipeline::params(&model.graph),
    };
    foreign::folded::check(&weights, &parameters(&params), from.unwrap_or(&args.file))?;
    if weights.preparation.is_none() {
        weights.preparation = match (args.with_preparation, model.data.as_ref()) {
            (true, _) => preparation::of_text(model, &args.file, Data::At(args.data.as_deref()), global)?,
            // What is not in the file need not be fitted.
            (false, Some(spec)) if !spec.prepare.is_empty() => preparation::given(model, spec)?,
            (false, _) => None,
        };
    }
    if let Some(fitted) = &weights.preparation {
        of_size(fitted.form(), &input(model)?)?;
    }
    let bytes = onnx_of(args, model, &weights)?;
    write_atomically(&args.out, &bytes, &System)?;
    let layers = output::counted(model.layers.len(), "layer");
    let prepared = match (&weights.preparation, args.with_preparation) {
        (Some(_), true) => "takes numbers of 0 to 255",
        (Some(_), false) => "takes prepared images",
        (None, _) => "takes numbers as they are",
    };
    let formats = weights.formats.as_ref().map_or(String::new(), told);
    Ok(format!("{}: {layers}{formats}, operator set {}; it {prepared}", args.out.display(), args.opset))
}

/// Says how layers of quantised weights are written.
fn told(formats: &Formats) -> String {
    let count = |format| formats.layers.values().filter(|f| **f == format).count();
    let bf16 = match count(LayerFormat::Bf16) {
        0 => String::new(),
        count => format!(", {count} of bf16 as floats"),
    };
    format!(", {} of int8{bf16}", count(LayerFormat::Int8))
}

fn onnx_of(args: &Args, model: &Model, weights: &Weights) -> Done<Vec<u8>> {
    let mut metadata = Vec::new();
    let json = |names: &[String]| serde_json::to_string(names).unwrap_or_default();
    let classes = if weights.classes.is_empty() { builtin(model) } else { weights.classes.clone() };
    if !classes.is_empty() {
        metadata.push(("classes".to_string(), json(&classes)));
    }
    if let Some(preparation) = &weights.preparation {
        if args.with_preparation {
            metadata.push((foreign::PREPARE.into(), "none".into()));
        } else if let Some(list) = list(preparation) {
            metadata.push((foreign::PREPARE.into(), list));
        }
        let resize = preparation.pictures().map_or(Resize::Stretch, |pictures| pictures.resize);
        let word = if resize == Resize::Crop { "crop" } else { "stretch" };
        metadata.push((foreign::RESIZE.into(), word.into()));
    } else if args.with_preparation {
        let help = "`prepare` in the model's `data` says how images are prepared";
        return Err(usage("--with-preparation: neither the weights nor the model have one", help));
    }
    let inside = weights.preparation.as_ref().filter(|_| args.with_preparation);
    let join = |graph: &mut Graph| inside.map_or(Ok(()), |inside| prepare::join(graph, inside.form(), DType::F32));
    let mut tensors = weights.tensors.clone();
    tensors.extend(inside.iter().flat_map(|inside| inside.tensors()));
    let written = |export: Export| onnx::export(&export).map_err(|e| Failure::Error(Error::new(e.to_string())));
    if let Some(formats) = &weights.formats {
        let coded = Coded::new(model, formats, &tensors, join)?;
        let (graph, tensors) = (&coded.graph, &coded.tensors);
        return written(Export { model, graph, tensors, coded: Some(&coded), opset: args.opset, metadata });
    }
    let mut graph = model.graph.clone();
    join(&mut graph).map_err(|e| e.of("prepare"))?;
    written(Export { model, graph: &graph, tensors: &tensors, coded: None, opset: args.opset, metadata })
}

/// The preparation as the language writes it, where its numbers are few.
pub fn list(preparation: &Preparation) -> Option<String> {
    let tensors = preparation.tensors();
    let numbers = |i: usize, what: &str| -> Option<&Tensor> {
        let name = format!("prepare.{i}.{what}");
        tensors.iter().find(|(n, _)| *n == name).map(|(_, tensor)| tensor)
    };
    let step = |(i, step): (usize, &Prepare)| match step {
        Prepare::Scale { factor } => Some(format!("scale({factor:?})")),
        Prepare::MeanStd { .. } => {
            let (mean, std) = (numbers(i, "mean")?, numbers(i, "std")?);
            Some(format!("mean_std(mean = {:?}, std = {:?})", mean.data, std.data))
        }
        Prepare::Gcn { scale } => Some(format!("gcn(scale = {scale:?})")),
        Prepare::Lcn => Some("lcn".into()),
        Prepare::Zca { .. } => None,
    };
    let steps: Option<Vec<String>> = preparation.spec().iter().enumerate().map(step).collect();
    Some(format!("[{}]", steps?.join(", ")))
}
