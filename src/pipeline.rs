//! THE recipe: from a checked model to a program that runs. One straight-line function for inference and one for training;
//! each step can be verified, timed and dumped.

use crate::back::cranelift::JitCode;
use crate::back::{cranelift, opencl, x86};
use crate::graph::engine::Interpreter;
use crate::graph::{Graph, NodeId, text, verify};
use crate::kernel::count::{self, Work};
use crate::kernel::ir::Module;
use crate::lower::cost;
use crate::lower::target::{Batch, GroupTile, Measured, Target};
use crate::model::Model;
use crate::ops::Operator;
use crate::ops::source::Init;
use crate::passes::{self, Pass};
use crate::plan;
use crate::recipes::peak;
use crate::translate;
use crate::types::Format;
use crate::verified::Verified;
use ninc_runtime::exec::Executor;
use ninc_runtime::init::{self, Parameter};
use ninc_runtime::opencl::{Choice, OpenCl, Source};
use ninc_runtime::plan::Plan;
use ninc_runtime::spec::Augment;
use ninc_runtime::threads::Pool;
use ninc_runtime::{Engine, Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The stages of compilation: the single list behind `--emit`, golden headers, `--time-passes` and error context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    Ast,
    Graph,
    Grad,
    Opt,
    Explain,
    Kernel,
    Plan,
    Clif,
    Asm,
    OpenCl,
}

impl Stage {
    pub const ALL: [Stage; 10] = [
        Stage::Ast,
        Stage::Graph,
        Stage::Grad,
        Stage::Opt,
        Stage::Explain,
        Stage::Kernel,
        Stage::Plan,
        Stage::Clif,
        Stage::Asm,
        Stage::OpenCl,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Stage::Ast => "ast",
            Stage::Graph => "graph",
            Stage::Grad => "grad",
            Stage::Opt => "opt",
            Stage::Explain => "explain",
            Stage::Kernel => "kernel",
            Stage::Plan => "plan",
            Stage::Clif => "clif",
            Stage::Asm => "asm",
            Stage::OpenCl => "opencl",
        }
    }
}

/// What `--emit` asks for: a stage, or the graph after one pass (`opt:fuse`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Emit {
    pub stage: Stage,
    pub pass: Option<String>,
}

impl From<Stage> for Emit {
    fn from(stage: Stage) -> Emit {
        Emit { stage, pass: None }
    }
}

impl Emit {
    /// Is it a text that only a training step has: the graph with gradients, or that after a pass of training alone?
    pub fn of_training(&self) -> bool {
        let inference = |pass: &String| passes::INFERENCE.iter().any(|p| p.name == *pass);
        self.stage == Stage::Grad || self.pass.as_ref().is_some_and(|pass| !inference(pass))
    }
}

impl fmt::Display for Emit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.pass {
            Some(pass) => write!(f, "{}:{pass}", self.stage.name()),
            None => f.write_str(self.stage.name()),
        }
    }
}

impl std::str::FromStr for Emit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Emit> {
        let (stage, pass) = match text.split_once(':') {
            Some((stage, pass)) => (stage, Some(pass)),
            None => (text, None),
        };
        let names = Stage::ALL.map(Stage::name).join(", ");
        let found = Stage::ALL.into_iter().find(|s| s.name() == stage);
        let stage =
            found.ok_or_else(|| Error::new(format!("unknown stage `{text}`")).with_help(format!("stages: {names}")))?;
        let rounds = Format::ALL.map(passes::round::pass);
        let all = [passes::INFERENCE, passes::BEFORE_TRAINING, passes::AFTER_TRAINING, &rounds].concat();
        if let Some(pass) = pass
            && (stage != Stage::Opt || all.iter().all(|p| p.name != pass))
        {
            let mut known: Vec<&str> = all.iter().map(|p| p.name).collect();
            known.sort();
            known.dedup();
            let help = format!("`opt:` takes one of {}", known.join(", "));
            return Err(Error::new(format!("unknown pass in `{text}`")).with_help(help));
        }
        Ok(Emit { stage, pass: pass.map(str::to_string) })
    }
}

/// What runs the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// Compiled for this machine's processor.
    #[default]
    Cpu,
    /// The graph's interpreter: slow, and right by definition.
    Interp,
    /// OpenCL devices that share each batch; the first GPU, or else the first device, if none is named.
    OpenCl(Vec<Choice>),
}

impl std::str::FromStr for Device {
    type Err = Error;

    /// `cpu`, `interp`, `opencl`, `opencl:1`, `opencl:0,opencl:1`.
    fn from_str(text: &str) -> Result<Device> {
        let wrong = || {
            Error::new(format!("unknown device `{text}`"))
                .with_help("devices: cpu, interp, opencl, opencl:1, opencl:0,opencl:1; `ninc devices` shows them")
        };
        match text {
            "cpu" => return Ok(Device::Cpu),
            "interp" => return Ok(Device::Interp),
            "opencl" => return Ok(Device::OpenCl(vec![])),
            _ => {}
        }
        let list: std::result::Result<Vec<Choice>, ()> = text.split(',').map(str::parse).collect();
        list.map(Device::OpenCl).map_err(|()| wrong())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Interp => f.write_str("interp"),
            Device::OpenCl(list) if list.is_empty() => f.write_str("opencl"),
            Device::OpenCl(list) => {
                let names: Vec<String> = list.iter().map(Choice::to_string).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub device: Device,
    pub threads: usize,
    /// Check the graph after each pass, the kernels and the plan.
    pub verify: bool,
    pub emit: Vec<Emit>,
    /// Named values that become outputs.
    pub dumps: Vec<String>,
    /// What recipes are written for; the host if none is given.
    pub target: Option<Target>,
    /// What products multiply: never less than float32 unless asked for.
    pub precision: Option<Format>,
    /// A folder that keeps machine code for the next start.
    pub cache: Option<PathBuf>,
    /// OpenCL drivers optimise kernels. Those for processors need minutes for large networks, and half of that without.
    pub optimise: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            device: Device::Cpu,
            threads: 1,
            verify: true,
            emit: vec![],
            dumps: vec![],
            target: None,
            precision: None,
            cache: None,
            optimise: true,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Dump {
    pub what: Emit,
    pub text: String,
}

/// A parameter or state of a program, for whoever initialises, saves and loads it.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamInfo {
    pub name: String,
    pub dims: Vec<usize>,
    pub init: Init,
    pub trainable: bool,
    /// Belongs to the optimiser: saved in checkpoints, not with the weights.
    pub state: bool,
}

impl ParamInfo {
    /// For the runtime.
    pub fn parameter(&self) -> Parameter {
        let init = match self.init {
            Init::Normal { std } => init::Init::Normal { std },
            Init::Uniform { limit } => init::Init::Uniform { limit },
            Init::Xavier => init::Init::Xavier,
            Init::He => init::Init::He,
            Init::Constant { value } => init::Init::Constant { value },
        };
        Parameter { name: self.name.clone(), dims: self.dims.clone(), init, state: self.state }
    }
}

/// Numbers about a compiled program.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Kernel launches of one run.
    pub launches: usize,
    /// Launches when parameters change.
    pub prepare: usize,
    /// Multiply-adds per image as the graph defines them.
    pub multiply_adds: u64,
    /// Numbers in parameters, states of the optimiser left out.
    pub parameters: usize,
    /// Wall time of each step in order.
    pub times: Vec<(String, Duration)>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// On a GPU, the chains that can be one kernel: their names, and the products that they are otherwise.
    pub chains: BTreeMap<String, Vec<String>>,
}

pub struct Program {
    pub engine: Box<dyn Engine + Send>,
    pub params: Vec<ParamInfo>,
    pub report: Report,
    pub dumps: Vec<Dump>,
    /// What was compiled for the processor.
    pub compiled: Option<Compiled>,
}

/// A plan and its kernels.
pub struct Compiled {
    pub plan: Arc<Plan>,
    pub module: Verified<Module>,
    pub code: Arc<JitCode>,
}

impl Compiled {
    /// Work of a launch of the kernel with this name, and the bytes of its buffers, for a batch.
    pub fn work(&self, kernel: &str, batch: usize) -> Option<(Work, usize)> {
        let index = self.module.kernels.iter().position(|k| k.name == kernel)?;
        let plan = self.plan.for_batch(batch);
        let launch = plan.every_launch().find(|l| l.kernel == index)?;
        let bytes = launch.buffers.iter().map(|&b| plan.bytes(b, batch));
        Some((count::kernel(&self.module, &self.module.kernels[index], batch), bytes.sum()))
    }
}

/// A program that gives the network's results for a batch.
pub fn inference(model: &Model, options: &Options) -> Result<Program> {
    let mut session = Session::new(options);
    let graph = session.inference_graph(model)?;
    session.finish(graph, false)
}

/// A program of which each run is one training step.
pub fn training(model: &Model, options: &Options) -> Result<Program> {
    let mut session = Session::new(options);
    let graph = session.training_graph(model)?;
    session.finish(graph, true)
}

/// Compiles a graph as it is, without any pass: for tests and tools that build graphs themselves.
pub fn graph(graph: &Graph, options: &Options) -> Result<Program> {
    let mut session = Session::new(options);
    session.check("its making", graph)?;
    session.finish(graph.clone(), false)
}

/// A program without inputs whose runs do nothing but multiply-adds in registers, and how many floating-point operations
/// a run of it has: the yardstick for kernels on this machine.
pub fn peak(options: &Options) -> Result<(Box<dyn Engine + Send>, u64)> {
    let target = options.target.clone().unwrap_or_else(Target::host);
    let planned = plan::plan(peak::builder(&target), plan::Ports::default(), plan::Options::default());
    let (plan, module) = planned.map_err(|e| Error::new(format!("plan: {e}")))?;
    let code = cranelift::compile_with(&module, &target, &x86::micro_kernel_code(&target), None);
    let code = code.map_err(|e| Error::new(format!("code: {e}")))?;
    let flops = count::kernel(&module, &module.kernels[0], 1).flops();
    let threads = Arc::new(Pool::new(options.threads)?);
    Ok((Box::new(Executor::new(Arc::new(plan), Arc::new(code), threads)?), flops))
}

/// Makes each named value an output under its name.
fn name_outputs(graph: &mut Graph, names: &[String]) -> Result<()> {
    for name in names {
        if graph.outputs.iter().any(|(output, _)| output == name) {
            continue;
        }
        let named = |id: &NodeId| graph.node(*id).name.as_deref() == Some(name);
        let Some(id) = graph.ids().into_iter().find(named) else {
            let known: Vec<String> = graph.order().iter().filter_map(|&id| graph.node(id).name.clone()).collect();
            let help = format!("named values: {}", known.join(", "));
            return Err(Error::new(format!("the network has no value `{name}`")).with_help(help));
        };
        graph.outputs.push((name.clone(), id));
    }
    Ok(())
}

/// As [`name_outputs`], for a training step, in which not all values of a network are left.
fn name_values(graph: &mut Graph, names: &[String]) {
    for name in names {
        let named = |id: &NodeId| graph.node(*id).name.as_deref() == Some(name);
        let taken = graph.outputs.iter().any(|(output, _)| output == name);
        if let Some(id) = graph.ids().into_iter().find(named).filter(|_| !taken) {
            graph.outputs.push((name.clone(), id));
        }
    }
}

/// How a batch runs.
#[derive(Clone, Copy, PartialEq)]
enum Runs {
    Whole,
    /// In groups of images that fit a cache.
    Groups,
    /// Several devices share it.
    Shared,
}

/// One compilation under way: what was asked of it and what it has to report so far.
struct Session<'a> {
    options: &'a Options,
    dumps: Vec<Dump>,
    report: Report,
}

impl<'a> Session<'a> {
    fn new(options: &'a Options) -> Session<'a> {
        Session { options, dumps: vec![], report: Report::default() }
    }

    fn wants(&self, what: &Emit) -> bool {
        self.options.emit.contains(what)
    }

    fn emit(&mut self, stage: Stage, pass: Option<&str>, text: impl FnOnce() -> String) {
        let what = Emit { stage, pass: pass.map(str::to_string) };
        if self.wants(&what) {
            self.dumps.push(Dump { what, text: text() });
        }
    }

    fn time<T>(&mut self, name: &str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.report.times.push((name.to_string(), start.elapsed()));
        result
    }

    fn passes(&mut self, graph: &mut Graph, passes: &[Pass]) -> Result<()> {
        for pass in passes::with(self.options.precision, passes) {
            self.step(pass.name, graph, pass.run)?;
        }
        Ok(())
    }

    /// One pass: timed, dumped, checked.
    fn step(
        &mut self,
        name: &str,
        graph: &mut Graph,
        run: impl FnOnce(&mut Graph) -> std::result::Result<(), String>,
    ) -> Result<()> {
        self.time(name, || run(graph)).map_err(|e| Error::new(format!("{name}: {e}")))?;
        self.emit(Stage::Opt, Some(name), || text::print(graph));
        self.check(name, graph)
    }

    fn check(&mut self, after: &str, graph: &Graph) -> Result<()> {
        if !self.options.verify {
            return Ok(());
        }
        verify::check(graph).map_err(|e| Error::new(format!("the graph is broken after {after}: {e}")))
    }

    fn inference_graph(&mut self, model: &Model) -> Result<Graph> {
        let mut graph = model.graph.clone();
        self.check("front end", &graph)?;
        self.emit(Stage::Graph, None, || text::print(&graph));
        // Before any pass, so that none of them removes or swallows the values.
        name_outputs(&mut graph, &self.options.dumps)?;
        self.passes(&mut graph, passes::INFERENCE)?;
        self.emit(Stage::Opt, None, || text::print(&graph));
        Ok(graph)
    }

    fn training_graph(&mut self, model: &Model) -> Result<Graph> {
        let missing = || Error::new(format!("network {} has no `train {{ … }}`", model.name));
        let recipe = model.train.as_ref().ok_or_else(missing)?;
        let mut graph = model.graph.clone();
        self.check("front end", &graph)?;
        self.emit(Stage::Graph, None, || text::print(&graph));
        self.passes(&mut graph, passes::BEFORE_TRAINING)?;
        let mixed = model.data.iter().flat_map(|d| &d.augment).any(|a| matches!(a, Augment::Mixup { .. }));
        self.step("training", &mut graph, |graph| passes::training::run(graph, recipe, mixed))?;
        name_values(&mut graph, &self.options.dumps);
        self.emit(Stage::Grad, None, || text::print(&graph));
        self.passes(&mut graph, passes::AFTER_TRAINING)?;
        self.emit(Stage::Opt, None, || text::print(&graph));
        Ok(graph)
    }

    /// The work and the parameters of the final graph.
    fn count(&mut self, graph: &Graph) -> Vec<ParamInfo> {
        self.report.multiply_adds = multiply_adds(graph);
        let params = params(graph);
        let numbers = |p: &ParamInfo| p.dims.iter().product::<usize>();
        self.report.parameters = params.iter().filter(|p| !p.state).map(numbers).sum();
        params
    }

    fn library(mut self, graph: &Graph, training: bool) -> Result<Kernels> {
        let params = self.count(graph);
        let target = self.target(training);
        // In groups as the runtime does it, for the caches of the target: those of this machine for `--cpu native` only.
        let (plan, module) = self.kernels(graph, training, &target, Runs::Groups)?;
        self.texts(graph, &module, training, &target)?;
        if self.wants(&Stage::Asm.into()) {
            let code = cranelift::compile_with(&module, &target, &x86::micro_kernel_code(&target), None);
            let code = code.map_err(|e| Error::new(format!("code: {e}")))?;
            self.emit(Stage::Asm, None, || code.asm());
        }
        self.all_shown(training)?;
        Ok(Kernels { plan, module, target, params, report: self.report, dumps: self.dumps })
    }

    /// Whoever asks for a text gets one, or hears why there is none. The syntax tree is the front end's.
    fn all_shown(&self, training: bool) -> Result<()> {
        let shown = |what: &&Emit| what.stage == Stage::Ast || self.dumps.iter().any(|d| d.what == **what);
        let Some(what) = self.options.emit.iter().find(|what| !shown(what)) else { return Ok(()) };
        let missing = |reason: &str| Error::new(format!("`--emit {what}` shows nothing: {reason}"));
        Err(match (&what.pass, training) {
            _ if what.of_training() && !training => missing("it is a stage of training, and this compiles inference")
                .with_help(
                    "a training step is compiled by `ninc train`, `ninc bench --mode train` and `ninc build --train`",
                ),
            (Some(_), true) => missing("it is a pass of inference, and this compiles a training step"),
            _ => missing(&format!("--device {} has no such stage", self.options.device))
                .with_help("stages after `opt` are those of --device cpu, and `opencl` of --device opencl too"),
        })
    }

    /// From the final graph to a program.
    fn finish(mut self, graph: Graph, training: bool) -> Result<Program> {
        let params = self.count(&graph);
        let mut compiled = None;
        let engine: Box<dyn Engine + Send> = match &self.options.device {
            Device::Interp => Box::new(Interpreter::new(graph)),
            Device::Cpu => self.compile(graph, training, &mut compiled)?,
            Device::OpenCl(cards) => self.compile_opencl(graph, training, cards)?,
        };
        self.all_shown(training)?;
        Ok(Program { engine, params, report: self.report, dumps: self.dumps, compiled })
    }

    fn target(&self, training: bool) -> Target {
        let batch = if training { Batch::Training } else { Batch::Many };
        Target { batch, ..self.options.target.clone().unwrap_or_else(Target::host) }
    }

    /// For any OpenCL device: this needs neither device nor driver.
    fn opencl(&mut self, graph: &Graph, training: bool) -> Result<(Plan, Source)> {
        let target = self.given_gpu().unwrap_or_else(Target::gpu);
        let (plan, module) = self.planned(graph, training, &target, Runs::Whole)?;
        let source = opencl::emit(&module).map_err(|e| Error::new(format!("opencl: {e}")))?;
        Ok((plan, source))
    }

    fn given_gpu(&self) -> Option<Target> {
        self.options.target.clone().filter(|t| t.gpu.is_some())
    }

    /// The texts beyond the plan that are shown for a processor, whether its code runs or goes into a library.
    fn texts(&mut self, graph: &Graph, module: &Verified<Module>, training: bool, target: &Target) -> Result<()> {
        if self.wants(&Stage::OpenCl.into()) {
            let (_, source) = Session::new(self.options).opencl(graph, training)?;
            self.emit(Stage::OpenCl, None, || source.text);
        }
        if self.wants(&Stage::Clif.into()) {
            let text = cranelift::clif(module, target).map_err(|e| Error::new(format!("code: {e}")))?;
            self.emit(Stage::Clif, None, || text);
        }
        Ok(())
    }

    /// Graph to kernels, kernels to a plan, both to code that runs.
    fn compile(
        &mut self,
        graph: Graph,
        training: bool,
        compiled: &mut Option<Compiled>,
    ) -> Result<Box<dyn Engine + Send>> {
        let target = self.target(training);
        let (plan, module) = self.kernels(&graph, training, &target, Runs::Groups)?;
        self.texts(&graph, &module, training, &target)?;
        let (wide, cache) = (x86::micro_kernel_code(&target), self.options.cache.clone());
        let code = self.time("code", || cranelift::compile_with(&module, &target, &wide, cache.as_deref()));
        let code = code.map_err(|e| Error::new(format!("code: {e}")))?;
        self.emit(Stage::Asm, None, || code.asm());
        let threads = Pool::new(self.options.threads)?;
        let (plan, code) = (Arc::new(plan), Arc::new(code));
        *compiled = Some(Compiled { plan: plan.clone(), module, code: code.clone() });
        Ok(Box::new(Executor::new(plan, code, Arc::new(threads))?))
    }

    /// The same for OpenCL devices. They come first: without one there is nothing to compile for.
    fn compile_opencl(&mut self, graph: Graph, training: bool, cards: &[Choice]) -> Result<Box<dyn Engine + Send>> {
        let devices = ninc_runtime::opencl::choose(cards)?;
        let target = self.given_gpu().unwrap_or_else(|| {
            let (measured, note) = tuned(&devices[0], self.options.precision);
            self.report.notes.extend(note);
            let usual = Target::gpu_with(GroupTile::ALL[0], Arc::new(measured));
            let algorithm = self.options.target.as_ref().map_or(usual.algorithm, |t| t.algorithm);
            // One program for all of them: within the limits of the smallest.
            let bytes = devices.iter().map(|d| d.local_bytes).min().unwrap_or(0);
            let items = devices.iter().map(|d| d.group_items).min().unwrap_or(0);
            // No float32 ever goes through a unit that rounds it.
            let tensor = self.options.precision.is_some() && devices.iter().all(ninc_runtime::opencl::tensor::passes);
            Target { algorithm, ..usual.limited(bytes, items).with_gpu(|gpu| gpu.tensor = tensor) }
        });
        let runs = if devices.len() > 1 { Runs::Shared } else { Runs::Whole };
        let (plan, module) = self.kernels(&graph, training, &target, runs)?;
        let source = self.time("opencl", || opencl::emit(&module)).map_err(|e| Error::new(format!("opencl: {e}")))?;
        self.emit(Stage::OpenCl, None, || source.text.clone());
        let source = Source { optimise: self.options.optimise, ..source };
        let engine = self.time("driver", || OpenCl::new(Arc::new(plan), Arc::new(source), devices))?;
        Ok(Box::new(engine))
    }

    /// Graph to kernels, kernels to a plan.
    fn kernels(
        &mut self,
        graph: &Graph,
        training: bool,
        target: &Target,
        runs: Runs,
    ) -> Result<(Plan, Verified<Module>)> {
        let (plan, module) = self.planned(graph, training, target, runs)?;
        self.report.launches = plan.launches.len();
        self.report.prepare = plan.prepare.len();
        self.emit(Stage::Kernel, None, || module.to_string());
        self.emit(Stage::Plan, None, || plan::text::print(&plan));
        Ok((plan, module))
    }

    fn planned(
        &mut self,
        graph: &Graph,
        training: bool,
        target: &Target,
        runs: Runs,
    ) -> Result<(Plan, Verified<Module>)> {
        // A device has no second plan for few images: its groups share an image anyway.
        let two = !training && target.gpu.is_none();
        let lowered = self.time("lower", || translate::run(graph, target, two));
        let translate::Program { mut builder, ports, updates } =
            lowered.map_err(|e| Error::new(format!("lower: {}", e.0)))?;
        self.emit(Stage::Explain, None, || cost::explain(&builder.choices));
        self.report.chains = std::mem::take(&mut builder.chains);
        let name = graph.name.clone();
        // For inference half of it: weights pass by as well. Devices run the whole batch at once: their memory is no cache.
        let cache = if training { target.cache[2] } else { target.cache[2] / 2 };
        let cache = (runs == Runs::Groups).then_some(cache);
        let shared = runs == Runs::Shared;
        let plan = plan::Options { name, prepare_each_run: training, group: None, cache, shared, updates };
        let planned = self.time("plan", || plan::plan(builder, ports, plan));
        // The planner verifies the kernels.
        planned.map_err(|e| Error::new(format!("plan: {e}")))
    }
}

/// What `ninc tune` found best on a device, and what is wrong with what cannot be used.
fn tuned(device: &ninc_runtime::opencl::Info, precision: Option<Format>) -> (Measured, Option<String>) {
    let stored = match ninc_runtime::opencl::tuned(device) {
        Ok(stored) => stored,
        Err(e) => return (Measured::default(), Some(e.to_string())),
    };
    let (measured, lost) = Measured::from_words(&stored, precision, device.group_items);
    let count = stored.len();
    let note = format!("{lost} of {count} measured tiles are none of this ninc's; `ninc tune` measures them anew");
    (measured, (lost > 0).then_some(note))
}

/// What kernels for OpenCL devices cannot have, as the back end says.
pub fn unsupported_by_opencl() -> Vec<&'static str> {
    opencl::unsupported()
}

/// A program before any machine code: for libraries, whose code is put into files.
pub struct Kernels {
    pub plan: Plan,
    pub module: Verified<Module>,
    pub target: Target,
    pub params: Vec<ParamInfo>,
    pub report: Report,
    pub dumps: Vec<Dump>,
}

/// As [`inference`], up to the kernels.
pub fn inference_kernels(model: &Model, options: &Options) -> Result<Kernels> {
    let mut session = Session::new(options);
    let graph = session.inference_graph(model)?;
    session.library(&graph, false)
}

/// As [`inference`], up to the OpenCL C for any device.
pub fn opencl_inference(model: &Model, options: &Options) -> Result<(Plan, Source)> {
    let mut session = Session::new(options);
    let graph = session.inference_graph(model)?;
    session.opencl(&graph, false)
}

/// As [`training`], up to the kernels.
pub fn training_kernels(model: &Model, options: &Options) -> Result<Kernels> {
    let mut session = Session::new(options);
    let graph = session.training_graph(model)?;
    session.library(&graph, true)
}

/// Multiply-adds per image of all nodes.
pub fn multiply_adds(graph: &Graph) -> u64 {
    let work = |&id: &NodeId| {
        let operands: Vec<_> = graph.operands(id).iter().map(|&o| graph.ty(o).clone()).collect();
        graph.op(id).multiply_adds(&operands, graph.ty(id))
    };
    graph.ids().iter().map(work).sum()
}

/// Parameters in the order of their nodes, states last.
fn params(graph: &Graph) -> Vec<ParamInfo> {
    let mut params: Vec<ParamInfo> = Vec::new();
    for id in graph.ids() {
        if let Operator::Param(p) = graph.op(id) {
            params.push(ParamInfo {
                name: p.name.clone(),
                dims: p.dims.clone(),
                init: p.init,
                trainable: p.trainable,
                state: p.state,
            });
        }
    }
    params.sort_by_key(|p| p.state);
    params
}
