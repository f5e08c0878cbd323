//! All files of a library.

use super::blob::{Extras, Feed};
use super::header::{self, About, identifier};
use super::levels::Level;
use super::{Part, archive, object, shared};
use crate::model::Model;
use crate::pipeline::{self, Dump, Kernels, Options, Report};
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Result, Tensor};
use std::collections::BTreeMap;

/// What to build.
pub struct Order<'a> {
    pub triple: &'a str,
    /// From the least to the most demanding.
    pub levels: &'a [Level],
    /// Shape of pictures, if the network takes any.
    pub picture: Option<[usize; 3]>,
    pub classes: Vec<String>,
    pub weights: Option<&'a Weights>,
}

pub struct Library {
    /// Name and contents.
    pub files: Vec<(String, Vec<u8>)>,
    pub report: Report,
    pub dumps: Vec<Dump>,
    pub code_bytes: usize,
    /// The plan of the most demanding level, with its kernels.
    pub kernels: Kernels,
}

pub fn build(model: &Model, order: &Order, options: &Options) -> Result<Library> {
    let host = options.target.clone().unwrap_or_else(crate::kernel::target::Target::host);
    let mut compiled = Vec::new();
    for (i, level) in order.levels.iter().enumerate() {
        let target = level.target(order.triple, &host)?;
        // Dumps show the last level.
        let emit = if i + 1 == order.levels.len() { options.emit.clone() } else { vec![] };
        let options = Options { target: Some(target), emit, ..options.clone() };
        compiled.push(pipeline::inference_kernels(model, &options)?);
    }
    let parts: Vec<Part> =
        compiled.iter().map(|k| Part { plan: &k.plan, module: &k.module, target: &k.target }).collect();
    let last = compiled.last().ok_or_else(|| Error::new("no level to build for"))?;
    let name = identifier(&model.name);
    let empty = Weights::default();
    // Without weights nobody knows the preparation.
    let extras = Extras {
        feeds: vec![Feed::Image; last.plan.inputs.len()],
        weights: order.weights.unwrap_or(&empty),
        picture: order.weights.and(order.picture),
        classes: &order.classes,
        training: false,
    };
    let (object, code_bytes) = object(&name, order.triple, &parts, &extras)?;
    let failed = |e: String| Error::new(format!("library: {e}"));
    let about = About {
        name: &model.name,
        plan: &last.plan,
        picture: extras.picture,
        classes: order.classes.len(),
        embedded: false,
        version: env!("CARGO_PKG_VERSION"),
    };
    let mut files = header::write(&about);
    files.extend([
        (format!("lib{name}.a"), archive::write(&format!("{name}.o"), &object).map_err(failed)?),
        (format!("lib{name}.so"), shared::write(&format!("lib{name}.so"), &object).map_err(failed)?),
        (format!("{name}.o"), object),
    ]);
    if let Some(weights) = order.weights {
        files.push((format!("{name}.safetensors"), used(weights, last).store().to_bytes()));
    }
    let report = last.report.clone();
    let kernels = compiled.pop().expect("there is a last one");
    Ok(Library { files, report, dumps: kernels.dumps.clone(), code_bytes, kernels })
}

/// The weights that the program has parameters for.
fn used(weights: &Weights, kernels: &Kernels) -> Weights {
    let wanted = |name: &String| kernels.plan.params.iter().any(|p| p.name == *name);
    let tensors: BTreeMap<String, Tensor> =
        weights.tensors.iter().filter(|(n, _)| wanted(n)).map(|(n, t)| (n.clone(), t.clone())).collect();
    Weights { tensors, ..weights.clone() }
}
