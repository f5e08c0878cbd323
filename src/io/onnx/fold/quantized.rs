//! Quantised constants.

use super::super::axes::of_scales;
use super::super::read::{Const, Data, Node};
use super::{Folded, given};
use crate::io::onnx::proto::tensor_proto::DataType;
use std::rc::Rc;

/// Computes QuantizeLinear and DequantizeLinear.
pub fn node(node: &Node, operands: &[Option<Rc<Const>>]) -> Folded {
    let (x, scale) = (given(operands, 0)?, given(operands, 1)?);
    let zero = operands.get(2).cloned().flatten();
    let axis = of_scales(node, x.dims.len());
    let scales = scale.as_floats();
    let zeros = zero.as_ref().map_or_else(|| vec![0.0; scales.len()], |z| z.as_floats());
    let single = scales.len() == 1;
    if node.int("block_size").unwrap_or(0) != 0 || zeros.len() != scales.len() {
        return Err("its scales are for blocks".into());
    }
    if !single && x.dims.get(axis) != Some(&scales.len()) {
        return Err(format!("it has {} scales for {:?}", scales.len(), x.dims));
    }
    let after: usize = if single { 1 } else { x.dims[axis + 1..].iter().product() };
    let of = |i: usize| if single { 0 } else { i / after % scales.len() };
    let numbers = x.as_floats();
    if node.op == "DequantizeLinear" {
        let made = numbers.iter().enumerate().map(|(i, v)| (v - zeros[of(i)]) * scales[of(i)]);
        return Ok(Const::floats(&x.dims, made.collect()));
    }
    let kind = zero.map_or(DataType::Uint8, |z| z.kind);
    let (low, high) = match kind {
        DataType::Int8 => (-128.0, 127.0),
        DataType::Uint8 => (0.0, 255.0),
        _ => return Err(format!("it makes numbers of the type {}", kind.as_str_name())),
    };
    let one = |(i, v): (usize, &f32)| ((v / scales[of(i)]).round_ties_even() + zeros[of(i)]).clamp(low, high) as i64;
    Ok(Const { dims: x.dims.clone(), data: Data::Int(numbers.iter().enumerate().map(one).collect()), kind })
}
