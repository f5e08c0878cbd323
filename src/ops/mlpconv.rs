//! The paper's layer: a convolution and 1x1 convolutions (cccp) on top, each with bias and activation. As the language
//! writes it, and as the fusion pass makes it of hand-written chains.

use super::activation::{self, Activation};
use super::attr::attributes;
use super::conv::{self, Conv2d};
use super::facts::{Elements, Receptive, Storage};
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
use crate::lower::{LowerCx, Lowered, Unsupported};
use crate::recipes::{self, Finish, Reduction, Stage};
use crate::types::Format;
use crate::types::Type;

const WORDS: &[&str] = &["relu", "leaky_relu", "elu", "sigmoid", "tanh", "none"];
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
    let op = MlpConv {
        stride: window.stride,
        pad: window.pad,
        dilation: window.dilation,
        groups,
        biases: vec![cx.get(layer::BIAS); channels.len()],
        activations: Vec::new(),
        slopes: Vec::new(),
        rounds: vec![None; channels.len()],
        pool: String::new(),
        pool_kernel: [1, 1],
        pool_stride: [1, 1],
        pool_pad: [0, 0],
        pool_ceil: false,
    };
    let (mut operands, mut activations) = (vec![cx.operands[0]], Vec::new());
    let mut kernel = window.kernel;
    for (i, &outputs) in channels.iter().enumerate() {
        let stage = if i == 0 { "conv".to_string() } else { format!("cccp{i}") };
        operands.push(cx.weight(&format!("{stage}.weight"), &[outputs, inputs / groups, kernel[0], kernel[1]])?);
        if cx.get(layer::BIAS) {
            operands.push(cx.bias(&format!("{stage}.bias"), &[outputs])?);
        }
        activations.push(cx.get(if i + 1 == channels.len() { LAST_ACTIVATION } else { ACTIVATION }));
        (inputs, groups, kernel) = (outputs, 1, [1, 1]);
    }
    let slopes = activations.iter().map(|a| activation::default_slope(a)).collect();
    let activations = activations.into_iter().map(String::from).collect();
    Ok(cx.graph.add(MlpConv { activations, slopes, ..op }, &operands)?)
}

/// One operator of the chain that an [`MlpConv`] stands for.
struct Step {
    op: Operator,
    /// How many parameters it takes besides the value of the step before.
    params: usize,
}

attributes! {
    /// `(x, w, [b], w, [b], …) -> y`. Stage i has a bias where `biases[i]`, and `activations[i]` (a name as
    /// [`super::activation::Activation`] has it, `none` for linear; parameters in `slopes[i]`); its result is rounded to `rounds[i]`, unless that is `none`. An optional
    /// pooling joins at the end: `pool` is empty, `max` or `average`.
    MlpConv {
        stride: [usize; 2],
        pad: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
        biases: Vec<bool>,
        activations: Vec<String>,
        slopes: Vec<f64>,
        rounds: Vec<Option<Format>>,
        pool: String,
        pool_kernel: [usize; 2],
        pool_stride: [usize; 2],
        pool_pad: [usize; 2],
        pool_ceil: bool,
    }
}

impl MlpConv {
    /// What the result is rounded to.
    pub fn rounded(&self) -> Option<Format> {
        self.rounds.last().copied().flatten().filter(|_| self.pool.is_empty())
    }

    /// The chain: convolutions, activations, the pooling.
    fn steps(&self) -> Result<Vec<Step>, String> {
        let stages = self.biases.len();
        let others = [self.activations.len(), self.slopes.len(), self.rounds.len()];
        if stages == 0 || others != [stages; 3] {
            let [activations, slopes, rounds] = others;
            return Err(format!("{stages} biases, {activations} activations, {slopes} slopes, {rounds} rounds"));
        }
        let mut steps = Vec::new();
        for (i, &bias) in self.biases.iter().enumerate() {
            let params = if bias { 2 } else { 1 };
            let op = if i == 0 {
                Conv2d { stride: self.stride, pad: self.pad, dilation: self.dilation, groups: self.groups }
            } else {
                Conv2d { stride: [1, 1], pad: [0, 0], dilation: [1, 1], groups: 1 }
            };
            steps.push(Step { op: op.into(), params });
            if self.activations[i] != "none" {
                let op = Activation { function: self.activations[i].clone(), slope: self.slopes[i] };
                steps.push(Step { op: op.into(), params: 0 });
            }
            steps.extend(self.rounds[i].map(|to| Step { op: Round { to }.into(), params: 0 }));
        }
        let &MlpConv { pool_kernel: kernel, pool_stride: stride, pool_pad: pad, pool_ceil: ceil, .. } = self;
        match self.pool.as_str() {
            "" => {}
            "max" => steps.push(Step { op: MaxPool { kernel, stride, pad, ceil }.into(), params: 0 }),
            "average" => steps.push(Step { op: AvgPool { kernel, stride, pad, ceil }.into(), params: 0 }),
            other => return Err(format!("unknown pooling `{other}`")),
        }
        Ok(steps)
    }

    /// Window of the convolution, given its weight.
    pub fn window(&self, weight: &Type) -> Window {
        let kernel = weight.dims.last_chunk().copied().unwrap_or([1, 1]);
        Window { kernel, stride: self.stride, pad: self.pad, dilation: self.dilation }
    }

    /// Window of the pooling that joined.
    pub fn pool_window(&self) -> Window {
        window::pooling(self.pool_kernel, self.pool_stride, self.pool_pad)
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

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let Some((x, mut params)) = operands.split_first() else {
            return Err("no operands".into());
        };
        let mut value = x.clone();
        for step in self.steps()? {
            let Some((own, others)) = params.split_at_checked(step.params) else {
                return Err("there are fewer operands than stages need".into());
            };
            value = step.op.infer(&[&[value], own].concat())?;
            params = others;
        }
        if params.is_empty() { Ok(value) } else { Err(format!("{} operands are left over", params.len())) }
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let steps = self.steps().expect("infer has checked the stages");
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

    fn gradient(&self, cx: &mut GradCx) -> Result<Vec<Option<NodeId>>, String> {
        // The chain again, with the values between that its gradients need; then backwards through it.
        let (steps, x) = (self.steps()?, cx.operands[0]);
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
        let (mut stages, window) = (Vec::new(), self.window(&cx.operands[1].ty));
        for (i, &bias) in self.biases.iter().enumerate() {
            let activation = match self.activations[i].as_str() {
                "none" => None,
                name => Some(activation::function(name, self.slopes[i]).map_err(Unsupported)?),
            };
            stages.push(Stage { bias, finish: Finish { activation, round: self.rounds[i] } });
        }
        let pool = match self.pool.as_str() {
            "max" => Some((Reduction::Max, self.pool_window())),
            "average" => Some((Reduction::Average, self.pool_window())),
            _ => None,
        };
        recipes::conv::forward(cx, &window, self.groups, &stages, pool)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        let (Ok(steps), Some((x, mut params))) = (self.steps(), operands.split_first()) else {
            return 0;
        };
        let (mut value, mut sum) = (x.clone(), 0);
        for step in steps {
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
        let stages = self.biases.iter().scan(1, |at, &bias| {
            let own = *at;
            *at += 1 + usize::from(bias);
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

    fn reads_bf16(&self, operand: usize, _gpu: bool) -> bool {
        self.factors().contains(&operand)
    }

    fn receptive(&self, operands: &[Type]) -> Receptive {
        Receptive::Window(self.window(&operands[1]))
    }

    fn cases() -> Vec<Case> {
        let chain = |channels: &[usize], kernel: usize, activations: [&str; 2], pool: &str| {
            let stages = channels.len() - 1;
            let mut names = vec![activations[0].to_string(); stages];
            names[stages - 1] = activations[1].to_string();
            let op = MlpConv {
                stride: [1, 1],
                pad: [kernel / 2, kernel / 2],
                dilation: [1, 1],
                groups: 1,
                biases: (0..stages).map(|i| i != 1).collect(),
                slopes: names.iter().map(|n| activation::default_slope(n)).collect(),
                activations: names,
                rounds: vec![None; stages],
                pool: pool.into(),
                pool_kernel: [3, 3],
                pool_stride: [2, 2],
                pool_pad: [0, 0],
                pool_ceil: true,
            };
            let mut operands = vec![Type::batched(&[channels[0], 6, 7])];
            for i in 0..stages {
                let kernel = if i == 0 { kernel } else { 1 };
                operands.push(Type::shared(&[channels[i + 1], channels[i], kernel, kernel]));
                operands.extend(op.biases[i].then(|| Type::shared(&[channels[i + 1]])));
            }
            Case::new(op, 2, &operands)
        };
        vec![
            chain(&[3, 10, 9, 4], 3, ["relu", "relu"], ""),
            chain(&[2, 5], 5, ["relu", "none"], ""),
            chain(&[3, 8, 7], 1, ["tanh", "sigmoid"], "max"),
            chain(&[4, 6, 5], 3, ["elu", "leaky_relu"], "average"),
        ]
    }
}
