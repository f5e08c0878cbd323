//! Convolutions as products (implicit GEMM): forward chains, gradients of input and of weights.

use super::product::{Place, Product, Row, Rows, Span};
use super::sum_parts;
use crate::kernel::ir::{Compare, Elem, Expr, KVar};
use crate::kernel::recipes::conv::Geometry;
use crate::kernel::recipes::{Finish, Reduction, Stage, Window, elementwise, pool};
use crate::kernel::site::{Lowered, Operand, Site, Slot, Unsupported};
use crate::types::Type;

/// Work groups that a product should have at least; fewer share their sums.
const GROUPS: usize = 64;
/// The most parts of a shared sum.
const PARTS: usize = 32;

/// As the CPU's `conv::forward`, a launch for each stage.
pub fn forward(
    site: &mut Site,
    window: &Window,
    groups: usize,
    stages: &[Stage],
    pool: Option<(Reduction, Window)>,
) -> Lowered {
    let operands = site.operands.clone();
    let mut operands = operands.iter();
    let mut take = || operands.next().ok_or_else(|| Unsupported("a convolution lacks an operand".into()));
    let mut x = take()?.clone();
    let one = Window { kernel: [1, 1], stride: [1, 1], pad: [0, 0], dilation: [1, 1] };
    for (i, stage) in stages.iter().enumerate() {
        let weights = take()?;
        let bias = if stage.bias { Some(take()?.slot) } else { None };
        let (window, groups) = if i == 0 { (window, groups) } else { (&one, 1) };
        let g = Geometry::new(&x.ty, &weights.ty, window, groups)?;
        let ty = Type::batched(&[g.outputs, g.out[0], g.out[1]]);
        let last = i + 1 == stages.len() && pool.is_none();
        let slot = match last {
            true => site.result.slot,
            false => site.temp(&format!("stage{i}"), Elem::F32, 0, ty.elements()),
        };
        product(site, &g, [x.slot, weights.slot, slot], bias, stage.finish);
        x = Operand { slot, ty };
    }
    let Some((kind, window)) = pool else { return Ok(()) };
    let mut pooled = Site {
        target: site.target,
        name: format!("{}.pool", site.name),
        operands: vec![x],
        result: site.result.clone(),
        draft: &mut *site.draft,
    };
    match kind {
        Reduction::Max => pool::max(&mut pooled, &window),
        Reduction::Average => pool::avg(&mut pooled, &window),
    }
}

fn name(what: &str, g: &Geometry) -> String {
    let w = &g.window;
    let [k, s, p, d] = [w.kernel, w.stride, w.pad, w.dilation].map(|v| format!("{}x{}", v[0], v[1]));
    format!("{what}_{}x{}x{}_{k}s{s}p{p}d{d}g{}_{}", g.channels, g.image[0], g.image[1], g.groups, g.outputs)
}

/// Splits a term `tap · width + channel` of a sum over a window.
fn term(g: &Geometry, k: &Expr, width: usize) -> ([Expr; 2], Expr) {
    let (tap, channel) = (k.div(width), k.rem(width));
    ([tap.div(g.window.kernel[1]), tap.rem(g.window.kernel[1])], channel)
}

/// The element of x under tap `tap` of the result's pixel `at`, and whether it lies inside the image.
fn input(g: &Geometry, image: &Expr, at: [Expr; 2], tap: &[Expr; 2], channel: Expr) -> Place {
    let w = &g.window;
    let position = |d: usize| &at[d] * w.stride[d] + &tap[d] * w.dilation[d] + -(w.pad[d] as i64);
    let [y, x] = [position(0), position(1)];
    let inside = (w.pad != [0, 0]).then(|| within(&y, g.image[0]) * within(&x, g.image[1]));
    Place { at: ((image * g.image[0] + y) * g.image[1] + x) * g.channels + channel, inside }
}

/// `0 <= e < end`
fn within(e: &Expr, end: usize) -> Expr {
    Expr::from(-1).lt(e.clone()) * e.lt(end)
}

fn pixel(row: &Expr, width: usize) -> [Expr; 2] {
    [row.div(width), row.rem(width)]
}

fn product(site: &mut Site, g: &Geometry, slots: [Slot; 3], bias: Option<Slot>, finish: Finish) {
    let (inner, columns) = (g.inner(), g.columns());
    let depth = g.window.kernel[0] * g.window.kernel[1] * inner;
    let with = if bias.is_some() { "_bias" } else { "" };
    Product {
        name: format!("{}{with}{}", name("conv", g), finish.name()),
        rows: Rows::PerImage(g.out[0] * g.out[1]),
        columns,
        groups: g.groups,
        parts: 1,
        span: &|_| Span { begin: 0.into(), length: depth.into() },
        a: &|row: &Row, k, group| {
            let (tap, channel) = term(g, k, inner);
            input(g, &row.image, pixel(&row.index, g.out[1]), &tap, group * inner + channel)
        },
        b: &|k, column, group| (k * g.outputs + group * columns + column).into(),
        c: &|row, column, group, _| {
            (&row.image * (g.out[0] * g.out[1]) + &row.index) * g.outputs + group * columns + column
        },
        a_along_k: true,
        b_along_k: false,
        bias: bias.is_some().then_some(&|group: &Expr, column: &Expr| group * columns + column),
        finish,
        slots,
        bias_slot: bias,
    }
    .launch(site);
}

/// The gradient where the layer below has a result above 0, its ReLU's gradient: in a launch of its own.
fn masked(site: &mut Site, window: &Window, groups: usize, finish: Finish, mask: Operand) -> Lowered {
    let ty = site.result.ty.clone();
    let plain = Operand { slot: site.temp("unmasked", Elem::F32, 0, ty.elements()), ty };
    let operands = site.operands[..2].to_vec();
    let name = format!("{}.product", site.name);
    grad_input(
        &mut Site { target: site.target, name, operands, result: plain.clone(), draft: &mut *site.draft },
        window,
        groups,
        finish,
    )?;
    let mut relu = Site {
        target: site.target,
        name: format!("{}.mask", site.name),
        operands: vec![plain, mask],
        result: site.result.clone(),
        draft: &mut *site.draft,
    };
    elementwise::map(&mut relu, "mask", |b, v, lanes| {
        let zero = b.f32(0.0, lanes);
        let above = b.compare(Compare::Gt, v[1], zero);
        b.select(above, v[0], zero)
    })
}

/// `(w, dy, [mask]) -> dx`: the sum over taps and output channels of those pixels of dy whose window covers the pixel of dx.
pub fn grad_input(site: &mut Site, window: &Window, groups: usize, finish: Finish) -> Lowered {
    if let Some(mask) = site.operands.get(2).cloned() {
        return masked(site, window, groups, finish, mask);
    }
    let [w, dy] = [&site.operands[0], &site.operands[1]].map(Clone::clone);
    let g = &Geometry::new(&site.result.ty, &w.ty, window, groups)?;
    let (inner, columns) = (g.inner(), g.columns());
    let depth = g.window.kernel[0] * g.window.kernel[1] * columns;
    let result = site.result.slot;
    Product {
        name: name("conv_grad_input", g) + &finish.name(),
        rows: Rows::PerImage(g.image[0] * g.image[1]),
        columns: inner,
        groups: g.groups,
        parts: 1,
        span: &|_| Span { begin: 0.into(), length: depth.into() },
        a: &|row: &Row, k, group| {
            let (tap, channel) = term(g, k, columns);
            let at = pixel(&row.index, g.image[1]);
            let w = &g.window;
            // stride · y = at + pad - tap · dilation
            let from = |d: usize| &at[d] + &tap[d] * -(w.dilation[d] as i64) + w.pad[d];
            let mut inside = Expr::from(1);
            let mut place = [Expr::from(0), Expr::from(0)];
            for d in 0..2 {
                let (reach, stride) = (from(d), w.stride[d]);
                place[d] = reach.div(stride);
                inside = inside * within(&place[d], g.out[d]);
                if stride > 1 {
                    inside = inside * reach.rem(stride).equals(0);
                }
            }
            let [y, x] = place;
            let at = ((&row.image * g.out[0] + y) * g.out[1] + x) * g.outputs + group * columns + channel;
            Place { at, inside: Some(inside) }
        },
        b: &|k, column, group| {
            let (tap, channel) = (k.div(columns), k.rem(columns));
            ((tap * inner + column) * g.outputs + group * columns + channel).into()
        },
        c: &|row, column, group, _| {
            (&row.image * (g.image[0] * g.image[1]) + &row.index) * g.channels + group * inner + column
        },
        a_along_k: true,
        b_along_k: true,
        bias: None,
        finish,
        slots: [dy.slot, w.slot, result],
        bias_slot: None,
    }
    .launch(site);
    Ok(())
}

/// `(x, dy) -> dw`: the sum over images and pixels, shared by work groups in parts of the batch.
pub fn grad_weight(site: &mut Site, window: &Window, groups: usize) -> Lowered {
    let [x, dy] = [&site.operands[0], &site.operands[1]].map(Clone::clone);
    let g = &Geometry::new(&x.ty, &site.result.ty, window, groups)?;
    let (inner, columns) = (g.inner(), g.columns());
    let rows = g.window.kernel[0] * g.window.kernel[1] * inner;
    let elements = rows * g.outputs;
    let parts = parts(rows, columns * g.groups);
    let result = site.result.slot;
    let to = if parts == 1 { result } else { site.temp("partial", Elem::F32, parts * elements, 0) };
    let pixels = g.out[0] * g.out[1];
    Product {
        name: format!("{}_parts{parts}", name("conv_grad_weight", g)),
        rows: Rows::Fixed(rows),
        columns,
        groups: g.groups,
        parts,
        span: &|part| images(part, parts, pixels),
        a: &|row: &Row, k, group| {
            let (tap, channel) = term(g, &row.index, inner);
            input(g, &k.div(pixels), pixel(&k.rem(pixels), g.out[1]), &tap, group * inner + channel)
        },
        b: &|k, column, group| (k * g.outputs + group * columns + column).into(),
        c: &|row, column, group, part| part * elements + &row.index * g.outputs + group * columns + column,
        a_along_k: false,
        b_along_k: false,
        bias: None,
        finish: Finish::NONE,
        slots: [x.slot, dy.slot, to],
        bias_slot: None,
    }
    .launch(site);
    if parts > 1 {
        sum_parts(site, to, result, elements, parts);
    }
    Ok(())
}

/// In how many parts a sum over the batch is computed, for a result of these sizes.
pub(super) fn parts(rows: usize, columns: usize) -> usize {
    // Of the usual size: parts decide roundings, and tiles may be tuned.
    let tiles = rows.div_ceil(64) * columns.div_ceil(64);
    GROUPS.div_ceil(tiles).min(PARTS)
}

/// The terms of a part of the batch, `pixels` terms an image.
pub(super) fn images(part: &Expr, parts: usize, pixels: usize) -> Span {
    let share = Expr::BATCH.ceil_div(parts as i64);
    let first = (part * share.clone()).min(KVar::BATCH);
    let count = (Expr::BATCH - &first).min(share);
    Span { begin: first * pixels, length: count * pixels }
}
