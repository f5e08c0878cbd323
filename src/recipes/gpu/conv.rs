//! Convolutions as products (implicit GEMM): forward, gradients of input and of weights. A linear layer is the 1x1
//! convolution of an image of one pixel.

use super::cells::{Epilogue, Place};
use super::chain;
use super::product::{Factor, Product, Span};
use super::rows::{Row, Rows};
use super::{sum_parts, winograd};
use crate::kernel::ir::{Elem, Expr};
use crate::lower::{BufferId, LowerCx, Lowered, Operand, Unsupported};
use crate::recipes::conv::{Geometry, Link, links};
use crate::recipes::linear::weight_sizes;
use crate::recipes::split::run;
use crate::recipes::{Finish, Reduction, Stage, Window, pool};
use crate::types::Type;

/// Work groups that a product should have at least; fewer share their sums.
const GROUPS: usize = 256;
/// The most parts of a shared sum.
const PARTS: usize = 64;

/// As the CPU's `conv::forward`: links that pay together in one launch, the others in one each, then the pooling.
pub fn forward(
    cx: &mut LowerCx,
    window: &Window,
    groups: usize,
    stages: &[Stage],
    pool: Option<(Reduction, Window)>,
) -> Lowered {
    let links = links(cx, window, groups, stages)?;
    let last = links.last().map(|l| l.geometry).ok_or_else(|| Unsupported("a chain without stages".into()))?;
    let ty = Type::batched(&[last.outputs, last.out[0], last.out[1]]);
    let buffer = match pool {
        None => cx.result.buffer,
        Some(_) => cx.temp("chain", Elem::F32, 0, ty.elements()),
    };
    chain::launch(cx, cx.operands[0].buffer, &links, buffer);
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

/// `(x[F], w[O, F], [b[O]]) -> y[O]`
pub fn linear_forward(cx: &mut LowerCx, stage: Stage) -> Lowered {
    let geometry = dense(cx, 1)?;
    let [x, weights] = [0, 1].map(|i| cx.operands[i].buffer);
    let bias = if stage.bias { cx.operands.get(2).map(|b| b.buffer) } else { None };
    let to = cx.result.buffer;
    chain::launch(cx, x, &[Link { geometry, weights, bias, finish: stage.finish }], to);
    Ok(())
}

/// `(w, dy) -> dx`
pub fn linear_grad_input(cx: &mut LowerCx) -> Lowered {
    let g = dense(cx, 0)?;
    let [w, dy] = [0, 1].map(|i| cx.operands[i].buffer);
    grad_input_of(cx, &g, [w, dy], None, Finish::NONE);
    Ok(())
}

/// `(x, dy) -> dw`
pub fn linear_grad_weight(cx: &mut LowerCx) -> Lowered {
    let (inputs, outputs) = weight_sizes(cx, &cx.result.ty)?;
    grad_weight_of(cx, &pixel_layer(inputs, outputs));
    Ok(())
}

/// The geometry of a linear layer with operand `weight`.
fn dense(cx: &LowerCx, weight: usize) -> Result<Geometry, Unsupported> {
    let (inputs, outputs) = weight_sizes(cx, &cx.operands[weight].ty)?;
    Ok(pixel_layer(inputs, outputs))
}

fn pixel_layer(channels: usize, outputs: usize) -> Geometry {
    Geometry { channels, image: [1, 1], outputs, out: [1, 1], window: Window::ONE, groups: 1 }
}

/// A part of a kernel's name: all that decides its code.
pub fn name(what: &str, g: &Geometry) -> String {
    let w = &g.window;
    if *g == pixel_layer(g.channels, g.outputs) {
        return format!("{}_{}x{}", what.replace("conv", "linear"), g.channels, g.outputs);
    }
    let [k, s, p, d] = [w.kernel, w.stride, w.pad, w.dilation].map(|v| format!("{}x{}", v[0], v[1]));
    format!("{what}_{}x{}x{}_{k}s{s}p{p}d{d}g{}_{}", g.channels, g.image[0], g.image[1], g.groups, g.outputs)
}

/// A 1x1 convolution has no rows and columns: in one column of pixels no index needs a division.
pub fn straight(g: &Geometry) -> Geometry {
    let column = [g.image[0] * g.image[1], 1];
    let plain = g.window.kernel == [1, 1] && g.window.stride == [1, 1] && g.window.pad == [0, 0];
    if plain { Geometry { image: column, out: column, ..*g } } else { *g }
}

/// A term `tap · width + channel` of a sum over a window: its tap and its channel.
fn split(g: &Geometry, k: &Expr, width: usize) -> (Expr, Expr) {
    if g.window.kernel == [1, 1] { (0.into(), k.clone()) } else { (k.div(width), k.rem(width)) }
}

/// The same with the tap as row and column.
fn term(g: &Geometry, k: &Expr, width: usize) -> ([Expr; 2], Expr) {
    let (tap, channel) = split(g, k, width);
    (pixel(&tap, g.window.kernel[1]), channel)
}

/// The element of x under tap `tap` of the result's pixel `at`, and whether it lies inside the image.
fn input(g: &Geometry, image: &Expr, at: [Expr; 2], tap: &[Expr; 2], channel: Expr) -> Place {
    let w = &g.window;
    let position = |d: usize| &at[d] * w.stride[d] + &tap[d] * w.dilation[d] + -(w.pad[d] as i64);
    let [y, x] = [position(0), position(1)];
    let inside = if w.pad == [0, 0] { 1.into() } else { within(&y, g.image[0]) * within(&x, g.image[1]) };
    Place { at: ((image * g.image[0] + y) * g.image[1] + x) * g.channels + channel, inside }
}

/// `0 <= e < end`
pub fn within(e: &Expr, end: usize) -> Expr {
    Expr::from(-1).lt(e.clone()) * e.lt(end)
}

fn pixel(row: &Expr, width: usize) -> [Expr; 2] {
    [row.div(width), row.rem(width)]
}

/// The pixel of x under term `k` of the result's pixel `row`.
pub fn patch(g: &Geometry, row: &Row, k: &Expr, group: &Expr) -> Place {
    let (tap, channel) = term(g, k, g.inner());
    input(g, &row.image, pixel(&row.index, g.out[1]), &tap, group * g.inner() + channel)
}

/// What a link is called as a product of its own.
pub fn product_name(link: &Link) -> String {
    name("conv", &link.geometry) + &link.epilogue().name()
}

/// The convolution of one link: a product whose rows are pixels and whose terms are taps and channels.
pub fn product(cx: &mut LowerCx, x: BufferId, link: &Link, to: BufferId) {
    let g = &straight(&link.geometry);
    let (columns, depth) = (g.columns(), link.depth());
    let epilogue = link.epilogue();
    Product {
        name: product_name(link),
        rows: Rows::PerImage(g.out[0] * g.out[1]),
        columns,
        groups: g.groups,
        parts: 1,
        span: &|_| Span::all(depth),
        a: Factor { buffer: x, along_k: true, run: run(g.inner()), at: &|row, k, group| patch(g, row, k, group) },
        b: Factor {
            buffer: link.weights,
            along_k: false,
            run: run(columns),
            at: &|column, k, group| (k * g.outputs + group * columns + &column.index).into(),
        },
        c: &|row, column, group, _| {
            (&row.image * (g.out[0] * g.out[1]) + &row.index) * g.outputs + group * columns + column
        },
        result: to,
        bias: link.bias,
        epilogue,
        mask: None,
    }
    .launch(cx);
}

/// `(w, dy, [mask]) -> dx`: the sum over taps and output channels of those pixels of dy whose window covers the pixel of dx,
/// where the layer below has a result above 0 (its ReLU's gradient).
pub fn grad_input(cx: &mut LowerCx, window: &Window, groups: usize, finish: Finish) -> Lowered {
    let g = Geometry::new(&cx.result.ty, &cx.operands[0].ty, window, groups)?;
    let [w, dy] = [0, 1].map(|i| cx.operands[i].buffer);
    let mask = cx.operands.get(2).map(|m| m.buffer);
    if !winograd::grad_input(cx, &g, [w, dy], mask, finish) {
        grad_input_of(cx, &g, [w, dy], mask, finish);
    }
    Ok(())
}

fn grad_input_of(
    cx: &mut LowerCx,
    geometry: &Geometry,
    [w, dy]: [BufferId; 2],
    mask: Option<BufferId>,
    finish: Finish,
) {
    let g = &straight(geometry);
    let (inner, columns) = (g.inner(), g.columns());
    let depth = g.window.kernel[0] * g.window.kernel[1] * columns;
    let epilogue = Epilogue { mask: mask.is_some(), finish, ..Epilogue::default() };
    Product {
        name: format!("{}{}", name("conv_grad_input", geometry), epilogue.name()),
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
    .launch(cx);
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
pub fn grad_weight(cx: &mut LowerCx, window: &Window, groups: usize) -> Lowered {
    let g = Geometry::new(&cx.operands[0].ty, &cx.result.ty, window, groups)?;
    grad_weight_of(cx, &g);
    Ok(())
}

fn grad_weight_of(cx: &mut LowerCx, geometry: &Geometry) {
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
        rows: Rows::Fixed(rows),
        columns,
        groups: g.groups,
        parts,
        span: &|part| share(part, parts, &(Expr::BATCH * pixels)),
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
        epilogue: Epilogue::default(),
        mask: None,
    }
    .launch(cx);
    if parts > 1 {
        sum_parts(cx, to, result, elements, parts);
    }
}

/// In how many parts a sum over the batch is computed, for a result of these sizes.
fn parts(rows: usize, columns: usize) -> usize {
    // Of the usual size: parts decide roundings, and tiles may be tuned.
    let tiles = rows.div_ceil(64) * columns.div_ceil(64);
    GROUPS.div_ceil(tiles).min(PARTS)
}

/// The terms of a part of `total` of them.
pub fn share(part: &Expr, parts: usize, total: &Expr) -> Span {
    let share = total.ceil_div(parts as i64);
    let begin = (part * share.clone()).min(total);
    Span { length: (total - &begin).min(share), begin }
}
