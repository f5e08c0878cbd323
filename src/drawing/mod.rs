//! Pictures of networks: the kernels that layers become as frames, values as edges with their shapes.

mod dot;
mod layout;
mod page;
mod svg;

pub use dot::dot;
pub use page::page;
pub use svg::svg;

use crate::graph::{Graph, NodeId};
use crate::model::{Layer, Model};
use crate::ops::Operator;
use crate::ops::facts::Receptive;
use crate::sizes::{self, Row};
use std::collections::{HashMap, HashSet};

/// A network as it is drawn.
#[derive(Debug)]
pub struct Drawing {
    /// The network's name.
    pub name: String,
    /// Inputs, kernels and outputs, each behind those that it reads.
    pub frames: Vec<Frame>,
    /// Whether frames are kernels, not layers.
    pub kernels: bool,
    /// Values that go from one frame to another.
    pub edges: Vec<Edge>,
}

/// What is drawn as one: an input, an output, or the layers of a kernel.
#[derive(Debug)]
pub struct Frame {
    /// Its heading: the name of its value.
    pub title: String,
    /// Its layers in order; none of inputs and outputs.
    pub rows: Vec<Line>,
    /// Shape of its value.
    pub shape: Vec<usize>,
    /// Multiply-adds of its layers for one image.
    pub cost: u64,
    /// Its part of the multiply-adds of the network.
    pub share: f64,
}

/// A layer within a frame.
#[derive(Debug)]
pub struct Line {
    /// The function, with its window: `conv 3x3`.
    pub what: String,
    /// The layer's name.
    pub name: String,
    /// Its figures.
    pub row: Row,
}

/// A value that one frame reads of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// The frame that makes it.
    pub from: usize,
    /// The frame that reads it.
    pub to: usize,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Drawing {
    /// Draws a model. `results` are the names of the values that kernels leave: a layer whose value has none of these
    /// names belongs to the frame of the one that reads it, and a layer that no output needs becomes no kernel. Without
    /// them each layer has a frame of its own.
    pub fn new(model: &Model, results: Option<&HashSet<String>>) -> Drawing {
        let graph = &model.graph;
        let rows = sizes::rows(graph, &model.layers);
        // A layer that gives back what it was given is nothing to draw.
        let needed = results.map(|_| needed(graph));
        let drawn = |layer: &Layer| {
            let compiled = needed.as_ref().is_none_or(|needed| needed.contains(&layer.value));
            compiled && !layer.operands.contains(&layer.value)
        };
        let kept: Vec<usize> = (0..rows.len()).filter(|&i| drawn(&model.layers[i])).collect();
        let owners = owners(graph, &model.layers, &kept, results);
        let kernels = results.is_some();
        let mut drawing = Drawing { name: model.name.clone(), frames: vec![], kernels, edges: vec![] };
        let mut made: HashMap<NodeId, usize> = HashMap::new();
        for id in graph.ids() {
            if let Operator::Input(input) = graph.op(id) {
                made.insert(id, drawing.frames.len());
                drawing.frames.push(Frame { rows: vec![], ..frame(graph, id, input.name.clone()) });
            }
        }
        // A frame comes where its last layer does, behind all that it reads.
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
        kept.iter().for_each(|i| members.entry(owners[i]).or_default().push(*i));
        for &last in kept.iter().filter(|&&i| owners[&i] == i) {
            let members = &members[&last];
            let value = model.layers[last].value;
            let title = graph.node(value).name.clone().unwrap_or_else(|| rows[last].name.clone());
            let mut frame = frame(graph, value, title);
            frame.cost = members.iter().map(|&i| rows[i].multiply_adds).sum();
            frame.rows = members.iter().map(|&i| line(graph, &model.layers[i], &rows[i])).collect();
            numbers.insert(last, drawing.frames.len());
            made.extend(members.iter().map(|&i| (model.layers[i].value, drawing.frames.len())));
            drawing.frames.push(frame);
        }
        let mut seen = HashSet::new();
        for &i in &kept {
            let to = numbers[&owners[&i]];
            for operand in &model.layers[i].operands {
                if let Some(&from) = made.get(operand).filter(|&&from| from != to) {
                    drawing.edge(graph, from, to, *operand, &mut seen);
                }
            }
        }
        for (name, id) in &graph.outputs {
            if let Some(&from) = made.get(id) {
                let to = drawing.frames.len();
                drawing.frames.push(self::frame(graph, *id, name.clone()));
                drawing.edge(graph, from, to, *id, &mut seen);
            }
        }
        let whole: u64 = drawing.frames.iter().map(|f| f.cost).sum();
        drawing.frames.iter_mut().for_each(|f| f.share = f.cost as f64 / whole.max(1) as f64);
        drawing
    }

    fn edge(&mut self, graph: &Graph, from: usize, to: usize, value: NodeId, seen: &mut HashSet<Edge>) {
        let edge = Edge { from, to, shape: graph.ty(value).dims.clone() };
        if seen.insert(edge.clone()) {
            self.edges.push(edge);
        }
    }
}

/// The values that the outputs are computed from.
fn needed(graph: &Graph) -> HashSet<NodeId> {
    let mut open: Vec<NodeId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    let mut needed = HashSet::new();
    while let Some(id) = open.pop() {
        if needed.insert(id) {
            open.extend(graph.operands(id));
        }
    }
    needed
}

fn frame(graph: &Graph, value: NodeId, title: String) -> Frame {
    Frame { title, rows: vec![], shape: graph.ty(value).dims.clone(), cost: 0, share: 0.0 }
}

/// For each layer the last one of its frame, by their numbers.
fn owners(graph: &Graph, layers: &[Layer], kept: &[usize], results: Option<&HashSet<String>>) -> HashMap<usize, usize> {
    let mut readers: HashMap<NodeId, Vec<usize>> = HashMap::new();
    for &i in kept {
        for operand in &layers[i].operands {
            readers.entry(*operand).or_default().push(i);
        }
    }
    let outputs: HashSet<NodeId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    let mut owners = HashMap::new();
    for &i in kept.iter().rev() {
        let layer = &layers[i];
        let named = |results: &HashSet<String>| {
            let name = graph.node(layer.value).name.as_ref();
            results.contains(&layer.name) || name.is_some_and(|name| results.contains(name))
        };
        let own = results.is_none_or(named) || outputs.contains(&layer.value);
        let reader = readers.get(&layer.value).map_or(&[][..], Vec::as_slice);
        let owner = match reader {
            // What several kernels read is written by one.
            [first, rest @ ..] if !own && rest.iter().all(|r| owners.get(r) == owners.get(first)) => {
                owners.get(first).copied()
            }
            _ => None,
        };
        owners.insert(i, owner.unwrap_or(i));
    }
    owners
}

fn line(graph: &Graph, layer: &Layer, row: &Row) -> Line {
    let window = windows(graph, layer).map_or(String::new(), |[h, w]| format!(" {h}x{w}"));
    Line { what: format!("{}{window}", layer.function), name: row.name.clone(), row: row.clone() }
}

/// The window of the node that a layer begins with, if it is more than a point.
fn windows(graph: &Graph, layer: &Layer) -> Option<[usize; 2]> {
    let mut open = vec![layer.value];
    let mut found = None;
    while let Some(id) = open.pop() {
        if layer.operands.contains(&id) || layer.params.contains(&id) {
            continue;
        }
        let types: Vec<_> = graph.operands(id).iter().map(|&o| graph.ty(o).clone()).collect();
        if let Receptive::Window(window) = graph.op(id).receptive(&types) {
            found = Some(window.kernel);
        }
        open.extend(graph.operands(id));
    }
    found.filter(|kernel| *kernel != [1, 1])
}
