//! Operators: one file per operator (with its gradients) is the single source of truth for it.
//!
//! To add one: write the file, add its module and one line to `operators!` below.

use crate::graph::interp::{EvalCx, Real, Value};
use crate::graph::{Graph, NodeId};
use crate::lower::{LowerCx, Lowered};
use crate::types::Type;

pub mod attr;
pub mod check;
pub mod error;
pub mod facts;
pub mod layer;
pub mod params;
pub mod reference;
pub mod schema;
pub mod window;

mod case;
mod usual;

pub mod activation;
pub mod arithmetic;
pub mod batch_norm;
pub mod broadcast;
pub mod concat;
pub mod conv;
pub mod cross_entropy;
pub mod drop_connect;
pub mod dropout;
pub mod fold;
pub mod gelu;
pub mod global_pool;
pub mod int8;
pub mod linear;
pub mod local_conv;
pub mod lrn;
pub mod matrix;
pub mod maxout;
pub mod mlpconv;
pub mod pad;
pub mod pool;
pub mod prelu;
pub mod prepare;
pub mod reduce;
pub mod reshape;
pub mod round;
pub mod sample_variance;
pub mod silu;
pub mod softmax;
pub mod source;
pub mod stochastic_pool;
pub mod update;

pub use case::{Case, Draw};
pub(crate) use usual::*;

use attr::{Attr, Attribute, Given};
use error::{AttrError, ShapeError, TrainingError};
use facts::{Derivative, Elements, Folding, Memory, Reader, Receptive, Storage};
use schema::Schema;

/// Attributes as text, both ways; made by the `attributes!` macro.
pub trait Attributes: Sized {
    /// Returns all of them, in the order of their declaration.
    fn attrs(&self) -> Vec<Attribute>;

    /// Reads them; an error says which is missing or of the wrong kind.
    fn take(given: &mut Given) -> Result<Self, AttrError>;
}

/// The duties of an operator. No default bodies: a forgotten duty does not compile.
pub trait OperatorDef: Attributes + Clone {
    /// Functions of the language that make this operator (none for gradients and the like).
    fn schemas() -> Vec<Schema>;

    /// Returns the type of the result; an error shows the arithmetic that fails.
    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError>;

    /// The meaning, naive and exact: logical (NCHW, OIHW) order, generic over f32 and f64.
    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T>;

    /// Builds the gradient of each operand from that of the result (`None`: not differentiable with respect to it).
    /// Needed only where `cx.needs[i]`.
    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError>;

    /// Whether there is a gradient, and with respect to which operands.
    fn derivative(&self) -> Derivative;

    /// Builds the operator's form for training where it differs from inference (dropout, batch norm, …) and gives its
    /// result; `None` where the two forms are one.
    fn training(&self, cx: &mut TrainCx) -> Result<Option<NodeId>, TrainingError>;

    /// Writes kernels through a recipe, or says what is not supported.
    fn lower(&self, cx: &mut LowerCx) -> Lowered;

    /// Multiply-adds per image (all in all for shared values), for `inspect`, `build` and `bench`.
    fn multiply_adds(&self, operands: &[Type], result: &Type) -> u64;

    /// Operands that are multiplied with each other in sums of products: `--precision` rounds them.
    fn factors(&self) -> Vec<usize>;

    /// What is known about the elements of the result.
    fn elements(&self) -> Elements;

    /// How the kernels can store the result.
    fn storage(&self) -> Storage;

    /// Whether these kernels take this operand as bf16.
    fn reads_bf16(&self, operand: usize, by: Reader) -> bool;

    /// The pixels that a pixel of the result depends on, for `inspect`. Gradients answer `Point`.
    fn receptive(&self, operands: &[Type]) -> Receptive;

    /// Where the result lies.
    fn memory(&self) -> Memory;

    /// What its weights take in at inference.
    fn folding(&self) -> Folding;

    /// Test cases: drive the tests of value, gradient, support and speed.
    fn cases() -> Vec<Case>;
}

/// What `gradient` works with.
pub struct GradCx<'a> {
    /// Where the gradients are added.
    pub graph: &'a mut Graph,
    /// The node's operands.
    pub operands: Vec<NodeId>,
    /// Operands whose gradient is wanted.
    pub needs: Vec<bool>,
    /// The node that is differentiated.
    pub result: NodeId,
    /// Gradient of the loss with respect to the result.
    pub grad: NodeId,
}

impl GradCx<'_> {
    /// Adds the gradient of operand `i` if it is wanted.
    pub fn wanted(
        &mut self,
        i: usize,
        op: impl Into<Operator>,
        operands: &[NodeId],
    ) -> Result<Option<NodeId>, ShapeError> {
        if self.needs[i] { self.graph.add(op, operands).map(Some) } else { Ok(None) }
    }

    /// Type of operand `i`.
    pub fn operand_type(&self, i: usize) -> Type {
        self.graph.ty(self.operands[i]).clone()
    }
}

/// What `training` works with.
pub struct TrainCx<'a> {
    /// Where the form for training is added.
    pub graph: &'a mut Graph,
    /// The node's operands.
    pub operands: Vec<NodeId>,
    /// The random key of the step: an I32 input `[4]` (seed low, seed high, step low, step high).
    pub key: NodeId,
}

macro_rules! operators {
    ($($module:ident::$op:ident => $text:literal),* $(,)?) => {
        /// All operators there are. The text is the mnemonic of the graph's text form.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Operator {
            $(#[doc = concat!("`", $text, "`")] $op($module::$op)),*
        }

        $(impl From<$module::$op> for Operator {
            fn from(op: $module::$op) -> Operator {
                Operator::$op(op)
            }
        })*

        impl Operator {
            /// Mnemonics of all operators.
            pub const NAMES: &'static [&'static str] = &[$($text),*];

            /// Returns its mnemonic.
            pub fn name(&self) -> &'static str {
                match self { $(Operator::$op(_) => $text),* }
            }

            /// Returns its attributes in the order of their declaration.
            pub fn attrs(&self) -> Vec<Attribute> {
                match self { $(Operator::$op(op) => op.attrs()),* }
            }

            /// Reads an operator from its mnemonic and attributes.
            pub fn parse(name: &str, attrs: &[(String, Attr)]) -> Result<Operator, AttrError> {
                let mut given = Given::new(attrs);
                let op = match name {
                    $($text => Operator::$op($module::$op::take(&mut given)?),)*
                    _ => return Err(AttrError::Operator(name.into())),
                };
                given.finish().map(|()| op)
            }

            /// See [`OperatorDef::infer`].
            pub fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
                match self { $(Operator::$op(op) => op.infer(operands)),* }
            }

            /// See [`OperatorDef::eval`].
            pub fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
                match self { $(Operator::$op(op) => op.eval(cx, operands)),* }
            }

            /// See [`OperatorDef::gradient`].
            pub fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
                match self { $(Operator::$op(op) => op.gradient(cx)),* }
            }

            /// See [`OperatorDef::training`].
            pub fn training(&self, cx: &mut TrainCx) -> Result<Option<NodeId>, TrainingError> {
                match self { $(Operator::$op(op) => op.training(cx)),* }
            }

            /// See [`OperatorDef::lower`].
            pub fn lower(&self, cx: &mut LowerCx) -> Lowered {
                match self { $(Operator::$op(op) => op.lower(cx)),* }
            }

            /// See [`OperatorDef::multiply_adds`].
            pub fn multiply_adds(&self, operands: &[Type], result: &Type) -> u64 {
                match self { $(Operator::$op(op) => op.multiply_adds(operands, result)),* }
            }

            /// See [`OperatorDef::derivative`].
            pub fn derivative(&self) -> Derivative {
                match self { $(Operator::$op(op) => op.derivative()),* }
            }

            /// See [`OperatorDef::factors`].
            pub fn factors(&self) -> Vec<usize> {
                match self { $(Operator::$op(op) => op.factors()),* }
            }

            /// See [`OperatorDef::elements`].
            pub fn elements(&self) -> Elements {
                match self { $(Operator::$op(op) => op.elements()),* }
            }

            /// See [`OperatorDef::storage`].
            pub fn storage(&self) -> Storage {
                match self { $(Operator::$op(op) => op.storage()),* }
            }

            /// See [`OperatorDef::reads_bf16`].
            pub fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
                match self { $(Operator::$op(op) => op.reads_bf16(operand, by)),* }
            }

            /// See [`OperatorDef::receptive`].
            pub fn receptive(&self, operands: &[Type]) -> Receptive {
                match self { $(Operator::$op(op) => op.receptive(operands)),* }
            }

            /// See [`OperatorDef::memory`].
            pub fn memory(&self) -> Memory {
                match self { $(Operator::$op(op) => op.memory()),* }
            }

            /// See [`OperatorDef::folding`].
            pub fn folding(&self) -> Folding {
                match self { $(Operator::$op(op) => op.folding()),* }
            }
        }

        /// The language's layers, in the order of the operators.
        pub fn schemas() -> Vec<Schema> {
            let mut all = Vec::new();
            $(all.extend($module::$op::schemas());)*
            all
        }

        /// Test cases of all operators.
        pub fn cases() -> Vec<Case> {
            let mut all = Vec::new();
            $(all.extend($module::$op::cases());)*
            all
        }
    };
}

operators! {
    source::Input => "input",
    source::Param => "param",
    source::Fill => "fill",
    conv::Conv2d => "conv2d",
    conv::Conv2dGradInput => "conv2d_grad_input",
    conv::Conv2dGradWeight => "conv2d_grad_weight",
    mlpconv::MlpConv => "mlpconv",
    linear::Linear => "linear",
    linear::LinearGradInput => "linear_grad_input",
    linear::LinearGradWeight => "linear_grad_weight",
    local_conv::LocalConv => "local_conv",
    local_conv::LocalConvGradInput => "local_conv_grad_input",
    local_conv::LocalConvGradWeight => "local_conv_grad_weight",
    drop_connect::DropConnect => "drop_connect",
    drop_connect::DropConnectTrain => "drop_connect_train",
    drop_connect::DropConnectGradInput => "drop_connect_grad_input",
    drop_connect::DropConnectGradWeight => "drop_connect_grad_weight",
    drop_connect::DropConnectGradBias => "drop_connect_grad_bias",
    activation::Activation => "activation",
    activation::ActivationGrad => "activation_grad",
    gelu::Gelu => "gelu",
    gelu::GeluGrad => "gelu_grad",
    silu::Silu => "silu",
    silu::SiluGrad => "silu_grad",
    prelu::Prelu => "prelu",
    prelu::PreluGradInput => "prelu_grad_input",
    prelu::PreluGradSlope => "prelu_grad_slope",
    maxout::Maxout => "maxout",
    maxout::MaxoutGrad => "maxout_grad",
    softmax::Softmax => "softmax",
    softmax::SoftmaxGrad => "softmax_grad",
    softmax::LogSoftmax => "log_softmax",
    softmax::LogSoftmaxGrad => "log_softmax_grad",
    pool::MaxPool => "max_pool",
    pool::MaxPoolGrad => "max_pool_grad",
    pool::AvgPool => "avg_pool",
    pool::AvgPoolGrad => "avg_pool_grad",
    stochastic_pool::StochasticPool => "stochastic_pool",
    stochastic_pool::StochasticPoolGrad => "stochastic_pool_grad",
    stochastic_pool::StochasticPoolTrain => "stochastic_pool_train",
    stochastic_pool::StochasticPoolTrainGrad => "stochastic_pool_train_grad",
    global_pool::GlobalAvgPool => "global_avg_pool",
    global_pool::GlobalAvgPoolGrad => "global_avg_pool_grad",
    global_pool::GlobalMaxPool => "global_max_pool",
    global_pool::GlobalMaxPoolGrad => "global_max_pool_grad",
    dropout::Dropout => "dropout",
    dropout::DropoutTrain => "dropout_train",
    lrn::Lrn => "lrn",
    lrn::LrnGrad => "lrn_grad",
    batch_norm::BatchNorm => "batch_norm",
    batch_norm::BatchMean => "batch_mean",
    batch_norm::BatchVariance => "batch_variance",
    sample_variance::SampleVariance => "sample_variance",
    batch_norm::BatchNormGradGamma => "batch_norm_grad_gamma",
    batch_norm::BatchNormGradInput => "batch_norm_grad_input",
    arithmetic::Add => "add",
    arithmetic::Mul => "mul",
    arithmetic::Scale => "scale",
    arithmetic::Mix => "mix",
    arithmetic::ScaleBy => "scale_by",
    concat::Concat => "concat",
    concat::Slice => "slice",
    pad::Pad => "pad",
    pad::Crop => "crop",
    reshape::Reshape => "reshape",
    round::Round => "round",
    reduce::ChannelSum => "channel_sum",
    reduce::BatchSum => "batch_sum",
    reduce::LossMean => "loss_mean",
    reduce::LossMeanGrad => "loss_mean_grad",
    reduce::SumSquares => "sum_squares",
    matrix::Gram => "gram",
    matrix::Times => "times",
    cross_entropy::CrossEntropy => "cross_entropy",
    cross_entropy::CrossEntropyGrad => "cross_entropy_grad",
    cross_entropy::OneHot => "one_hot",
    update::Update => "update",
    update::ClipFactor => "clip_factor",
    update::MaxNorm => "max_norm",
    fold::FoldWeight => "fold_weight",
    fold::FoldBias => "fold_bias",
    int8::Quantize => "quantize",
    int8::Dequantize => "dequantize",
    int8::Int8Factor => "int8_factor",
    int8::Int8Bias => "int8_bias",
    int8::ConvInt8 => "conv_int8",
    int8::AvgPoolBytes => "avg_pool_bytes",
    int8::GlobalAvgBytes => "global_avg_bytes",
    prepare::Pixelwise => "pixelwise",
    prepare::GlobalContrast => "global_contrast",
    prepare::LocalContrast => "local_contrast",
}
