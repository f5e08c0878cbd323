//! Gradient of a convolution's input, without zeros between the gradient's pixels: the pixels of dx fall into
//! `stride · stride` phases, and each phase is a convolution of dy with the taps that reach it.

use super::matrix;
use super::rows::rows_per_iteration;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr, LoopKind, Memory};
use crate::lower::tile::{Tile, tile};
use crate::lower::{LowerCx, LowerError, Lowered, Method};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::loops::{for_each, panel_loop, pieces};
use crate::recipes::common::{Epilogue, Window};
use crate::recipes::cpu::contraction::{Contraction, Count, Init, Masked, transposed_panels};
use crate::recipes::cpu::frame::{Frame, Rows};
use crate::recipes::cpu::{tiles, winograd};

/// The taps of one dimension that reach the positions `phase, phase + stride, …` of dx. With position `stride·q +
/// phase` and number t of one of these taps, the position in dy is `q + first - t·back`, the tap of the kernel `tap +
/// t·step`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Phase {
    phase: usize,
    taps: usize,
    tap: usize,
    step: usize,
    first: i64,
    back: i64,
}

/// The phases of dimension `d` that have positions.
fn phases(g: &Geometry, d: usize) -> Vec<Phase> {
    let w = &g.window;
    let (stride, dilation, kernel) = (w.stride[d], w.dilation[d], w.kernel[d]);
    let phases = stride.min(g.image[d]);
    let reaching = |phase: usize| {
        let reach: Vec<usize> = (0..kernel)
            .filter(|t| ((phase + w.pad[d]) as i64 - (t * dilation) as i64).rem_euclid(stride as i64) == 0)
            .collect();
        let tap = reach.first().copied().unwrap_or(0);
        let step = reach.get(1).map_or(1, |next| next - tap);
        let first = ((phase + w.pad[d]) as i64 - (tap * dilation) as i64).div_euclid(stride as i64);
        let back = (step * dilation / stride) as i64;
        Phase { phase, taps: reach.len(), tap, step, first, back }
    };
    (0..phases).map(reaching).collect()
}

/// Lowest and highest `first - t·back` of all phases.
fn extent(phases: &[Phase]) -> (i64, i64) {
    let used = || phases.iter().filter(|p| p.taps > 0);
    let low = used().map(|p| p.first - (p.taps as i64 - 1) * p.back).min().unwrap_or(0);
    (low, used().map(|p| p.first).max().unwrap_or(0).max(low))
}

/// All that the loops below need.
struct Plan {
    geometry: Geometry,
    rows: Vec<Phase>,
    columns: Vec<Phase>,
    tile: Tile,
    /// Positions of a phase that one iteration computes, and all of them: rows.
    quotient: usize,
    quotients: usize,
    /// The part of dy that an iteration reads: first row relative to its first position, and number of rows.
    low: [i64; 2],
    rows_in: usize,
    frame: Option<Frame>,
    epilogue: Epilogue,
}

/// `(w, dy, [y]) -> dx`, the result's type says the image's size. With y, dx is 0 where y is not above 0.
pub fn grad_input(cx: &mut LowerCx, window: &Window, groups: usize, epilogue: Epilogue) -> Lowered {
    let [w, dy] = [&cx.operands[0], &cx.operands[1]].map(Clone::clone);
    let geometry = Geometry::new(&cx.result.ty, &w.ty, window, groups)?;
    if dy.ty.chw() != Some((geometry.outputs, geometry.out[0], geometry.out[1])) {
        return Err(LowerError::Bug(format!("{}: a gradient {} of a convolution", cx.name, dy.ty)));
    }
    let mask = cx.operands.get(2).map(|y| y.buffer);
    let factors = [w.buffer, dy.buffer];
    let done = cx.target.trains_on_tiles() && tiles::grad_input(cx, geometry, factors, mask, epilogue)
        || mask.is_none() && winograd::grad_input(cx, geometry, factors, epilogue);
    if done {
        return Ok(());
    }
    let plan = Plan::new(cx, geometry.flattened(), epilogue);
    let g = plan.geometry;
    let weights = if g.depthwise() { w.buffer } else { transposed_panels(cx, w.buffer, matrix(&g), plan.tile) };

    let masked = if mask.is_some() { "_mask" } else { "" };
    let mut kernel = KernelBuilder::new(plan.name(cx) + masked);
    let panels = kernel.buffer("w", Elem::F32, Access::Read);
    let source = kernel.buffer("dy", Elem::F32, Access::Read);
    let target = kernel.buffer("dx", Elem::F32, Access::Write);
    let mut args = vec![weights, dy.buffer, cx.result.buffer];
    let mask = mask.map(|buffer| {
        args.push(buffer);
        kernel.buffer("y", Elem::F32, Access::Read)
    });
    let padded = plan.frame.map(|f| (Rows::new(cx, f), kernel.scratch("padded", Elem::F32, plan.rows_in * f.pitch())));
    let memories = Memories { panels, source, target, mask, padded };
    let iterations = plan.quotients.div_ceil(plan.quotient);
    kernel.parallel("t", Expr::BATCH * iterations, |k, t| {
        plan.rows(cx, k, &memories, t.div(iterations), t.rem(iterations) * plan.quotient);
    });
    let kernel = kernel.finish();
    cx.launch(Method::Direct, kernel, &args);
    Ok(())
}

/// What the kernel reads and writes.
struct Memories {
    panels: Memory,
    source: Memory,
    target: Memory,
    mask: Option<Memory>,
    /// The padded copy of rows of dy, where there is one.
    padded: Option<(Rows, Memory)>,
}

/// One row of dx in one phase of columns.
struct RowAt<'a> {
    phases: [&'a Phase; 2],
    from: Memory,
    from_at: Expr,
    pitch: usize,
    to: Memory,
    to_at: Expr,
    /// The memory that decides where dx is 0, laid out as dx.
    mask: Option<Memory>,
}

impl Plan {
    fn new(cx: &LowerCx, g: Geometry, epilogue: Epilogue) -> Plan {
        let [mut rows, mut columns] = [phases(&g, 0), phases(&g, 1)];
        let quotients = [0, 1].map(|d| g.image[d].div_ceil(g.window.stride[d]));
        let ((low_y, high_y), (low_x, high_x)) = (extent(&rows), extent(&columns));
        // Phases without taps read nothing; their addresses should be inside all the same.
        rows.iter_mut().filter(|p| p.taps == 0).for_each(|p| p.first = low_y);
        columns.iter_mut().filter(|p| p.taps == 0).for_each(|p| p.first = low_x);
        let inside = |low: i64, high: i64, d: usize| low >= 0 && quotients[d] as i64 + high <= g.out[d] as i64;
        let frame =
            Frame { image: g.out, channels: g.outputs, left: low_x, width: quotients[1] + (high_x - low_x) as usize };
        let direct = inside(low_y, high_y, 0) && inside(low_x, high_x, 1);
        let reach = (high_y - low_y) as usize;
        let fits = |r: usize| 4 * (r + reach) * frame.pitch() <= cx.target.cache[1] / 2;
        let quotient = rows_per_iteration(quotients[0], |r| direct || fits(r));
        Plan {
            geometry: g,
            tile: tile(cx.target, quotients[1], if g.depthwise() { g.channels } else { g.inner() }),
            rows,
            columns,
            quotient,
            quotients: quotients[0],
            low: [low_y, low_x],
            rows_in: quotient + reach,
            frame: (!direct).then_some(frame),
            epilogue,
        }
    }

    /// The rows of image `n` from position `q` of their phases on.
    fn rows(&self, cx: &mut LowerCx, k: &mut KernelBuilder, memories: &Memories, n: Expr, q: Expr) {
        let g = &self.geometry;
        let row = g.out[1] * g.outputs;
        let (from, from_at, pitch) = match &memories.padded {
            Some((rows, scratch)) => {
                rows.copy(k, memories.source, &n, &q + self.low[0], self.rows_in.into(), *scratch);
                (*scratch, Expr::from(0), rows.pitch())
            }
            None => {
                let at = (&n * g.out[0] + &q + self.low[0]) * row + self.low[1] * g.outputs as i64;
                (memories.source, at, row)
            }
        };
        let end = (&q + self.quotient).min(self.quotients);
        for phase in &self.rows {
            // Rows of the iteration in this phase: the last quotient may lie outside the image.
            let all = (g.image[0] - phase.phase).div_ceil(g.window.stride[0]);
            k.range("q", LoopKind::Serial, q.clone(), end.clone().min(all), |k, at| {
                let y = &at * g.window.stride[0] + phase.phase;
                let to_at = (&n * g.image[0] + &y) * (g.image[1] * g.channels);
                let first = (&at + &q * -1 + (phase.first - self.low[0])) * pitch;
                for across in &self.columns {
                    let at = RowAt {
                        phases: [phase, across],
                        from,
                        from_at: &from_at + &first,
                        pitch,
                        to: memories.target,
                        to_at: to_at.clone(),
                        mask: memories.mask,
                    };
                    self.row(cx, k, memories.panels, &at);
                }
            });
        }
    }

    fn name(&self, cx: &LowerCx) -> String {
        let (g, w) = (&self.geometry, &self.geometry.window);
        let [k, s, p, d] = [w.kernel, w.stride, w.pad, w.dilation].map(|v| format!("{}x{}", v[0], v[1]));
        let [c, h, x, o] = [g.channels, g.image[0], g.image[1], g.outputs];
        format!(
            "conv_grad_input_v{}_{c}x{h}x{x}_{k}s{s}p{p}d{d}g{}_{o}{}",
            cx.target.lanes,
            g.groups,
            self.epilogue.name()
        )
    }

    fn row(&self, cx: &mut LowerCx, k: &mut KernelBuilder, weights: Memory, at: &RowAt) {
        let (g, width) = (&self.geometry, self.tile.columns());
        let [kh, kw] = g.window.kernel;
        let [down, across] = at.phases;
        let groups = if g.depthwise() { 1 } else { g.groups };
        let columns = g.channels / groups;
        let panels = columns.div_ceil(width);
        let tap = (down.tap * kw + across.tap) as i64;
        // Elements between the taps of the prepared weights.
        let per_tap = if g.depthwise() { g.outputs } else { g.columns() * width };
        let count = (g.image[1] - across.phase).div_ceil(g.window.stride[1]);
        for_each(k, "g", groups, |k, group| {
            panel_loop(k, columns, width, (&0.into(), 1), |k, panel, size| {
                let column = &group * columns + &panel * width;
                let base = match g.depthwise() {
                    true => column.clone(),
                    false => (&group * panels + &panel) * (kh * kw * per_tap),
                };
                let channel = if g.depthwise() { column.clone() } else { &group * g.columns() };
                pieces(k, "m", count, self.tile.rows, |k, m, height| {
                    let contraction = self.contraction(at, height, size);
                    let from = &at.from_at + (&m + (across.first - self.low[1])) * g.outputs + &channel;
                    let x = &m * g.window.stride[1] + across.phase;
                    let to = &at.to_at + &x * g.channels + &column;
                    let weights = weights.at(&base + tap * per_tap as i64);
                    let mut args = vec![at.from.at(from), weights, at.to.at(&to)];
                    args.extend(at.mask.map(|y| y.at(&to)));
                    let micro_kernel = match at.mask {
                        Some(_) => cx.micro_kernel(Masked(contraction)),
                        None => cx.micro_kernel(contraction),
                    };
                    k.call(micro_kernel, args);
                });
            });
        });
    }

    fn contraction(&self, at: &RowAt, rows: usize, columns: usize) -> Contraction {
        let g = &self.geometry;
        let [down, across] = at.phases;
        let width = self.tile.columns();
        let step = if g.depthwise() { g.outputs } else { width };
        let per_tap = (step * g.columns()) as i64;
        Contraction {
            elems: [Elem::F32; 3],
            lanes: self.tile.lanes,
            rows,
            columns,
            counts: [down.taps, across.taps, g.columns()].map(Count::Fixed),
            a: [-down.back * at.pitch as i64, -across.back * g.outputs as i64, 1],
            a_row: g.outputs as i64,
            a_columns: g.depthwise(),
            b: [(down.step * g.window.kernel[1]) as i64 * per_tap, across.step as i64 * per_tap, step as i64],
            b_padded: !g.depthwise(),
            next: 0,
            a_ahead: 0,
            c_row: (g.window.stride[1] * g.channels) as i64,
            c_vector: self.tile.lanes.into(),
            init: Init::Zero,
            epilogue: self.epilogue,
        }
    }
}
