//! The paper's layer: a convolution and 1x1 convolutions (cccp) on top, each with bias and activation. As the language
//! writes it, and as the fusion pass makes it of hand-written chains.

use super::activation::{Activation, Function};
use super::attr::{Attr, AttrValue, attributes};
use super::conv::{self, Conv2d};
use super::error::{ShapeError, TrainingError};
use super::facts::{Elements, Reader, Receptive, Storage};
use super::layer;
use super::params::{Param, ParamSpec};
use super::pool::{AvgPool, MaxPool};
use super::round::Round;
use super::schema::{LayerCx, LayerError, Schema};
use super::window::{self, Window};
use super::{Case, GradCx};
use super::{Operator, OperatorDef};
use crate::graph::NodeId;
use crate::graph::interp::{EvalCx, Real, Value};
use crate::lower::{LowerCx, Lowered};
use crate::recipes::{self, Epilogue, Reduction};
use crate::types::Format;
use crate::types::Type;

const WORDS: &[&str] = &["relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "none"];
const CHANNELS: Param<Vec<usize>> =
    Param::ints("channels", 1, layer::MOST_CHANNELS, "Channels of the convolution and of each 1x1 convolution.");
const ACTIVATION: Param<&str> = Param::one_of("activation", WORDS, "After all stages but the last.").or("relu");
const LAST_ACTIVATION: Param<&str> = Param::one_of("last_activation", WORDS, "After the last stage.").or("relu");
const MLPCONV: &[ParamSpec] = &[
    layer::kernel("Size of the convolution's window.").spec,
    CHANNELS.spec,
    layer::STRIDE.spec,
    layer::PAD.spec,
    layer::DILATION.spec,
    layer::GROUPS.spec,
    layer::BIAS.spec,
    ACTIVATION.spec,
    LAST_ACTIVATION.spec,
];

/// Parameters `NAME.conv.weight`, `NAME.conv.bias`, `NAME.cccp1.weight`, …
fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let [mut inputs, height, width] = cx.image()?;
    let (channels, mut groups, window) = (cx.get(CHANNELS), cx.get(layer::GROUPS), cx.window());
    conv::check_groups(inputs, channels[0], groups)?;
    window::conv_output(&window, [height, width])?;
    let op = MlpConv { window, groups, stages: Vec::new(), pool: None };
    let (mut operands, mut stages) = (vec![cx.operands[0]], Vec::new());
    let (mut kernel, bias) = (window.kernel, cx.get(layer::BIAS));
    for (i, &outputs) in channels.iter().enumerate() {
        let stage = if i == 0 { "conv".to_string() } else { format!("cccp{i}") };
        operands.push(cx.weight(&format!("{stage}.weight"), &[outputs, inputs / groups, kernel[0], kernel[1]])?);
        if bias {
            operands.push(cx.bias(&format!("{stage}.bias"), &[outputs])?);
        }
        let word = cx.get(if i + 1 == channels.len() { LAST_ACTIVATION } else { ACTIVATION });
        stages.push(Stage { bias, activation: Function::named(word), round: None });
        (inputs, groups, kernel) = (outputs, 1, [1, 1]);
    }
    Ok(cx.graph.add(MlpConv { stages, ..op }, &operands)?)
}

/// One product of the chain: the convolution first, then 1x1 convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stage {
    /// Whether it adds a bias.
    pub bias: bool,
    /// The function that is applied after the bias.
    pub activation: Option<Function>,
    /// What the result is rounded to.
    pub round: Option<Format>,
}

/// `stage(bias, relu, bf16)`, each word where it applies.
impl AttrValue for Stage {
    fn to_attr(&self) -> Attr {
        let bias = self.bias.then(|| Attr::word("bias"));
        let (activation, round) = (self.activation.map(|f| f.to_attr()), self.round.map(|f| f.to_attr()));
        Attr::Call("stage".into(), [bias, activation, round].into_iter().flatten().collect())
    }

    fn from_attr(attr: &Attr) -> Option<Stage> {
        let Attr::Call(name, items) = attr else { return None };
        let mut stage = Stage::default();
        for item in items {
            match (Function::from_attr(item), Format::from_attr(item)) {
                (Some(function), _) => stage.activation = Some(function),
                (_, Some(format)) => stage.round = Some(format),
                _ if *item == Attr::word("bias") => stage.bias = true,
                _ => return None,
            }
        }
        (name == "stage").then_some(stage)
    }
}

/// A pooling that joins at the end of the chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool {
    /// Maximum or average.
    pub reduction: Reduction,
    /// The pixels that are pooled.
    pub window: Window,
    /// Whether the size of the result is rounded up.
    pub ceil: bool,
}

/// `max(kernel, stride, pad, ceil)` or `average(…)`
impl AttrValue for Pool {
    fn to_attr(&self) -> Attr {
        let Window { kernel, stride, pad, .. } = self.window;
        let name = match self.reduction {
            Reduction::Max => "max",
            Reduction::Average => "average",
        };
        Attr::Call(name.into(), vec![kernel.to_attr(), stride.to_attr(), pad.to_attr(), self.ceil.to_attr()])
    }

    fn from_attr(attr: &Attr) -> Option<Pool> {
        let Attr::Call(name, items) = attr else { return None };
        let reduction = match name.as_str() {
            "max" => Reduction::Max,
            "average" => Reduction::Average,
            _ => return None,
        };
        let [kernel, stride, pad, ceil] = items.as_slice() else { return None };
        let pair = <[usize; 2]>::from_attr;
        let window = window::pooling(pair(kernel)?, pair(stride)?, pair(pad)?);
        Some(Pool { reduction, window, ceil: bool::from_attr(ceil)? })
    }
}

/// One operator of the chain that an [`MlpConv`] stands for.
pub struct Step {
    /// The operator.
    pub op: Operator,
    /// How many parameters it takes besides the value of the step before.
    pub params: usize,
}

attributes! {
    /// `(x, w, [b], w, [b], …) -> y`, a weight and perhaps a bias for each stage. A pooling may join at the end.
    MlpConv {
        window: Window,
        groups: usize = 1,
        stages: Vec<Stage>,
        pool: Option<Pool> = None,
    }
}

impl MlpConv {
    /// What the result is rounded to.
    pub fn rounded(&self) -> Option<Format> {
        self.stages.last().and_then(|stage| stage.round).filter(|_| self.pool.is_none())
    }

    /// The chain: convolutions, activations, roundings, the pooling.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let (window, groups) = if i == 0 { (self.window, self.groups) } else { (Window::ONE, 1) };
            steps.push(Step { op: Conv2d { window, groups }.into(), params: if stage.bias { 2 } else { 1 } });
            let activation = stage.activation.map(|function| Activation { function }.into());
            let round = stage.round.map(|to| Round { to }.into());
            steps.extend(activation.into_iter().chain(round).map(|op| Step { op, params: 0 }));
        }
        let pool = self.pool.map(|Pool { reduction, window, ceil }| match reduction {
            Reduction::Max => MaxPool { window, ceil }.into(),
            Reduction::Average => AvgPool { window, ceil }.into(),
        });
        steps.extend(pool.map(|op| Step { op, params: 0 }));
        steps
    }
}

impl OperatorDef for MlpConv {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "mlpconv",
            doc: "The paper's layer: a convolution, then 1x1 convolutions, each with bias and activation.",
            operands: (1, 1),
            params: MLPCONV,
            weights: true,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let Some((x, mut params)) = operands.split_first() else {
            return Err("no operands".into());
        };
        if self.stages.is_empty() {
            return Err("no stages".into());
        }
        let mut value = x.clone();
        for step in self.steps() {
            let Some((own, others)) = params.split_at_checked(step.params) else {
                return Err("there are fewer operands than stages need".into());
            };
            value = step.op.infer(&[&[value], own].concat())?;
            params = others;
        }
        if params.is_empty() { Ok(value) } else { Err(format!("{} operands are left over", params.len()).into()) }
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let steps = self.steps();
        let (mut value, mut params) = (operands[0].clone(), &operands[1..]);
        let mut ty = Type::batched(&value.dims()[1..]);
        for step in steps {
            let (own, others) = params.split_at(step.params);
            let weights = own.iter().map(|p| Type::shared(p.dims()));
            let types: Vec<Type> = std::iter::once(ty).chain(weights).collect();
            ty = step.op.infer(&types).expect("infer has checked the stages");
            value = step.op.eval(&EvalCx { ty: &ty, ..*cx }, &[&[&value], own].concat());
            params = others;
        }
        value
    }

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, TrainingError> {
        // The chain again, with the values between that its gradients need; then backwards through it.
        let (steps, x) = (self.steps(), cx.operands[0]);
        let mut begins = vec![];
        let (mut values, mut next) = (vec![x], 1);
        for step in &steps {
            let operands = [&values[values.len() - 1..], &cx.operands[next..next + step.params]].concat();
            values.push(cx.graph.add(step.op.clone(), &operands)?);
            begins.push(next);
            next += step.params;
        }
        let mut gradients = vec![None; cx.operands.len()];
        let mut grad = cx.grad;
        for (i, step) in steps.iter().enumerate().rev() {
            let own = begins[i]..begins[i] + step.params;
            let before = cx.needs[..begins[i]].contains(&true);
            let operands = [&values[i..=i], &cx.operands[own.clone()]].concat();
            let needs = [&[before], &cx.needs[own.clone()]].concat();
            let mut inner = GradCx { graph: &mut *cx.graph, operands, needs, result: values[i + 1], grad };
            let found = step.op.gradient(&mut inner)?;
            gradients[own].copy_from_slice(&found[1..]);
            match found[0] {
                Some(next) if before => grad = next,
                _ => return Ok(gradients),
            }
        }
        gradients[0] = Some(grad);
        Ok(gradients)
    }
    super::differentiable!();
    super::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        let epilogue =
            |stage: &Stage| Epilogue { activation: stage.activation.map(Function::recipe), round: stage.round };
        let stage = |stage: &Stage| recipes::Stage { bias: stage.bias, epilogue: epilogue(stage) };
        let stages: Vec<recipes::Stage> = self.stages.iter().map(stage).collect();
        let pool = self.pool.map(|pool| (pool.reduction, pool.window));
        recipes::conv::forward(cx, &self.window, self.groups, &stages, pool)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        let Some((x, mut params)) = operands.split_first() else {
            return 0;
        };
        let (mut value, mut sum) = (x.clone(), 0);
        for step in self.steps() {
            let (own, others) = params.split_at(step.params);
            let operands = [&[value], own].concat();
            let Ok(result) = step.op.infer(&operands) else {
                return sum;
            };
            sum += step.op.multiply_adds(&operands, &result);
            (value, params) = (result, others);
        }
        sum
    }

    super::usual!(memory, folding);

    fn factors(&self) -> Vec<usize> {
        // The image, then for each stage its weights and perhaps a bias.
        let stages = self.stages.iter().scan(1, |at, stage| {
            let own = *at;
            *at += 1 + usize::from(stage.bias);
            Some(own)
        });
        std::iter::once(0).chain(stages).collect()
    }

    fn elements(&self) -> Elements {
        self.rounded().map_or(Elements::Computed, Elements::Rounded)
    }

    fn storage(&self) -> Storage {
        Storage::Bf16
    }

    fn reads_bf16(&self, operand: usize, by: Reader) -> bool {
        // A step of training packs its weights from float32.
        if by == Reader::Tiles { operand == 0 } else { self.factors().contains(&operand) }
    }

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Window(self.window)
    }

    fn cases() -> Vec<Case> {
        let chain = |channels: &[usize], kernel: usize, [others, last]: [Option<Function>; 2], pool| {
            let count = channels.len() - 1;
            let activation = |i| if i + 1 == count { last } else { others };
            let stage = |i| Stage { bias: i != 1, activation: activation(i), round: None };
            let window = window::pooling([kernel; 2], [1, 1], [kernel / 2; 2]);
            let stages: Vec<Stage> = (0..count).map(stage).collect();
            let mut operands = vec![Type::batched(&[channels[0], 6, 7])];
            for i in 0..count {
                let kernel = if i == 0 { kernel } else { 1 };
                operands.push(Type::shared(&[channels[i + 1], channels[i], kernel, kernel]));
                operands.extend(stages[i].bias.then(|| Type::shared(&[channels[i + 1]])));
            }
            Case::new(MlpConv { window, groups: 1, stages, pool }, 2, &operands)
        };
        let pool = |reduction| Some(Pool { reduction, window: window::pooling([3, 3], [2, 2], [0, 0]), ceil: true });
        let function = |name| Function::named(name);
        vec![
            chain(&[3, 10, 9, 4], 3, ["relu", "relu"].map(function), None),
            chain(&[2, 5], 5, ["relu", "none"].map(function), None),
            chain(&[3, 8, 7], 1, ["tanh", "sigmoid"].map(function), pool(Reduction::Max)),
            chain(&[4, 6, 5], 3, ["elu", "leaky_relu"].map(function), pool(Reduction::Average)),
            chain(&[3, 20, 9], 3, ["relu6", "relu6"].map(function), None),
        ]
    }
}
