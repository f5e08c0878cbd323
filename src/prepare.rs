//! A fitted preparation as operators: in front of a network, or as a program of its own. Its numbers are parameters
//! that nothing trains, under the names that they have in files of weights.

use crate::graph::{Graph, NodeId};
use crate::ops::Operator;
use crate::ops::arithmetic::ScaleBy;
use crate::ops::linear::Linear;
use crate::ops::prepare::{GlobalContrast, LocalContrast, Standardise};
use crate::ops::reshape::Reshape;
use crate::ops::source::{Init, Input, Param};
use crate::passes::error::PassError;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::plan::Role;
use ninc_runtime::spec::Prepare;
use ninc_runtime::{Engine, Result};

/// The result of [`alone`].
const PREPARED: &str = "prepared";

/// Puts a preparation in front of a network, whose image then is `[channels, height, width]`, 0 to 255.
pub fn join(graph: &mut Graph, preparation: &Form) -> std::result::Result<(), PassError> {
    let images = |&id: &NodeId| matches!(graph.op(id), Operator::Input(input) if input.role == Role::Image);
    let missing = || PassError::Network("the network has no input for images".into());
    let old = graph.ids().into_iter().find(images).ok_or_else(missing)?;
    let (name, dims) = match graph.op(old) {
        Operator::Input(input) => (input.name.clone(), input.dims.clone()),
        _ => return Err(PassError::Graph("the network's input is not an input".into())),
    };
    let prepared = add(graph, &name, preparation)?;
    let prepared = if dims == preparation.dims() { prepared } else { graph.add(Reshape { dims }, &[prepared])? };
    graph.replace(old, prepared);
    graph.remove(old);
    Ok(())
}

/// A graph that prepares images and does nothing else.
pub fn alone(preparation: &Form) -> std::result::Result<Graph, PassError> {
    let mut graph = Graph::new("preparation");
    let prepared = add(&mut graph, "image", preparation)?;
    graph.outputs.push((PREPARED.into(), prepared));
    Ok(graph)
}

/// Gives a program that was made of such a graph the preparation's numbers.
pub fn write(engine: &mut dyn Engine, preparation: &Preparation) -> Result<()> {
    preparation.tensors().iter().try_for_each(|(name, tensor)| engine.write(name, tensor))
}

/// The input `name` and what its steps make of it.
fn add(graph: &mut Graph, name: &str, preparation: &Form) -> std::result::Result<NodeId, PassError> {
    let dims = preparation.dims().to_vec();
    let input = Input { name: name.into(), role: Role::Image, ints: false, batched: true, dims: dims.clone() };
    let mut image = graph.add(input, &[])?;
    let all = preparation.shapes();
    for (i, step) in preparation.spec().iter().enumerate() {
        let numbers = |graph: &mut Graph, name: &str| {
            let name = format!("prepare.{i}.{name}");
            let missing = || PassError::Graph(format!("the preparation lacks {name}"));
            let (_, dims) = all.iter().find(|(of, _)| *of == name).ok_or_else(missing)?;
            let dims = dims.clone();
            Ok::<NodeId, PassError>(graph.add(fixed(name, dims), &[])?)
        };
        image = match step {
            Prepare::Scale { .. } => {
                let factor = numbers(graph, "factor")?;
                graph.add(ScaleBy {}, &[image, factor])?
            }
            Prepare::MeanStd { .. } => {
                let (mean, std) = (numbers(graph, "mean")?, numbers(graph, "std")?);
                graph.add(Standardise {}, &[image, mean, std])?
            }
            Prepare::Gcn { .. } => {
                let scale = numbers(graph, "scale")?;
                graph.add(GlobalContrast {}, &[image, scale])?
            }
            Prepare::Zca { .. } => {
                let (mean, matrix) = (numbers(graph, "mean")?, numbers(graph, "matrix")?);
                let flat = graph.add(Reshape { dims: vec![dims.iter().product()] }, &[image])?;
                let centred = graph.add(Standardise {}, &[flat, mean])?;
                // The matrix is its own transpose.
                let white = graph.add(Linear {}, &[centred, matrix])?;
                graph.add(Reshape { dims: dims.clone() }, &[white])?
            }
            Prepare::Lcn => graph.add(LocalContrast {}, &[image])?,
        };
    }
    Ok(image)
}

/// A parameter that nothing trains.
fn fixed(name: String, dims: Vec<usize>) -> Param {
    let init = Init::Constant { value: 0.0 };
    Param { name, dims, init, trainable: false, rate: 0.0, decay: 0.0, max_norm: None, state: false }
}
