//! Batch normalisation that an exporter multiplied into the layer in front of it: a network that still has it needs
//! numbers that the file does not hold, and must not start from others.

use super::has_weights;
use ninc::graph::NodeId;
use ninc::model::Model;
use ninc::ops::Operator;
use ninc_runtime::init::Parameter;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Result};
use std::path::Path;

/// What only a normalisation has.
const VARIANCE: &str = ".running_var";

/// Checks that weights hold a network's parameters, and says of a file of another program that it folded what it lacks.
pub fn check(weights: &Weights, wanted: &[Parameter], path: &Path) -> Result<()> {
    let absent = |p: &&Parameter| p.name.ends_with(VARIANCE) && !weights.tensors.contains_key(&p.name);
    weights.check(wanted, path).map_err(|e| match wanted.iter().find(absent) {
        Some(variance) if has_weights(path) => error(variance.name.trim_end_matches(VARIANCE), None, path),
        _ => e,
    })
}

/// Refuses to train a normalisation behind a layer whose numbers are the file's: these hold it already.
pub fn refuse(model: &Model, weights: &Weights, path: &Path) -> Result<()> {
    if !has_weights(path) {
        return Ok(());
    }
    for layer in &model.layers {
        let names = layer.params.iter().filter_map(|&id| name(model, id));
        let normalises = names.clone().any(|name| name.ends_with(VARIANCE));
        if !normalises || names.clone().any(|name| weights.tensors.contains_key(name)) {
            continue;
        }
        let Some(&input) = layer.operands.first() else { continue };
        if let Some(before) = given(model, weights, input) {
            return Err(error(&layer.name, Some(before.trim_end_matches(".weight")), path));
        }
    }
    Ok(())
}

fn name(model: &Model, id: NodeId) -> Option<&str> {
    match model.graph.op(id) {
        Operator::Param(param) => Some(&param.name),
        _ => None,
    }
}

/// The parameter of the product that makes a value, if the weights hold it.
fn given<'a>(model: &'a Model, weights: &Weights, value: NodeId) -> Option<&'a str> {
    let fits = |&id: &NodeId| {
        let tensor = weights.tensors.get(name(model, id)?)?;
        (tensor.dims == model.graph.ty(id).dims).then_some(id)
    };
    let found = model.graph.operands(value).iter().find_map(fits)?;
    name(model, found)
}

fn error(normalisation: &str, before: Option<&str>, path: &Path) -> Error {
    let file = path.display();
    let inside = before.map_or("the weights of the layer in front of it".into(), |name| format!("`{name}.weight`"));
    let message =
        format!("{file} has nothing for `{normalisation}`: its exporter folded the normalisation into {inside}");
    Error::new(message).with_help(format!(
        "take `{normalisation}` out of the network; or `ninc import {file} -o NAME.nin`, and train on with `--weights \
         NAME.safetensors`: there it starts anew"
    ))
}
