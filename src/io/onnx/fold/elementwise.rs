//! Functions of elements, with broadcasting, and reductions.

use super::super::axes;
use super::super::read::{Const, Data, Node};
use super::{Folded, count, given, ints};
use crate::io::onnx::proto::tensor_proto::DataType;
use std::rc::Rc;

/// Computes a node.
pub fn node(node: &Node, operands: &[Option<Rc<Const>>]) -> Folded {
    let op = node.op.as_str();
    let first = given(operands, 0)?;
    if op.starts_with("Reduce") {
        let axes = ints(node, operands, 1, "axes")?.unwrap_or_default();
        return reduce(op, &first, &axes, node.int("keepdims").unwrap_or(1) != 0);
    }
    if let Some(f) = unary(op) {
        return Ok(match &first.data {
            Data::Float(data) => Const { data: Data::Float(data.iter().map(|&v| f(v)).collect()), ..(*first).clone() },
            Data::Int(data) => {
                let ints = data.iter().map(|&v| f(v as f32) as i64).collect();
                Const { data: Data::Int(ints), ..(*first).clone() }
            }
        });
    }
    if op == "Where" {
        let (yes, no) = (given(operands, 1)?, given(operands, 2)?);
        let picked = broadcast(&first, &yes, |c, y| if c != 0.0 { y } else { f64::NAN }, None)?;
        return broadcast(&picked, &no, |p, n| if p.is_nan() { n } else { p }, Some(yes.kind));
    }
    let f = binary(op).ok_or("its operands are constant, and ninc does not compute it")?;
    let truth = ["Equal", "Less", "Greater", "And", "Or", "GreaterOrEqual", "LessOrEqual"].contains(&op);
    let mut whole = (*first).clone();
    for i in 1..operands.len() {
        let kind = if truth { DataType::Bool } else { first.kind };
        whole = broadcast(&whole, &*given(operands, i)?, f, Some(kind))?;
    }
    Ok(whole)
}

fn unary(op: &str) -> Option<fn(f32) -> f32> {
    Some(match op {
        "Neg" => |v| -v,
        "Abs" => f32::abs,
        "Sqrt" => f32::sqrt,
        "Exp" => f32::exp,
        "Log" => f32::ln,
        "Floor" => f32::floor,
        "Ceil" => f32::ceil,
        "Round" => f32::round_ties_even,
        "Reciprocal" => |v| 1.0 / v,
        "Not" => |v| f32::from(u8::from(v == 0.0)),
        "Relu" => |v| v.max(0.0),
        "Sigmoid" => |v| 1.0 / (1.0 + (-v).exp()),
        "Tanh" => f32::tanh,
        "Sign" => |v| if v == 0.0 { 0.0 } else { v.signum() },
        _ => return None,
    })
}

fn binary(op: &str) -> Option<fn(f64, f64) -> f64> {
    Some(match op {
        "Add" | "Sum" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Mod" => |a, b| a - b * (a / b).floor(),
        "Pow" => f64::powf,
        "Max" => f64::max,
        "Min" => f64::min,
        "Equal" => |a, b| f64::from(u8::from(a == b)),
        "Less" => |a, b| f64::from(u8::from(a < b)),
        "Greater" => |a, b| f64::from(u8::from(a > b)),
        "LessOrEqual" => |a, b| f64::from(u8::from(a <= b)),
        "GreaterOrEqual" => |a, b| f64::from(u8::from(a >= b)),
        "And" => |a, b| f64::from(u8::from(a != 0.0 && b != 0.0)),
        "Or" => |a, b| f64::from(u8::from(a != 0.0 || b != 0.0)),
        _ => return None,
    })
}

/// Numbers of a tensor in float64, which holds every size that occurs.
fn wide(c: &Const) -> Vec<f64> {
    match &c.data {
        Data::Float(data) => data.iter().map(|&v| v.into()).collect(),
        Data::Int(data) => data.iter().map(|&v| v as f64).collect(),
    }
}

/// Applies a function to two tensors whose sizes of 1 are repeated.
fn broadcast(a: &Const, b: &Const, f: impl Fn(f64, f64) -> f64, kind: Option<DataType>) -> Folded {
    let rank = a.dims.len().max(b.dims.len());
    let long = |c: &Const| [vec![1; rank - c.dims.len()], c.dims.clone()].concat();
    let (da, db) = (long(a), long(b));
    if da.iter().zip(&db).any(|(&x, &y)| x != y && x != 1 && y != 1) {
        return Err(format!("its constants have the shapes {:?} and {:?}", a.dims, b.dims));
    }
    let dims: Vec<usize> = da.iter().zip(&db).map(|(&x, &y)| if x == 1 { y } else { x }).collect();
    let total = if dims == da {
        a.len()
    } else if dims == db {
        b.len()
    } else {
        count(&dims)?
    };
    let at = |own: &[usize], mut i: usize| {
        let (mut place, mut step) = (0, 1);
        for axis in (0..rank).rev() {
            let index = i % dims[axis];
            i /= dims[axis];
            place += if own[axis] > 1 { index * step } else { 0 };
            step *= own[axis];
        }
        place
    };
    let (va, vb) = (wide(a), wide(b));
    let made = (0..total).map(|i| f(va[at(&da, i)], vb[at(&db, i)]));
    let float = matches!((&a.data, &b.data), (Data::Float(_), _) | (_, Data::Float(_)));
    let kind = kind.unwrap_or(a.kind);
    let data = match float && kind != DataType::Bool {
        true => Data::Float(made.map(|v| v as f32).collect()),
        // Division of whole numbers drops the rest.
        false => Data::Int(made.map(|v| v.trunc() as i64).collect()),
    };
    Ok(Const { dims, data, kind })
}

fn reduce(op: &str, x: &Const, axes: &[i64], kept: bool) -> Folded {
    let rank = x.dims.len();
    let mut axes = axes::axes(axes, rank)?;
    if axes.is_empty() {
        axes = (0..rank).collect();
    }
    let f = match op {
        "ReduceProd" => |a: f64, b: f64| a * b,
        "ReduceSum" | "ReduceMean" => |a: f64, b: f64| a + b,
        "ReduceMax" => f64::max,
        "ReduceMin" => f64::min,
        _ => return Err("its operands are constant, and ninc does not compute it".into()),
    };
    let dims: Vec<usize> = (0..rank).map(|a| if axes.contains(&a) { 1 } else { x.dims[a] }).collect();
    let mut whole: Vec<Option<f64>> = vec![None; dims.iter().product()];
    for (i, v) in wide(x).into_iter().enumerate() {
        let (mut rest, mut place, mut step) = (i, 0, 1);
        for a in (0..rank).rev() {
            let index = rest % x.dims[a];
            rest /= x.dims[a];
            place += if dims[a] > 1 { index * step } else { 0 };
            step *= dims[a];
        }
        whole[place] = Some(whole[place].map_or(v, |before| f(before, v)));
    }
    let parts = if op == "ReduceMean" { (x.len() / whole.len().max(1)).max(1) as f64 } else { 1.0 };
    let made = whole.into_iter().map(|v| v.unwrap_or(0.0) / parts);
    let data = match &x.data {
        Data::Float(_) => Data::Float(made.map(|v| v as f32).collect()),
        Data::Int(_) => Data::Int(made.map(|v| v as i64).collect()),
    };
    let dims = (0..rank).filter(|a| kept || !axes.contains(a)).map(|a| dims[a]).collect();
    Ok(Const { dims, data, kind: x.kind })
}
