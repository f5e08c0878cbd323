//! Values that come from outside: inputs, parameters, constants.

use super::attr::{Attr, AttrValue, attributes};
use super::error::{ShapeError, TrainingError};
use super::facts::Memory;
use super::reference;
use super::{Case, GradCx};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, LowerError, Lowered};
use crate::recipes::movement;
use crate::types::{DType, Type};
pub use ninc_runtime::init::Init;
use ninc_runtime::plan::Role;

impl AttrValue for Init {
    fn to_attr(&self) -> Attr {
        let (name, args) = match *self {
            Init::Normal { std } => ("normal", vec![Attr::Float(std)]),
            Init::Uniform { limit } => ("uniform", vec![Attr::Float(limit)]),
            Init::Xavier => ("xavier", vec![]),
            Init::He => ("he", vec![]),
            Init::Constant { value } => ("constant", vec![Attr::Float(value)]),
            Init::Dirac => ("dirac", vec![]),
            Init::Whiten { epsilon } => ("whiten", vec![Attr::Float(epsilon)]),
        };
        Attr::Call(name.into(), args)
    }

    fn from_attr(attr: &Attr) -> Option<Init> {
        let Attr::Call(name, args) = attr else {
            return None;
        };
        match (name.as_str(), args.as_slice()) {
            ("normal", [v]) => Some(Init::Normal { std: f64::from_attr(v)? }),
            ("uniform", [v]) => Some(Init::Uniform { limit: f64::from_attr(v)? }),
            ("constant", [v]) => Some(Init::Constant { value: f64::from_attr(v)? }),
            ("whiten", [v]) => Some(Init::Whiten { epsilon: f64::from_attr(v)? }),
            ("dirac", []) => Some(Init::Dirac),
            ("xavier", []) => Some(Init::Xavier),
            ("he", []) => Some(Init::He),
            _ => None,
        }
    }
}

attributes! {
    /// A value that the caller feeds in each run: images, labels, hyper-parameters, the random key. No operands.
    Input {
        name: String,
        /// What it stands for; the name decides nothing.
        role: Role,
        /// What its elements are.
        dtype: DType = DType::F32,
        batched: bool = true,
        dims: Vec<usize>,
    }
}

impl OperatorDef for Input {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::exactly::<0>(operands)?;
        check::sized(Type { dtype: self.dtype, batched: self.batched, dims: self.dims.clone() })
    }

    fn eval<T: Real>(&self, _cx: &EvalCx, _operands: &[&Value<T>]) -> Value<T> {
        panic!("input `{}` is fed by the caller", self.name)
    }

    fn gradient(&self, _cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        Ok(vec![])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        Err(LowerError::Bug(format!("{}: an input is fed, not computed", cx.name)))
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, folding);

    fn memory(&self) -> Memory {
        Memory::Own
    }

    fn cases() -> Vec<Case> {
        // Has no case of its own: the tests of all others feed inputs.
        vec![]
    }
}

attributes! {
    /// A value kept between runs: a weight, a running statistic, an optimiser's state. No operands.
    Param {
        name: String,
        dims: Vec<usize>,
        init: Init,
        /// Whether the optimiser changes it.
        trainable: bool = true,
        /// Multiplier of the learning rate.
        rate: f64 = 1.0,
        /// Multiplier of the weight decay.
        decay: f64 = 1.0,
        /// Bound on the L2 norm of each output unit's weights, applied after each step.
        max_norm: Option<f64> = None,
        /// Whether it belongs to the optimiser: saved in checkpoints, not with the weights.
        state: bool = false,
    }
}

impl Param {
    /// A learned weight with the optimiser's own rate and decay.
    pub fn new(name: impl Into<String>, dims: &[usize], init: Init) -> Param {
        let (name, dims) = (name.into(), dims.to_vec());
        Param { name, dims, init, trainable: true, rate: 1.0, decay: 1.0, max_norm: None, state: false }
    }
}

impl OperatorDef for Param {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::exactly::<0>(operands)?;
        check::sized(Type::shared(&self.dims))
    }

    fn eval<T: Real>(&self, _cx: &EvalCx, _operands: &[&Value<T>]) -> Value<T> {
        panic!("parameter `{}` is given by the caller", self.name)
    }

    fn gradient(&self, _cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        Ok(vec![])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        Err(LowerError::Bug(format!("{}: a parameter is kept, not computed", cx.name)))
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, folding);

    fn memory(&self) -> Memory {
        Memory::Own
    }

    fn cases() -> Vec<Case> {
        vec![]
    }
}

attributes! {
    /// One number everywhere. No operands.
    Fill {
        value: f64,
        batched: bool = false,
        dims: Vec<usize> = vec![],
    }
}

impl OperatorDef for Fill {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        check::exactly::<0>(operands)?;
        check::sized(Type { dtype: DType::F32, batched: self.batched, dims: self.dims.clone() })
    }

    fn eval<T: Real>(&self, cx: &EvalCx, _operands: &[&Value<T>]) -> Value<T> {
        reference::result(cx, vec![self.value; cx.ty.full_dims(cx.batch).iter().product()])
    }

    fn gradient(&self, _cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        Ok(vec![])
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        movement::fill(cx, self.value as f32)
    }

    super::no_products!();

    super::usual!(elements, storage, reads_bf16, receptive, folding);

    fn memory(&self) -> Memory {
        Memory::Own
    }

    fn cases() -> Vec<Case> {
        vec![
            Case::new(Fill { value: 1.0, batched: false, dims: vec![] }, 1, &[]),
            Case::new(Fill { value: -0.25, batched: true, dims: vec![3, 2, 5] }, 3, &[]),
        ]
    }
}
