//! Convolutions as products (implicit GEMM): forward, gradients of input and of weights. A linear layer is the 1x1
//! convolution of an image of one pixel.

use super::cells::{Place, TileEpilogue};
use super::product::{Factor, Product, Span};
use super::rows::{Row, Rows};
use super::window::{input, method, name, pixel, split, straight, term, within};
use super::{chain, sum_parts, winograd};
use crate::kernel::ir::{Elem, Expr};
use crate::lower::target::Gpu;
use crate::lower::{BufferId, LowerCx, LowerError, Lowered, Operand};
use crate::recipes::common::conv::{Geometry, links};
use crate::recipes::common::partition::run;
use crate::recipes::common::{Epilogue, Reduction, Stage, Window, pool};
use crate::types::Type;

/// Work groups that a product should have at least; fewer share their sums.
const GROUPS: usize = 256;
/// The most parts of a shared sum.
const PARTS: usize = 64;

/// Like the CPU's `conv::forward`: links that pay together in one launch, the others in one each, then the pooling.
pub fn forward(
    cx: &mut LowerCx,
    gpu: &Gpu,
    (window, groups): (&Window, usize),
    stages: &[Stage],
    pool: Option<(Reduction, Window)>,
) -> Lowered {
    let links = links(cx, window, groups, stages)?;
    let last = links.last().map(|l| l.geometry).ok_or_else(|| LowerError::Bug("a chain without stages".into()))?;
    let ty = Type::batched(&[last.outputs, last.out[0], last.out[1]]);
    let buffer = match pool {
        None => cx.result.buffer,
        Some(_) => cx.temp("chain", Elem::F32, 0, ty.elements()),
    };
    chain::launch(cx, gpu, cx.operands[0].buffer, &links, buffer);
    let Some((kind, window)) = pool else { return Ok(()) };
    let mut pooled = LowerCx {
        target: cx.target,
        name: format!("{}.pool", cx.name),
        operands: vec![Operand { buffer, ty }],
        result: cx.result.clone(),
        builder: &mut *cx.builder,
    };
    match kind {
        Reduction::Max => pool::max(&mut pooled, &window),
        Reduction::Average => pool::avg(&mut pooled, &window),
    }
}

/// `(w, dy, [mask]) -> dx`: the sum over taps and output channels of those pixels of dy whose window covers the pixel
/// of dx, where the layer below has a result above 0 (its ReLU's gradient).
pub fn grad_input(cx: &mut LowerCx, gpu: &Gpu, (window, groups): (&Window, usize), epilogue: Epilogue) -> Lowered {
    let g = Geometry::new(&cx.result.ty, &cx.operands[0].ty, window, groups)?;
    let [w, dy] = [0, 1].map(|i| cx.operands[i].buffer);
    let mask = cx.operands.get(2).map(|m| m.buffer);
    if !winograd::grad_input(cx, gpu, &g, [w, dy], mask, epilogue) {
        input_gradient(cx, gpu, &g, [w, dy], mask, epilogue);
    }
    Ok(())
}

/// The launch `(w, dy, [mask]) -> dx` of a tiled product.
pub fn input_gradient(
    cx: &mut LowerCx,
    gpu: &Gpu,
    geometry: &Geometry,
    [w, dy]: [BufferId; 2],
    mask: Option<BufferId>,
    epilogue: Epilogue,
) {
    let g = &straight(geometry);
    let (inner, columns) = (g.inner(), g.columns());
    let depth = g.window.kernel[0] * g.window.kernel[1] * columns;
    let epilogue = TileEpilogue { mask: mask.is_some(), epilogue, ..TileEpilogue::default() };
    Product {
        name: format!("{}{}", name("conv_grad_input", geometry), epilogue.name()),
        method: method(geometry, "linear_grad_input"),
        rows: Rows::PerImage(g.image[0] * g.image[1]),
        columns: inner,
        groups: g.groups,
        parts: 1,
        span: &|_| Span::all(depth),
        a: Factor { buffer: dy, along_k: true, run: run(columns), at: &|row, k, group| covering(g, row, k, group) },
        b: Factor {
            buffer: w,
            along_k: true,
            run: run(columns),
            at: &|column, k, group| {
                let (tap, channel) = split(g, k, columns);
                ((tap * inner + &column.index) * g.outputs + group * columns + channel).into()
            },
        },
        c: &|row, column, group, _| {
            (&row.image * (g.image[0] * g.image[1]) + &row.index) * g.channels + group * inner + column
        },
        result: cx.result.buffer,
        bias: None,
        epilogue,
        mask,
    }
    .launch(cx, gpu);
}

/// The pixel of dy that reached the pixel `row` of x through the tap of term `k`.
fn covering(g: &Geometry, row: &Row, k: &Expr, group: &Expr) -> Place {
    let (tap, channel) = term(g, k, g.columns());
    let at = pixel(&row.index, g.image[1]);
    let w = &g.window;
    let (mut inside, mut place) = (Expr::from(1), [Expr::from(0), Expr::from(0)]);
    for d in 0..2 {
        // stride · y = at + pad - tap · dilation
        let (reach, stride) = (&at[d] + &tap[d] * -(w.dilation[d] as i64) + w.pad[d], w.stride[d]);
        place[d] = reach.div(stride);
        if g.out[d] != g.image[d] || w.kernel[d] > 1 || w.pad[d] > 0 {
            inside = inside * within(&place[d], g.out[d]);
        }
        if stride > 1 {
            inside = inside * reach.rem(stride).equals(0);
        }
    }
    let [y, x] = place;
    let at = ((&row.image * g.out[0] + y) * g.out[1] + x) * g.outputs + group * g.columns() + channel;
    Place { at, inside }
}

/// `(x, dy) -> dw`: the sum over images and pixels, shared by work groups in parts.
pub fn grad_weight(cx: &mut LowerCx, gpu: &Gpu, window: &Window, groups: usize) -> Lowered {
    let g = Geometry::new(&cx.operands[0].ty, &cx.result.ty, window, groups)?;
    weight_gradient(cx, gpu, &g);
    Ok(())
}

/// The launches `(x, dy) -> dw` of a tiled product.
pub fn weight_gradient(cx: &mut LowerCx, gpu: &Gpu, geometry: &Geometry) {
    let g = &straight(geometry);
    let [x, dy] = [0, 1].map(|i| cx.operands[i].buffer);
    let (inner, columns) = (g.inner(), g.columns());
    let rows = g.window.kernel[0] * g.window.kernel[1] * inner;
    let elements = rows * g.outputs;
    let parts = parts(rows, columns * g.groups);
    let result = cx.result.buffer;
    let to = if parts == 1 { result } else { cx.temp("partial", Elem::F32, parts * elements, 0) };
    let pixels = g.out[0] * g.out[1];
    Product {
        name: format!("{}_parts{parts}", name("conv_grad_weight", geometry)),
        method: method(geometry, "linear_grad_weight"),
        rows: Rows::Fixed(rows),
        columns,
        groups: g.groups,
        parts,
        span: &|part| Span::share(part, parts, &(Expr::BATCH * pixels)),
        a: Factor {
            buffer: x,
            along_k: false,
            run: run(inner),
            at: &|row, k, group| {
                let (tap, channel) = term(g, &row.index, inner);
                input(g, &k.div(pixels), pixel(&k.rem(pixels), g.out[1]), &tap, group * inner + channel)
            },
        },
        b: Factor {
            buffer: dy,
            along_k: false,
            run: run(columns),
            at: &|column, k, group| (k * g.outputs + group * columns + &column.index).into(),
        },
        c: &|row, column, group, part| part * elements + &row.index * g.outputs + group * columns + column,
        result: to,
        bias: None,
        epilogue: TileEpilogue::default(),
        mask: None,
    }
    .launch(cx, gpu);
    if parts > 1 {
        sum_parts(cx, to, result, elements, parts);
    }
}

/// In how many parts a sum over the batch is computed, for a result of these sizes.
fn parts(rows: usize, columns: usize) -> usize {
    // Tiles of the usual size: parts decide roundings, and tiles may be tuned.
    let tiles = rows.div_ceil(64) * columns.div_ceil(64);
    GROUPS.div_ceil(tiles).min(PARTS)
}
