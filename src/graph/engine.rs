//! The interpreter as an engine: the slow twin of a compiled program, for `--device interp` and for tests.

use super::Graph;
use super::interp::{self, Value};
use crate::ops::Operator;
use crate::ops::source::Input;
use crate::types::Type;
use ninc_runtime::plan::{Port, Role};
use ninc_runtime::{Engine, Error, Feed, Result, Tensor};
use std::collections::HashMap;

/// Runs a graph by its reference meaning, behind the interface of compiled programs.
pub struct Interpreter {
    graph: Graph,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    params: Vec<Port>,
    values: HashMap<String, Tensor>,
}

/// A port of a graph value that callers read or write by name; compiled programs say which buffer it is.
pub fn port(name: &str, ty: &Type, buffer: usize) -> Port {
    let (name, role, dims) = (name.into(), Role::Tensor, ty.dims.clone());
    Port { name, role, dtype: ty.dtype, batched: ty.batched, dims, order: ty.memory_order(), buffer }
}

/// The port of an input.
pub fn input_port(input: &Input, ty: &Type, buffer: usize) -> Port {
    Port { role: input.role, ..port(&input.name, ty, buffer) }
}

impl Interpreter {
    /// Makes an interpreter of the graph whose parameters are zeros.
    pub fn new(graph: Graph) -> Interpreter {
        let (mut inputs, mut params) = (vec![], vec![]);
        for id in graph.ids() {
            match graph.op(id) {
                Operator::Input(input) => inputs.push(input_port(input, graph.ty(id), 0)),
                Operator::Param(param) => params.push(port(&param.name, graph.ty(id), 0)),
                _ => {}
            }
        }
        let outputs = graph.outputs.iter().map(|(name, id)| port(name, graph.ty(*id), 0)).collect();
        let values = params.iter().map(|p| (p.name.clone(), Tensor::zeros(&p.dims))).collect();
        Interpreter { graph, inputs, outputs, params, values }
    }
}

impl Engine for Interpreter {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn params(&self) -> &[Port] {
        &self.params
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        self.values.get(name).cloned().ok_or_else(|| unknown("parameter", name))
    }

    fn write(&mut self, name: &str, value: &Tensor) -> Result<()> {
        let old = self.values.get_mut(name).ok_or_else(|| unknown("parameter", name))?;
        if old.dims != value.dims {
            return Err(Error::new(format!("parameter `{name}` is {:?}, not {:?}", old.dims, value.dims)));
        }
        *old = value.clone();
        Ok(())
    }

    fn run(&mut self, batch: usize, inputs: &[(&str, Feed)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        let mut fed = HashMap::new();
        for port in &self.inputs {
            fed.insert(port.name.as_str(), feed(port, batch, inputs)?);
        }
        if let Some((name, _)) = inputs.iter().find(|(name, _)| !fed.contains_key(name)) {
            return Err(unknown("input", name));
        }
        if let Some(name) = outputs.iter().find(|name| self.outputs.iter().all(|p| p.name != **name)) {
            return Err(unknown("output", name));
        }
        let results = interp::run::<f32>(&self.graph, batch, |name, ty| match fed.get(name) {
            Some(value) => value.clone(),
            None => Value::new(&ty.dims, self.values[name].data.clone()),
        });
        for (param, _) in &self.graph.updates {
            if let Operator::Param(param) = self.graph.op(*param) {
                let value = results[&param.name].real();
                self.values.insert(param.name.clone(), Tensor::new(&value.dims, value.data.clone())?);
            }
        }
        let tensor = |name: &&str| match &results[*name] {
            Value::Real(t) => Tensor::new(&t.dims, t.data.clone()),
            Value::Int(t) => Tensor::new(&t.dims, t.data.iter().map(|&v| v as f32).collect()),
        };
        outputs.iter().map(tensor).collect()
    }

    fn arena_bytes(&self, batch: usize) -> usize {
        self.graph.ids().iter().map(|&id| 4 * self.graph.ty(id).full_dims(batch).iter().product::<usize>()).sum()
    }

    /// The interpreter has no launches.
    fn set_profile(&mut self, _on: bool) {}

    fn profile(&self) -> Vec<(String, std::time::Duration)> {
        vec![]
    }
}

fn unknown(what: &str, name: &str) -> Error {
    Error::new(format!("the program has no {what} `{name}`"))
}

/// What the caller feeds for a port, checked.
fn feed(port: &Port, batch: usize, inputs: &[(&str, Feed)]) -> Result<Value<f32>> {
    let found = inputs.iter().find(|(name, _)| *name == port.name);
    let (_, feed) = found.ok_or_else(|| Error::new(format!("input `{}` is not fed", port.name)))?;
    let mut dims = port.dims.clone();
    if port.batched {
        dims.insert(0, batch);
    }
    let elements: usize = dims.iter().product();
    if feed.dtype() != port.dtype || feed.len() != elements {
        let kind = port.dtype.elements();
        return Err(Error::new(format!("input `{}` needs {elements} {kind} of shape {dims:?}", port.name)));
    }
    Ok(match feed {
        Feed::F32(data) => Value::new(&dims, data.to_vec()),
        Feed::I32(data) => Value::Int(interp::Tensor { dims, data: data.to_vec() }),
        Feed::U8(data) => Value::Int(interp::Tensor { dims, data: data.iter().map(|&v| v.into()).collect() }),
    })
}
