//! THE recipe: from a checked model to a program that runs. One straight-line function for inference and one for training;
//! each step can be verified, timed and dumped.

use crate::back::{cranelift, x86};
use crate::graph::engine::Interpreter;
use crate::graph::{Graph, NodeId, text, verify};
use crate::kernel::ir::Module;
use crate::kernel::target::Target;
use crate::lower;
use crate::model::Model;
use crate::ops::Operator;
use crate::ops::source::Init;
use crate::passes::{self, Pass};
use crate::plan;
use crate::verified::Verified;
use ninc_runtime::exec::Executor;
use ninc_runtime::init::{self, Parameter};
use ninc_runtime::plan::Plan;
use ninc_runtime::threads::Pool;
use ninc_runtime::{Engine, Error, Result};
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
    Kernel,
    Plan,
    Clif,
    Asm,
    OpenCl,
}

impl Stage {
    pub const ALL: [Stage; 9] = [
        Stage::Ast,
        Stage::Graph,
        Stage::Grad,
        Stage::Opt,
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
        let all = [passes::INFERENCE, passes::BEFORE_TRAINING, passes::AFTER_TRAINING].concat();
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// Compiled for this machine's processor.
    #[default]
    Cpu,
    /// The graph's interpreter: slow, and right by definition.
    Interp,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub device: Device,
    pub threads: usize,
    /// Check the graph after each pass, the kernels and the plan.
    pub verify: bool,
    pub emit: Vec<Emit>,
    /// Named values that become outputs of an inference program.
    pub dumps: Vec<String>,
    /// What recipes are written for; the host if none is given.
    pub target: Option<Target>,
    /// A folder that keeps machine code for the next start.
    pub cache: Option<PathBuf>,
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
            cache: None,
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
}

pub struct Program {
    pub engine: Box<dyn Engine + Send>,
    pub params: Vec<ParamInfo>,
    pub report: Report,
    pub dumps: Vec<Dump>,
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
        for pass in passes {
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
        self.step("training", &mut graph, |graph| passes::training::run(graph, recipe))?;
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

    fn kernels(mut self, graph: &Graph, training: bool) -> Result<Kernels> {
        let params = self.count(graph);
        let (plan, module, target) = self.lower(graph, training)?;
        if self.wants(&Stage::Asm.into()) {
            let code = cranelift::compile_with(&module, &target, &x86::leaf_code(&target), None);
            let code = code.map_err(|e| Error::new(format!("code: {e}")))?;
            self.emit(Stage::Asm, None, || code.asm());
        }
        Ok(Kernels { plan, module, target, params, report: self.report, dumps: self.dumps })
    }

    /// From the final graph to a program.
    fn finish(mut self, graph: Graph, training: bool) -> Result<Program> {
        let params = self.count(&graph);
        let engine: Box<dyn Engine + Send> = match self.options.device {
            Device::Interp => Box::new(Interpreter::new(graph)),
            Device::Cpu => self.compile(graph, training)?,
        };
        Ok(Program { engine, params, report: self.report, dumps: self.dumps })
    }

    /// Graph to kernels, kernels to a plan.
    fn lower(&mut self, graph: &Graph, training: bool) -> Result<(Plan, Verified<Module>, Target)> {
        let target = self.options.target.clone().unwrap_or_else(Target::host);
        let lowered = self.time("lower", || lower::run(graph, &target));
        let lower::Program { draft, ports, updates } = lowered.map_err(|e| Error::new(format!("lower: {}", e.0)))?;
        let name = graph.name.clone();
        let plan = plan::Options { name, prepare_each_run: training, group: None, updates };
        let planned = self.time("plan", || plan::plan(draft, ports, plan));
        // The planner verifies the kernels.
        let (plan, module) = planned.map_err(|e| Error::new(format!("plan: {e}")))?;
        self.report.launches = plan.launches.len();
        self.report.prepare = plan.prepare.len();
        self.emit(Stage::Kernel, None, || module.to_string());
        self.emit(Stage::Plan, None, || plan::text::print(&plan));
        if self.wants(&Stage::Clif.into()) {
            let text = cranelift::clif(&module, &target).map_err(|e| Error::new(format!("code: {e}")))?;
            self.emit(Stage::Clif, None, || text);
        }
        Ok((plan, module, target))
    }

    /// Graph to kernels and a plan, both to code that runs.
    fn compile(&mut self, graph: Graph, training: bool) -> Result<Box<dyn Engine + Send>> {
        let (plan, module, target) = self.lower(&graph, training)?;
        let wide = x86::leaf_code(&target);
        let code =
            self.time("code", || cranelift::compile_with(&module, &target, &wide, self.options.cache.as_deref()));
        let code = code.map_err(|e| Error::new(format!("code: {e}")))?;
        self.emit(Stage::Asm, None, || code.asm());
        let threads = Pool::new(self.options.threads)?;
        Ok(Box::new(Executor::new(Arc::new(plan), Arc::new(code), Arc::new(threads))?))
    }
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
    session.kernels(&graph, false)
}

/// As [`training`], up to the kernels.
pub fn training_kernels(model: &Model, options: &Options) -> Result<Kernels> {
    let mut session = Session::new(options);
    let graph = session.training_graph(model)?;
    session.kernels(&graph, true)
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
