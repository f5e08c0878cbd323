//! Messages of the format, from numbers and names.

use super::super::proto::attribute_proto::AttributeType;
use super::super::proto::tensor_proto::DataType;
use super::super::proto::tensor_shape_proto::{Dimension, dimension};
use super::super::proto::type_proto::{Tensor as TensorType, Value};
use super::super::proto::{AttributeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto};
use crate::types::Type;

/// The batch's name in shapes.
const BATCH: &str = "batch";

/// A tensor of floats.
pub fn floats(name: &str, dims: &[usize], data: &[f32]) -> TensorProto {
    let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto {
        name: Some(name.into()),
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(DataType::Float as i32),
        raw_data: Some(bytes.into()),
        ..TensorProto::default()
    }
}

/// A list of whole numbers.
pub fn ints(name: &str, data: &[i64]) -> TensorProto {
    let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto {
        name: Some(name.into()),
        dims: vec![data.len() as i64],
        data_type: Some(DataType::Int64 as i32),
        raw_data: Some(bytes.into()),
        ..TensorProto::default()
    }
}

/// A tensor of whole numbers of one of the types that layers of bytes have.
pub fn whole(name: &str, dims: &[usize], kind: DataType, data: &[i32]) -> TensorProto {
    let bytes: Vec<u8> = match kind {
        DataType::Int32 => data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        _ => data.iter().map(|&v| v as u8).collect(),
    };
    TensorProto {
        name: Some(name.into()),
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(kind as i32),
        raw_data: Some(bytes.into()),
        ..TensorProto::default()
    }
}

/// An input or a result of floats, for a batch of any size.
pub fn port(name: &str, ty: &Type) -> ValueInfoProto {
    let dimension = |value| Dimension { value: Some(value), ..Dimension::default() };
    let batch = dimension(dimension::Value::DimParam(BATCH.into()));
    let sizes = ty.dims.iter().map(|&size| dimension(dimension::Value::DimValue(size as i64)));
    let shape = TensorShapeProto { dim: std::iter::once(batch).filter(|_| ty.batched).chain(sizes).collect() };
    let tensor = TensorType { elem_type: Some(DataType::Float as i32), shape: Some(shape) };
    let value = TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(value), ..ValueInfoProto::default() }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind as i32), ..AttributeProto::default() }
}

/// An attribute of one whole number.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

/// An attribute of one float.
pub fn float(name: &str, value: f64) -> AttributeProto {
    AttributeProto { f: Some(value as f32), ..attribute(name, AttributeType::Float) }
}

/// An attribute of a text.
pub fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec().into()), ..attribute(name, AttributeType::String) }
}

/// An attribute of a list of whole numbers.
pub fn list(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto { ints: values.iter().map(|&v| v as i64).collect(), ..attribute(name, AttributeType::Ints) }
}
