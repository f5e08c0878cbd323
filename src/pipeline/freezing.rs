//! A training step without what only parameters need that are frozen by then: neither their gradients nor the backward
//! pass below the lowest layer that still learns.

use super::session::Session;
use super::{Mode, Options, Program};
use crate::model::Model;
use crate::ops::Operator;
use crate::ops::source::Param;
use crate::passes::training::learns;
use ninc_runtime::plan::Plan;
use ninc_runtime::spec::Recipe;
use ninc_runtime::train::stages::Stages;
use ninc_runtime::{Engine, Result};

/// Puts shorter steps behind a program on the processor, for the times at which the recipe freezes parameters. All that
/// still learns keeps its bits: images go in the same groups.
pub fn stages(model: &Model, options: &Options, program: Program) -> Program {
    let recipe = model.train.as_ref().filter(|_| options.dumps.is_empty());
    let (Some(recipe), Some(compiled)) = (recipe, &program.compiled) else { return program };
    let times = times(model, recipe);
    if times.is_empty() {
        return program;
    }
    let group = group(&compiled.plan);
    let (model, options) = (model.clone(), Options { emit: vec![], ..options.clone() });
    let compile = Box::new(move |epochs| shorter(&model, &options, group, epochs));
    Program { engine: Box::new(Stages::new(program.engine, &times, compile)), ..program }
}

/// When parameters freeze, in epochs, ascending; up to where nothing would be left to learn.
fn times(model: &Model, recipe: &Recipe) -> Vec<f64> {
    let graph = &model.graph;
    let learned: Vec<&Param> = graph.ids().into_iter().filter_map(|id| param(graph.op(id), recipe)).collect();
    let until = |param: &&Param| recipe.group_of(&param.name).freeze_after.unwrap_or(f64::INFINITY);
    let mut times: Vec<f64> = learned.iter().map(until).collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    times.pop();
    times
}

/// The parameter that training changes.
fn param<'a>(op: &'a Operator, recipe: &Recipe) -> Option<&'a Param> {
    match op {
        Operator::Param(param) if learns(recipe, param) => Some(param),
        _ => None,
    }
}

/// The step from the time on when `epochs` are done, in groups of `group` images.
fn shorter(
    model: &Model,
    options: &Options,
    group: Option<usize>,
    epochs: f64,
) -> Result<Option<Box<dyn Engine + Send>>> {
    let mut session = Session::new(options).in_groups(group);
    let graph = session.training_graph(model, Some(epochs))?;
    let program = session.finish(graph, Mode::Training)?;
    // One that could not keep the groups would have other digits.
    let same = program.compiled.as_ref().is_some_and(|compiled| self::group(&compiled.plan) == group);
    Ok(same.then_some(program.engine))
}

/// Images of the batch, or of a share, that are in memory together.
fn group(plan: &Plan) -> Option<usize> {
    plan.shares.as_ref().map_or(plan.group, |shares| shares.group)
}
