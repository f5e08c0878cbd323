//! Functions of a model, put in place of the nodes that call them.

use super::super::error::ImportError;
use super::super::proto::{AttributeProto, FunctionProto, NodeProto};
use super::net::{MOST_NODES, Node};
use std::collections::{HashMap, VecDeque};

/// Calls within calls.
const DEEPEST: usize = 32;

/// Returns the nodes without calls of functions.
pub fn inlined(nodes: Vec<NodeProto>, functions: &[FunctionProto]) -> Result<Vec<Node>, ImportError> {
    let known: HashMap<(&str, &str), &FunctionProto> = functions.iter().map(|f| ((f.domain(), f.name()), f)).collect();
    let mut open: VecDeque<(Node, usize)> = nodes.into_iter().map(|node| (Node::new(node), 0)).collect();
    let (mut done, mut calls) = (Vec::new(), 0);
    while let Some((node, depth)) = open.pop_front() {
        let called = known.get(&(node.domain.as_str(), node.op.as_str()));
        let Some(function) = called else {
            done.push(node);
            continue;
        };
        calls += 1;
        if depth >= DEEPEST || done.len() + open.len() + function.node.len() > MOST_NODES {
            return Err(ImportError::Damaged(format!("function `{}` calls too much", node.op)));
        }
        for inner in body(function, node, calls).into_iter().rev() {
            open.push_front((inner, depth + 1));
        }
    }
    match done.len() > MOST_NODES {
        true => Err(ImportError::Damaged(format!("it has {} nodes, more than {MOST_NODES}", done.len()))),
        false => Ok(done),
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
