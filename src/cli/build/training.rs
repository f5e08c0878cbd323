//! `ninc build --train`: what a library's training step cannot do for its caller.

use super::Args;
use crate::cli::output::{self, Done, usage};
use ninc::model::Model;
use ninc::ops::Operator;
use ninc_runtime::init::Init;
use ninc_runtime::weights::Weights;

/// Refuses weights that only images can start, and says which lines of the recipe are left to `ninc train`: a step
/// knows nothing of the steps before and after it.
pub fn check(args: &Args, model: &Model, weights: Option<&Weights>) -> Done {
    if !args.train || args.output.is_none() {
        return Ok(());
    }
    if let (None, Some(name)) = (weights, whitened(model)) {
        return Err(usage(
            format!("`{name}` starts as filters that whiten the images of a training, which a library does not see"),
            "begin with the weights of a training: `ninc train FILE --steps 1`, then `--weights FILE`",
        ));
    }
    let Some(recipe) = &model.train else { return Ok(()) };
    let freezes = recipe.groups.iter().any(|group| group.freeze_after.is_some());
    let lines =
        [("lookahead", recipe.lookahead.is_some()), ("average", recipe.average.is_some()), ("freeze_after", freezes)];
    let left: Vec<String> = lines.iter().filter(|line| line.1).map(|line| format!("`{}`", line.0)).collect();
    if !left.is_empty() {
        let left = left.join(", ");
        output::note(&format!(
            "note: the library's training step leaves out {left} of the recipe, which `ninc train` does"
        ));
    }
    Ok(())
}

/// A parameter that is fitted to images before the first step.
fn whitened(model: &Model) -> Option<String> {
    let name = |id| match model.graph.op(id) {
        Operator::Param(param) if matches!(param.init, Init::Whiten { .. }) => Some(param.name.clone()),
        _ => None,
    };
    model.graph.ids().into_iter().find_map(name)
}
