//! Unshared convolution: a kernel of its own for each output position. Each position is a small product whose rows
//! are images.

use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr};
use crate::lower::tile::tile;
use crate::lower::{LowerCx, LowerError, Lowered};
use crate::recipes::common::loops::{image_tiles, piece, pieces};
use crate::recipes::common::{Epilogue, Window};
use crate::recipes::cpu::contraction::{Contraction, Count, Init, Matrix, transposed_panels};
use crate::recipes::cpu::frame;
use crate::types::Type;

/// Rows that the choice of a tile assumes where they are images.
const IMAGES: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Shape {
    channels: usize,
    image: [usize; 2],
    outputs: usize,
    out: [usize; 2],
    window: Window,
}

impl Shape {
    fn new(x: &Type, y: &Type, window: &Window) -> Result<Shape, LowerError> {
        match (x.chw(), y.chw()) {
            (Some((channels, h, w)), Some((outputs, oh, ow))) if window.stride[0] > 0 && window.stride[1] > 0 => {
                Ok(Shape { channels, image: [h, w], outputs, out: [oh, ow], window: *window })
            }
            _ => Err(LowerError::Bug(format!("an unshared convolution of {x} to {y}"))),
        }
    }

    fn name(&self, what: &str, lanes: u32) -> String {
        let w = &self.window;
        let [k, s, p, d] = [w.kernel, w.stride, w.pad, w.dilation].map(|v| format!("{}x{}", v[0], v[1]));
        let [(c, h, x), (o, oh, ow)] =
            [(self.channels, self.image[0], self.image[1]), (self.outputs, self.out[0], self.out[1])];
        format!("local_{what}_v{lanes}_{c}x{h}x{x}_{k}s{s}p{p}d{d}_{o}x{oh}x{ow}")
    }

    fn positions(&self) -> usize {
        self.out[0] * self.out[1]
    }

    fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// First tap inside the image, the cell it reads, and how many taps there are, for output position `o`.
    fn clip(&self, d: usize, o: &Expr) -> (Expr, Expr, Expr) {
        let w = &self.window;
        let (kernel, dilation, size) = (w.kernel[d], w.dilation[d].max(1) as i64, self.image[d] as i64);
        let begin = o * w.stride[d] + -(w.pad[d] as i64);
        let first = (&begin * -1).ceil_div(dilation).max(0);
        let end = (&begin * -1 + (size - 1)).div(dilation) + 1;
        let count = (end.min(kernel) + &first * -1).max(0);
        let first = first.min(kernel - 1);
        let cell = (&begin + &first * dilation).max(0).min(size - 1);
        (first, cell, count)
    }
}

/// `(x, w[P, O, I, kh, kw], [b[O, P]]) -> y[O, oh, ow]`, P = oh·ow.
pub fn forward(cx: &mut LowerCx, window: &Window, bias: bool) -> Lowered {
    let s = Shape::new(&cx.operands[0].ty, &cx.result.ty, window)?;
    let (c, o, [h, w], [_, ow]) = (s.channels, s.outputs, s.image, s.out);
    let tile = tile(cx.target, IMAGES, o);
    let mut args: Vec<_> = cx.operands.iter().take(2 + usize::from(bias)).map(|v| v.buffer).collect();
    args.push(cx.result.buffer);
    let name = s.name(if bias { "bias" } else { "forward" }, tile.lanes);
    let mut kernel = KernelBuilder::new(name);
    let x = kernel.buffer("x", Elem::F32, Access::Read);
    let weights = kernel.buffer("w", Elem::F32, Access::Read);
    let bias = bias.then(|| kernel.buffer("b", Elem::F32, Access::Read));
    let y = kernel.buffer("y", Elem::F32, Access::Write);
    let panels = o.div_ceil(tile.columns());
    kernel.parallel("t", s.positions() * panels, |k, t| {
        let (position, panel) = (t.div(panels), t.rem(panels));
        let (ky, cy, rows) = s.clip(0, &position.div(ow));
        let (kx, left, columns) = s.clip(1, &position.rem(ow));
        let column = &panel * tile.columns();
        let from_w = ((&position * s.taps() + ky * s.window.kernel[1] + kx) * c) * o + &column;
        piece(k, &panel, o, tile.columns(), |k, size| {
            image_tiles(k, &0.into(), &Expr::BATCH, tile.rows, |k, n, height| {
                let contraction = Contraction {
                    elems: [Elem::F32; 3],
                    lanes: tile.lanes,
                    rows: height,
                    columns: size,
                    counts: [Count::Given, Count::Given, Count::Fixed(c)],
                    a: [s.window.dilation[0] * w * c, s.window.dilation[1] * c, 1].map(|v| v as i64),
                    a_row: (h * w * c) as i64,
                    a_columns: false,
                    b: [s.window.kernel[1] * c * o, c * o, o].map(|v| v as i64),
                    b_padded: false,
                    next: 0,
                    a_ahead: 0,
                    c_row: (s.positions() * o) as i64,
                    c_vector: tile.lanes.into(),
                    init: if bias.is_some() { Init::Bias } else { Init::Zero },
                    epilogue: Epilogue::NONE,
                };
                let from = ((&n * h + &cy) * w + &left) * c;
                let to = (&n * s.positions() + &position) * o + &column;
                let mut args = vec![x.at(from), weights.at(&from_w), y.at(to)];
                args.extend(bias.map(|b| b.at(&position * o + &column)));
                args.extend([Arg::Int(rows.clone()), Arg::Int(columns.clone())]);
                k.call(cx.micro_kernel(contraction), args);
            });
        });
    });
    let kernel = kernel.finish();
    cx.launch("local", kernel, &args);
    Ok(())
}

/// `(w, dy) -> dx`
pub fn grad_input(cx: &mut LowerCx, window: &Window) -> Lowered {
    let s = Shape::new(&cx.result.ty, &cx.operands[1].ty, window)?;
    let (c, o, [h, w], [oh, ow]) = (s.channels, s.outputs, s.image, s.out);
    let tile = tile(cx.target, IMAGES, c);
    let (width, [kh, kw]) = (tile.columns(), window.kernel);
    let matrix = Matrix { taps: s.positions() * s.taps(), inner: c, groups: 1, columns: o };
    let panels_slot = transposed_panels(cx, cx.operands[0].buffer, matrix, tile);
    let args = [panels_slot, cx.operands[1].buffer, cx.result.buffer];
    let mut kernel = KernelBuilder::new(s.name("grad_input", tile.lanes));
    let weights = kernel.buffer("w", Elem::F32, Access::Read);
    let dy = kernel.buffer("dy", Elem::F32, Access::Read);
    let dx = kernel.buffer("dx", Elem::F32, Access::ReadWrite);
    let panels = c.div_ceil(width);
    kernel.parallel("t", h * w * panels, |k, t| {
        let (pixel, panel) = (t.div(panels), t.rem(panels));
        let (iy, ix) = (pixel.div(w), pixel.rem(w));
        piece(k, &panel, c, width, |k, size| {
            let zero = frame::zero(cx, size);
            let column = &panel * width;
            let place = |n: Expr| dx.at((n * (h * w) + &pixel) * c + &column);
            k.serial("n", Expr::BATCH, |k, n| k.call(zero, [place(n)]));
            image_tiles(k, &0.into(), &Expr::BATCH, tile.rows, |k, n, height| {
                let contraction = Contraction {
                    elems: [Elem::F32; 3],
                    lanes: tile.lanes,
                    rows: height,
                    columns: size,
                    counts: [1, 1, o].map(Count::Fixed),
                    a: [0, 0, 1],
                    a_row: (s.positions() * o) as i64,
                    a_columns: false,
                    b: [0, 0, width as i64],
                    b_padded: true,
                    next: 0,
                    a_ahead: 0,
                    c_row: (h * w * c) as i64,
                    c_vector: tile.lanes.into(),
                    init: Init::Load,
                    epilogue: Epilogue::NONE,
                };
                let micro_kernel = cx.micro_kernel(contraction);
                k.serial("ky", kh, |k, ky| {
                    let (oy, reaches) = reached(&s, 0, &iy, &ky, oh);
                    k.when(reaches, |k| {
                        k.serial("kx", kw, |k, kx| {
                            let (ox, reaches) = reached(&s, 1, &ix, &kx, ow);
                            let position = &oy * ow + &ox;
                            let tap = &position * s.taps() + &ky * kw + &kx;
                            let from = dy.at((&n * s.positions() + &position) * o);
                            let matrix = weights.at(&panel * (matrix.taps * o * width) + tap * (o * width));
                            k.when(reaches, |k| k.call(micro_kernel, [from, matrix, place(n.clone())]));
                        });
                    });
                });
            });
        });
    });
    let kernel = kernel.finish();
    cx.launch("local_grad_input", kernel, &args);
    Ok(())
}

/// The output position that reads cell `i` with tap `t`, and whether there is one.
fn reached(s: &Shape, d: usize, i: &Expr, tap: &Expr, out: usize) -> (Expr, Expr) {
    let w = &s.window;
    let distance = i + &(tap * w.dilation[d] * -1) + w.pad[d] as i64;
    let position = distance.div(w.stride[d]);
    let whole = distance.rem(w.stride[d]).equals(0);
    let inside = Expr::from(-1).lt(&position) * position.lt(out);
    (position, whole * inside)
}

/// `(x, dy) -> dw`
pub fn grad_weight(cx: &mut LowerCx, window: &Window) -> Lowered {
    let [x, dy] = [&cx.operands[0], &cx.operands[1]].map(Clone::clone);
    let s = Shape::new(&x.ty, &dy.ty, window)?;
    let (c, o, [h, w], [_, ow]) = (s.channels, s.outputs, s.image, s.out);
    let tile = tile(cx.target, c, o);
    let mut kernel = KernelBuilder::new(s.name("grad_weight", tile.lanes));
    let source = kernel.buffer("x", Elem::F32, Access::Read);
    let gradient = kernel.buffer("dy", Elem::F32, Access::Read);
    let target = kernel.buffer("dw", Elem::F32, Access::Write);
    kernel.parallel("t", s.positions() * s.taps(), |k, t| {
        let (position, tap) = (t.div(s.taps()), t.rem(s.taps()));
        let cell = |d: usize, o: Expr, tap: Expr| {
            let at = o * window.stride[d] + tap * window.dilation[d] + -(window.pad[d] as i64);
            let inside = Expr::from(-1).lt(&at) * at.lt(s.image[d]);
            (at.max(0).min(s.image[d] - 1), inside)
        };
        let (y, y_inside) = cell(0, position.div(ow), tap.div(window.kernel[1]));
        let (x, x_inside) = cell(1, position.rem(ow), tap.rem(window.kernel[1]));
        // A tap outside the image sums over no images: zeros.
        let images = y_inside * x_inside * Expr::BATCH;
        pieces(k, "p", o, tile.columns(), |k, column, columns| {
            pieces(k, "r", c, tile.rows, |k, row, rows| {
                let contraction = Contraction {
                    elems: [Elem::F32; 3],
                    lanes: tile.lanes,
                    rows,
                    columns,
                    counts: [Count::Fixed(1), Count::Fixed(1), Count::Given],
                    a: [0, 0, (h * w * c) as i64],
                    a_row: 1,
                    a_columns: false,
                    b: [0, 0, (s.positions() * o) as i64],
                    b_padded: false,
                    next: 0,
                    a_ahead: 0,
                    c_row: o as i64,
                    c_vector: tile.lanes.into(),
                    init: Init::Zero,
                    epilogue: Epilogue::NONE,
                };
                let unroll = contraction.unroll();
                let args = [
                    source.at((&y * w + &x) * c + &row),
                    gradient.at(&position * o + &column),
                    target.at((&t * c + &row) * o + &column),
                    Arg::Int(images.div(unroll)),
                    Arg::Int(images.rem(unroll)),
                ];
                k.call(cx.micro_kernel(contraction), args);
            });
        });
    });
    let kernel = kernel.finish();
    cx.launch("local_grad_weight", kernel, &[x.buffer, dy.buffer, cx.result.buffer]);
    Ok(())
}
