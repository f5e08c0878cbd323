//! `ninc import`: a network of another program as a model file with its weights.

use super::foreign;
use super::options::GlobalOptions;
use super::output::{self, Done, usage};
use super::preparation::{self, Data};
use ninc_runtime::store::{System, write_atomically};
use ninc_runtime::weights::Weights;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// The network, NAME.onnx
    file: PathBuf,
    /// Where to write the model file; its weights lie beside it, NAME.safetensors
    #[arg(short, long, value_name = "NAME.nin")]
    out: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    overwrite: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    if !foreign::is(&args.file) {
        let message = format!("{} is not a network that is imported, by its name", args.file.display());
        return Err(usage(message, "give a file NAME.onnx"));
    }
    let weights = args.out.with_extension("safetensors");
    if weights == args.out {
        return Err(usage(
            format!("--out {} is a name for weights", args.out.display()),
            "name a model file: `net.nin`",
        ));
    }
    let outputs: [(&str, &Path); 2] = [("--out", &args.out), ("--out", &weights)];
    output::not_read(&outputs, &[&args.file])?;
    outputs.iter().try_for_each(|(_, path)| output::not_there(path, args.overwrite))?;
    let model = global.model(&args.file)?;
    let read = foreign::read(&args.file, &global.foreign)?;
    let preparation = preparation::of_text(&model, &args.file, Data::At(None), global)?;
    let (tensors, classes) = (read.tensors.clone(), read.classes.clone());
    let made = Weights { model: model.name.clone(), tensors, classes, preparation, ..Weights::default() };
    made.write(&weights, &System)?;
    write_atomically(&args.out, read.text.as_bytes(), &System)?;
    let layers = output::counted(model.layers.len(), "layer");
    let tensors = output::counted(made.tensors.len(), "tensor");
    output::line(&format!("{}: {layers}; {}: {tensors}", args.out.display(), weights.display()))
}
