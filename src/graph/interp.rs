//! The meaning of a graph: evaluates it node by node, naively, in f32 or f64.

use super::{Graph, NodeId};
use crate::ops::Operator;
use crate::types::{DType, Type};
use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// The two float types of the interpreter.
pub trait Real:
    Copy
    + Debug
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Rounds a number to this precision.
    fn of(value: f64) -> Self;
    /// Returns the number as `f64`.
    fn f64(self) -> f64;
    /// Returns e to the power of it.
    fn exp(self) -> Self;
    /// Returns its natural logarithm.
    fn ln(self) -> Self;
    /// Returns its square root.
    fn sqrt(self) -> Self;
    /// Returns its hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Returns its power.
    fn powf(self, exponent: Self) -> Self;
    /// `if self > other { self } else { other }`, as kernels do.
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            const ZERO: $t = 0.0;
            const ONE: $t = 1.0;
            fn of(value: f64) -> $t {
                value as $t
            }
            fn f64(self) -> f64 {
                self as f64
            }
            fn exp(self) -> $t {
                <$t>::exp(self)
            }
            fn ln(self) -> $t {
                <$t>::ln(self)
            }
            fn sqrt(self) -> $t {
                <$t>::sqrt(self)
            }
            fn tanh(self) -> $t {
                <$t>::tanh(self)
            }
            fn powf(self, exponent: $t) -> $t {
                <$t>::powf(self, exponent)
            }
        }
    };
}
real!(f32);
real!(f64);

/// A dense array in logical order, the batch first where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<E> {
    /// Sizes of its dimensions, the batch first where it is batched.
    pub dims: Vec<usize>,
    /// Elements in logical order, the last dimension fastest.
    pub data: Vec<E>,
}

/// A value of the interpreter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<T> {
    /// Float numbers.
    Real(Tensor<T>),
    /// Whole numbers.
    Int(Tensor<i32>),
}

impl<T: Real> Value<T> {
    /// Makes a value of float numbers.
    pub fn new(dims: &[usize], data: Vec<T>) -> Value<T> {
        assert_eq!(dims.iter().product::<usize>(), data.len(), "elements of a tensor {dims:?}");
        Value::Real(Tensor { dims: dims.to_vec(), data })
    }

    /// The floats; integers are a type error that `infer` has ruled out.
    pub fn real(&self) -> &Tensor<T> {
        match self {
            Value::Real(t) => t,
            Value::Int(_) => panic!("integers where floats are needed"),
        }
    }

    /// Returns the whole numbers of a value that holds such.
    pub fn int(&self) -> &Tensor<i32> {
        match self {
            Value::Int(t) => t,
            Value::Real(_) => panic!("floats where integers are needed"),
        }
    }

    /// Returns the sizes of its dimensions.
    pub fn dims(&self) -> &[usize] {
        match self {
            Value::Real(t) => &t.dims,
            Value::Int(t) => &t.dims,
        }
    }
}

/// What an evaluation knows besides its operands.
#[derive(Clone, Copy, Debug)]
pub struct EvalCx<'a> {
    /// Images in this run.
    pub batch: usize,
    /// Number of the first image in the whole batch.
    pub first: usize,
    /// Images in the whole batch.
    pub total: usize,
    /// Type of the result.
    pub ty: &'a Type,
}

/// Evaluates `graph` on a batch. `source(name, type)` gives inputs and parameters by name. Returns the values of all
/// outputs, then the new values of all updated parameters (by the parameter's name). A value is dropped after its last
/// user.
pub fn run<T: Real>(
    graph: &Graph,
    batch: usize,
    mut source: impl FnMut(&str, &Type) -> Value<T>,
) -> HashMap<String, Value<T>> {
    let mut values: HashMap<NodeId, Value<T>> = HashMap::new();
    let mut uses = uses(graph);
    for id in graph.order() {
        let node = graph.node(id);
        let value = match &node.op {
            Operator::Input(input) => source(&input.name, &node.ty),
            Operator::Param(param) => source(&param.name, &node.ty),
            op => {
                let operands: Vec<&Value<T>> = node.operands().iter().map(|o| &values[o]).collect();
                op.eval(&EvalCx { batch, first: 0, total: batch, ty: &node.ty }, &operands)
            }
        };
        let dims = node.ty.full_dims(batch);
        assert_eq!(value.dims(), dims, "shape of {:?} = {}", node.name, node.op.name());
        assert_eq!(matches!(value, Value::Int(_)), node.ty.dtype != DType::F32, "type of {}", node.op.name());
        values.insert(id, value);
        for operand in node.operands() {
            if let Some(left) = uses.get_mut(operand) {
                *left -= 1;
                if *left == 0 {
                    values.remove(operand);
                }
            }
        }
    }
    let mut results = HashMap::new();
    for (name, id) in &graph.outputs {
        results.insert(name.clone(), values[id].clone());
    }
    for (param, id) in &graph.updates {
        if let Operator::Param(param) = graph.op(*param) {
            results.insert(param.name.clone(), values[id].clone());
        }
    }
    results
}

/// How often each value is read; results of the graph once more, so that they stay.
fn uses(graph: &Graph) -> HashMap<NodeId, usize> {
    let mut uses = HashMap::new();
    let read = graph.ids().into_iter().flat_map(|id| graph.operands(id).to_vec());
    let results = graph.outputs.iter().map(|(_, id)| *id).chain(graph.updates.iter().map(|(_, id)| *id));
    for id in read.chain(results) {
        *uses.entry(id).or_default() += 1;
    }
    uses
}
