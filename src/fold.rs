//! Weights of a network with batch normalisation for its plain twin: the same layers, the normalisation and constant
//! scales inside of the weights and biases. What is folded is what the passes of inference fold, so that the two
//! networks are compared, and the numbers computed, by the compiler's own rules.

use crate::graph::interp::{self, Value};
use crate::graph::{Graph, NodeId};
use crate::model::Model;
use crate::ops::Operator;
use crate::ops::arithmetic::Scale;
use crate::passes::{self, dce};
use ninc_runtime::{Error, Result, Tensor};
use std::collections::{BTreeMap, HashMap};
use thiserror::Error;

/// Makes tensors by the names of `into`'s parameters of `tensors`, which must hold every parameter of `from`.
pub fn fold(from: &Model, tensors: &BTreeMap<String, Tensor>, into: &Model) -> Result<BTreeMap<String, Tensor>> {
    let (source, target) = (simplified(from)?, simplified(into)?);
    let pairs = pairs(&source, &target).map_err(|what| {
        Error::new(format!("{} is not {} with its normalisation folded away: {what}", into.name, from.name)).with_help(
            "apart from batch normalisation and constant scales the layers must be the same, in the same order",
        )
    })?;
    let values = evaluate(&source, pairs.iter().filter_map(|(value, _)| *value), tensors)?;
    let mut folded = BTreeMap::new();
    for (value, place) in pairs {
        let (name, factor) = parameter(&target, place).ok_or_else(|| {
            Error::new(format!("{} computes some of its weights itself, so they cannot be given", into.name))
                .with_help("the second network must be without batch normalisation behind its convolutions")
        })?;
        let mut tensor = match value {
            Some(id) => values[&id].clone(),
            // Only the target's layer has a bias.
            None => Tensor::zeros(&target.ty(place).dims),
        };
        if factor == 0.0 {
            return Err(Error::new(format!("{} multiplies what comes into `{name}` by 0", into.name)));
        }
        tensor.data.iter_mut().for_each(|v| *v = (f64::from(*v) / factor) as f32);
        if folded.get(&name).is_some_and(|other| *other != tensor) {
            return Err(Error::new(format!("{} uses `{name}` in two places that need different values", into.name)));
        }
        folded.insert(name, tensor);
    }
    Ok(folded)
}

/// Makes the graph of inference before layers are fused.
pub fn simplified(model: &Model) -> Result<Graph> {
    let mut graph = model.graph.clone();
    for pass in passes::folds().0 {
        (pass.run)(&mut graph).map_err(|e| e.of(pass.name))?;
    }
    Ok(graph)
}

/// Where the two networks' layers differ: a sentence about the second.
#[derive(Debug, Error)]
#[error("{0}")]
struct Difference(String);

/// Matches the values that depend on the image, one by one; gives what both sides' layers read beside them.
fn pairs(source: &Graph, target: &Graph) -> std::result::Result<Vec<(Option<NodeId>, NodeId)>, Difference> {
    let values =
        |graph: &Graph| -> Vec<NodeId> { graph.order().into_iter().filter(|&id| graph.ty(id).batched).collect() };
    let (left, right) = (values(source), values(target));
    let mut twins = HashMap::new();
    let mut pairs = Vec::new();
    for at in 0..left.len().max(right.len()) {
        let (Some(&a), Some(&b)) = (left.get(at), right.get(at)) else {
            let (longer, id) = match left.get(at) {
                Some(&id) => (source, id),
                None => (target, right[at]),
            };
            return Err(Difference(format!("only {} goes on with {}", longer.name, describe(longer, id))));
        };
        if !same(source.op(a), target.op(b)) || source.ty(a) != target.ty(b) {
            let (has, other) = (describe(target, b), describe(source, a));
            return Err(Difference(format!("it has {has} where {} has {other}", source.name)));
        }
        let (given, wanted) = (source.operands(a), target.operands(b));
        if given.len() > wanted.len() {
            return Err(Difference(format!("its {} has no bias to take what is folded", describe(target, b))));
        }
        for (i, &place) in wanted.iter().enumerate() {
            match given.get(i) {
                Some(value) if target.ty(place).batched && twins.get(value) != Some(&place) => {
                    return Err(Difference(format!("{} reads another value there", describe(target, b))));
                }
                _ if target.ty(place).batched => {}
                value => pairs.push((value.copied(), place)),
            }
        }
        twins.insert(a, b);
    }
    Ok(pairs)
}

/// Are the operators equal? Inputs may have different names.
fn same(a: &Operator, b: &Operator) -> bool {
    match (a, b) {
        (Operator::Input(a), Operator::Input(b)) => a.dims == b.dims && a.dtype == b.dtype,
        _ => a == b,
    }
}

fn describe(graph: &Graph, id: NodeId) -> String {
    let what = format!("{} {}", graph.op(id).name(), graph.ty(id));
    graph.node(id).name.as_ref().map_or_else(|| what.clone(), |name| format!("`{name}` ({what})"))
}

/// Computes prepared values of the source, in single precision as the compiled program would have them.
pub fn evaluate(
    graph: &Graph,
    wanted: impl Iterator<Item = NodeId>,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<HashMap<NodeId, Tensor>> {
    let mut graph = graph.clone();
    let wanted: Vec<NodeId> = wanted.collect();
    graph.outputs = wanted.iter().map(|id| (id.index().to_string(), *id)).collect();
    dce::run(&mut graph).map_err(|e| e.of("dce"))?;
    for id in graph.ids() {
        if let Operator::Param(param) = graph.op(id)
            && tensors.get(&param.name).is_none_or(|t| t.dims != param.dims)
        {
            return Err(Error::new(format!("the weights lack `{}`, or its shape is another", param.name)));
        }
    }
    let results = interp::run::<f64>(&graph, 1, |name, ty| match tensors.get(name) {
        Some(tensor) => Value::new(&tensor.dims, tensor.data.iter().map(|&v| f64::from(v)).collect()),
        // Inputs stay in every graph; nothing that is wanted reads them.
        None => Value::new(&ty.full_dims(1), vec![0.0; ty.full_dims(1).iter().product()]),
    });
    let tensor = |id: &NodeId| {
        let value = results[&id.index().to_string()].real();
        (*id, Tensor { dims: value.dims.clone(), data: value.data.iter().map(|&v| v as f32).collect() })
    };
    Ok(wanted.iter().map(tensor).collect())
}

/// Finds the parameter that a value is made of, and the constant that it is multiplied by.
fn parameter(graph: &Graph, id: NodeId) -> Option<(String, f64)> {
    match graph.op(id) {
        Operator::Param(param) => Some((param.name.clone(), 1.0)),
        Operator::Scale(Scale { factor }) => {
            parameter(graph, graph.operands(id)[0]).map(|(name, before)| (name, before * factor))
        }
        _ => None,
    }
}
