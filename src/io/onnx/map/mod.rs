//! Nodes to layers of the language: constants are computed, changes of shape are remembered, what has a counterpart
//! becomes it, and what has none is listed.

mod activation;
mod affine;
mod arithmetic;
mod bytes;
mod concat;
mod condition;
mod conv;
mod images;
mod linear;
mod movement;
mod names;
mod norm;
mod operators;
mod patterns;
mod pool;
mod reduce;
mod resize;
mod shape;
mod softmax;
mod view;
mod window;

use super::error::{ImportError, Refusal};
use super::read::{Const, Net, Node};
use crate::io::error::Reason;
use crate::io::sheet::{Args, Layer, LayerId, Sheet};
use crate::ops::check::MOST_SIDE;
use ninc_runtime::Tensor;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use view::View;

pub use names::{OURS, ours};

/// The batch's size while the file leaves it open: a prime that real sizes are unlikely to be.
const OPEN_BATCH: usize = 1_000_003;

/// Most layers that a graph becomes, before those that nothing needs are dropped.
const MOST_LAYERS: usize = 20_000;

/// What a name of the file stands for.
#[derive(Clone, Debug)]
enum Value {
    /// Numbers that are known.
    Const(Rc<Const>),
    /// A value of the network.
    View(View),
    /// A result of a node that has no counterpart.
    Failed,
}

type Mapped<T = View> = Result<T, Reason>;

/// A network under translation.
struct Map<'n> {
    net: &'n Net,
    sheet: Sheet,
    values: HashMap<&'n str, Value>,
    /// For constants with numbers that depend on the number of images: how each of their numbers does.
    marks: HashMap<&'n str, Rc<Const>>,
    /// What is known of bytes.
    bytes: bytes::Known<'n>,
    /// The node that makes each value.
    makers: HashMap<&'n str, usize>,
    /// Uses of each value; the graph's results count.
    uses: HashMap<&'n str, usize>,
    reasons: BTreeMap<usize, String>,
    /// Numbers of constants and weights that were made, and how many may be.
    made: usize,
    limit: usize,
}

/// Numbers that a file may become beyond eight times its own.
const SPARE: usize = 1 << 22;

/// Translates a graph whose nodes are sorted. `file` names it where it has no name; `open` are the
/// sizes for an input that leaves some open.
pub fn map(net: &Net, file: &str, open: Option<&[usize]>) -> Result<Sheet, ImportError> {
    let mut map = Map::new(net, file);
    map.input(open)?;
    for (i, node) in net.nodes.iter().enumerate() {
        if map.sheet.layers.len() > MOST_LAYERS {
            return Err(ImportError::Ports(format!("it becomes more than {MOST_LAYERS} layers")));
        }
        if map.made > map.limit {
            return Err(ImportError::Ports("it becomes more weights than its own make plausible".into()));
        }
        let before = map.sheet.layers.len();
        let made = map.node(node).and_then(|values| Ok(map.sheet.writable(before).map(|()| values)?));
        let made = made.and_then(|values| {
            match values.len() < node.outputs.iter().rposition(|o| !o.is_empty()).map_or(0, |p| p + 1) {
                true if map.needed(node, values.len()) => Err("one of its further results is used".into()),
                _ => Ok(values),
            }
        });
        match made {
            Ok(values) => {
                for (name, value) in node.outputs.iter().zip(values) {
                    map.values.insert(name, value);
                }
            }
            Err(reason) => {
                if let Reason::Own(reason) = reason {
                    map.reasons.insert(i, reason);
                }
                node.outputs.iter().for_each(|name| drop(map.values.insert(name, Value::Failed)));
            }
        }
    }
    map.outputs()
}

impl<'n> Map<'n> {
    fn new(net: &'n Net, file: &str) -> Map<'n> {
        let (mut makers, mut uses) = (HashMap::new(), HashMap::new());
        for (i, node) in net.nodes.iter().enumerate() {
            makers.extend(node.outputs.iter().map(|name| (name.as_str(), i)));
            node.inputs.iter().for_each(|name| *uses.entry(name.as_str()).or_insert(0) += 1);
        }
        net.outputs.iter().for_each(|port| *uses.entry(port.name.as_str()).or_insert(0) += 1);
        let values = net.constants.iter().map(|(name, c)| (name.as_str(), Value::Const(c.clone()))).collect();
        let sheet = Sheet { name: names::network(net, file), ..Sheet::default() };
        let limit = SPARE + 8 * net.constants.values().map(|c| c.len()).sum::<usize>();
        let (marks, reasons, bytes) = (HashMap::new(), BTreeMap::new(), bytes::Known::default());
        Map { net, sheet, values, marks, bytes, makers, uses, reasons, made: 0, limit }
    }

    /// Is a result of the node beyond the first `count` used?
    fn needed(&self, node: &Node, count: usize) -> bool {
        node.outputs.iter().skip(count).any(|name| self.uses.contains_key(name.as_str()))
    }

    /// Makes the input.
    fn input(&mut self, open: Option<&[usize]>) -> Result<(), ImportError> {
        let [port] = &self.net.inputs[..] else {
            let names: Vec<&str> = self.net.inputs.iter().map(|i| i.name.as_str()).collect();
            let message = format!("it has {} inputs ({}), where a network has one", names.len(), names.join(", "));
            return Err(ImportError::Ports(message));
        };
        let shown = |dims: &Option<Vec<Option<usize>>>| match dims {
            None => "no shape at all".to_string(),
            Some(dims) => {
                let sizes = dims.iter().map(|d| d.map_or("?".into(), |d| d.to_string()));
                format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
            }
        };
        let missing = || ImportError::Open { name: port.name.clone(), dims: shown(&port.dims) };
        let dims = match (&port.dims, open) {
            (Some(dims), Some(open)) if dims.len() == open.len() + 1 => {
                let fits = dims[1..].iter().zip(open).all(|(d, o)| d.is_none_or(|d| d == *o));
                let given =
                    || ImportError::Ports(format!("its input is {}, which {open:?} does not fit", shown(&port.dims)));
                fits.then(|| dims[..1].iter().copied().chain(open.iter().map(|&o| Some(o))).collect())
                    .ok_or_else(given)?
            }
            (Some(_), Some(open)) => {
                return Err(ImportError::Ports(format!(
                    "its input is {}, which {open:?} does not fit",
                    shown(&port.dims)
                )));
            }
            (None, Some(open)) => std::iter::once(None).chain(open.iter().map(|&o| Some(o))).collect::<Vec<_>>(),
            (Some(dims), None) if !dims.is_empty() => dims.clone(),
            _ => return Err(missing()),
        };
        let batch = dims[0].unwrap_or(OPEN_BATCH);
        let sizes: Option<Vec<usize>> = dims[1..].iter().copied().collect();
        let image = sizes.ok_or_else(missing)?;
        let elements = image.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let sides = image.iter().all(|&side| side <= MOST_SIDE) && image.len() < super::read::tensor::MOST_DIMENSIONS;
        if !sides || elements.is_none_or(|n| n > super::read::tensor::MOST) {
            return Err(ImportError::Ports(format!("its input of {image:?} is too large")));
        }
        let shape = [&[batch], &image[..]].concat();
        let (dims, view) = self.lying(&port.name, &shape);
        let told = names::value(&port.name).filter(|name| !name.starts_with("input"));
        let name = Some(told.unwrap_or_else(|| "image".into()));
        self.sheet.add(Layer { function: "input", name, dims, ..Layer::default() });
        self.values.insert(&port.name, Value::View(view));
        Ok(())
    }

    /// Returns how an input lies: channels first, whether the file has them first or last.
    fn lying(&self, name: &str, shape: &[usize]) -> (Vec<usize>, View) {
        let plain = View::plain(0, shape);
        match shape[1..] {
            [h, w, c] if self.channels_last(name) => {
                let view = View::plain(0, &[shape[0], c, h, w]).transposed(&[0, 2, 3, 1]);
                (vec![c, h, w], view.unwrap_or(plain))
            }
            _ => (view::image_dims(&shape[1..]), plain),
        }
    }

    /// Does the file bring the channels of this value forward before it computes with it, wherever it goes?
    fn channels_last(&self, name: &str) -> bool {
        let (mut open, mut brought) = (vec![name], 0);
        while let Some(name) = open.pop() {
            let before = brought + open.len();
            for node in self.net.nodes.iter().filter(|node| node.inputs.iter().any(|i| i == name)) {
                match (node.op.as_str(), node.outputs.first()) {
                    ("Transpose", _) if node.ints("perm") == Some(&[0, 3, 1, 2]) => brought += 1,
                    ("Cast" | "Identity" | "Sub" | "Mul" | "Div" | "Add" | "Pad", Some(output)) => open.push(output),
                    ("Shape", _) => {}
                    _ => return false,
                }
            }
            if brought + open.len() == before || open.len() > 16 {
                return false;
            }
        }
        brought > 0
    }

    /// Translates a node.
    fn node(&mut self, node: &'n Node) -> Mapped<Vec<Value>> {
        if self.left_out(node) {
            return Err(Reason::Upstream);
        }
        if node.op == "If" && node.domain.is_empty() {
            return self.condition(node);
        }
        self.refuse_dependent(node)?;
        if let Some(view) = self.pattern(node) {
            return Ok(vec![Value::View(view?)]);
        }
        let operands = node.inputs.iter().map(|name| self.values.get(name.as_str()));
        if operands.clone().flatten().any(|value| matches!(value, Value::Failed)) {
            return Err(Reason::Upstream);
        }
        let constants: Option<Vec<Option<Rc<Const>>>> = operands
            .map(|value| match value {
                Some(Value::Const(c)) => Some(Some(c.clone())),
                Some(_) => None,
                None => Some(None),
            })
            .collect();
        if let Some(constants) = constants {
            let made = self.folded(node, &constants)?;
            self.whole(node, &constants, &made);
            self.made += made.iter().map(Const::len).sum::<usize>();
            return Ok(made.into_iter().map(|c| Value::Const(Rc::new(c))).collect());
        }
        self.operator(node)
    }

    /// Names the results, or lists what kept them from being made.
    fn outputs(mut self) -> Result<Sheet, ImportError> {
        let mut wrong = Vec::new();
        let mut outputs = Vec::new();
        for port in &self.net.outputs {
            match self.values.get(port.name.as_str()).cloned() {
                Some(Value::View(_)) if self.bytes.is_bytes(&port.name) => {
                    wrong.push(self.about(&port.name, "its result is bytes".into()));
                }
                Some(Value::View(view)) => match self.result(&view) {
                    Ok(id) => outputs.push((port.name.clone(), id)),
                    Err(Reason::Own(reason)) => wrong.push(self.about(&port.name, reason)),
                    Err(Reason::Upstream) => {}
                },
                Some(Value::Failed) => {}
                Some(Value::Const(_)) => wrong.push(self.about(&port.name, self.constant_result(&port.name))),
                None => return Err(ImportError::Damaged(format!("nothing makes its result `{}`", port.name))),
            }
        }
        wrong.splice(0..0, self.failures());
        if !wrong.is_empty() {
            return Err(ImportError::Refused(wrong));
        }
        if outputs.is_empty() {
            return Err(ImportError::Ports("it has no results".into()));
        }
        names::results(self.net, &mut self.sheet, outputs);
        Ok(self.sheet)
    }

    fn about(&self, value: &str, reason: String) -> Refusal {
        let node = self.makers.get(value).map(|&i| &self.net.nodes[i]);
        let operator = node.map_or("", |n| &n.op).to_string();
        Refusal { node: node.map_or(value.into(), Node::label), operator, reason }
    }

    /// Collects the nodes that keep results from being made, in the file's order.
    fn failures(&self) -> Vec<Refusal> {
        let mut open: Vec<&str> = self.net.outputs.iter().map(|port| port.name.as_str()).collect();
        let mut seen: BTreeSet<usize> = BTreeSet::new();
        while let Some(name) = open.pop() {
            let failed = matches!(self.values.get(name), Some(Value::Failed));
            if let Some(&i) = self.makers.get(name).filter(|_| failed)
                && seen.insert(i)
            {
                open.extend(self.net.nodes[i].inputs.iter().map(String::as_str));
            }
        }
        let told = |i: usize| {
            let node = &self.net.nodes[i];
            let unknown = || (!operators::known(node) && !self.left_out(node)).then(|| operators::unknown(node));
            let reason = self.reasons.get(&i).cloned().or_else(unknown)?;
            Some(Refusal { node: node.label(), operator: node.op.clone(), reason })
        };
        seen.into_iter().filter_map(told).collect()
    }

    /// Returns an operand that must be a value of the network.
    fn view(&self, node: &Node, i: usize) -> Mapped {
        match node.input(i).and_then(|name| self.values.get(name)) {
            Some(Value::View(view)) => Ok(view.clone()),
            Some(Value::Const(_)) => Err(format!("its operand {} is constant", i + 1).into()),
            Some(Value::Failed) => Err(Reason::Upstream),
            None => Err(format!("it has no operand {}", i + 1).into()),
        }
    }

    /// Returns an operand that must be constant, if it is there.
    fn constant(&self, node: &Node, i: usize) -> Mapped<Option<Rc<Const>>> {
        match node.input(i).and_then(|name| self.values.get(name)) {
            Some(Value::Const(c)) => Ok(Some(c.clone())),
            Some(Value::View(_)) => {
                Err(format!("its operand {} is computed, where only constants are read", i + 1).into())
            }
            Some(Value::Failed) => Err(Reason::Upstream),
            None => Ok(None),
        }
    }

    /// Returns an operand that must be there and constant.
    fn needed_constant(&self, node: &Node, i: usize) -> Mapped<Rc<Const>> {
        Ok(self.constant(node, i)?.ok_or_else(|| format!("it has no operand {}", i + 1))?)
    }

    /// Returns whole numbers that newer operator sets give as an operand and older ones as an attribute.
    fn ints(&self, node: &Node, i: usize, attribute: &str) -> Mapped<Option<Vec<i64>>> {
        if let Some(c) = self.constant(node, i)? {
            let ints = c.as_ints().ok_or_else(|| format!("its operand {} holds no whole numbers", i + 1))?;
            return Ok(Some(ints.to_vec()));
        }
        Ok(node.ints(attribute).map(<[i64]>::to_vec))
    }

    /// Adds a layer of one operand without tensors.
    fn layer(
        &mut self,
        node: &Node,
        function: &'static str,
        args: Args,
        operand: LayerId,
        dims: Vec<usize>,
    ) -> LayerId {
        let name = names::of_node(self.net, node, function);
        self.weighted(name, function, args, vec![operand], dims, vec![])
    }

    /// Adds a layer.
    fn weighted(
        &mut self,
        name: Option<String>,
        function: &'static str,
        args: Args,
        operands: Vec<LayerId>,
        dims: Vec<usize>,
        params: Vec<(&'static str, Tensor)>,
    ) -> LayerId {
        self.made += params.iter().map(|(_, tensor)| tensor.data.len()).sum::<usize>();
        let params = params.into_iter().collect();
        self.sheet.add(Layer { function, args, operands, name, params, dims, ..Layer::default() })
    }
}

/// Makes a tensor of numbers that are there.
fn tensor(dims: &[usize], data: Vec<f32>) -> Tensor {
    Tensor { dims: dims.to_vec(), data }
}
