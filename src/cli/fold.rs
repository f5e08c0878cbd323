//! `ninc fold`: weights of a network with batch normalisation for the same network without it.

use super::model_file::result;
use super::options::GlobalOptions;
use super::output::{self, Done, Failure, usage};
use super::programs::{find_weights, use_weights};
use super::weights::Renames;
use ninc::fold;
use ninc::model::Model;
use ninc_runtime::philox::Stream;
use ninc_runtime::store::System;
use ninc_runtime::train::step_inputs;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Feed, Tensor};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// The network that was trained
    file: PathBuf,
    /// Its weights; without it they are looked for beside the model and in out/
    #[arg(long)]
    weights: Option<PathBuf>,
    #[command(flatten)]
    renames: Renames,
    /// The network without batch normalisation that gets the weights
    #[arg(long, value_name = "MODEL.nin")]
    into: PathBuf,
    /// Where to write them
    #[arg(short, long, value_name = "FILE.safetensors")]
    out: PathBuf,
}

/// Random images on which both networks must agree before anything is written.
const IMAGES: usize = 4;
/// Largest difference of a result, as a part of its largest number: rounding of some hundred additions.
const TOLERANCE: f32 = 1e-3;

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let (from, into) = (global.model(&args.file)?, global.model(&args.into)?);
    let path = find_weights(args.weights.as_deref(), &from, &args.file)?;
    let read = [Some(&args.file), Some(&args.into), path.as_ref()].into_iter().flatten().map(PathBuf::as_path);
    output::not_read(&[("--out", &args.out)], &read.collect::<Vec<_>>())?;
    let weights = args.renames.read_if_any(path.as_ref(), &global.foreign)?;
    let path = path.as_ref().unwrap_or(&args.file);
    if weights.formats.is_some() {
        let message = format!("{} is quantised: its normalisation is folded already", path.display());
        return Err(usage(message, "fold the float weights that it was made from"));
    }
    let before = results(&from, &weights, path, global)?;
    let folded = Weights { model: into.name.clone(), tensors: fold::fold(&from, &weights.tensors, &into)?, ..weights };
    let after = results(&into, &folded, &args.out, global)?;
    let largest = before.data.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let apart = before.data.iter().zip(&after.data).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    // Also when one of them is NaN.
    if before.dims != after.dims || !(apart <= TOLERANCE * largest) {
        let message = format!("{} with the folded weights differs by {apart:e} from {}", into.name, from.name);
        return Err(Failure::Error(Error::new(message).with_help("nothing was written")));
    }
    folded.write(&args.out, &System)?;
    let part = apart / largest.max(f32::MIN_POSITIVE);
    output::line(&format!(
        "{}: {}; results within {part:.1e} on random images",
        args.out.display(),
        output::counted(folded.tensors.len(), "tensor")
    ))
}

/// Computes the network's results for random images.
fn results(model: &Model, weights: &Weights, path: &Path, global: &GlobalOptions) -> Done<Tensor> {
    let mut program = global.inference(model, &[])?;
    use_weights(&mut program, weights, path)?;
    let port = step_inputs::image(program.engine.inputs())?.clone();
    let mut random = Stream::new(1, 0, 0);
    let images: Vec<f32> = (0..IMAGES * port.elements()).map(|_| random.normal()).collect();
    let (name, _, _) = result(model)?;
    Ok(program.engine.run(IMAGES, &[(&port.name, Feed::F32(&images))], &[&name])?.remove(0))
}
