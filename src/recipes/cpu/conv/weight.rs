//! Gradient of a convolution's weights: for each tap `dw[ci, co] = Σ_pixels x[pixel + tap, ci] · dy[pixel, co]`.
//!
//! An iteration owns one tap and a block of (input, output) channels and goes over the images in order; its
//! accumulators rest in dw between images. Borders are loop counts: only pixels whose tap lies inside the image are
//! summed.

use super::parts;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr, LoopKind, Memory};
use crate::lower::tile::{Tile, tile};
use crate::lower::{LowerCx, LowerError, Lowered, Method};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::{Epilogue, Window};
use crate::recipes::cpu::contraction::{Contraction, Count, Init};
use crate::recipes::cpu::frame::zero_rows;
use crate::recipes::cpu::{tiles, winograd};

/// Full tiles and the remainder of one side of the product, dealt out in blocks of tiles.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Side {
    len: usize,
    piece: usize,
    /// Tiles of a block.
    share: usize,
}

impl Side {
    fn tiles(&self) -> usize {
        self.len.div_ceil(self.piece)
    }

    fn blocks(&self) -> usize {
        self.tiles().div_ceil(self.share)
    }

    /// `body(kernel, first index, size)` for each tile of block `block`.
    fn each(
        &self,
        k: &mut KernelBuilder,
        name: &str,
        block: &Expr,
        mut body: impl FnMut(&mut KernelBuilder, Expr, usize),
    ) {
        let (full, rest) = (self.len / self.piece, self.len % self.piece);
        let begin = block * self.share;
        if full > 0 {
            let end = (&begin + self.share).min(full);
            k.range(name, LoopKind::Serial, begin, end, |k, i| body(k, i * self.piece, self.piece));
        }
        if rest > 0 {
            k.when(block.equals(self.blocks() - 1), |k| body(k, (full * self.piece).into(), rest));
        }
    }
}

struct Plan {
    geometry: Geometry,
    tile: Tile,
    /// Rows of the product: input channels of a group (one row where vectors run along the channels of both).
    inner: Side,
    columns: Side,
    groups: usize,
}

/// `(x, dy) -> dw`.
pub fn grad_weight(cx: &mut LowerCx, window: &Window, groups: usize) -> Lowered {
    let [x, dy] = [&cx.operands[0], &cx.operands[1]].map(Clone::clone);
    let geometry = Geometry::new(&x.ty, &cx.result.ty, window, groups)?;
    if dy.ty.chw() != Some((geometry.outputs, geometry.out[0], geometry.out[1])) {
        return Err(LowerError::Bug(format!("{}: a gradient {} of a convolution", cx.name, dy.ty)));
    }
    if cx.target.trains_on_tiles() && tiles::grad_weight(cx, geometry, [x.buffer, dy.buffer]) {
        return Ok(());
    }
    let geometry = geometry.flattened();
    if winograd::grad_weight(cx, geometry, [x.buffer, dy.buffer], parts::short_sums(cx, geometry))
        || parts::grad_weight(cx, geometry, x.buffer, dy.buffer)
    {
        return Ok(());
    }
    let plan = Plan::new(cx, geometry);
    let g = plan.geometry;
    let [kh, kw] = g.window.kernel;

    let mut kernel = KernelBuilder::new(plan.name(cx));
    let source = kernel.buffer("x", Elem::F32, Access::Read);
    let gradient = kernel.buffer("dy", Elem::F32, Access::Read);
    let target = kernel.buffer("dw", Elem::F32, Access::ReadWrite);
    let blocks = [plan.inner.blocks(), plan.columns.blocks()];
    kernel.parallel("t", kh * kw * plan.groups * blocks[0] * blocks[1], |k, t| {
        let (column, rest) = (t.rem(blocks[1]), t.div(blocks[1]));
        let (row, rest) = (rest.rem(blocks[0]), rest.div(blocks[0]));
        let (group, tap) = (rest.rem(plan.groups), rest.div(plan.groups));
        let owner = Owner { group, row, column, target, tap: &tap };
        let spans = [span(&g, 0, &tap.div(kw)), span(&g, 1, &tap.rem(kw))];
        k.when(cx.images_before().equals(0), |k| plan.zero(cx, k, &owner));
        k.serial("n", Expr::BATCH, |k, n| plan.image(cx, k, &owner, &spans, &n, (source, gradient)));
    });
    let kernel = kernel.finish();
    let result = cx.result.buffer;
    cx.launch_accumulating(Method::Direct, kernel, &[x.buffer, dy.buffer, result]);
    Ok(())
}

/// What an iteration owns.
struct Owner<'a> {
    group: Expr,
    row: Expr,
    column: Expr,
    target: Memory,
    tap: &'a Expr,
}

/// The positions of dy whose tap lies inside the image, in one dimension.
struct Span {
    /// The first of them in dy.
    out: Expr,
    /// The first of them in x.
    image: Expr,
    count: Expr,
}

fn span(g: &Geometry, d: usize, tap: &Expr) -> Span {
    let w = &g.window;
    let (stride, pad, size) = (w.stride[d] as i64, w.pad[d] as i64, g.image[d] as i64);
    let shift = tap * w.dilation[d];
    // stride·o + shift - pad in 0 .. size
    let out = (&shift * -1 + pad).ceil_div(stride).max(0);
    let end = (&shift * -1 + (size - 1 + pad)).div(stride) + 1;
    let count = (end.min(g.out[d]) + &out * -1).max(0);
    // Where there are none, any address inside will do.
    let out = out.min(g.out[d] - 1);
    let image = (&out * stride + &shift + -pad).max(0).min(size - 1);
    Span { out, image, count }
}

impl Plan {
    fn new(cx: &LowerCx, g: Geometry) -> Plan {
        let (groups, rows, columns) =
            if g.depthwise() { (1, 1, g.channels) } else { (g.groups, g.inner(), g.columns()) };
        let tile = tile(cx.target, rows, columns);
        // Both operands' parts of an image should stay in cache, and there should be enough iterations.
        let pixels = g.out[0] * g.out[1];
        let most = (cx.target.cache[1] / 2 / 4 / pixels.max(1)).max(1);
        let taps = g.window.kernel[0] * g.window.kernel[1] * groups;
        let (mut inner, mut outer) =
            (Side { len: rows, piece: tile.rows, share: 1 }, Side { len: columns, piece: tile.columns(), share: 1 });
        loop {
            let wider = |s: &Side| Side { share: s.share * 2, ..*s };
            let (i, o) = (wider(&inner), wider(&outer));
            let fits = |i: &Side, o: &Side| {
                i.share * i.piece + o.share * o.piece <= most && taps * i.blocks() * o.blocks() >= 16
            };
            if i.share * i.piece <= outer.share * outer.piece && inner.blocks() > 1 && fits(&i, &outer) {
                inner = i;
            } else if outer.blocks() > 1 && fits(&inner, &o) {
                outer = o;
            } else if inner.blocks() > 1 && fits(&i, &outer) {
                inner = i;
            } else {
                break Plan { geometry: g, tile, inner, columns: outer, groups };
            }
        }
    }

    fn name(&self, cx: &LowerCx) -> String {
        let (g, w) = (&self.geometry, &self.geometry.window);
        let [k, s, p, d] = [w.kernel, w.stride, w.pad, w.dilation].map(|v| format!("{}x{}", v[0], v[1]));
        let [c, h, x, o] = [g.channels, g.image[0], g.image[1], g.outputs];
        format!("conv_grad_weight_v{}_{c}x{h}x{x}_{k}s{s}p{p}d{d}g{}_{o}", cx.target.lanes, g.groups)
    }

    /// Calls `body(kernel, row of the group, column in all, rows, columns, place in dw)` for the owner's tiles.
    fn tiles(
        &self,
        k: &mut KernelBuilder,
        owner: &Owner,
        mut body: impl FnMut(&mut KernelBuilder, [&Expr; 2], [usize; 2], Arg),
    ) {
        let g = &self.geometry;
        self.columns.each(k, "c", &owner.column, |k, c, width| {
            self.inner.each(k, "r", &owner.row, |k, r, height| {
                let column = &owner.group * self.columns.len + &c;
                let place = owner.target.at((owner.tap * self.inner.len + &r) * g.outputs + &column);
                body(k, [&r, &column], [height, width], place);
            });
        });
    }

    fn contraction(&self, [rows, columns]: [usize; 2]) -> Contraction {
        let (g, w) = (&self.geometry, &self.geometry.window);
        Contraction {
            elems: [Elem::F32; 3],
            lanes: self.tile.lanes,
            rows,
            columns,
            counts: [Count::Given, Count::Fixed(1), Count::Given],
            a: [w.stride[0] * g.image[1] * g.channels, 0, w.stride[1] * g.channels].map(|s| s as i64),
            a_row: 1,
            a_columns: g.depthwise(),
            b: [g.out[1] * g.outputs, 0, g.outputs].map(|s| s as i64),
            b_padded: false,
            next: 0,
            a_ahead: 0,
            c_row: g.outputs as i64,
            c_vector: self.tile.lanes.into(),
            init: Init::Load,
            epilogue: Epilogue::NONE,
        }
    }

    fn zero(&self, cx: &mut LowerCx, k: &mut KernelBuilder, owner: &Owner) {
        self.tiles(k, owner, |k, _, size, place| {
            let micro_kernel = zero_rows(cx, size, self.geometry.outputs);
            k.call(micro_kernel, [place]);
        });
    }

    /// Adds one image to all tiles of the owner.
    fn image(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        owner: &Owner,
        spans: &[Span; 2],
        n: &Expr,
        (x, dy): (Memory, Memory),
    ) {
        let g = &self.geometry;
        let [down, across] = spans;
        let x_at = ((n * g.image[0] + &down.image) * g.image[1] + &across.image) * g.channels;
        let dy_at = ((n * g.out[0] + &down.out) * g.out[1] + &across.out) * g.outputs;
        self.tiles(k, owner, |k, [row, column], size, place| {
            let contraction = self.contraction(size);
            let unroll = contraction.unroll();
            let micro_kernel = cx.micro_kernel(contraction);
            let channel = if g.depthwise() { column.clone() } else { &owner.group * g.inner() + row };
            let args = [
                x.at(&x_at + &channel),
                dy.at(&dy_at + column),
                place,
                Arg::Int(down.count.clone()),
                Arg::Int(across.count.div(unroll)),
                Arg::Int(across.count.rem(unroll)),
            ];
            k.call(micro_kernel, args);
        });
    }
}
