//! `ninc graph`: a picture of a network.

use super::options::GlobalOptions;
use super::output::{self, Done, not_read, usage};
use ninc::drawing::{self, Drawing};
use ninc::model::Model;
use ninc::pipeline;
use ninc_runtime::store::{System, write_atomically};
use std::collections::HashSet;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin
    file: PathBuf,
    /// The picture: NAME.svg, NAME.dot for Graphviz, or NAME.html, a page with the layers' figures
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A frame for each layer, not for what becomes one kernel
    #[arg(long)]
    layers: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let ending = args.output.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    let write: fn(&Drawing) -> String = match ending.as_str() {
        "svg" => drawing::svg,
        "dot" | "gv" => drawing::dot,
        "html" | "htm" => drawing::page,
        _ => {
            let message = format!("{} does not say what kind of picture it is", args.output.display());
            return Err(usage(message, "the name ends with `.svg`, `.dot` or `.html`"));
        }
    };
    not_read(&[("-o", args.output.as_path())], &[args.file.as_path()])?;
    let drawing = drawing(&global.model(&args.file)?, args.layers, global)?;
    write_atomically(&args.output, write(&drawing).as_bytes(), &System)?;
    output::note(&format!("{}: {} frames", args.output.display(), drawing.frames.len()));
    Ok(())
}

/// Draws a network: a frame for each layer, or for what becomes one kernel.
pub fn drawing(model: &Model, layers: bool, global: &GlobalOptions) -> Done<Drawing> {
    let results = match layers {
        true => None,
        false => {
            let kernels = pipeline::inference_kernels(model, &global.options()?)?;
            let plan = kernels.plan.for_batch(1);
            let buffers = plan.launches.iter().flat_map(|launch| &launch.buffers);
            Some(buffers.map(|&buffer| plan.buffers[buffer].name.clone()).collect::<HashSet<_>>())
        }
    };
    Ok(Drawing::new(model, results.as_ref()))
}
