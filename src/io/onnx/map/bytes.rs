//! Networks with values of bytes. Their numbers are imported as the floats that the bytes stand for, with the ReLU that
//! the lower end of the bytes is; what is known of the rounding goes along, so that layers may become layers of bytes.

use super::super::axes::of_scales;
use super::super::proto::tensor_proto::DataType;
use super::super::read::{Const, Node};
use super::{Map, Mapped};
use crate::io::sheet::{LayerId, WEIGHT};
use crate::quantize::imported::Stated;
use crate::quantize::ranges::Coding;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Operators that leave the bytes of their first operand as they are.
const CARRIERS: [&str; 7] = ["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "MaxPool"];

/// Whole numbers behind a constant of floats.
struct Whole {
    numbers: Rc<Const>,
    scales: Vec<f32>,
    axis: usize,
    floats: Vec<f32>,
}

/// What is known of bytes.
#[derive(Default)]
pub struct Known<'n> {
    /// Values whose numbers are those that bytes stand for.
    codings: HashMap<&'n str, Coding>,
    /// Those of them that are bytes.
    bytes: HashSet<&'n str>,
    /// Constants that were whole numbers, without a number for 0.
    wholes: HashMap<&'n str, Whole>,
}

impl<'n> Known<'n> {
    /// Knows of a value what is known of another, which it is.
    pub fn carry(&mut self, from: &str, to: &'n str) {
        if let Some(&coding) = self.codings.get(from) {
            self.codings.insert(to, coding);
        }
        if self.is_bytes(from) {
            self.bytes.insert(to);
        }
    }

    /// Is the value bytes?
    pub fn is_bytes(&self, name: &str) -> bool {
        self.bytes.contains(name)
    }
}

impl<'n> Map<'n> {
    /// Remembers the whole numbers behind a constant of floats.
    pub(super) fn whole(&mut self, node: &'n Node, operands: &[Option<Rc<Const>>], made: &[Const]) {
        let ("DequantizeLinear", [Some(numbers), Some(scale), zero @ ..], Some(output), [floats]) =
            (node.op.as_str(), operands, node.outputs.first(), made)
        else {
            return;
        };
        let centred = zero.first().and_then(Option::as_ref).is_none_or(|z| z.as_floats().iter().all(|v| *v == 0.0));
        let signed = [DataType::Int8, DataType::Int32].contains(&numbers.kind);
        let axis = of_scales(node, numbers.dims.len());
        if centred && signed {
            let (numbers, scales, floats) = (numbers.clone(), scale.as_floats(), floats.as_floats());
            self.bytes.wholes.insert(output, Whole { numbers, scales, axis, floats });
        }
    }

    /// Refuses operators that would compute with bytes.
    pub(super) fn refuse_bytes(&self, node: &Node) -> Mapped<()> {
        let takes = CARRIERS.contains(&node.op.as_str()) || ["DequantizeLinear", "Shape", "Size"].contains(&&*node.op);
        match node.inputs.iter().find(|name| self.bytes.is_bytes(name)) {
            Some(name) if !takes => Err(format!("it computes with bytes, `{name}`").into()),
            _ => Ok(()),
        }
    }

    /// Passes on what is known of a value that the node leaves as it is.
    pub(super) fn keep_bytes(&mut self, node: &'n Node) {
        let (Some(from), Some(to)) = (node.inputs.first(), node.outputs.first()) else { return };
        if CARRIERS.contains(&node.op.as_str()) {
            self.bytes.carry(from, to);
        }
    }

    /// Returns the rounding that a node states; `None` where its numbers have more than 8 bits.
    fn coding(&self, node: &Node) -> Mapped<Option<Coding>> {
        let scale = self.needed_constant(node, 1)?;
        let scale = scale.scalar().ok_or("its scales differ from channel to channel")?;
        let zero = self.constant(node, 2)?;
        let (kind, number) = match &zero {
            Some(zero) => (zero.kind, zero.scalar().ok_or("its numbers for 0 differ from channel to channel")?),
            None => (DataType::Uint8, 0.0),
        };
        if node.int("block_size").unwrap_or(0) != 0 || !(scale > 0.0 && scale.is_finite()) {
            return Err(format!("its scale is {scale}").into());
        }
        match kind {
            DataType::Uint8 => Ok(Some(Coding { scale, zero: number as u8 })),
            DataType::Int8 => Ok(Some(Coding { scale, zero: (number + 128.0) as u8 })),
            DataType::Int16 | DataType::Uint16 => Ok(None),
            other => Err(format!("it makes numbers of the type {}", other.as_str_name()).into()),
        }
    }

    /// Translates QuantizeLinear of a value.
    pub(super) fn quantize(&mut self, node: &'n Node) -> Mapped {
        let mut x = self.view(node, 0)?;
        let coding = self.coding(node)?;
        if let Some(coding) = coding {
            // Ours say their ReLU.
            if coding.zero == 0 && !super::names::ours(self.net) && !self.positive(x.layer) {
                let dims = self.sheet.layers[x.layer].dims.clone();
                x = x.of(self.weighted(None, "relu", Default::default(), vec![x.layer], dims, vec![]));
            }
            let known = &mut self.sheet.layers[x.layer].bytes.coding;
            known.get_or_insert(coding);
        }
        if let Some(output) = node.outputs.first() {
            self.bytes.bytes.insert(output);
            self.bytes.codings.extend(coding.map(|coding| (output.as_str(), coding)));
        }
        Ok(x)
    }

    /// Is no number of the layer below 0?
    fn positive(&self, layer: LayerId) -> bool {
        let layer = &self.sheet.layers[layer];
        let ends = ["relu", "sigmoid", "softmax"].contains(&layer.function);
        let passes = ["max_pool", "avg_pool", "global_avg_pool", "global_max_pool", "reshape", "flatten", "concat"];
        let inner = passes.contains(&layer.function);
        ends || (inner && layer.operands.iter().all(|&operand| self.positive(operand)))
    }

    /// Translates DequantizeLinear of a value.
    pub(super) fn dequantize(&mut self, node: &'n Node) -> Mapped {
        let x = self.view(node, 0)?;
        let (from, output) = (node.inputs[0].as_str(), node.outputs.first().ok_or("it makes nothing")?);
        if !self.bytes.is_bytes(from) {
            // The network's input is bytes.
            let scale = self.needed_constant(node, 1)?.scalar().ok_or("its scales differ from channel to channel")?;
            let zero = self.constant(node, 2)?.map_or(Some(0.0), |zero| zero.scalar()).ok_or("its zero is a list")?;
            return self.scaled(&x, scale, -zero * scale);
        }
        let (made, taken) = (self.bytes.codings.get(from).copied(), self.coding(node)?);
        if made != taken {
            return Err("it takes bytes for other numbers than those that they were made of".into());
        }
        self.bytes.codings.extend(taken.map(|coding| (output.as_str(), coding)));
        Ok(x)
    }

    /// Returns the name of a node's weights in the file, also where they are whole numbers.
    pub(super) fn weights_name<'m>(&'m self, node: &'m Node) -> Option<&'m str> {
        let name = node.input(1)?;
        match self.makers.get(name).map(|&i| &self.net.nodes[i]) {
            Some(maker) if maker.op == "DequantizeLinear" => {
                maker.input(0).map(|whole| whole.strip_suffix("_quantized").unwrap_or(whole))
            }
            _ => Some(name),
        }
    }

    /// States what is whole of a product with weights whose outputs lie on an axis.
    pub(super) fn state(&mut self, node: &Node, layer: LayerId, outputs: usize) {
        let input = |i: usize| node.input(i).unwrap_or_default();
        let whole = self.makers.get(input(1)).is_some_and(|&i| self.net.nodes[i].op == "DequantizeLinear");
        self.sheet.quantised += usize::from(whole);
        let Some(weights) = self.bytes.wholes.get(input(1)) else { return };
        let Some(&coding) = self.bytes.codings.get(input(0)) else { return };
        let (scales, params) = (weights.scales.clone(), &self.sheet.layers[layer].params);
        let bias = self.bytes.wholes.get(input(2));
        if (scales.len() > 1 && weights.axis != outputs) || params.contains_key("bias") != bias.is_some() {
            return;
        }
        // In units of both factors' scales, as far as a program computes these.
        let unit = |i: usize| coding.scale * scales[i % scales.len()];
        let close = |bias: &Whole| {
            let scale = |i: usize| bias.scales[i % bias.scales.len()];
            (0..bias.floats.len()).all(|i| (scale(i) - unit(i)).abs() <= 1e-5 * unit(i))
        };
        if bias.is_some_and(|bias| !close(bias)) {
            return;
        }
        let (whole, floats) = (bias.map(|b| b.numbers.as_floats()), bias.map(|b| b.floats.clone()));
        let stated = Stated { scales, bias: whole, floats, input: coding, output: None };
        self.sheet.layers[layer].bytes.products.insert(WEIGHT, stated);
    }
}
