//! `ninc build --target wasm32`: a network as a WebAssembly module, a script around it, and a page that uses both.
//!
//! The module is the whole program, weights inside: code stands in front of them, so that a browser compiles it while
//! they still arrive, and there is one file to fetch. The script (`templates/`) reads pictures, as `runtime/src/image`
//! does it, and calls the module, whose addresses it knows: both hold the checksum of the description that they share,
//! and the script refuses a module with another one.

use super::error::LibraryError;
use super::files::{BuildRequest, File, Library};
use super::{header, table};
pub use crate::back::wasm::UNSUPPORTED;
use crate::lower::target::Target;
use crate::model::Model;
use crate::pipeline::{self, Kernels, Options};
use ninc_runtime::data::prepare::Form;
use ninc_runtime::plan::{Plan, Port};
use ninc_runtime::spec::{Grey, Resize};
use ninc_runtime::weights::Weights;
use ninc_runtime::words::escape;
use ninc_runtime::{Result, store};
use program::Program;
use serde_json::{Value, json};
use std::path::Path;

mod layout;
mod program;

/// The word of `--target`.
pub const TARGET: &str = "wasm32";

/// The script's parts, one behind the other.
const SCRIPT: [&str; 3] =
    [include_str!("templates/network.js"), include_str!("templates/pictures.js"), include_str!("templates/load.js")];
const WORKER: &str = include_str!("templates/worker.js");
const TYPES: &str = include_str!("templates/network.d.ts");
const PAGE: &str = include_str!("templates/index.html");
const STYLE: &str = include_str!("templates/page.css");
const PAGE_SCRIPT: [&str; 3] =
    [include_str!("templates/page.js"), include_str!("templates/canvas.js"), include_str!("templates/shown.js")];

/// What a page is built of, beside the request.
pub struct Page<'a> {
    /// Multiply-adds may be rounded once, where the browser has them.
    pub relaxed: bool,
    /// The most threads that share a run; 1 for a page that needs no headers from its server.
    pub threads: usize,
    /// The value whose channels are maps of the classes, which the program gives too.
    pub maps: Option<&'a str>,
    /// Where the weights come from, for complaints.
    pub path: Option<&'a Path>,
    /// How the network's result becomes probabilities: `probabilities`, `logits` or `log_probabilities`.
    pub scores: &'a str,
}

/// What kernels are written for: nothing that depends on the machine that builds.
pub fn target(relaxed: bool, options: &Options) -> Target {
    let algorithm = options.target.as_ref().map_or_else(Default::default, |target| target.algorithm);
    Target { algorithm, ..Target::portable(relaxed) }
}

/// Compiles a network for a page, for which its weights need not be known; its result and the value `maps` are what the
/// program gives.
pub fn compile(model: &Model, relaxed: bool, maps: Option<&str>, options: &Options) -> Result<Kernels> {
    let target = target(relaxed, options);
    let options = Options { dumps: maps.iter().map(|name| name.to_string()).collect(), ..options.clone() };
    one(pipeline::inference_variants(model, &options, std::slice::from_ref(&target))?)
}

/// Makes all files of a page of a network that was compiled for it.
pub fn build(
    model: &Model,
    request: &BuildRequest,
    page: &Page,
    options: &Options,
    kernels: Kernels,
) -> Result<Library> {
    let weights = request.weights.ok_or_else(|| LibraryError::internal("a page without weights"))?;
    let target = target(page.relaxed, options);
    if let Some(path) = page.path {
        let parameters: Vec<_> = kernels.params.iter().map(pipeline::ParamInfo::parameter).collect();
        weights.check(&parameters, path)?;
    }
    let mut program = Program::new(page.relaxed, page.threads);
    let of_weights = |name: &str| weights.tensors.get(name).map(|t| (t.dims.as_slice(), t.data.as_slice()));
    let places = program.add("run", &kernels, of_weights)?;
    let rows = table::rows(kernels.plan.for_batch(1), &kernels.module, &target, &kernels.report.origins);
    let mut description = description(model, request, page, kernels.plan.for_batch(1), &places);
    description["layers"] = layers(model, &rows);
    if let Some(dims) = picture(request) {
        let (preparation, places) = preparation(weights, dims, request.reading.1, options, &target, &mut program)?;
        description["pictures"] = pictures(request, dims, &preparation, &places);
    }
    let (parameter_bytes, memory) = (program.parameter_bytes, program.memory_bytes());
    description["memory"] = json!(memory);
    description["build"] = json!(sum((SCRIPT.concat() + &description.to_string()).as_bytes()));
    let module = program.finish(description["build"].as_str().unwrap_or_default())?;
    let code_bytes = module.len() - parameter_bytes;
    description["bytes"] = json!({ "module": module.len(), "parameters": parameter_bytes });
    let files = files(model, request, description, module);
    Ok(Library { files, rows, code_bytes, kernels })
}

/// Channels, height and width of pictures, where decoded ones fit: those are grey or of red, green and blue.
pub fn picture(request: &BuildRequest) -> Option<[usize; 3]> {
    request.picture.filter(|[channels, ..]| matches!(channels, 1 | 3))
}

/// The only one of the programs that were compiled for one target.
fn one(mut variants: Vec<Kernels>) -> Result<Kernels> {
    Ok(variants.pop().ok_or_else(|| LibraryError::internal("no program for a target"))?)
}

/// Adds the program that prepares pictures of these dimensions.
fn preparation(
    weights: &Weights,
    dims: [usize; 3],
    divisor: f32,
    options: &Options,
    target: &Target,
    program: &mut Program,
) -> Result<(Kernels, program::Places)> {
    let own = weights.preparation.as_ref().map(|preparation| Ok(preparation.form().clone()));
    let form = own.unwrap_or_else(|| Form::new(vec![], dims))?;
    let kernels = one(pipeline::preparation_variants(&form, divisor, options, std::slice::from_ref(target))?)?;
    let numbers = weights.preparation.as_ref().map(|preparation| preparation.numbers()).unwrap_or_default();
    let number = |wanted: &str| {
        let found = numbers.iter().find(|(name, ..)| name == wanted)?;
        Some((found.1.as_ref(), found.2))
    };
    let places = program.add("prepare", &kernels, number)?;
    Ok((kernels, places))
}

/// What the script must know of the network.
fn description(model: &Model, request: &BuildRequest, page: &Page, plan: &Plan, places: &program::Places) -> Value {
    let output = |name: Option<&str>| {
        let found = plan.outputs.iter().zip(&places.outputs);
        found.into_iter().find(|(port, _)| name.is_none_or(|name| port.name == name)).map(|(p, &at)| value(p, at))
    };
    json!({
        "name": model.name,
        "ninc": env!("CARGO_PKG_VERSION"),
        "relaxed": page.relaxed,
        "threads": page.threads,
        "classes": request.classes,
        "input": value(&plan.inputs[0], places.inputs[0]),
        "output": output(None),
        "scores": page.scores,
        "maps": page.maps.and_then(|name| output(Some(name))),
        "pictures": null,
    })
}

/// A value of the program: its shape, and where and in which order it lies in memory.
fn value(port: &Port, at: usize) -> Value {
    json!({ "name": port.name, "type": port.dtype.numpy(), "shape": port.dims, "order": port.order, "at": at })
}

/// How pictures become an input.
fn pictures(
    request: &BuildRequest,
    [channels, height, width]: [usize; 3],
    kernels: &Kernels,
    places: &program::Places,
) -> Value {
    let plan = kernels.plan.for_batch(1);
    let reading = request.reading.0;
    json!({
        "channels": channels,
        "height": height,
        "width": width,
        "crop": reading.resize == Resize::Crop,
        "rec709": reading.grey == Grey::Rec709,
        "background": reading.background,
        "input": value(&plan.inputs[0], places.inputs[0]),
        "output": value(&plan.outputs[0], places.outputs[0]),
    })
}

/// A row for each launch: the value that it computes, its shape, how, and the network's own multiply-adds.
fn layers(model: &Model, rows: &[table::Row]) -> Value {
    let graph = &model.graph;
    let shape = |name: &str| graph.named(name).map(|id| graph.ty(id).dims.clone());
    let row = |row: &table::Row| {
        json!({
            "name": row.result, "algorithm": row.algorithm, "executed": row.executed,
            "shape": shape(&row.result),
        })
    };
    rows.iter().map(row).collect()
}

/// A checksum in words.
fn sum(bytes: &[u8]) -> String {
    format!("{:08x}", store::crc32(bytes))
}

/// All files of the page. The description in words for programs has the checksums of the others, by which a later
/// build knows them.
fn files(model: &Model, request: &BuildRequest, description: Value, module: Vec<u8>) -> Vec<File> {
    let name = header::identifier(&model.name);
    let pretty = serde_json::to_string_pretty(&description).unwrap_or_default();
    let fill = |text: &str| text.replace("@name@", &name).replace("@network@", &escape(&model.name));
    // Addresses say what they are of, so that no cache gives what belongs to another build.
    let script = fill(&SCRIPT.concat()).replace("@module-sum@", &sum(&module)).replace("@description@", &pretty);
    let addressed =
        |text: &str| fill(text).replace("@module-sum@", &sum(&module)).replace("@script-sum@", &sum(script.as_bytes()));
    let page = addressed(PAGE).replace("@style@", STYLE).replace("@script@", &addressed(&PAGE_SCRIPT.concat()));
    let mut files = vec![
        (format!("{name}.wasm"), module),
        (format!("{name}.js"), script.into_bytes()),
        (format!("{name}.d.ts"), fill(TYPES).into_bytes()),
        // Node looks here for what the script is.
        ("package.json".into(), b"{ \"type\": \"module\" }\n".to_vec()),
    ];
    if description["threads"].as_u64() > Some(1) {
        files.push((format!("{name}.worker.js"), fill(WORKER).into_bytes()));
    }
    if picture(request).is_some() {
        files.push(("index.html".into(), page.into_bytes()));
    }
    let sums: serde_json::Map<String, Value> =
        files.iter().map(|(name, bytes)| (name.clone(), json!(sum(bytes)))).collect();
    let mut about = description;
    (about["target"], about["crc32"]) = (json!(TARGET), Value::Object(sums));
    let text = serde_json::to_string_pretty(&about).unwrap_or_default() + "\n";
    files.push((format!("{name}.json"), text.into_bytes()));
    files
}
