//! What each layer of a network makes and costs: shape, parameters, multiply-adds, bytes, receptive field.

use crate::graph::{Graph, NodeId};
use crate::model::Layer;
use crate::ops::Operator;
use crate::ops::facts::Receptive;
use crate::ops::window::Window;
use crate::types::Type;
use std::collections::{HashMap, HashSet};

/// The figures of a layer.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Row {
    /// The layer's name.
    pub name: String,
    /// The function of the language.
    pub function: String,
    /// Shape of its result, for one image.
    pub shape: Vec<usize>,
    /// Numbers in its parameters.
    pub parameters: u64,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
    /// Bytes of the result, for one image.
    pub bytes: u64,
    /// Rows and columns of the input that one cell of the result sees, the padding included.
    pub receptive_field: [usize; 2],
}

/// The sums over all layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sums {
    /// Numbers in all parameters; one that serves several layers counts once.
    pub parameters: u64,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
    /// Bytes of all results, for one image.
    pub bytes: u64,
}

/// Sums up layers.
pub fn sums<'l>(graph: &Graph, layers: impl Iterator<Item = &'l Layer>, rows: &[Row]) -> Sums {
    let total = |number: fn(&Row) -> u64| rows.iter().map(number).sum::<u64>();
    let shared: HashSet<NodeId> = layers.flat_map(|l| l.params.iter().copied()).collect();
    let parameters = shared.iter().map(|&p| graph.ty(p).elements() as u64).sum();
    Sums { parameters, multiply_adds: total(|r| r.multiply_adds), bytes: total(|r| r.bytes) }
}

/// Makes a row for each layer.
pub fn rows(graph: &Graph, layers: &[Layer]) -> Vec<Row> {
    let fields = fields(graph);
    let row = |layer: &Layer| Row {
        name: layer.name.clone(),
        function: layer.function.clone(),
        shape: graph.ty(layer.value).dims.clone(),
        parameters: layer.params.iter().map(|&p| graph.ty(p).elements() as u64).sum(),
        multiply_adds: nodes(graph, layer).iter().map(|&id| multiply_adds(graph, id)).sum(),
        bytes: 4 * graph.ty(layer.value).elements() as u64,
        receptive_field: fields.get(&layer.value).map_or([0, 0], |f| f.size),
    };
    layers.iter().map(row).collect()
}

fn multiply_adds(graph: &Graph, id: NodeId) -> u64 {
    let types: Vec<_> = graph.operands(id).iter().map(|&o| graph.ty(o).clone()).collect();
    graph.op(id).multiply_adds(&types, graph.ty(id))
}

/// Collects the nodes that a layer's function made: back from its value to its operands.
fn nodes(graph: &Graph, layer: &Layer) -> HashSet<NodeId> {
    let ends: HashSet<NodeId> = layer.operands.iter().chain(&layer.params).copied().collect();
    let mut found = HashSet::new();
    let mut open = vec![layer.value];
    while let Some(id) = open.pop() {
        if !ends.contains(&id) && found.insert(id) {
            open.extend(graph.operands(id));
        }
    }
    found
}

#[derive(Clone, Copy)]
struct Field {
    /// Rows and columns seen.
    size: [usize; 2],
    /// Input pixels between neighbouring cells.
    step: [usize; 2],
}

/// Computes the receptive field of every image in the network (Dumoulin & Visin, 2016): a window of k cells that lie
/// `step` apart adds `(k - 1)·step`.
fn fields(graph: &Graph) -> HashMap<NodeId, Field> {
    let mut fields: HashMap<NodeId, Field> = HashMap::new();
    let mut whole = [1, 1];
    for id in graph.order() {
        if !graph.ty(id).batched {
            continue;
        }
        if let Operator::Input(input) = graph.op(id) {
            if let [_, height, width] = input.dims[..] {
                whole = [height, width];
            }
            fields.insert(id, Field { size: [1, 1], step: [1, 1] });
            continue;
        }
        let before = graph.operands(id).iter().filter_map(|o| fields.get(o));
        let widest = |a: Field, b: &Field| Field {
            size: [0, 1].map(|i| a.size[i].max(b.size[i])),
            step: [0, 1].map(|i| a.step[i].max(b.step[i])),
        };
        let field = before.fold(Field { size: [1, 1], step: [1, 1] }, widest);
        fields.insert(id, grow(graph, id, field, whole));
    }
    fields
}

fn grow(graph: &Graph, id: NodeId, field: Field, whole: [usize; 2]) -> Field {
    let operands: Vec<Type> = graph.operands(id).iter().map(|&o| graph.ty(o).clone()).collect();
    match graph.op(id).receptive(&operands) {
        Receptive::Point => field,
        Receptive::Window(Window { kernel, stride, dilation, .. }) => Field {
            size: [0, 1].map(|i| field.size[i] + kernel[i].saturating_sub(1) * dilation[i] * field.step[i]),
            step: [0, 1].map(|i| field.step[i] * stride[i]),
        },
        Receptive::Whole => Field { size: [0, 1].map(|i| whole[i].max(field.size[i])), ..field },
    }
}
