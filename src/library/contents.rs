//! What a library holds: the programs, compiled for each level of processors, and the weights.

use super::error::LibraryError;
use super::files::BuildRequest;
use super::image::{self, Extras, Feed, Training};
use super::{LibraryContents, ProgramVariants, Variant};
use crate::lower::target::Target;
use crate::model::Model;
use crate::pipeline::{self, Emit, Kernels, Options, Stage};
use ninc_runtime::data::prepare::Form;
use ninc_runtime::plan::{Hyper, Port, Role};
use ninc_runtime::spec::Recipe;
use ninc_runtime::store::Store;
use ninc_runtime::train::{schedule, step_inputs};
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Result, Tensor, init};
use std::collections::BTreeMap;

/// The programs of a library and its weights.
pub(super) struct Compiled {
    /// The inference program by level of processors, at least one.
    inference: Vec<Kernels>,
    /// The program that prepares pictures, by level; empty where there is none.
    preparation: Vec<Kernels>,
    /// The training step by level; empty without it.
    training: Vec<Kernels>,
    /// The weights that were given, or those with which training starts.
    pub weights: Weights,
    /// The weights file of inference.
    pub saved: Store,
}

impl Compiled {
    /// Compiles each program once for each level. Texts are those of inference, except for what only training has.
    pub fn new(model: &Model, request: &BuildRequest, options: &Options) -> Result<Compiled> {
        if request.levels.is_empty() {
            return Err(LibraryError::internal("no level to build for").into());
        }
        let (learning, running) = options.emit.iter().cloned().partition(|e| request.train && e.of_training());
        let inference = compile(request, options, running, |o, t| pipeline::inference_variants(model, o, t))?;
        let training = match request.train {
            true => compile(request, options, learning, |o, t| pipeline::training_variants(model, o, t))?,
            false => vec![],
        };
        let weights = match (request.weights, training.first()) {
            (Some(weights), _) => weights.clone(),
            (None, Some(kernels)) => fresh(model, kernels)?,
            (None, None) => Weights::default(),
        };
        let preparation = match picture(request) {
            Some(dims) => {
                // Without steps bytes become floats, which the training data's may be a part of.
                let (_, divisor) = request.reading;
                let own = weights.preparation.as_ref().map(|p| Ok(p.form().clone()));
                let form = own.unwrap_or_else(|| Form::new(vec![], dims))?;
                compile(request, options, vec![], |o, t| pipeline::preparation_variants(&form, divisor, o, t))?
            }
            None => vec![],
        };
        let mut compiled = Compiled { inference, preparation, training, weights, saved: Store::default() };
        compiled.saved = used(&compiled.weights, compiled.last()).store();
        // The driver knows tensors of float32.
        compiled.saved.whole.clear();
        Ok(compiled)
    }

    /// Inference for the most demanding level.
    pub fn last(&self) -> &Kernels {
        self.inference.last().expect("there is at least one level")
    }

    /// Gives up the kernels of the most demanding level, with the texts of training added.
    pub fn take_last(&mut self) -> Kernels {
        let mut last = self.inference.pop().expect("there is at least one level");
        last.dumps.extend(self.training.pop().into_iter().flat_map(|k| k.dumps));
        last
    }
}

/// All that goes into the object.
pub(super) fn library<'a>(
    model: &Model,
    request: &'a BuildRequest,
    compiled: &'a Compiled,
) -> Result<LibraryContents<'a>> {
    let (weights, picture, classes) = (&compiled.weights, picture(request), &request.classes[..]);
    let staging = compiled.preparation.iter().map(|k| image::workspace(&k.plan)).max().unwrap_or(0);
    let extras =
        |feeds, training| Extras { feeds, weights, picture, reading: request.reading.0, staging, classes, training };
    let preparation = (!compiled.preparation.is_empty()).then(|| ProgramVariants {
        variants: variants(&compiled.preparation),
        extras: Extras { picture: None, classes: &[], ..extras(vec![Feed::Image], None) },
    });
    let training = match (compiled.training.first(), &model.train) {
        (Some(first), Some(recipe)) => {
            let feeds = first.plan.inputs.iter().map(|p| feed(recipe, p)).collect::<Result<_>>()?;
            let training = Training { seed: recipe.seed, saved: &compiled.saved };
            Some(ProgramVariants { variants: variants(&compiled.training), extras: extras(feeds, Some(training)) })
        }
        _ => None,
    };
    let feeds = vec![Feed::Image; compiled.last().plan.inputs.len()];
    let given = request.weights.is_some() || request.train;
    Ok(LibraryContents {
        inference: ProgramVariants { variants: variants(&compiled.inference), extras: extras(feeds, None) },
        preparation,
        training,
        embedded: (given && request.embed).then(|| compiled.saved.to_bytes()),
    })
}

/// Compiles a program for all levels by one way of the pipeline.
fn compile(
    request: &BuildRequest,
    options: &Options,
    emit: Vec<Emit>,
    make: impl Fn(&Options, &[Target]) -> Result<Vec<Kernels>>,
) -> Result<Vec<Kernels>> {
    let host = options.target.clone().unwrap_or_else(Target::host);
    let system = request.system()?;
    if !system.is_native() && emit.contains(&Stage::Asm.into()) {
        return Err(Error::new("`--emit asm` shows instructions of this machine only")
            .with_help(format!("look at the object for {} with a disassembler", request.triple)));
    }
    let targets = request.levels.iter().map(|level| level.target(system, &host)).collect::<Result<Vec<_>>>()?;
    make(&Options { emit, ..options.clone() }, &targets)
}

/// The shape of pictures. Without weights nobody knows how to prepare them.
pub(super) fn picture(request: &BuildRequest) -> Option<[usize; 3]> {
    request.weights.and(request.picture)
}

fn variants(compiled: &[Kernels]) -> Vec<Variant<'_>> {
    compiled.iter().map(|k| Variant { plan: &k.plan, module: &k.module, target: &k.target }).collect()
}

/// What feeds an input of the training step.
fn feed(recipe: &Recipe, port: &Port) -> Result<Feed> {
    let schedule = schedule::Hyper { factor: 1.0, momentum: recipe.optimizer.momentum(), ..Default::default() };
    let number = |hyper| step_inputs::hyper(recipe, schedule, 0, hyper);
    Ok(match port.role {
        Role::Image => Feed::Image,
        Role::Tensor => {
            return Err(LibraryError::internal(format!(
                "the training step has an input `{}` without a role",
                port.name
            ))
            .into());
        }
        // Mixing images is the caller's matter: to the step each is its own partner, with all of the weight.
        Role::Labels | Role::Partners => Feed::Labels,
        Role::Weights | Role::PartnerWeights => {
            return Err(Error::new("the training step of a library takes no `class_weights`")
                .with_help("leave them out of the recipe, and give images of rare classes more often"));
        }
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

/// All that a training step keeps: weights, and the optimiser's states as they start. `None` without a training step.
pub(super) fn start(compiled: &Compiled) -> Option<Store> {
    let kernels = compiled.training.first()?;
    let mut store = compiled.weights.store();
    for param in &kernels.params {
        let value = || init::values(&param.parameter(), 0);
        store.tensors.entry(param.name.clone()).or_insert_with(value);
    }
    Some(store)
}

/// The weights that the program has parameters for.
fn used(weights: &Weights, kernels: &Kernels) -> Weights {
    let wanted = |name: &String| kernels.plan.params.iter().any(|p| p.name == *name);
    let tensors: BTreeMap<String, Tensor> =
        weights.tensors.iter().filter(|(n, _)| wanted(n)).map(|(n, t)| (n.clone(), t.clone())).collect();
    Weights { tensors, ..weights.clone() }
}
