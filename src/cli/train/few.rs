//! Too few to learn from: batches with one value per channel of a batch normalisation, steps before the first
//! look-ahead.

use crate::cli::output::{self, Done, usage};
use ninc::model::Model;
use ninc::ops::Operator;
use ninc_runtime::spec::Recipe;
use ninc_runtime::train::schedule::total_steps;

/// Refuses a training where a batch has one value for each channel of a batch normalisation: the value is its own mean,
/// so the layer gives its shift whatever comes in, and the running variance learns nothing. An epoch has `images`.
/// Says where no look-ahead comes before the end.
pub fn check(model: &Model, recipe: &Recipe, images: usize) -> Done {
    let batch = recipe.batch * recipe.accumulate;
    let batches = images.div_ceil(batch);
    let steps = total_steps(recipe.length, batches as u64);
    if let Some(every) = recipe.lookahead.map(|ahead| ahead.every).filter(|&every| every > steps) {
        output::note(&format!(
            "note: `lookahead` takes over what was learned every {every} steps, and there are {steps}: the weights \
             that are kept stay as they begin"
        ));
    }
    let Some(name) = one_position(model) else { return Ok(()) };
    let last = images - (batches.max(1) - 1) * batch;
    let reached = steps >= batches as u64;
    let what = match (batch, last) {
        (1, _) => "a batch has one image".to_string(),
        (_, 1) if batches == 1 => "the training part has one image".to_string(),
        (_, 1) if reached => {
            format!("the last batch of an epoch has one image ({images} images in batches of {batch})")
        }
        _ => return Ok(()),
    };
    let better = (batch.max(2)..=images).find(|size| images % size != 1);
    let help = match better.filter(|_| recipe.accumulate == 1) {
        Some(size) => {
            format!("batches of another size, `--batch {size}`, or normalise where an image has several positions")
        }
        None => "other images or batches, or batch normalisation where an image has several positions".to_string(),
    };
    Err(usage(format!("{what}, and `{name}` normalises one value per channel and image: nothing to learn from"), help))
}

/// The first batch normalisation that measures batches of one position an image.
fn one_position(model: &Model) -> Option<String> {
    let graph = &model.graph;
    let learns = |id| matches!(graph.op(id), Operator::Param(param) if param.trainable);
    let layer = model.layers.iter().find(|layer| {
        let operands = graph.operands(layer.value);
        matches!(graph.op(layer.value), Operator::BatchNorm(_))
            && operands[1..3].iter().any(|&id| learns(id))
            && graph.ty(layer.value).classes().is_some()
    });
    layer.map(|layer| layer.name.clone())
}
