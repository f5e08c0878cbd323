//! Fully connected layers: 1x1 convolutions of images of one pixel.

use super::chain;
use super::conv::{input_gradient, weight_gradient};
use super::window::pixel_layer;
use crate::lower::target::Gpu;
use crate::lower::{LowerCx, LowerError, Lowered};
use crate::recipes::common::conv::{Geometry, Link};
use crate::recipes::common::{Epilogue, Stage, weight_sizes};

/// `(x[F], w[O, F], [b[O]]) -> y[O]`
pub fn forward(cx: &mut LowerCx, gpu: &Gpu, stage: Stage) -> Lowered {
    let geometry = dense(cx, 1)?;
    let [x, weights] = [0, 1].map(|i| cx.operands[i].buffer);
    let bias = if stage.bias { cx.operands.get(2).map(|b| b.buffer) } else { None };
    let to = cx.result.buffer;
    chain::launch(cx, gpu, x, &[Link { geometry, weights, bias, epilogue: stage.epilogue }], to);
    Ok(())
}

/// `(w, dy) -> dx`
pub fn grad_input(cx: &mut LowerCx, gpu: &Gpu) -> Lowered {
    let g = dense(cx, 0)?;
    let [w, dy] = [0, 1].map(|i| cx.operands[i].buffer);
    input_gradient(cx, gpu, &g, [w, dy], None, Epilogue::NONE);
    Ok(())
}

/// `(x, dy) -> dw`
pub fn grad_weight(cx: &mut LowerCx, gpu: &Gpu) -> Lowered {
    let (inputs, outputs) = weight_sizes(cx, &cx.result.ty)?;
    weight_gradient(cx, gpu, &pixel_layer(inputs, outputs));
    Ok(())
}

/// The geometry of a linear layer with operand `weight`.
fn dense(cx: &LowerCx, weight: usize) -> Result<Geometry, LowerError> {
    let (inputs, outputs) = weight_sizes(cx, &cx.operands[weight].ty)?;
    Ok(pixel_layer(inputs, outputs))
}
