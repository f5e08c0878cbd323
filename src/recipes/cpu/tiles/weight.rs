//! The gradient of a convolution's weights on tiles: `dw[tap, ci][co] = Σ_pixels x[pixel + tap, ci] · dy[pixel, co]`.
//!
//! Rows of tiles are channels of dy, columns those of x, and terms are pixels, two images in a word. An iteration sums
//! some images and some channels of dy in sums of its own; then the parts are added in order. Tiles of A are dy, turned
//! once for all taps; tiles of B lie in a padded copy of x, from which each tap reads at its own place. Where rows of
//! pixels are short, a tile holds several pairs of images, pixel by pixel. Zeros stand for gradients behind the last
//! column of a row and for images behind the last one.
//!
//! Where rows do not fill tiles, such a zero meets a pixel that its tap does not see there: an infinity or NaN in it
//! makes NaN of the sums of its channel for this tap, which other taps, that do see it, are already. Copies of each
//! row's last pixels for each tap would keep it out, for 3 % more time by calculation (3x3 of 192 channels, 28 wide).

use super::blocks::TILE;
use super::pairs::{Pairs, Turns};
use super::sums::{Fold, Sums, WORDS};
use super::{Unit, rows_for_large_batch};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr, Kernel, Memory};
use crate::lower::{BufferId, LowerCx};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::loops::{for_each, piece, pieces};
use crate::recipes::common::names::elem_letters;
use crate::recipes::cpu::frame::zero;

/// Iterations, about, that share the images and channels: more threads do not help.
const SHARES: usize = 16;
/// Bundles of images whose products are added in registers.
const BUNDLES: usize = 4;

/// How the sums are cut.
#[derive(Clone, Debug)]
struct Plan {
    g: Geometry,
    /// Of x and dy.
    elems: [Elem; 2],
    /// Pairs of images in a bundle: those that are side by side in a tile.
    pairs: usize,
    /// Rows of dy in a block.
    rows: usize,
    /// Bundles in a block.
    bundles: usize,
    /// Tiles of channels of dy in an iteration.
    share: usize,
    /// Parts of the batch.
    parts: usize,
}

/// Writes the launches `(x, dy) -> dw` if there are tiles and both are exact in bf16.
pub fn grad_weight(cx: &mut LowerCx, g: Geometry, [x, dy]: [BufferId; 2]) -> bool {
    if g.groups != 1 || !super::multiplies_bf16(cx, &[x, dy]) {
        return false;
    }
    let plan = Plan::new(cx, g, [x, dy].map(|buffer| cx.elem(buffer)));
    let partial = cx.temp("parts", Elem::F32, plan.parts * plan.sums(), 0);
    let mut kernel = KernelBuilder::new(plan.name("tiles_grad_weight"));
    let [source, gradient] = [("x", 0), ("dy", 1)].map(|(name, i)| kernel.buffer(name, plan.elems[i], Access::Read));
    let sums = kernel.buffer("parts", Elem::F32, Access::ReadWrite);
    let mut scratch = |name: &str, len: usize| kernel.scratch(name, Elem::I32, len);
    let memories = Memories {
        source,
        gradient,
        sums,
        // The last tile may read on behind its channels.
        map: scratch("map", plan.bundles * plan.map_size() + TILE),
        row: scratch("row", plan.across() * TILE * plan.share * TILE),
        turned: scratch("turned", plan.share * plan.turned_size()),
    };
    kernel.parallel("t", plan.slices() * plan.parts, |k, t| {
        let (slice, part) = (t.div(plan.parts), t.rem(plan.parts));
        piece(k, &slice, g.outputs, plan.share * TILE, |k, channels| {
            plan.iteration(cx, k, &memories, [&part, &slice], channels);
        });
    });
    let kernel = kernel.finish();
    cx.launch_accumulating(Unit::Bf16.method(), kernel, &[x, dy, partial]);
    let kernel = plan.fold(cx);
    let result = cx.result.buffer;
    cx.launch(Unit::Bf16.method(), kernel, &[partial, result]);
    true
}

/// What the kernel reads and writes.
struct Memories {
    source: Memory,
    gradient: Memory,
    sums: Memory,
    /// Rows of x as words, padded.
    map: Memory,
    /// A row of dy as words.
    row: Memory,
    /// Tiles of dy.
    turned: Memory,
}

impl Plan {
    fn new(cx: &LowerCx, mut g: Geometry, elems: [Elem; 2]) -> Plan {
        let w = g.window;
        let pixels = g.image[0] * g.image[1];
        if (w.kernel, w.stride, w.pad) == ([1, 1], [1, 1], [0, 0]) && pixels.is_multiple_of(TILE) {
            (g.image, g.out) = ([pixels / TILE, TILE], [pixels / TILE, TILE]);
        }
        let pairs = if w.stride == [1, 1] { TILE / g.out[1].next_power_of_two().min(TILE) } else { 1 };
        let mut plan = Plan { g, elems, pairs, rows: g.out[0], bundles: 1, share: 1, parts: 1 };
        let cache = cx.target.cache[1];
        // Sums and operands of an iteration stay in the second level of cache together.
        let even = cache / 4 / (4 * plan.columns() * WORDS) / 2 * 2;
        plan.share = even.clamp(2, 64).min(g.outputs.div_ceil(TILE));
        // Shares of the batch are computed beside each other: each is one part.
        let most = if cx.target.shares { 1 } else { SHARES };
        plan.parts = SHARES.div_ceil(plan.slices()).next_power_of_two().min(most);
        let room = cache * 3 / 8 / 4;
        let fits = |plan: &Plan| plan.bundles * plan.map_size() + plan.share * plan.turned_size() <= room;
        plan.rows = rows_for_large_batch(g.out[0], |rows| fits(&Plan { rows, ..plan.clone() }));
        if plan.rows == g.out[0] {
            let several = |bundles: &usize| fits(&Plan { bundles: *bundles, ..plan.clone() });
            plan.bundles = (1..=BUNDLES).rev().find(several).unwrap_or(1);
        }
        plan
    }

    fn name(&self, kind: &str) -> String {
        let (g, w) = (&self.g, &self.g.window);
        let [k, s, p, d] = [w.kernel, w.stride, w.pad, w.dilation].map(|v| format!("{}x{}", v[0], v[1]));
        let [c, h, x, o] = [g.channels, g.image[0], g.image[1], g.outputs];
        let cut = format!("{}x{}x{}of{}", self.rows, self.bundles, self.share, self.parts);
        format!("{kind}_{c}x{h}x{x}_{k}s{s}p{p}d{d}_{o}_{cut}{}", elem_letters("_", &self.elems))
    }

    /// Pixels of a row in a tile.
    fn tile_columns(&self) -> usize {
        TILE / self.pairs
    }

    /// Tiles of a row.
    fn across(&self) -> usize {
        self.g.out[1].div_ceil(self.tile_columns())
    }

    /// Channels of x that lie together: those of a row of taps, or of one.
    fn run(&self) -> usize {
        self.g.channels * if self.together() { self.g.window.kernel[1] } else { 1 }
    }

    fn together(&self) -> bool {
        self.pairs == 1 && self.g.window.dilation[1] == 1
    }

    /// Runs of a row of taps, and tiles of a run.
    fn runs(&self) -> [usize; 2] {
        [if self.together() { 1 } else { self.g.window.kernel[1] }, self.run().div_ceil(TILE)]
    }

    /// Tiles of columns: all taps.
    fn columns(&self) -> usize {
        self.g.window.kernel[0] * self.runs().iter().product::<usize>()
    }

    /// Slices of the channels of dy.
    fn slices(&self) -> usize {
        self.g.outputs.div_ceil(self.share * TILE)
    }

    /// Sums of float32 in a part of the batch.
    fn sums(&self) -> usize {
        self.g.outputs.div_ceil(TILE) * self.columns() * WORDS
    }

    /// Rows of the copy of x for a block, and its columns.
    fn map(&self) -> [usize; 2] {
        let w = self.g.window;
        [w.reach(0, self.rows), w.reach(1, self.across() * self.tile_columns())]
    }

    /// Words of a row of the copy.
    fn map_pitch(&self) -> usize {
        self.map()[1] * self.pairs * self.g.channels
    }

    /// Words of a bundle's copy.
    fn map_size(&self) -> usize {
        self.map()[0] * self.map_pitch()
    }

    /// Words of the tiles of 16 channels of dy.
    fn turned_size(&self) -> usize {
        self.bundles * self.rows * self.across() * WORDS
    }

    /// An iteration: the images of a part, `channels` channels of dy.
    fn iteration(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        m: &Memories,
        [part, slice]: [&Expr; 2],
        channels: usize,
    ) {
        let tiles = channels.div_ceil(TILE) * self.columns();
        let first = (part * self.g.outputs.div_ceil(TILE) + slice * self.share) * (self.columns() * WORDS);
        let clear = zero(cx, tiles * WORDS);
        k.when(cx.images_before().equals(0), |k| k.call(clear, [m.sums.at(&first)]));
        let all = Expr::BATCH.ceil_div(2 * self.pairs as i64);
        let border = |part: Expr| (part * all.clone()).div(self.parts);
        let (begin, end) = (border(part.clone()), border(part + 1));
        k.serial("m", (&end + &begin * -1).ceil_div(self.bundles as i64), |k, group| {
            let bundle = &begin + group * self.bundles;
            let present = (&end + &bundle * -1).min(self.bundles);
            for_each(k, "block", self.g.out[0] / self.rows, |k, block| {
                let y = block * self.rows;
                k.serial("u", present.clone(), |k, u| {
                    self.operands(cx, k, m, [&(&bundle + &u), &y, &u], (slice, channels));
                });
                self.products(cx, k, m, [&first, &present], channels);
            });
        });
    }

    /// The operands of a bundle's rows from `y` on, in the place `slot`.
    fn operands(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        m: &Memories,
        [bundle, y, slot]: [&Expr; 3],
        (slice, channels): (&Expr, usize),
    ) {
        let (g, w) = (&self.g, &self.g.window);
        let ([rows, columns], pitch) = (self.map(), self.map_pitch());
        let left = w.pad[1].min(columns);
        let count = g.image[1].min(columns - left);
        let (c, elem) = (g.channels, self.elems[0]);
        let row = Pairs { images: 2, left, count, width: columns, channels: c, from: c, pitch: self.pairs * c, elem };
        for_each(k, "q", self.pairs, |k, q| {
            let image = (bundle * self.pairs + &q) * 2;
            k.serial("r", rows, |k, r| {
                let from = y * w.stride[0] + &r + -(w.pad[0] as i64);
                let inside = Expr::from(-1).lt(&from) * from.lt(g.image[0]);
                let to = m.map.at(slot * self.map_size() + &r * pitch + &q * c);
                let at = |n: Expr| m.source.at((n * g.image[0] + &from) * (g.image[1] * c));
                let images = [at(image.clone()), at(&image + 1), m.source.at(0)];
                copy(cx, k, &row, to, images, [&image, &inside]);
            });
        });
        let padded = channels.next_multiple_of(TILE);
        let (width, elem) = (self.across() * self.tile_columns(), self.elems[1]);
        let row = Pairs {
            images: 2,
            left: 0,
            count: g.out[1],
            width,
            channels,
            from: g.outputs,
            pitch: self.pairs * padded,
            elem,
        };
        let turns = Turns { count: padded / TILE, pitch: padded, next: self.turned_size() };
        let turn = cx.micro_kernel(turns);
        k.serial("r", self.rows, |k, r| {
            for_each(k, "q", self.pairs, |k, q| {
                let image = (bundle * self.pairs + &q) * 2;
                let channel = slice * (self.share * TILE);
                let at = |n: Expr| m.gradient.at((n * g.out[0] + y + &r) * (g.out[1] * g.outputs) + &channel);
                let images = [at(image.clone()), at(&image + 1), m.gradient.at(0)];
                copy(cx, k, &row, m.row.at(&q * padded), images, [&image, &1.into()]);
            });
            for_each(k, "j", self.across(), |k, j| {
                let step = (slot * self.rows + &r) * self.across() + &j;
                k.call(turn, [m.turned.at(step * WORDS), m.row.at(j * (TILE * padded))]);
            });
        });
    }

    /// Adds the products of the present bundles to all sums of an iteration.
    fn products(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        m: &Memories,
        [first, present]: [&Expr; 2],
        channels: usize,
    ) {
        let (g, w) = (&self.g, &self.g.window);
        let ([runs, tiles], columns) = (self.runs(), self.columns());
        let b_row = w.stride[1] * g.channels;
        let pitch = self.map_pitch();
        pieces(k, "c", channels.div_ceil(TILE), 2, |k, c, down| {
            for_each(k, "ky", w.kernel[0], |k, ky| {
                for_each(k, "kx", runs, |k, kx| {
                    pieces(k, "n", tiles, 2, |k, n, across| {
                        let sums = Sums {
                            tiles: [down, across],
                            pixels: [self.rows, self.across()],
                            a_next: self.turned_size(),
                            b_row,
                            b_steps: [w.stride[0] * pitch, self.map_size()],
                            sums: [columns * WORDS, WORDS],
                        };
                        let from =
                            &ky * (w.dilation[0] * pitch) + &kx * (w.dilation[1] * self.pairs * g.channels) + &n * TILE;
                        let at = &c * columns + (&ky * runs + &kx) * tiles + &n;
                        let micro_kernel = cx.micro_kernel(sums);
                        let args = vec![
                            m.turned.at(&c * self.turned_size()),
                            m.map.at(from),
                            m.sums.at(first + at * WORDS),
                            Arg::Int(present.clone()),
                        ];
                        k.call(micro_kernel, args);
                    });
                });
            });
        });
    }

    /// The kernel that adds up the parts.
    fn fold(&self, cx: &mut LowerCx) -> Kernel {
        let (outputs, run) = (self.g.outputs, self.run());
        let mut kernel = KernelBuilder::new(self.name("tiles_fold"));
        let from = kernel.buffer("parts", Elem::F32, Access::Read);
        let to = kernel.buffer("dw", Elem::F32, Access::Write);
        let [_, tiles] = self.runs();
        kernel.parallel("n", self.columns(), |k, n| {
            let (taps, tile) = (n.div(tiles), n.rem(tiles));
            piece(k, &tile, run, TILE, |k, rows| {
                pieces(k, "c", outputs, TILE, |k, channel, columns| {
                    let size = [rows, columns];
                    let fold = Fold { parts: self.parts, next: self.sums(), size, pitch: outputs };
                    let micro_kernel = cx.micro_kernel(fold);
                    let at = (channel.div(TILE) * self.columns() + &n) * WORDS;
                    let row = &taps * run + &tile * TILE;
                    k.call(micro_kernel, [from.at(at), to.at(row * outputs + channel)]);
                });
            });
        });
        kernel.finish()
    }
}

/// Copies a row of two images, of those from `image` on that exist; `inside`: are they rows of the images at all?
/// The last place is one that may be read without a meaning.
fn copy(
    cx: &mut LowerCx,
    k: &mut KernelBuilder,
    row: &Pairs,
    to: Arg,
    [first, second, any]: [Arg; 3],
    [image, inside]: [&Expr; 2],
) {
    let [none, one, both] = [0, 1, 2].map(|images| cx.micro_kernel(Pairs { images, ..row.clone() }));
    let exists = |image: Expr| inside * image.lt(Expr::BATCH);
    k.either(
        exists(image + 1),
        |k| k.call(both, [to.clone(), first.clone(), second.clone()]),
        |k| {
            k.either(
                exists(image.clone()),
                |k| k.call(one, [to.clone(), first.clone(), first.clone()]),
                |k| k.call(none, [to.clone(), any.clone(), any.clone()]),
            );
        },
    );
}
