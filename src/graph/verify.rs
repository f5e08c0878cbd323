//! Checks a graph's invariants; passes rely on them, and a broken pass is found at once instead of three passes later.
//!
//! 1. Every operand is a node of the graph, and no value depends on itself.
//! 2. Each node's type is what its operator infers from its operands' types; no dimension is 0.
//! 3. Inputs have names of their own, and so have parameters; the two do not mix.
//! 4. Outputs have names of their own and are values of the graph.
//! 5. An update writes a parameter, once, with a value of the parameter's type that is the same for all images.

use super::error::{VerifyError, VerifyErrors};
use super::{Graph, NodeId};
use crate::ops::Operator;
use crate::types::Type;
use crate::verified::{Faults, Verified};
use std::collections::HashSet;

/// The graph with its witness, or what is wrong, in one sentence per fault.
pub fn verify(graph: Graph) -> Result<Verified<Graph>, VerifyErrors> {
    check(&graph)?;
    Ok(Verified::vouch(graph))
}

/// Like [`verify`], for a graph that is needed further on.
pub fn check(graph: &Graph) -> Result<(), VerifyErrors> {
    let mut faults: Vec<VerifyError> = structure(graph).into_iter().map(VerifyError::Rule).collect();
    // Types and results of a graph without structure cannot even be looked at.
    if faults.is_empty() {
        faults.extend(types(graph));
        faults.extend(names(graph).into_iter().chain(results(graph)).map(VerifyError::Rule));
    }
    if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
}

fn label(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    match &node.name {
        Some(name) => format!("{} {name:?} (node {})", node.op.name(), id.index()),
        None => format!("{} (node {})", node.op.name(), id.index()),
    }
}

/// Checks that operands exist, and that every node can be put after its operands.
fn structure(graph: &Graph) -> Vec<String> {
    let mut faults = Vec::new();
    for id in graph.ids() {
        for &operand in graph.operands(id) {
            if !graph.contains(operand) {
                faults.push(format!("{}: operand node {} does not exist", label(graph, id), operand.index()));
            }
        }
    }
    if !faults.is_empty() {
        return faults;
    }
    let mut waiting: Vec<(NodeId, usize)> = Vec::new();
    let mut ready = Vec::new();
    for id in graph.ids() {
        let operands: HashSet<_> = graph.operands(id).iter().collect();
        if operands.is_empty() { ready.push(id) } else { waiting.push((id, operands.len())) }
    }
    let mut left: std::collections::HashMap<NodeId, usize> = waiting.into_iter().collect();
    while let Some(id) = ready.pop() {
        for user in graph.users(id) {
            if let Some(count) = left.get_mut(&user) {
                *count -= 1;
                if *count == 0 {
                    left.remove(&user);
                    ready.push(user);
                }
            }
        }
    }
    let mut stuck: Vec<NodeId> = left.into_keys().collect();
    stuck.sort();
    faults.extend(stuck.first().map(|&id| format!("{}: depends on itself", label(graph, id))));
    faults
}

fn types(graph: &Graph) -> Vec<VerifyError> {
    let mut faults = Vec::new();
    for id in graph.ids() {
        let operands: Vec<Type> = graph.operands(id).iter().map(|&o| graph.ty(o).clone()).collect();
        match graph.op(id).infer(&operands) {
            Err(error) => faults.push(VerifyError::Shape { node: label(graph, id), error }),
            Ok(ty) if ty != *graph.ty(id) => {
                let (node, given) = (label(graph, id), graph.ty(id));
                let what = format!("{node}: type {given} where {ty} follows from its operands");
                faults.push(VerifyError::Rule(what));
            }
            Ok(_) => {}
        }
    }
    faults
}

fn names(graph: &Graph) -> Vec<String> {
    let (mut faults, mut seen) = (Vec::new(), HashSet::new());
    for id in graph.ids() {
        let name = match graph.op(id) {
            Operator::Input(input) => &input.name,
            Operator::Param(param) => &param.name,
            _ => continue,
        };
        if !seen.insert(name.clone()) {
            faults.push(format!("{}: a second input or parameter named {name:?}", label(graph, id)));
        }
    }
    faults
}

fn results(graph: &Graph) -> Vec<String> {
    let (mut faults, mut seen) = (Vec::new(), HashSet::new());
    for (name, id) in &graph.outputs {
        if !graph.contains(*id) {
            faults.push(format!("output {name:?}: node {} does not exist", id.index()));
        }
        if !seen.insert(name) {
            faults.push(format!("a second output named {name:?}"));
        }
    }
    let mut written = HashSet::new();
    for (param, value) in &graph.updates {
        if let Some(id) = [param, value].into_iter().find(|id| !graph.contains(**id)) {
            faults.push(format!("update: node {} does not exist", id.index()));
            continue;
        }
        if !matches!(graph.op(*param), Operator::Param(_)) {
            faults.push(format!("update of {}, which is not a parameter", label(graph, *param)));
        }
        if graph.ty(*param) != graph.ty(*value) {
            let (have, want) = (graph.ty(*value), graph.ty(*param));
            faults.push(format!("update of {}: the new value is {have}, not {want}", label(graph, *param)));
        }
        if !written.insert(*param) {
            faults.push(format!("{} is updated twice", label(graph, *param)));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::activation::{Activation, Function};
    use crate::ops::arithmetic::Add;
    use crate::ops::source::{Init, Input, Param};
    use crate::types::DType;
    use ninc_runtime::plan::Role;

    fn input(graph: &mut Graph, name: &str, dims: &[usize]) -> NodeId {
        let op = Input { name: name.into(), role: Role::Image, dtype: DType::F32, batched: true, dims: dims.to_vec() };
        graph.add(op, &[]).unwrap()
    }

    fn param(graph: &mut Graph, name: &str, dims: &[usize]) -> NodeId {
        let op = Param::new(name, dims, Init::Constant { value: 0.0 });
        graph.add(op, &[]).unwrap()
    }

    fn relu() -> Activation {
        Activation { function: Function::Relu }
    }

    #[test]
    fn a_sound_graph_passes() {
        let mut graph = Graph::new("sound");
        let x = input(&mut graph, "x", &[3]);
        let y = graph.add(relu(), &[x]).unwrap();
        graph.outputs.push(("y".into(), y));
        assert!(verify(graph).is_ok());
    }

    #[test]
    fn faults_are_found() {
        let mut graph = Graph::new("twice");
        input(&mut graph, "x", &[3]);
        param(&mut graph, "x", &[3]);
        assert!(check(&graph).unwrap_err().to_string().contains("a second input or parameter named \"x\""));

        let mut graph = Graph::new("update");
        let (w, v) = (param(&mut graph, "w", &[3]), param(&mut graph, "v", &[4]));
        graph.updates = vec![(w, v), (w, w)];
        let faults = check(&graph).unwrap_err().to_string();
        assert!(faults.contains("the new value is f32[4], not f32[3]") && faults.contains("updated twice"), "{faults}");

        let mut graph = Graph::new("gone");
        let x = input(&mut graph, "x", &[3]);
        let y = graph.add(relu(), &[x]).unwrap();
        graph.outputs = vec![("y".into(), y), ("y".into(), x)];
        graph.remove(y);
        let faults = check(&graph).unwrap_err().to_string();
        assert!(faults.contains("node 1 does not exist") && faults.contains("second output"), "{faults}");
    }

    #[test]
    fn cycles_are_found() {
        let mut graph = Graph::new("cycle");
        let x = input(&mut graph, "x", &[3]);
        let a = graph.add(relu(), &[x]).unwrap();
        let b = graph.add(Add {}, &[a, a]).unwrap();
        graph.replace_in(x, b, &[a]);
        assert!(check(&graph).unwrap_err().to_string().contains("depends on itself"));
    }
}
