//! `ninc import`: a network of another program as a model file with its weights.

use super::foreign::{self, Foreign};
use super::options::GlobalOptions;
use super::output::{self, Done, usage};
use super::preparation::{self, Data};
use super::programs::parameters;
use super::weights::Renames;
use ninc::io::sheet::identifier;
use ninc::model::Model;
use ninc::pipeline;
use ninc_runtime::Tensor;
use ninc_runtime::store::{System, write_atomically};
use ninc_runtime::weights::{Weights, few};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// The network, NAME.onnx or NAME.prototxt
    file: PathBuf,
    /// Where to write the model file; its weights lie beside it, NAME.safetensors
    #[arg(short, long, value_name = "NAME.nin")]
    out: PathBuf,
    /// The weights of a network of Caffe, NAME.caffemodel; without them only the model file is written
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    #[command(flatten)]
    renames: Renames,
    /// Replace files that are there
    #[arg(long)]
    overwrite: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    if foreign::of_torch(&args.file)?.is_some() {
        let file = args.file.display();
        let help = format!(
            "`torch.onnx.export(net, image, \"net.onnx\")` writes both; for a network in the language \
             `ninc weights {file} --for NAME.nin` finds its layers"
        );
        return Err(usage(format!("{file} is a state dict of PyTorch: tensors by name, without their network"), help));
    }
    if !foreign::is(&args.file) {
        let message = format!("{} is not a network that is imported, by its name", args.file.display());
        return Err(usage(message, not_imported(&args.file)));
    }
    let weights = args.out.with_extension("safetensors");
    if weights == args.out {
        return Err(usage(
            format!("--out {} is a name for weights", args.out.display()),
            "name a model file: `net.nin`",
        ));
    }
    let outputs: [(&str, &Path); 2] = [("--out", &args.out), ("--out", &weights)];
    let inputs: Vec<&Path> = [args.file.as_path()].into_iter().chain(args.weights.as_deref()).collect();
    output::not_read(&outputs, &inputs)?;
    outputs.iter().try_for_each(|(_, path)| output::not_there(path, args.overwrite))?;
    args.renames.need(args.weights.as_deref())?;
    let model = global.model(&args.file)?;
    let read = foreign::read(&args.file, &global.foreign, None)?;
    let (name, text) = named(&read.text, &model.name, &args.out);
    let preparation = preparation::of_text(&model, &args.file, Data::At(None), global)?;
    let layers = output::counted(model.layers.len(), "layer");
    let Some(tensors) = tensors(args, global, &model, &read)? else {
        write_atomically(&args.out, text.as_bytes(), &System)?;
        return output::line(&format!("{}: {layers}; its weights are for a training to find", args.out.display()));
    };
    let (classes, formats) = (read.classes.clone(), read.formats.clone());
    let made = Weights { model: name, tensors, classes, preparation, formats, ..Weights::default() };
    made.write(&weights, &System)?;
    write_atomically(&args.out, text.as_bytes(), &System)?;
    let tensors = output::counted(made.tensors.len(), "tensor");
    let int8 = made.formats.map_or(String::new(), |formats| format!(", {} of int8", formats.layers.len()));
    output::line(&format!("{}: {layers}{int8}; {}: {tensors}", args.out.display(), weights.display()))
}

/// Names the network of a text after its file, by whose name its weights are looked for; returns name and text.
fn named(text: &str, own: &str, file: &Path) -> (String, String) {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = stem.and_then(|stem| identifier(&stem)).unwrap_or_else(|| own.into());
    let text = text.replacen(&format!("\nnetwork {own} {{"), &format!("\nnetwork {name} {{"), 1);
    (name, text)
}

/// Says how to convert a network file whose format cannot be read.
fn not_imported(path: &Path) -> String {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match ending.as_str() {
        "keras" | "h5" | "hdf5" => format!(
            "Keras makes a file that is: `keras.saving.load_model('{}').export('NAME.onnx', format='onnx')`",
            path.display()
        ),
        _ => "give a file NAME.onnx or NAME.prototxt".into(),
    }
}

/// The network's tensors: those in its file and, of Caffe, those beside it; `None` where nobody gives them.
fn tensors(
    args: &Args,
    global: &GlobalOptions,
    model: &Model,
    read: &Foreign,
) -> Done<Option<BTreeMap<String, Tensor>>> {
    let mut tensors = read.tensors.clone();
    if foreign::has_weights(&args.file) {
        return match &args.weights {
            None => Ok(Some(tensors)),
            Some(path) => Err(usage(
                format!("--weights {}: {} holds its own weights", path.display(), args.file.display()),
                "leave --weights out, and give others to `run`, `train` and the like",
            )),
        };
    }
    let wanted = parameters(&pipeline::params(&model.graph));
    let Some(path) = &args.weights else {
        if let Some(name) = tensors.keys().next() {
            return Err(usage(
                format!("{} needs fixed numbers (`{name}`), which a file of weights keeps", args.file.display()),
                "give its weights: `--weights NAME.caffemodel`",
            ));
        }
        return Ok(wanted.is_empty().then(BTreeMap::new));
    };
    let mut weights = args.renames.read(path, &global.foreign)?;
    weights.tensors.append(&mut tensors);
    // A training has layers beside those of the network, as those of further losses.
    let further = |name: &String| !wanted.iter().any(|p| p.name == *name);
    let left: Vec<String> = weights.tensors.keys().filter(|name| further(name)).cloned().collect();
    weights.tensors.retain(|name, _| !left.contains(name));
    if !left.is_empty() {
        let names: Vec<&str> = left.iter().map(String::as_str).collect();
        output::note(&format!("note: {} holds what the network has not: {}", path.display(), few(&names)));
    }
    weights.check(&wanted, path)?;
    Ok(Some(weights.tensors))
}
