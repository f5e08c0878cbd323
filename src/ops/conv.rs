//! Convolution (cross-correlation, as in every framework). Window sizes come from the weight `[O, I/groups, kh, kw]`.

use super::attr::attributes;
use super::layer::{self, blame};
use super::schema::{LayerCx, LayerError, ParamSchema, Schema};
use super::window::{self, Window};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::recipes::{self, Stage};
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

const CONV: &[ParamSchema] = &[
    layer::required("channels", layer::CHANNELS, "Channels of the result."),
    layer::kernel("Size of the window."),
    layer::stride(),
    layer::pad(),
    layer::dilation(),
    layer::groups(),
    layer::bias(),
];

const CCCP: &[ParamSchema] =
    &[layer::positional(layer::required("channels", layer::CHANNELS, "Channels of the result.")), layer::bias()];

/// Do channels divide into the groups?
pub fn check_groups(inputs: usize, outputs: usize, groups: usize) -> Result<(), LayerError> {
    for (what, channels) in [("input", inputs), ("output", outputs)] {
        if groups == 0 || channels % groups != 0 {
            let message = format!("{channels} {what} channels do not divide into {groups} groups");
            return Err(blame("groups", message, None));
        }
    }
    Ok(())
}

fn build_conv(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let [inputs, height, width] = cx.image()?;
    let (outputs, groups, window) = (cx.int("channels"), cx.int("groups"), cx.window());
    check_groups(inputs, outputs, groups)?;
    window::conv_output(&window, [height, width])?;
    build(cx, outputs, inputs, groups, &window)
}

fn build_cccp(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let [inputs, _, _] = cx.image()?;
    let outputs = cx.int("channels");
    build(cx, outputs, inputs, 1, &window::pooling([1, 1], [1, 1], [0, 0]))
}

fn build(
    cx: &mut LayerCx,
    outputs: usize,
    inputs: usize,
    groups: usize,
    window: &Window,
) -> Result<NodeId, LayerError> {
    let mut operands = vec![cx.operands[0]];
    operands.push(cx.weight("weight", &[outputs, inputs / groups, window.kernel[0], window.kernel[1]])?);
    if cx.bool("bias") {
        operands.push(cx.bias("bias", &[outputs])?);
    }
    let op = Conv2d { stride: window.stride, pad: window.pad, dilation: window.dilation, groups };
    Ok(cx.graph.add(op, &operands)?)
}

/// `[out, in per group, height, width]` of a convolution's weight.
pub fn weight_dims(ty: &Type) -> Result<[usize; 4], String> {
    check::shared(ty, "a convolution's weight")?;
    ty.dims.as_slice().try_into().map_err(|_| format!("a weight [out, in, height, width] is needed, but this is {ty}"))
}

/// Multiply-adds of a convolution per image, forward or backward.
fn products(output: &Type, weight: &Type) -> u64 {
    match (output.dims.as_slice(), weight.dims.as_slice()) {
        (&[_, h, w], weight) => (h * w) as u64 * weight.iter().product::<usize>() as u64,
        _ => 0,
    }
}

attributes! {
    /// `(x[C, H, W], w[O, C/groups, kh, kw], [b[O]]) -> y[O, oh, ow]`, `oh = (H + 2·pad - dilation·(kh - 1) - 1)/stride + 1` rounded down.
    Conv2d {
        stride: [usize; 2],
        pad: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
    }
}

impl Conv2d {
    /// The window, given the weight's type.
    fn window(&self, weight: &Type) -> Window {
        let kernel = weight.dims.last_chunk().copied().unwrap_or([1, 1]);
        Window { kernel, stride: self.stride, pad: self.pad, dilation: self.dilation }
    }
}

impl OperatorDef for Conv2d {
    fn schemas() -> Vec<Schema> {
        vec![
            Schema {
                name: "conv",
                doc: "Convolution with learned weights `NAME.weight` [out, in/groups, height, width] and `NAME.bias`.",
                operands: (1, 1),
                params: CONV,
                weights: true,
                build: build_conv,
            },
            Schema {
                name: "cccp",
                doc: "1x1 convolution: the paper's cascaded cross channel pooling.",
                operands: (1, 1),
                params: CCCP,
                weights: true,
                build: build_cccp,
            },
        ]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let ([x, w], bias) = check::with_optional(operands)?;
        let [inputs, height, width] = check::image(x)?;
        let [outputs, per_group, _, _] = weight_dims(w)?;
        check_groups(inputs, outputs, self.groups)?;
        if per_group != inputs / self.groups {
            let groups = self.groups;
            return Err(format!(
                "the weight takes {per_group} channels, but there are {inputs}/{groups} in each group"
            ));
        }
        if let Some(bias) = bias {
            check::weight(bias, &[outputs], "the bias")?;
        }
        let [oh, ow] = window::conv_output(&self.window(w), [height, width])?;
        check::sized(Type::batched(&[outputs, oh, ow]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        let window = self.window(&site.operands[1].ty);
        let stage = Stage { bias: site.operands.len() == 3, activation: None };
        recipes::conv::forward(site, &window, self.groups, &[stage], None)
    }

    fn multiply_adds(&self, operands: &[Type], result: &Type) -> u64 {
        products(result, &operands[1])
    }
}

attributes! {
    /// `(w, dy) -> dx[C, height, width]`
    Conv2dGradInput {
        stride: [usize; 2],
        pad: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
        height: usize,
        width: usize,
    }
}

impl Conv2dGradInput {
    fn window(&self, weight: &Type) -> Window {
        let kernel = weight.dims.last_chunk().copied().unwrap_or([1, 1]);
        Window { kernel, stride: self.stride, pad: self.pad, dilation: self.dilation }
    }
}

impl OperatorDef for Conv2dGradInput {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [w, dy] = check::exactly(operands)?;
        let [outputs, per_group, _, _] = weight_dims(w)?;
        let inputs = per_group.checked_mul(self.groups).ok_or("too many channels")?;
        check_groups(inputs, outputs, self.groups)?;
        let [oh, ow] = window::conv_output(&self.window(w), [self.height, self.width])?;
        check::gradient(&Type::batched(&[outputs, oh, ow]), dy)?;
        check::sized(Type::batched(&[inputs, self.height, self.width]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        let window = self.window(&site.operands[0].ty);
        recipes::conv::grad_input(site, &window, self.groups)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        products(&operands[1], &operands[0])
    }
}

attributes! {
    /// `(x, dy) -> dw[O, C/groups, kh, kw]`
    Conv2dGradWeight {
        stride: [usize; 2],
        pad: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
        kernel: [usize; 2],
    }
}

impl Conv2dGradWeight {
    fn window(&self) -> Window {
        Window { kernel: self.kernel, stride: self.stride, pad: self.pad, dilation: self.dilation }
    }
}

impl OperatorDef for Conv2dGradWeight {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, dy] = check::exactly(operands)?;
        let ([inputs, height, width], [outputs, _, _]) = (check::image(x)?, check::image(dy)?);
        check_groups(inputs, outputs, self.groups)?;
        let [oh, ow] = window::conv_output(&self.window(), [height, width])?;
        check::gradient(&Type::batched(&[outputs, oh, ow]), dy)?;
        check::sized(Type::shared(&[outputs, inputs / self.groups, self.kernel[0], self.kernel[1]]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::conv::grad_weight(site, &self.window(), self.groups)
    }

    fn multiply_adds(&self, operands: &[Type], result: &Type) -> u64 {
        products(&operands[1], result)
    }
}
