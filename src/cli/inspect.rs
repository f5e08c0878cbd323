//! `ninc inspect`: a row per layer.

use super::options::GlobalOptions;
use super::output::{self, Done, grouped};
use ninc::graph::{Graph, NodeId};
use ninc::model::{Layer, Model};
use ninc::ops::Operator;
use ninc::ops::facts::Receptive;
use ninc::ops::window::Window;
use ninc::types::Type;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Model file, NAME.nin
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Row {
    name: String,
    function: String,
    shape: Vec<usize>,
    parameters: u64,
    multiply_adds: u64,
    /// Bytes of the result, for one image.
    bytes: u64,
    /// Rows and columns of the input that one cell of the result sees, the padding included.
    receptive_field: [usize; 2],
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let model = global.model(&args.file)?;
    let rows = rows(&model);
    let (parameters, multiply_adds, bytes) = sums(&model, &rows);
    if args.json {
        return output::json(&serde_json::json!({
            "network": model.name,
            "layers": rows,
            "parameters": parameters,
            "multiply_adds": multiply_adds,
            "bytes": bytes,
        }));
    }
    output::print(&output::table(&cells(&model)))
}

/// Makes the table: a heading, a row per layer, the sums.
pub fn cells(model: &Model) -> Vec<Vec<String>> {
    let rows = rows(model);
    let (parameters, multiply_adds, bytes) = sums(model, &rows);
    let heading = ["layer", "function", "shape", "parameters", "multiply-adds", "bytes", "receptive field"];
    let mut cells = vec![heading.map(String::from).to_vec()];
    for row in &rows {
        cells.push(vec![
            row.name.clone(),
            row.function.clone(),
            format!("{:?}", row.shape),
            grouped(row.parameters),
            grouped(row.multiply_adds),
            grouped(row.bytes),
            format!("{}x{}", row.receptive_field[0], row.receptive_field[1]),
        ]);
    }
    let sums = [parameters, multiply_adds, bytes].map(grouped);
    cells.push([&["total".into(), String::new(), String::new()], &sums[..], &[String::new()]].concat());
    cells
}

/// Sums up parameters, multiply-adds and bytes of all layers. A parameter may serve several layers: it counts once.
fn sums(model: &Model, rows: &[Row]) -> (u64, u64, u64) {
    let total = |number: fn(&Row) -> u64| rows.iter().map(number).sum::<u64>();
    let shared: HashSet<NodeId> = model.layers.iter().flat_map(|l| l.params.iter().copied()).collect();
    let parameters = shared.iter().map(|&p| model.graph.ty(p).elements() as u64).sum();
    (parameters, total(|r| r.multiply_adds), total(|r| r.bytes))
}

fn rows(model: &Model) -> Vec<Row> {
    let graph = &model.graph;
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
    model.layers.iter().map(row).collect()
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
