//! Gradient of weights that are few beside the images: each iteration sums a part of the batch into sums of its own,
//! which stay in its cache while x and dy are read once; then the parts are added in order. A share of the batch is one
//! part: shares are computed beside each other.
//!
//! The kw taps of a row are kw·C consecutive numbers of the padded image, so that they are rows of one product:
//! `dw[ky][kx·C + ci][co] = Σ_pixels x[pixel·C + (kx·C + ci)] · dy[pixel][co]`. With few channels this is what fills
//! the tile.

use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr, LoopKind, Memory};
use crate::lower::tile::{Tile, tile};
use crate::lower::{BufferId, LowerCx, Method, code};
use crate::recipes::common::Epilogue;
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::loops::{for_each, panel_loop, pieces};
use crate::recipes::common::partition::Partition;
use crate::recipes::cpu::contraction::{Contraction, Count, Init};
use crate::recipes::cpu::frame::{Frame, Rows, zero, zero_rows};
use crate::types::Type;

/// Parts of the batch. They decide the order of the sums, so they are the same on every machine; more threads than
/// parts do not help.
pub const PARTS: usize = 16;

/// Slices of the outputs of a share, for threads that have no share to themselves: each reads the images.
const SLICES: usize = 2;

/// Pixels of dy, about, that one block sums before the sums go back to memory: long sums, operands that fit the cache.
const PIXELS: usize = 128;

struct Sums {
    geometry: Geometry,
    tile: Tile,
    /// Rows of the product for one row of taps.
    rows: usize,
    /// Rows of dy in a block.
    block: usize,
    /// The padded copy of an image, where one is needed.
    frame: Option<Frame>,
    /// Parts of the images, and slices of the outputs.
    parts: usize,
    slices: usize,
}

impl Sums {
    /// Plans the sums; `None` where the weights are too many, or their taps are not neighbours.
    fn new(cx: &LowerCx, g: Geometry) -> Option<Sums> {
        let w = g.window;
        let sums = 4 * w.kernel[0] * w.kernel[1] * g.channels * g.outputs;
        let reach = |d: usize| (g.out[d] - 1) * w.stride[d] + w.kernel[d];
        let frame = (w.pad != [0, 0]).then(|| Frame {
            image: g.image,
            channels: g.channels,
            left: -(w.pad[1] as i64),
            width: reach(1),
        });
        let padded = frame.map_or(0, |f| 4 * f.pitch() * reach(0));
        let room = cx.target.cache[1];
        if g.groups != 1 || w.dilation != [1, 1] || sums > room / 4 || padded > room / 4 {
            return None;
        }
        let rows = w.kernel[1] * g.channels;
        let block = (PIXELS / g.out[1]).clamp(1, g.out[0]);
        let tile = tile(cx.target, rows, g.outputs);
        let panels = g.outputs.div_ceil(tile.columns());
        let (parts, slices) = if cx.target.shares { (1, panels.min(SLICES)) } else { (PARTS, 1) };
        Some(Sums { geometry: g, tile, rows, block, frame, parts, slices })
    }

    fn name(&self) -> String {
        let (g, w) = (&self.geometry, &self.geometry.window);
        let [k, s, p] = [w.kernel, w.stride, w.pad].map(|v| format!("{}x{}", v[0], v[1]));
        let [c, h, x, o] = [g.channels, g.image[0], g.image[1], g.outputs];
        let slices = if self.slices > 1 { format!("_{}slices", self.slices) } else { String::new() };
        format!("conv_grad_weight_parts_v{}_{c}x{h}x{x}_{k}s{s}p{p}_{o}{slices}", self.tile.lanes)
    }

    fn len(&self) -> usize {
        self.geometry.window.kernel[0] * self.rows * self.geometry.outputs
    }

    /// Sets a part's sums of a slice, which begin there, to 0.
    fn clear(&self, cx: &mut LowerCx, k: &mut KernelBuilder, sums: Memory, (at, slice): (Expr, &Expr)) {
        if self.slices == 1 {
            let clear = zero(cx, self.len());
            return k.call(clear, [sums.at(at)]);
        }
        let outputs = self.geometry.outputs;
        panel_loop(k, outputs, self.tile.columns(), (slice, self.slices), |k, panel, columns| {
            let column = panel * self.tile.columns();
            pieces(k, "r", self.len() / outputs, self.tile.rows, |k, row, rows| {
                let clear = zero_rows(cx, [rows, columns], outputs);
                k.call(clear, [sums.at(&at + row * outputs + &column)]);
            });
        });
    }

    /// Adds rows `y ..` of one image, `height` of them: `from` is its (padded) image, `dy` row y of its gradient.
    fn block(&self, cx: &mut LowerCx, k: &mut KernelBuilder, at: &Block, height: usize) {
        let (g, w) = (&self.geometry, &self.geometry.window);
        panel_loop(k, g.outputs, self.tile.columns(), (&at.slice, self.slices), |k, panel, columns| {
            let column = panel * self.tile.columns();
            for_each(k, "ky", w.kernel[0], |k, ky| {
                pieces(k, "r", self.rows, self.tile.rows, |k, row, rows| {
                    let micro_kernel = cx.micro_kernel(self.contraction(at.pitch, height, [rows, columns]));
                    let from = at.from.at(&at.from_at + &ky * at.pitch + &row);
                    let to = at.sums.at(&at.sums_at + (&ky * self.rows + &row) * g.outputs + &column);
                    k.call(micro_kernel, [from, at.dy.at(&at.dy_at + &column), to]);
                });
            });
        });
    }

    fn contraction(&self, pitch: usize, height: usize, [rows, columns]: [usize; 2]) -> Contraction {
        let (g, w) = (&self.geometry, &self.geometry.window);
        // Without gaps between the rows they are one.
        let joined = pitch * w.stride[0] == g.out[1] * w.stride[1] * g.channels;
        let counts = if joined { [1, 1, height * g.out[1]] } else { [height, 1, g.out[1]] };
        Contraction {
            elems: [Elem::F32; 3],
            lanes: self.tile.lanes,
            rows,
            columns,
            counts: counts.map(Count::Fixed),
            a: [(w.stride[0] * pitch) as i64, 0, (w.stride[1] * g.channels) as i64],
            a_row: 1,
            a_columns: false,
            b: [(g.out[1] * g.outputs) as i64, 0, g.outputs as i64],
            b_padded: false,
            next: 0,
            // The rows of x of the next block: too many steps apart for the processor to foresee them.
            a_ahead: (height * w.stride[0] * pitch) as i64,
            c_row: g.outputs as i64,
            c_vector: self.tile.lanes.into(),
            init: Init::Load,
            epilogue: Epilogue::NONE,
        }
    }
}

/// Where a block's operands are.
struct Block {
    from: Memory,
    from_at: Expr,
    pitch: usize,
    dy: Memory,
    dy_at: Expr,
    sums: Memory,
    sums_at: Expr,
    /// The slice of the outputs.
    slice: Expr,
}

/// Does this way suit the shape?
pub fn short_sums(cx: &LowerCx, g: Geometry) -> bool {
    Sums::new(cx, g).is_some()
}

/// Writes the launches `(x, dy) -> dw` if this way suits the shape.
pub fn grad_weight(cx: &mut LowerCx, g: Geometry, x: BufferId, dy: BufferId) -> bool {
    let Some(plan) = Sums::new(cx, g) else { return false };
    let (len, w, parts, result) = (plan.len(), g.window, plan.parts, cx.result.buffer);
    let partial = if parts == 1 { result } else { cx.temp("parts", Elem::F32, parts * len, 0) };
    let mut kernel = KernelBuilder::new(plan.name());
    let source = kernel.buffer("x", Elem::F32, Access::Read);
    let gradient = kernel.buffer("dy", Elem::F32, Access::Read);
    let sums = kernel.buffer("parts", Elem::F32, Access::ReadWrite);
    let height_in = (g.out[0] - 1) * w.stride[0] + w.kernel[0];
    let padded = plan.frame.map(|f| (Rows::new(cx, f), kernel.scratch("padded", Elem::F32, height_in * f.pitch())));
    kernel.parallel("part", parts * plan.slices, |k, t| {
        let (part, slice) = (t.div(plan.slices), t.rem(plan.slices));
        k.when(cx.images_before().equals(0), |k| plan.clear(cx, k, sums, (&part * len, &slice)));
        let border = |part: Expr| (part * Expr::BATCH).div(parts);
        k.range("n", LoopKind::Serial, border(part.clone()), border(&part + 1), |k, n| {
            let (from, from_at, pitch) = match &padded {
                Some((rows, scratch)) => {
                    rows.copy(k, source, &n, (-(w.pad[0] as i64)).into(), height_in.into(), *scratch);
                    (*scratch, Expr::from(0), rows.pitch())
                }
                None => (source, &n * (g.image[0] * g.image[1] * g.channels), g.image[1] * g.channels),
            };
            pieces(k, "y", g.out[0], plan.block, |k, y, height| {
                let at = Block {
                    from,
                    from_at: &from_at + &y * (w.stride[0] * pitch),
                    pitch,
                    dy: gradient,
                    dy_at: (&n * g.out[0] + &y) * (g.out[1] * g.outputs),
                    sums,
                    sums_at: &part * len,
                    slice: slice.clone(),
                };
                plan.block(cx, k, &at, height);
            });
        });
    });
    let kernel = kernel.finish();
    cx.launch_accumulating(Method::Direct, kernel, &[x, dy, partial]);
    if parts > 1 {
        add_parts(cx, partial, parts, len);
    }
    true
}

/// The result is the sum of `parts` rows of `len` elements, in order.
fn add_parts(cx: &mut LowerCx, partial: BufferId, parts: usize, len: usize) {
    let lanes = cx.target.lanes;
    let mut kernel = KernelBuilder::new(format!("add_parts_{parts}x{len}_v{lanes}"));
    let from = kernel.buffer("parts", Elem::F32, Access::Read);
    let to = kernel.buffer("dw", Elem::F32, Access::Write);
    Partition::of(cx.target, &Type::shared(&[len]), 1).run(&mut kernel, |k, piece| {
        let name = format!("add_{parts}_rows_{}_of_{len}_v{lanes}", piece.count);
        let params = ([parts, piece.count, len], lanes);
        let micro_kernel = cx.micro_kernel(code(name, params, |&([parts, count, len], lanes), b| {
            let parts_of = b.pointer("parts", Elem::F32, Access::Read);
            let sum = b.pointer("sum", Elem::F32, Access::Write);
            b.elements(count, lanes, |b, at, lanes| {
                let mut total = b.load(parts_of, at.clone(), lanes);
                for part in 1..parts {
                    let value = b.load(parts_of, at.clone().offset((part * len) as i64), lanes);
                    total = b.add(total, value);
                }
                b.store(sum, at, total);
            });
        }));
        k.call(micro_kernel, [from.at(&piece.position), to.at(&piece.position)]);
    });
    let kernel = kernel.finish();
    let result = cx.result.buffer;
    cx.launch("add_parts", kernel, &[partial, result]);
}
