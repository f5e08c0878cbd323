//! Unshared convolution: each output position has weights of its own.

use super::attr::attributes;
use super::layer;
use super::schema::{LayerCx, LayerError, ParamSchema, Schema};
use super::window::{self, Window};
use super::{OperatorDef, check};
use crate::graph::NodeId;
use crate::kernel::recipes;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

const LOCAL_CONV: &[ParamSchema] = &[
    layer::required("channels", layer::CHANNELS, "Channels of the result."),
    layer::kernel("Size of the window."),
    layer::stride(),
    layer::pad(),
    layer::bias(),
];

fn build(cx: &mut LayerCx) -> Result<NodeId, LayerError> {
    let [inputs, height, width] = cx.image()?;
    let (outputs, window) = (cx.int("channels"), cx.window());
    let [oh, ow] = window::conv_output(&window, [height, width])?;
    let mut operands = vec![cx.operands[0]];
    operands.push(cx.weight("weight", &[oh * ow, outputs, inputs, window.kernel[0], window.kernel[1]])?);
    if cx.bool("bias") {
        operands.push(cx.bias("bias", &[outputs, oh * ow])?);
    }
    Ok(cx.graph.add(LocalConv { stride: window.stride, pad: window.pad }, &operands)?)
}

/// `[positions, out, in, height, width]` of an unshared weight.
fn weight_dims(ty: &Type) -> Result<[usize; 5], String> {
    check::shared(ty, "an unshared weight")?;
    let dims = ty.dims.as_slice().try_into();
    dims.map_err(|_| format!("a weight [positions, out, in, height, width] is needed, but this is {ty}"))
}

attributes! {
    /// `(x[C, H, W], w[oh·ow, O, C, kh, kw], [b[O, oh·ow]]) -> y[O, oh, ow]`
    LocalConv {
        stride: [usize; 2],
        pad: [usize; 2],
    }
}

impl OperatorDef for LocalConv {
    fn schemas() -> Vec<Schema> {
        vec![Schema {
            name: "local_conv",
            doc: "Unshared convolution: each position of the result has weights and a bias of its own.",
            operands: (1, 1),
            params: LOCAL_CONV,
            weights: true,
            build,
        }]
    }

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let ([x, w], bias) = check::with_optional(operands)?;
        let [inputs, height, width] = check::image(x)?;
        let [_, outputs, _, kh, kw] = weight_dims(w)?;
        let window = window::pooling([kh, kw], self.stride, self.pad);
        let [oh, ow] = window::conv_output(&window, [height, width])?;
        check::weight(w, &[oh * ow, outputs, inputs, kh, kw], "the weight")?;
        if let Some(bias) = bias {
            check::weight(bias, &[outputs, oh * ow], "the bias")?;
        }
        check::sized(Type::batched(&[outputs, oh, ow]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        let window = local_window(&site.operands[1].ty, self.stride, self.pad);
        let bias = site.operands.len() == 3;
        recipes::local::forward(site, &window, bias)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[1].elements() as u64
    }
}

fn local_window(weight: &Type, stride: [usize; 2], pad: [usize; 2]) -> Window {
    window::pooling(weight.dims.last_chunk().copied().unwrap_or([1, 1]), stride, pad)
}

attributes! {
    /// `(w, dy) -> dx[C, height, width]`
    LocalConvGradInput {
        stride: [usize; 2],
        pad: [usize; 2],
        height: usize,
        width: usize,
    }
}

impl OperatorDef for LocalConvGradInput {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [w, dy] = check::exactly(operands)?;
        let [positions, outputs, inputs, _, _] = weight_dims(w)?;
        let [oh, ow] = window::conv_output(&local_window(w, self.stride, self.pad), [self.height, self.width])?;
        if oh * ow != positions {
            return Err(format!("the weight has {positions} positions, but the result {oh}·{ow}"));
        }
        check::gradient(&Type::batched(&[outputs, oh, ow]), dy)?;
        check::sized(Type::batched(&[inputs, self.height, self.width]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        let window = local_window(&site.operands[0].ty, self.stride, self.pad);
        recipes::local::grad_input(site, &window)
    }

    fn multiply_adds(&self, operands: &[Type], _result: &Type) -> u64 {
        operands[0].elements() as u64
    }
}

attributes! {
    /// `(x, dy) -> dw`
    LocalConvGradWeight {
        stride: [usize; 2],
        pad: [usize; 2],
        kernel: [usize; 2],
    }
}

impl OperatorDef for LocalConvGradWeight {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x, dy] = check::exactly(operands)?;
        let ([inputs, height, width], [outputs, _, _]) = (check::image(x)?, check::image(dy)?);
        let [oh, ow] = window::conv_output(&window::pooling(self.kernel, self.stride, self.pad), [height, width])?;
        check::gradient(&Type::batched(&[outputs, oh, ow]), dy)?;
        check::sized(Type::shared(&[oh * ow, outputs, inputs, self.kernel[0], self.kernel[1]]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        recipes::local::grad_weight(site, &window::pooling(self.kernel, self.stride, self.pad))
    }

    fn multiply_adds(&self, _operands: &[Type], result: &Type) -> u64 {
        result.elements() as u64
    }
}
