//! The recipe: from a checked model to a program that runs. One straight-line function for each mode:
//!
//! 1. the passes of the mode turn the model's graph into the final one (`session.rs`);
//! 2. a back end says which machine kernels are written for (`backend.rs`);
//! 3. `translate` writes kernels and buffers, `plan` decides when and where each lives;
//! 4. the back end makes a program of them.
//!
//! Each step can be verified (`Options::verify`), timed (`Report::times`) and shown (`Options::emit`).

mod backend;
mod cpu;
mod device;
mod freezing;
mod opencl;
mod options;
mod program;
mod report;
mod session;
mod stage;

pub use cpu::peak;
pub use device::Device;
pub use options::Options;
pub use program::{Compiled, Kernels, Program};
pub use report::{ParamInfo, Report, multiply_adds, params};
pub use stage::{Dump, Emit, Stage};

use crate::graph::Graph;
use crate::lower::target::Target;
use crate::model::Model;
use crate::passes::error::PassError;
pub use crate::passes::gradients::GRADIENTS;
pub use crate::passes::score_gradient::{GRADIENT, VALUE};
use crate::passes::{gradients, score_gradient};
use crate::prepare;
use crate::types::DType;
use backend::Backend;
use cpu::Cpu;
use ninc_runtime::Result;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::opencl::{Choice, Source};
use ninc_runtime::plan::Plan;
use opencl::OpenCl;
use session::Session;

/// What a program does in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Gives the network's results for a batch.
    Inference,
    /// Makes one training step.
    Training,
}

/// Compiles a program that gives the network's results for a batch.
pub fn inference(model: &Model, options: &Options) -> Result<Program> {
    let mut session = Session::new(options);
    let graph = session.inference_graph(model)?;
    session.finish(graph, Mode::Inference)
}

/// Like [`inference`], after a preparation: the program takes images of 0 to 255, of this type. The preparation's
/// numbers, which [`prepare::write`] gives it, are not among the parameters.
pub fn prepared_inference(model: &Model, preparation: &Form, dtype: DType, options: &Options) -> Result<Program> {
    let mut session = Session::new(options);
    let mut graph = session.inference_graph(model)?;
    // After all passes: it is not rounded to `Options::precision`, and the network's kernels stay what they are.
    session.step("prepare", &mut graph, |graph| prepare::join(graph, preparation, dtype))?;
    let mut program = session.finish(graph, Mode::Inference)?;
    program.set_aside(preparation);
    Ok(program)
}

/// Compiles a program that prepares images of 0 to 255, of this type, and does nothing else.
pub fn preparation(preparation: &Preparation, dtype: DType, options: &Options) -> Result<Program> {
    let alone = prepare::alone(preparation.form(), dtype).map_err(|e| e.of("prepare"))?;
    let mut program = graph(&alone, &alone_options(options))?;
    prepare::write(&mut *program.engine, preparation)?;
    Ok(program)
}

/// Returns the options for a preparation beside a network, which has no texts of its own and is computed in float32.
fn alone_options(options: &Options) -> Options {
    Options { emit: vec![], dumps: vec![], precision: None, ..options.clone() }
}

/// Compiles a program whose runs are one training step each; on a processor, steps after parameters froze do less.
pub fn training(model: &Model, options: &Options) -> Result<Program> {
    let mut session = Session::new(options);
    let graph = session.training_graph(model, None)?;
    Ok(freezing::stages(model, options, session.finish(graph, Mode::Training)?))
}

/// Compiles a graph as it is, without any pass: for tests and tools that build graphs themselves.
pub fn graph(graph: &Graph, options: &Options) -> Result<Program> {
    let mut session = Session::new(options);
    session.check("its making", graph)?;
    session.finish(graph.clone(), Mode::Inference)
}

/// Compiles a program that gives the value `name` and the gradient of each image's class with respect to it, under the
/// names [`VALUE`] and [`GRADIENT`]; with a preparation it takes images of 0 to 255, of this type.
pub fn score_gradient(model: &Model, name: &str, form: Option<(&Form, DType)>, options: &Options) -> Result<Program> {
    differentiated(model, form, options, Mode::Inference, |graph| score_gradient::run(graph, name))
}

/// Compiles a program that gives gradients of the network as it is at inference, each under [`GRADIENTS`] and the name
/// of the parameter or input that it is with respect to; with `labelled` of the mean cross-entropy with labels, which
/// are an input, else of the sum of the result's scores. With a preparation it takes images of 0 to 255, of this type.
pub fn gradients(model: &Model, labelled: bool, form: Option<(&Form, DType)>, options: &Options) -> Result<Program> {
    // Sums over the batch are a training's.
    differentiated(model, form, options, Mode::Training, |graph| gradients::run(graph, labelled))
}

/// Compiles what a pass makes of the network as written, in float32.
fn differentiated(
    model: &Model,
    form: Option<(&Form, DType)>,
    options: &Options,
    mode: Mode,
    pass: impl FnOnce(&mut Graph) -> std::result::Result<(), PassError>,
) -> Result<Program> {
    let options = alone_options(options);
    let mut session = Session::new(&options);
    let mut graph = model.graph.clone();
    session.step("gradients", &mut graph, pass)?;
    if let Some((form, dtype)) = form {
        session.step("prepare", &mut graph, |graph| prepare::join(graph, form, dtype))?;
    }
    let mut program = session.finish(graph, mode)?;
    form.iter().for_each(|(form, _)| program.set_aside(form));
    Ok(program)
}

/// Makes the kernels of [`inference`] for a processor, before any machine code: for libraries.
pub fn inference_kernels(model: &Model, options: &Options) -> Result<Kernels> {
    let mut session = Session::new(options);
    let graph = session.inference_graph(model)?;
    session.library(&graph, Mode::Inference)
}

/// Makes the kernels of [`training`] for a processor, before any machine code: for libraries.
pub fn training_kernels(model: &Model, options: &Options) -> Result<Kernels> {
    let mut session = Session::new(options);
    let graph = session.training_graph(model, None)?;
    session.library(&graph, Mode::Training)
}

/// Like [`inference_kernels`] for several processors; the graph is made once. Texts and times are those of the last
/// one.
pub fn inference_variants(model: &Model, options: &Options, targets: &[Target]) -> Result<Vec<Kernels>> {
    let mut session = Session::new(options);
    let graph = session.inference_graph(model)?;
    session.variants(&graph, Mode::Inference, targets)
}

/// Like [`inference_variants`], for [`training`].
pub fn training_variants(model: &Model, options: &Options, targets: &[Target]) -> Result<Vec<Kernels>> {
    let mut session = Session::new(options);
    let graph = session.training_graph(model, None)?;
    session.variants(&graph, Mode::Training, targets)
}

/// Like [`inference_variants`], for a program that prepares pictures, whose bytes it first divides.
pub fn preparation_variants(form: &Form, by: f32, options: &Options, targets: &[Target]) -> Result<Vec<Kernels>> {
    let options = alone_options(options);
    let graph = prepare::of_pictures(form, by).map_err(|e| e.of("prepare"))?;
    Session::new(&options).variants(&graph, Mode::Inference, targets)
}

/// Makes plan and OpenCL C of [`inference`], for any device: this needs neither a device nor a driver.
pub fn opencl_inference(model: &Model, options: &Options) -> Result<(Plan, Source)> {
    let mut session = Session::new(options);
    let graph = session.inference_graph(model)?;
    let planned = session.planned(&graph, Mode::Inference, &OpenCl::portable(options))?;
    let source = opencl::source(&planned)?;
    Ok((planned.plan, source))
}

/// Returns what decides the bits of a training in shares on these OpenCL devices.
pub fn identity_of_devices(options: &Options, devices: &[Choice]) -> Result<String> {
    Ok(OpenCl::open(options, devices, &mut vec![])?.identity())
}

/// Lists what kernels for a device cannot have, by the names of kernel IR's features; recipes do without them there.
pub fn unsupported(device: &Device) -> Vec<&'static str> {
    let options = Options::default();
    match device {
        Device::Interp => vec![],
        Device::Cpu => Cpu::new(&options).unsupported(),
        Device::OpenCl(_) => OpenCl::portable(&options).unsupported(),
    }
}
