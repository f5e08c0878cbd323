//! All files of a library.

use super::header::{self, About, identifier};
use super::image::{Extras, Feed, Training};
use super::levels::{Level, host_triple};
use super::table::{self, Row};
use super::{LibraryContents, ProgramVariants, Variant, archive, object, opencl, shared};
use crate::lower::target::Target;
use crate::model::Model;
use crate::pipeline::{self, Emit, Kernels, Options, Stage};
use ninc_runtime::plan::{Hyper, Port, Role};
use ninc_runtime::spec::Recipe;
use ninc_runtime::store::{self, Store};
use ninc_runtime::train::schedule;
use ninc_runtime::train::step_inputs;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Result, Tensor, init};
use serde_json::json;
use std::collections::BTreeMap;

/// What to build.
pub struct BuildRequest<'a> {
    pub triple: &'a str,
    /// From the least to the most demanding.
    pub levels: &'a [Level],
    /// Shape of pictures, if the network takes any.
    pub picture: Option<[usize; 3]>,
    pub classes: Vec<String>,
    pub weights: Option<&'a Weights>,
    /// The training step too.
    pub train: bool,
    /// The weights inside the library.
    pub embed: bool,
    /// The kernels as OpenCL C too, with a table of their launches.
    pub opencl: bool,
}

pub struct Library {
    /// Name and contents.
    pub files: Vec<(String, Vec<u8>)>,
    /// A row per launch.
    pub rows: Vec<Row>,
    pub code_bytes: usize,
    /// The plan of the most demanding level, with its kernels.
    pub kernels: Kernels,
}

pub fn build(model: &Model, request: &BuildRequest, options: &Options) -> Result<Library> {
    // Texts are those of inference, but for what only training has.
    let (learning, running) = options.emit.iter().cloned().partition(|e| request.train && e.of_training());
    let mut compiled = compile(model, request, options, running, pipeline::inference_kernels)?;
    let mut trained = match request.train {
        true => compile(model, request, options, learning, pipeline::training_kernels)?,
        false => vec![],
    };
    let last = compiled.last().ok_or_else(|| Error::new("no level to build for"))?;
    let name = identifier(&model.name);
    let weights = match (request.weights, trained.first()) {
        (Some(weights), _) => weights.clone(),
        (None, Some(kernels)) => fresh(model, kernels)?,
        (None, None) => Weights::default(),
    };
    // Without weights nobody knows the preparation.
    let picture = request.weights.and(request.picture);
    let saved = used(&weights, last).store();
    let extras =
        |feeds: Vec<Feed>, training| Extras { feeds, weights: &weights, picture, classes: &request.classes, training };
    let training = match (trained.first(), &model.train) {
        (Some(first), Some(recipe)) => {
            let feeds = first.plan.inputs.iter().map(|p| feed(recipe, p)).collect::<Result<_>>()?;
            let training = Training { seed: recipe.seed, saved: &saved };
            Some(ProgramVariants { variants: variants(&trained), extras: extras(feeds, Some(training)) })
        }
        _ => None,
    };
    let given = request.weights.is_some() || request.train;
    let contents = LibraryContents {
        inference: ProgramVariants {
            variants: variants(&compiled),
            extras: extras(vec![Feed::Image; last.plan.inputs.len()], None),
        },
        training,
        embedded: (given && request.embed).then(|| saved.to_bytes()),
    };
    let (object, code_bytes) = object(&name, request.triple, contents)?;
    let failed = |e: String| Error::new(format!("library: {e}"));
    let about = About {
        name: &model.name,
        plan: &last.plan,
        picture,
        classes: request.classes.len(),
        embedded: request.embed,
        training: request.train,
        opencl: request.opencl,
        version: env!("CARGO_PKG_VERSION"),
    };
    let mut files = header::write(&about);
    files.extend([
        (format!("lib{name}.a"), archive::write(&format!("{name}.o"), &object).map_err(failed)?),
        (format!("lib{name}.so"), shared::write(&format!("lib{name}.so"), &object).map_err(failed)?),
        (format!("{name}.o"), object),
    ]);
    if given && !request.embed {
        files.push((format!("{name}.safetensors"), saved.to_bytes()));
    }
    if let Some(kernels) = trained.first() {
        files.push((format!("{name}_train.safetensors"), start(&weights, kernels).to_bytes()));
    }
    if request.opencl {
        // Its launches are numbers and names only: weights are where the library has them.
        let options = Options { emit: vec![], ..options.clone() };
        let (plan, source) = pipeline::opencl_inference(model, &options)?;
        files.push((format!("{name}.cl.json"), opencl::table(&name, &plan, &source).into_bytes()));
        files.push((format!("{name}.cl"), source.text.into_bytes()));
    }
    let rows = table::rows(&last.plan, &last.module, &last.target);
    let json = describe(model, request, &weights, last, &files, &rows, code_bytes);
    files.push((format!("{name}.json"), json.into_bytes()));
    let mut kernels = compiled.pop().expect("there is a last one");
    kernels.dumps.extend(trained.pop().into_iter().flat_map(|k| k.dumps));
    Ok(Library { files, rows, code_bytes, kernels })
}

/// All levels of a program. Dumps show the last one.
fn compile(
    model: &Model,
    request: &BuildRequest,
    options: &Options,
    texts: Vec<Emit>,
    make: fn(&Model, &Options) -> Result<Kernels>,
) -> Result<Vec<Kernels>> {
    let host = options.target.clone().unwrap_or_else(Target::host);
    if request.triple != host_triple() && texts.contains(&Stage::Asm.into()) {
        return Err(Error::new("`--emit asm` shows instructions of this machine only")
            .with_help(format!("look at the object for {} with a disassembler", request.triple)));
    }
    let mut compiled = Vec::new();
    for (i, level) in request.levels.iter().enumerate() {
        let emit = if i + 1 == request.levels.len() { texts.clone() } else { vec![] };
        let target = Some(level.target(request.triple, &host)?);
        compiled.push(make(model, &Options { target, emit, ..options.clone() })?);
    }
    Ok(compiled)
}

fn variants(compiled: &[Kernels]) -> Vec<Variant<'_>> {
    compiled.iter().map(|k| Variant { plan: &k.plan, module: &k.module, target: &k.target }).collect()
}

/// What feeds an input of the training step.
fn feed(recipe: &Recipe, port: &Port) -> Result<Feed> {
    let schedule = schedule::Hyper { factor: 1.0, momentum: recipe.optimizer.momentum() };
    let number = |hyper| step_inputs::hyper(recipe, schedule, 0, hyper);
    Ok(match port.role {
        Role::Image => Feed::Image,
        Role::Tensor => return Err(Error::new(format!("the training step has an input `{}` of no role", port.name))),
        // Mixing images is the caller's matter: to the step each is its own partner, with all of the weight.
        Role::Labels | Role::Partners => Feed::Labels,
        Role::Share => Feed::Value(1.0),
        Role::Rest => Feed::Value(0.0),
        Role::Key => Feed::Key,
        Role::Hyper(Hyper::Step) => Feed::Step,
        Role::Hyper(Hyper::Rate) => Feed::Rate(number(Hyper::Rate)?),
        Role::Hyper(hyper) => Feed::Value(number(hyper)?),
    })
}

/// Weights as training starts with them.
fn fresh(model: &Model, kernels: &Kernels) -> Result<Weights> {
    let recipe = model.train.as_ref().ok_or_else(|| Error::new("the network has no `train { … }`"))?;
    let tensors = kernels.params.iter().filter(|p| !p.state);
    let tensors = tensors.map(|p| (p.name.clone(), init::values(&p.parameter(), recipe.seed))).collect();
    Ok(Weights { model: model.name.clone(), tensors, ..Weights::default() })
}

/// All that a training step keeps: weights, and the optimiser's states as they start.
fn start(weights: &Weights, kernels: &Kernels) -> Store {
    let mut store = weights.store();
    for param in &kernels.params {
        let value = || init::values(&param.parameter(), 0);
        store.tensors.entry(param.name.clone()).or_insert_with(value);
    }
    store
}

/// The library in words for programs: `NAME.json`.
fn describe(
    model: &Model,
    request: &BuildRequest,
    weights: &Weights,
    kernels: &Kernels,
    files: &[(String, Vec<u8>)],
    rows: &[Row],
    code_bytes: usize,
) -> String {
    let plan = &kernels.plan;
    let port = |p: &Port| json!({ "name": p.name, "type": if p.ints { "int32" } else { "float32" }, "shape": p.dims, "one_per_image": p.batched });
    let ports = |ports: &[Port]| ports.iter().map(port).collect::<Vec<_>>();
    let sums: serde_json::Map<String, serde_json::Value> =
        files.iter().map(|(name, bytes)| (name.clone(), json!(format!("{:08x}", store::crc32(bytes))))).collect();
    let picture = request.weights.and(request.picture);
    let value = json!({
        "network": model.name,
        "ninc": env!("CARGO_PKG_VERSION"),
        "target": request.triple,
        "cpu": request.levels.iter().map(|l| l.name()).collect::<Vec<_>>(),
        "inputs": ports(&plan.inputs),
        "outputs": ports(&plan.outputs),
        "pictures": picture.map(|[c, h, w]| json!({ "channels": c, "height": h, "width": w, "order": "HWC, uint8" })),
        "prepare": weights.preparation.as_ref().map(|p| p.spec()),
        "classes": request.classes,
        "parameters": kernels.report.parameters,
        "multiply_adds": kernels.report.multiply_adds,
        "arena_bytes": plan.arena_bytes(1),
        "weights_bytes_in_memory": plan.persistent_bytes,
        "code_bytes": code_bytes,
        "launches": rows,
        "crc32": sums,
    });
    serde_json::to_string_pretty(&value).expect("plain data becomes JSON") + "\n"
}

/// The weights that the program has parameters for.
fn used(weights: &Weights, kernels: &Kernels) -> Weights {
    let wanted = |name: &String| kernels.plan.params.iter().any(|p| p.name == *name);
    let tensors: BTreeMap<String, Tensor> =
        weights.tensors.iter().filter(|(n, _)| wanted(n)).map(|(n, t)| (n.clone(), t.clone())).collect();
    Weights { tensors, ..weights.clone() }
}
