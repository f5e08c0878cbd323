//! One compilation under way: its steps, and what it has to report so far.

use super::backend::{Backend, Built, Grouping, Planned};
use super::cpu::Cpu;
use super::opencl::OpenCl;
use super::report::{self, ParamInfo, Report};
use super::{Device, Dump, Emit, Kernels, Mode, Options, Program, Stage};
use crate::graph::engine::Interpreter;
use crate::graph::{Graph, text, verify};
use crate::lower::target::Target;
use crate::lower::{LowerError, cost};
use crate::model::Model;
use crate::passes::error::{PassError, bug};
use crate::passes::{self, Pass, quantize};
use crate::{plan, translate};
use ninc_runtime::spec::Augment;
use ninc_runtime::{Error, Result};
use std::time::Instant;

/// A compilation: what was asked for, texts and numbers so far.
pub struct Session<'a> {
    options: &'a Options,
    dumps: Vec<Dump>,
    report: Report,
    /// Images in a group of a training step (`None`: all at once, or a share's), where another step decides that.
    group: Option<Option<usize>>,
}

impl<'a> Session<'a> {
    /// Begins a compilation.
    pub fn new(options: &'a Options) -> Session<'a> {
        Session { options, dumps: vec![], report: Report::default(), group: None }
    }

    /// Cuts batches as another program does, instead of by the caches.
    pub fn in_groups(self, group: Option<usize>) -> Session<'a> {
        Session { group: Some(group), ..self }
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

    /// Does a step of the compilation and notes how long it took.
    pub fn time<T>(&mut self, name: &str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.report.times.push((name.to_string(), start.elapsed()));
        result
    }

    fn passes(&mut self, graph: &mut Graph, passes: &[Pass]) -> Result<()> {
        self.run(graph, &passes::with(self.options.precision, passes))
    }

    fn run(&mut self, graph: &mut Graph, passes: &[Pass]) -> Result<()> {
        passes.iter().try_for_each(|pass| self.step(pass.name, graph, pass.run))
    }

    /// Runs one pass: timed, dumped, checked.
    pub fn step(
        &mut self,
        name: &str,
        graph: &mut Graph,
        run: impl FnOnce(&mut Graph) -> std::result::Result<(), PassError>,
    ) -> Result<()> {
        self.time(name, || run(graph)).map_err(|e| e.of(name))?;
        self.emit(Stage::Opt, Some(name), || text::print(graph));
        self.check(name, graph)
    }

    /// Checks the graph, if that is wanted; `after` names the step that made it.
    pub fn check(&mut self, after: &str, graph: &Graph) -> Result<()> {
        if !self.options.verify {
            return Ok(());
        }
        let broken = |e| Error::new(format!("the graph is broken after {after}: {e}")).with_help(bug(after));
        verify::check(graph).map_err(broken)
    }

    /// The final graph of inference.
    pub fn inference_graph(&mut self, model: &Model) -> Result<Graph> {
        let mut graph = self.begin(model)?;
        // Before any pass, so that none of them removes or swallows the values.
        name_outputs(&mut graph, &self.options.dumps)?;
        let (folds, rest) = passes::folds();
        self.passes(&mut graph, folds)?;
        if let Some(formats) = &model.formats {
            // Behind the folds, which make weights, and before fusion, which would hide the layers.
            self.step("quantize", &mut graph, |graph| quantize::run(graph, formats))?;
            self.step("join", &mut graph, quantize::chains)?;
        }
        self.passes(&mut graph, rest)?;
        self.emit(Stage::Opt, None, || text::print(&graph));
        Ok(graph)
    }

    /// The final graph of a training step; with `epochs`, that of the time when so much is done and what the recipe
    /// freezes by then is left out.
    pub fn training_graph(&mut self, model: &Model, epochs: Option<f64>) -> Result<Graph> {
        let missing = || Error::new(format!("network {} has no `train {{ … }}`", model.name));
        let recipe = model.train.as_ref().ok_or_else(missing)?;
        let mut graph = self.begin(model)?;
        self.passes(&mut graph, passes::BEFORE_TRAINING)?;
        let mixed = model.data.iter().flat_map(|d| &d.augment).any(|a| matches!(a, Augment::Mixup { .. }));
        self.step("training", &mut graph, |graph| passes::training::run(graph, recipe, mixed))?;
        name_values(&mut graph, &self.options.dumps);
        self.emit(Stage::Grad, None, || text::print(&graph));
        let list = passes::with(self.options.precision, passes::AFTER_TRAINING);
        let (roundings, rest) = passes::up_to_fusion(&list);
        self.run(&mut graph, roundings)?;
        if let Some(epochs) = epochs {
            // Behind the roundings, which backward passes decide; before fusion, which then joins more.
            self.step("freeze", &mut graph, |graph| passes::freeze::run(graph, epochs))?;
        }
        self.run(&mut graph, rest)?;
        self.emit(Stage::Opt, None, || text::print(&graph));
        Ok(graph)
    }

    /// The graph as the front end made it.
    fn begin(&mut self, model: &Model) -> Result<Graph> {
        self.check("front end", &model.graph)?;
        self.emit(Stage::Graph, None, || text::print(&model.graph));
        Ok(model.graph.clone())
    }

    /// Makes a program that runs of the final graph.
    pub fn finish(mut self, graph: Graph, mode: Mode) -> Result<Program> {
        let params = self.count(&graph);
        let built = match &self.options.device {
            Device::Interp => Built { engine: Box::new(Interpreter::new(graph)), compiled: None },
            Device::Cpu => self.compile(&graph, mode, &Cpu::new(self.options))?,
            Device::OpenCl(choices) => {
                // Devices come first: without one there is nothing to compile for.
                let backend = OpenCl::open(self.options, choices, &mut self.report.notes)?;
                self.compile(&graph, mode, &backend)?
            }
        };
        self.all_shown(mode)?;
        let Built { engine, compiled } = built;
        Ok(Program { engine, params, report: self.report, dumps: self.dumps, compiled })
    }

    fn compile(&mut self, graph: &Graph, mode: Mode, backend: &dyn Backend) -> Result<Built> {
        let planned = self.kernels(graph, mode, backend)?;
        backend.compile(planned, self)
    }

    /// The final graph's kernels for a processor. They run in groups of images, training too, for the caches of the
    /// target: those of this machine for `--cpu native` only.
    pub fn library(mut self, graph: &Graph, mode: Mode) -> Result<Kernels> {
        let params = self.count(graph);
        let Planned { plan, module, target } = self.kernels(graph, mode, &Cpu::of_library(self.options))?;
        self.all_shown(mode)?;
        Ok(Kernels { plan, module, target, params, report: self.report, dumps: self.dumps })
    }

    /// Like [`Session::library`] for each of several targets. Only the last one has texts.
    pub fn variants(self, graph: &Graph, mode: Mode, targets: &[Target]) -> Result<Vec<Kernels>> {
        let Some((last, others)) = targets.split_last() else { return Ok(vec![]) };
        let mut all = Vec::new();
        for target in others {
            let options = Options { target: Some(target.clone()), emit: vec![], ..self.options.clone() };
            all.push(Session::new(&options).library(graph, mode)?);
        }
        let options = Options { target: Some(last.clone()), ..self.options.clone() };
        let session = Session { options: &options, ..self };
        all.push(session.library(graph, mode)?);
        Ok(all)
    }

    /// Counts the work and the parameters of the final graph.
    fn count(&mut self, graph: &Graph) -> Vec<ParamInfo> {
        self.report.multiply_adds = report::multiply_adds(graph);
        let params = report::params(graph);
        let numbers = |p: &ParamInfo| p.dims.iter().product::<usize>();
        self.report.parameters = params.iter().filter(|p| !p.state).map(numbers).sum();
        params
    }

    /// Makes kernels and plan, with all their texts.
    fn kernels(&mut self, graph: &Graph, mode: Mode, backend: &dyn Backend) -> Result<Planned> {
        let planned = self.planned(graph, mode, backend)?;
        self.report.launches = planned.plan.launches.len();
        self.report.prepare = planned.plan.prepare.len();
        self.emit(Stage::Kernel, None, || planned.module.to_string());
        self.emit(Stage::Plan, None, || plan::text::print(&planned.plan));
        self.texts(&planned, backend)?;
        if self.wants(&Stage::OpenCl.into()) && !backend.stages().contains(&Stage::OpenCl) {
            // What an OpenCL device would get can be shown without one.
            let portable = OpenCl::portable(self.options);
            let planned = Session::new(self.options).planned(graph, mode, &portable)?;
            self.texts(&planned, &portable)?;
        }
        Ok(planned)
    }

    fn texts(&mut self, planned: &Planned, backend: &dyn Backend) -> Result<()> {
        for &stage in backend.stages() {
            if self.wants(&stage.into()) {
                let text = backend.text(stage, planned)?;
                self.emit(stage, None, || text);
            }
        }
        Ok(())
    }

    /// Makes kernels of the graph, and a plan of the kernels.
    pub fn planned(&mut self, graph: &Graph, mode: Mode, backend: &dyn Backend) -> Result<Planned> {
        let (target, training) = (backend.target(mode), mode == Mode::Training);
        // A device has no second plan for few images: its groups share an image anyway.
        let two = !training && !target.is_gpu();
        let lowered = self.time("lower", || translate::run(graph, &target, two));
        let translate::Program { mut builder, ports, updates } = lowered.map_err(unlowered)?;
        self.emit(Stage::Explain, None, || cost::explain(&builder.choices));
        self.report.chains = std::mem::take(&mut builder.chains);
        // For inference half of it: weights pass by as well. Devices run the whole batch at once: their memory is no
        // cache.
        let cache = if training { target.cache[2] } else { target.cache[2] / 2 };
        let cut = matches!(backend.grouping(), Grouping::Groups | Grouping::Shares);
        let options = plan::Options {
            name: graph.name.clone(),
            prepare_each_run: training,
            group: self.group.flatten(),
            cache: (self.group != Some(None) && cut).then_some(cache),
            in_shares: training && backend.grouping() == Grouping::Shares,
            shared: backend.grouping() == Grouping::Shared,
            updates,
        };
        let planned = self.time("plan", || plan::plan(builder, ports, options));
        // The planner verifies the kernels.
        let (plan, module, origins) = planned.map_err(unplanned)?;
        self.report.origins = origins;
        Ok(Planned { plan, module, target })
    }

    /// Refuses to leave out a text that was asked for: says why there is none. The syntax tree is the front end's.
    fn all_shown(&self, mode: Mode) -> Result<()> {
        let shown = |what: &&Emit| what.stage == Stage::Ast || self.dumps.iter().any(|d| d.what == **what);
        let Some(what) = self.options.emit.iter().find(|what| !shown(what)) else { return Ok(()) };
        let missing = |reason: &str| Error::new(format!("`--emit {what}` shows nothing: {reason}"));
        Err(match (&what.pass, mode) {
            _ if what.of_training() && mode == Mode::Inference => {
                missing("it is a stage of training, and this compiles inference").with_help(
                    "a training step is compiled by `ninc train`, `ninc bench --mode train` and `ninc build --train`",
                )
            }
            (Some(_), Mode::Training) => missing("it is a pass of inference, and this compiles a training step"),
            _ => missing(&format!("--device {} has no such stage", self.options.device))
                .with_help("stages after `opt` are those of --device cpu, and `opencl` of --device opencl too"),
        })
    }
}

fn is_output(graph: &Graph, name: &str) -> bool {
    graph.outputs.iter().any(|(output, _)| output == name)
}

/// Describes a node that no recipe computes, and whose fault that is.
fn unlowered(e: LowerError) -> Error {
    let error = Error::new(format!("lower: {e}"));
    match e {
        LowerError::Unsupported(_) => error,
        LowerError::Bug(_) => error.with_help("this is a bug in ninc, in lowering: please report it"),
    }
}

/// Describes an error of the planner, which no network leads to, only a mistake in ninc.
pub fn unplanned(e: plan::PlanError) -> Error {
    Error::new(format!("plan: {e}")).with_help("this is a bug in ninc, in the planner: please report it")
}

/// Makes each named value an output under its name.
fn name_outputs(graph: &mut Graph, names: &[String]) -> Result<()> {
    for name in names {
        if is_output(graph, name) {
            continue;
        }
        let Some(id) = graph.named(name) else {
            let known: Vec<String> = graph.order().iter().filter_map(|&id| graph.node(id).name.clone()).collect();
            let help = format!("named values: {}", known.join(", "));
            return Err(Error::new(format!("the network has no value `{name}`")).with_help(help));
        };
        graph.outputs.push((name.clone(), id));
    }
    Ok(())
}

/// Like [`name_outputs`], for a training step, in which not all values of a network are left.
fn name_values(graph: &mut Graph, names: &[String]) {
    for name in names {
        if let Some(id) = graph.named(name).filter(|_| !is_output(graph, name)) {
            graph.outputs.push((name.clone(), id));
        }
    }
}
