//! Runs a graph as compiled code, with the interpreter's interface.

use ninc::graph::Graph;
use ninc::graph::interp::{Tensor as Wide, Value};
use ninc::lower::target::{Isa, Target};
use ninc::pipeline::{self, Options};
use ninc::types::{DType, Type};
use ninc_runtime::plan::Port;
use ninc_runtime::{Feed, Tensor};
use std::collections::HashMap;

/// The outputs of `graph`, compiled for `isa` as it is, on a batch; `source` gives inputs and parameters by name.
pub fn run(
    graph: &Graph,
    batch: usize,
    isa: Isa,
    source: impl Fn(&str, &Type) -> Value<f32>,
) -> HashMap<String, Value<f32>> {
    let options = Options { target: Some(Target::host_with(isa)), threads: 2, ..Options::default() };
    run_with(graph, batch, &options, source)
}

/// Integers as bytes.
fn bytes(value: &Value<f32>) -> Vec<u8> {
    match value {
        Value::Int(tensor) => tensor.data.iter().map(|&v| v as u8).collect(),
        Value::Real(_) => vec![],
    }
}

/// The same for any device and target.
pub fn run_with(
    graph: &Graph,
    batch: usize,
    options: &Options,
    source: impl Fn(&str, &Type) -> Value<f32>,
) -> HashMap<String, Value<f32>> {
    let program = pipeline::graph(graph, options).unwrap_or_else(|e| panic!("{:?}: {e}", options.device));
    let mut engine = program.engine;
    let ty = |port: &Port| Type { dtype: port.dtype, batched: port.batched, dims: port.dims.clone() };
    for port in engine.params().to_vec() {
        let value = source(&port.name, &ty(&port));
        engine.write(&port.name, &Tensor::new(&port.dims, value.real().data.clone()).unwrap()).unwrap();
    }
    let ports = engine.inputs().to_vec();
    let values: Vec<Value<f32>> = ports.iter().map(|p| source(&p.name, &ty(p))).collect();
    let bytes: Vec<Vec<u8>> = values.iter().map(bytes).collect();
    let feeds: Vec<(&str, Feed)> = ports
        .iter()
        .zip(values.iter().zip(&bytes))
        .map(|(port, (value, bytes))| match value {
            Value::Int(_) if port.dtype == DType::U8 => (port.name.as_str(), Feed::U8(bytes)),
            Value::Real(tensor) => (port.name.as_str(), Feed::F32(&tensor.data)),
            Value::Int(tensor) => (port.name.as_str(), Feed::I32(&tensor.data)),
        })
        .collect();
    let names: Vec<&str> = graph.outputs.iter().map(|(name, _)| name.as_str()).collect();
    let results = engine.run(batch, &feeds, &names).unwrap_or_else(|e| panic!("{:?}: {e}", options.device));
    let value = |t: Tensor| Value::Real(Wide { dims: t.dims, data: t.data });
    names.iter().map(|n| n.to_string()).zip(results.into_iter().map(value)).collect()
}
