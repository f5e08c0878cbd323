//! Small images: several in an iteration, so that the weights, which come from the last level of cache, serve enough
//! tiles for whole register tiles.

use super::{Memories, Operands, Winograd};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Expr, Memory};
use crate::lower::LowerCx;
use crate::lower::target::Target;
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::loops::panel_loop;
use crate::recipes::common::winograd::applies;

/// Tiles, about, that should share a read of the weights, for vectors of this many numbers. Wide ones are done with 16
/// rows of a product before the next weights are there (measured on a Xeon: 64 tiles gain x1.02 with AVX-512 on two
/// threads alone, x1.05 where others use the caches too, and lose as much with AVX2, where they only fill the second
/// level).
fn tiles(lanes: u32) -> usize {
    if lanes >= 16 { 64 } else { 16 }
}

impl Winograd {
    /// Whole images, as many as make enough tiles and fit the cache; `None` where one alone has enough. A power of two,
    /// as batches are, so that few iterations lack some.
    pub fn group(target: &Target, g: Geometry, m: usize) -> Option<Winograd> {
        if !applies(&g) {
            return None;
        }
        let [down, across] = g.out.map(|n| n.div_ceil(m));
        let most = tiles(target.lanes) / (down * across);
        let cut = |images: usize| Winograd::cut(target, g, m, images * down);
        // V and M stay in the second level, the weights pass by.
        let fits = |w: &Winograd| 4 * w.lens().iter().sum::<usize>() <= target.cache[1];
        (2..=most).rev().filter(|images| images.is_power_of_two()).map(cut).find(fits)
    }

    /// The tiles of image `i` of the iteration.
    pub fn transform_image(&self, cx: &mut LowerCx, k: &mut KernelBuilder, from: Memory, memories: Memories, i: &Expr) {
        self.transform(cx, k, from, memories, &(i * (self.tile_rows() * self.tiles[1])));
    }

    /// Products and transforms back for the `present` images of an iteration, whose results follow each other from
    /// `to_at` on. What the last register tile computes of missing ones goes nowhere.
    pub fn group_product(
        &self,
        cx: &mut LowerCx,
        k: &mut KernelBuilder,
        p: &Operands,
        memories: Memories,
        present: &Expr,
    ) {
        let g = &self.geometry;
        let tiles = present * (self.tile_rows() * self.tiles[1]);
        panel_loop(k, g.outputs, self.tile.columns(), (&0.into(), 1), |k, panel, columns| {
            self.panel(cx, k, (p.weights, memories.v, memories.m), &0.into(), (&panel, columns), Some(&tiles));
            k.serial("n", present.clone(), |k, n| {
                let first = &n * (self.tile_rows() * self.tiles[1]);
                let to_at = &p.to_at + &n * (g.out[0] * g.out[1] * g.outputs);
                self.back(cx, k, p, memories, (&panel, columns), &first, &to_at, &g.out[0].into());
            });
        });
    }
}
