//! Functions of a model, put in place of the nodes that call them, and branches of conditions, put in front of these.

use super::super::error::{ImportError, Refusal};
use super::super::proto::attribute_proto::AttributeType;
use super::super::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use super::net::{MOST_NODES, Node};
use prost::Message;
use std::collections::{HashMap, HashSet, VecDeque};

/// Calls within calls.
const DEEPEST: usize = 32;
/// Most bytes that calls put in place of themselves.
const MOST_BYTES: usize = 1 << 28;

/// Returns the nodes without calls of functions. The nodes of both branches of an `If` stand before it and say when
/// they are computed; it takes the branches' results as further operands, first those of `then_branch`.
pub fn inlined(nodes: Vec<NodeProto>, functions: &[FunctionProto]) -> Result<Vec<Node>, ImportError> {
    let known: HashMap<(&str, &str), &FunctionProto> = functions.iter().map(|f| ((f.domain(), f.name()), f)).collect();
    let mut open: VecDeque<(Node, usize)> = nodes.into_iter().map(|node| (Node::new(node), 0)).collect();
    let (mut done, mut calls, mut bytes) = (Vec::new(), 0, 0);
    while let Some((mut node, depth)) = open.pop_front() {
        let called = known.get(&(node.domain.as_str(), node.op.as_str()));
        let branches = called.is_none() && node.op == "If" && node.domain.is_empty();
        if called.is_none() && !(branches && node.graph(BRANCHES[0]).is_some()) {
            done.push(node);
            continue;
        }
        calls += 1;
        let label = node.label();
        let inner = match called {
            Some(function) => {
                bytes += function.encoded_len();
                body(function, node, calls)
            }
            None => {
                let mut inner = branch_nodes(&mut node, calls)?;
                inner.push(node);
                inner
            }
        };
        if depth >= DEEPEST || done.len() + open.len() + inner.len() > MOST_NODES || bytes > MOST_BYTES {
            return Err(ImportError::Damaged(format!("node `{label}` calls too much")));
        }
        for inner in inner.into_iter().rev() {
            open.push_front((inner, depth + 1));
        }
    }
    match done.len() > MOST_NODES {
        true => Err(ImportError::Damaged(format!("it has {} nodes, more than {MOST_NODES}", done.len()))),
        false => Ok(done),
    }
}

/// The graphs of an `If`.
const BRANCHES: [&str; 2] = ["then_branch", "else_branch"];

/// Takes the branches out of an `If`; their values get names of their own.
fn branch_nodes(node: &mut Node, number: usize) -> Result<Vec<Node>, ImportError> {
    let wrong = |node: &Node, reason: &str| {
        let refusal = Refusal { node: node.label(), operator: node.op.clone(), reason: reason.into() };
        ImportError::Refused(vec![refusal])
    };
    let [condition] = &node.inputs[..] else { return Err(wrong(node, "it takes one operand, its condition")) };
    let (condition, label) = (condition.clone(), node.label());
    let mut nodes = Vec::new();
    for branch in BRANCHES {
        let graph = node.attributes().remove(branch).and_then(|a| a.g).filter(|g| g.output.len() == node.outputs.len());
        let Some(mut graph) = graph else {
            return Err(wrong(node, &format!("its `{branch}` is no graph with the node's results")));
        };
        let made = graph.node.iter().flat_map(|inner| &inner.output).map(String::as_str);
        let own: HashSet<String> =
            made.chain(graph.initializer.iter().map(|tensor| tensor.name())).map(String::from).collect();
        let renamed = |name: &str| match own.contains(name) && !name.is_empty() {
            true => format!("{label}/{branch}/{name}#{number}"),
            false => name.to_string(),
        };
        rename(&mut graph, &renamed);
        node.inputs.extend(graph.output.iter().map(|port| port.name().to_string()));
        let constants = graph.initializer.into_iter().map(|tensor| {
            let output = vec![tensor.name().to_string()];
            let value = AttributeProto {
                name: Some("value".into()),
                r#type: Some(AttributeType::Tensor as i32),
                t: Some(tensor),
                ..AttributeProto::default()
            };
            NodeProto { op_type: Some("Constant".into()), output, attribute: vec![value], ..NodeProto::default() }
        });
        for inner in constants.chain(graph.node) {
            let mut inner = Node::new(inner);
            inner.when = [&node.when[..], &[(condition.clone(), branch == BRANCHES[0])]].concat();
            nodes.push(inner);
        }
    }
    Ok(nodes)
}

/// Gives all names of a graph, and of graphs within it, that it reads or makes other names.
fn rename(graph: &mut GraphProto, renamed: &dyn Fn(&str) -> String) {
    let outputs = graph.output.iter_mut().filter_map(|port| port.name.as_mut());
    let tensors = graph.initializer.iter_mut().filter_map(|tensor| tensor.name.as_mut());
    outputs.chain(tensors).for_each(|name| *name = renamed(name));
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).for_each(|name| *name = renamed(name));
        node.attribute.iter_mut().filter_map(|a| a.g.as_mut()).for_each(|graph| rename(graph, renamed));
    }
}

/// Returns a call's nodes: values of the function get names of their own, attributes are those of the call.
fn body(function: &FunctionProto, mut call: Node, number: usize) -> Vec<Node> {
    let mut names: HashMap<&str, String> = HashMap::new();
    let absent = String::new();
    for (i, input) in function.input.iter().enumerate() {
        names.insert(input, call.inputs.get(i).unwrap_or(&absent).clone());
    }
    for (output, outer) in function.output.iter().zip(&call.outputs) {
        names.insert(output, outer.clone());
    }
    let label = call.label();
    let renamed = |name: &str| match (names.get(name), name.is_empty()) {
        (Some(outer), _) => outer.clone(),
        (None, true) => String::new(),
        (None, false) => format!("{label}/{name}#{number}"),
    };
    let mut nodes = Vec::new();
    for inner in &function.node {
        let mut node = Node::new(inner.clone());
        node.inputs.iter_mut().for_each(|name| *name = renamed(name));
        node.outputs.iter_mut().for_each(|name| *name = renamed(name));
        node.attributes().values_mut().filter_map(|a| a.g.as_mut()).for_each(|graph| rename(graph, &renamed));
        node.when = call.when.clone();
        let defaults = |name: &str| function.attribute_proto.iter().find(|a| a.name() == name).cloned();
        let given: HashMap<String, AttributeProto> =
            call.attributes().iter().map(|(name, a)| (name.clone(), a.clone())).collect();
        let attributes = std::mem::take(node.attributes());
        for (name, attribute) in attributes {
            let value = match attribute.ref_attr_name() {
                "" => Some(attribute),
                outer => given.get(outer).cloned().or_else(|| defaults(outer)),
            };
            if let Some(value) = value {
                node.attributes().insert(name.clone(), AttributeProto { name: Some(name), ..value });
            }
        }
        nodes.push(node);
    }
    nodes
}
