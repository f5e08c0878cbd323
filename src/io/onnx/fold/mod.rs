//! Nodes on constants alone: what exporters compute of shapes and weights.

mod elementwise;
mod places;
mod quantized;
mod reshape;

pub use reshape::target_sizes;

use super::proto::tensor_proto::DataType;
use super::read::external::Files;
use super::read::tensor::MOST_DIMENSIONS;
use super::read::{Const, Data, Node, tensor};
use std::rc::Rc;

/// Most elements that a node makes of fewer.
pub const MOST: usize = 1 << 20;

type Folded<T = Const> = Result<T, String>;

/// Computes a node's results; an operand that the node leaves out is `None`.
pub fn node(node: &Node, operands: &[Option<Rc<Const>>]) -> Folded<Vec<Const>> {
    if !node.domain.is_empty() {
        return Err(format!("it is an operator of `{}`; only ONNX's own are read", node.domain));
    }
    let one = match node.op.as_str() {
        "Constant" => constant(node)?,
        "Identity" | "Dropout" => (*given(operands, 0)?).clone(),
        "Cast" => cast(&*given(operands, 0)?, node.int("to").unwrap_or(0))?,
        "CastLike" => cast(&*given(operands, 0)?, given(operands, 1)?.kind as i64)?,
        "Split" => return places::split(node, operands),
        "Shape" | "Size" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Expand"
        | "ConstantOfShape" | "Range" | "Tile" => reshape::node(node, operands)?,
        "Gather" | "Slice" | "Concat" => places::node(node, operands)?,
        "QuantizeLinear" | "DequantizeLinear" => quantized::node(node, operands)?,
        _ => elementwise::node(node, operands)?,
    };
    match one.dims.len() > MOST_DIMENSIONS {
        true => Err(format!("it makes a constant of {} dimensions", one.dims.len())),
        false => Ok(vec![one]),
    }
}

/// Returns an operand that must be there.
fn given(operands: &[Option<Rc<Const>>], i: usize) -> Folded<Rc<Const>> {
    operands.get(i).cloned().flatten().ok_or_else(|| format!("it has no operand {}", i + 1))
}

/// Returns whole numbers of an operand, or of an attribute of older operator sets.
fn ints(node: &Node, operands: &[Option<Rc<Const>>], i: usize, attribute: &str) -> Folded<Option<Vec<i64>>> {
    if let Some(c) = operands.get(i).cloned().flatten() {
        let ints = c.as_ints().ok_or_else(|| format!("its operand {} holds no whole numbers", i + 1))?;
        return Ok(Some(ints.to_vec()));
    }
    Ok(node.ints(attribute).map(<[i64]>::to_vec))
}

/// Returns the number of elements of a shape that is not too large.
fn count(dims: &[usize]) -> Folded<usize> {
    let most = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
    match most.filter(|n| *n <= MOST && dims.len() <= MOST_DIMENSIONS) {
        Some(_) => Ok(dims.iter().product()),
        None => Err(format!("it makes a constant of {dims:?}, which is too large")),
    }
}

/// Returns the numbers of the attributes of a Constant.
fn constant(node: &Node) -> Folded {
    if let Some(value) = node.tensor("value") {
        return tensor::read(value, &mut Files::of(None)).map_err(|e| e.to_string());
    }
    let scalar = |data: Data, kind| Const { dims: vec![], data, kind };
    if let Some(v) = node.float("value_float") {
        return Ok(scalar(Data::Float(vec![v]), DataType::Float));
    }
    if let Some(v) = node.int("value_int") {
        return Ok(scalar(Data::Int(vec![v]), DataType::Int64));
    }
    if let Some(list) = node.attribute("value_floats") {
        return Ok(Const::floats(&[list.floats.len()], list.floats.clone()));
    }
    match node.ints("value_ints") {
        Some(list) => Ok(Const::ints(&[list.len()], list.to_vec())),
        None => Err("its value is of a kind that is not read".into()),
    }
}

/// Returns the same numbers in another type.
fn cast(c: &Const, to: i64) -> Folded {
    let kind = i32::try_from(to).ok().and_then(|to| DataType::try_from(to).ok());
    let kind = kind.ok_or_else(|| format!("it casts to the unknown type {to}"))?;
    let whole = |low: f64, high: f64| match &c.data {
        Data::Int(data) => Data::Int(data.iter().map(|&v| v.clamp(low as i64, high as i64)).collect()),
        Data::Float(data) => Data::Int(data.iter().map(|&v| f64::from(v).clamp(low, high) as i64).collect()),
    };
    let data = match kind {
        DataType::Float | DataType::Double => Data::Float(c.as_floats()),
        DataType::Float16 => Data::Float(c.as_floats().iter().map(|&v| half::f16::from_f32(v).to_f32()).collect()),
        DataType::Bfloat16 => Data::Float(c.as_floats().iter().map(|&v| half::bf16::from_f32(v).to_f32()).collect()),
        DataType::Bool => Data::Int(c.as_floats().iter().map(|&v| i64::from(v != 0.0)).collect()),
        DataType::Int64 => whole(i64::MIN as f64, i64::MAX as f64),
        DataType::Int32 => whole(i32::MIN.into(), i32::MAX.into()),
        DataType::Uint32 => whole(0.0, u32::MAX.into()),
        DataType::Uint8 => whole(0.0, 255.0),
        DataType::Int8 => whole(-128.0, 127.0),
        _ => return Err(format!("it casts to {}, which is not read", kind.as_str_name())),
    };
    Ok(Const { dims: c.dims.clone(), data, kind })
}
