//! Names of layers: those that the file gives, where a person gave them.

use super::super::read::{Net, Node};
use crate::io::sheet::{LayerId, Sheet, identifier};

/// The producer's name in files of ours.
pub const OURS: &str = "ninc";

/// Last parts of weights' names that say what they are, not whose.
const KINDS: [&str; 11] =
    ["weight", "bias", "kernel", "gamma", "scale", "w", "W", "weight_bias", "ReadVariableOp", "slope", "weights"];
/// Last parts of nodes' names that repeat the operator.
const REPEATS: [&str; 8] = ["Conv2D", "MatMul", "BiasAdd", "Conv", "Gemm", "convolution", "Relu", "Cast"];

/// Is the file one of ours, whose names are kept to the letter?
pub fn ours(net: &Net) -> bool {
    net.producer == OURS
}

/// Returns the network's name, which is that of its file where a program named it.
pub fn network(net: &Net, file: &str) -> String {
    let made = |name: &str| ["main_graph", "torch_jit", "tf2onnx", "torch-jit-export", "graph", ""].contains(&name);
    let own = identifier(&net.name).filter(|_| !made(&net.name));
    own.or_else(|| identifier(file)).unwrap_or_else(|| "imported".into())
}

/// Returns the name of an input or a result.
pub fn value(name: &str) -> Option<String> {
    identifier(name.strip_suffix(":0").unwrap_or(name)).filter(|name| name.len() <= 40)
}

/// Did a program number this name?
fn anonymous(name: &str) -> bool {
    let starts = ["val_", "onnx::", "arg", "const", "Const", "node_", "_val_", "/", "convert_"];
    starts.iter().any(|start| name.starts_with(start)) || !name.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Takes the last parts off a name that say what it is.
fn owner(name: &str) -> String {
    let mut rest = name.trim_end_matches(":0");
    while let Some((before, last)) = rest.rsplit_once(['.', '/', ':']) {
        if !KINDS.contains(&last) && !REPEATS.contains(&last) {
            break;
        }
        rest = before;
    }
    let ends = ["_weight", "_bias", "_W", "_w", "_kernel", "_gamma", "_scale"];
    ends.iter().find_map(|end| rest.strip_suffix(end)).unwrap_or(rest).to_string()
}

/// Takes out of a path what the next part says again: `layer1/layer1.0/conv1` is `layer1.0/conv1`.
fn module(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let again = |i: usize| {
        parts.get(i + 1).and_then(|next| next.strip_prefix(parts[i])).is_some_and(|rest| rest.starts_with('.'))
    };
    let kept: Vec<&str> = (0..parts.len()).filter(|&i| !again(i)).map(|i| parts[i]).collect();
    kept.join("/")
}

/// Returns the name of a layer with weights, by its first tensor's name.
pub fn of_weights(net: &Net, node: &Node, tensor: Option<&str>) -> Option<String> {
    if ours(net) {
        return identifier(&node.name);
    }
    let of_path = || {
        let path = node.name.trim_start_matches('/');
        path.contains('/').then(|| owner(&module(path))).and_then(|name| identifier(&name))
    };
    let given = tensor.filter(|name| !anonymous(name)).map(owner).filter(|name| !KINDS.contains(&name.as_str()));
    given.and_then(|name| identifier(&name)).or_else(of_path)
}

/// Returns the name of a layer without weights.
pub fn of_node(net: &Net, node: &Node, function: &str) -> Option<String> {
    let plain = identifier(&node.name).filter(|name| *name == node.name)?;
    let lower = plain.to_lowercase();
    let kinds = [node.op.to_lowercase(), function.to_string(), "node_".into()];
    // Nodes of functions are `n4` for each call.
    let counts = plain.strip_prefix('n').is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '_'));
    let numbered = counts || kinds.iter().any(|start| lower.starts_with(start));
    (ours(net) || !numbered).then_some(plain)
}

/// Names the results; a layer without a name of its own takes that of the result it is.
pub fn results(net: &Net, sheet: &mut Sheet, outputs: Vec<(String, LayerId)>) {
    let named = outputs.len() > 1 || ours(net);
    for (i, (name, id)) in outputs.into_iter().enumerate() {
        let name = value(&name).unwrap_or_else(|| format!("result{}", i + 1));
        if !named && id != 0 && sheet.layers[id].name.is_none() && !generated(&name, sheet.layers[id].function) {
            sheet.layers[id].name = Some(name.clone());
        }
        let taken = sheet.outputs.iter().any(|(n, _)| *n == name);
        sheet.outputs.push((if taken { format!("{name}_{i}") } else { name }, id));
    }
}

/// Is it a name that exporters give to values of this function?
fn generated(name: &str, function: &str) -> bool {
    let name = name.trim_start_matches('_');
    ["output", "result", "Identity", "val", "y", function].iter().any(|start| name.starts_with(start))
        || name.contains(|c: char| c.is_ascii_digit())
}
