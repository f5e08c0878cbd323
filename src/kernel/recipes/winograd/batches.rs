//! Winograd's convolution for batches: a round transforms several small images, so that the weights, which come from
//! the last level of cache, serve enough tiles; of a large image it takes some rows.

use super::matrices::Transforms;
use super::{Operands, Winograd, results};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Arg, Elem, Expr, Memory};
use crate::kernel::recipes::Function;
use crate::kernel::recipes::contraction::{panel_loop, pieces, tile};
use crate::kernel::recipes::conv::Geometry;
use crate::kernel::recipes::copy::Rows;
use crate::kernel::site::Site;

/// Tiles, about, that should share a read of the weights; more would leave a group of images too few rounds.
const TILES: usize = 16;

/// What happens to the results before they are stored.
pub struct Epilogue {
    pub bias: Option<Memory>,
    pub activation: Option<Function>,
}

pub struct Batches {
    pub form: Winograd,
    /// Whole images of a round; 0: the round is a block of rows of one image, as `form` says.
    images: usize,
    /// Rows of tiles of an image.
    down: usize,
}

impl Batches {
    /// `None` where the algorithm does not apply.
    pub fn new(site: &Site, g: Geometry) -> Option<Batches> {
        let rows = Winograd::new(site, g, false)?;
        let transforms = Transforms::new(results(g.window.kernel[0]), g.window.kernel[0]);
        let [down, across] = g.out.map(|n| n.div_ceil(transforms.m));
        // The transformed tiles are read once for each panel; the padded image is small beside them.
        let room = site.target.cache[1] + site.target.cache[1] / 4;
        let cut = |images: usize| Winograd {
            tile: tile(site.target, images * down * across, g.outputs),
            transforms: transforms.clone(),
            geometry: g,
            tiles: [images * down, across],
        };
        let fits = |images: &usize| 4 * cut(*images).lens().iter().sum::<usize>() <= room;
        let most = TILES.div_ceil(down * across);
        Some(match (1..=most).rev().find(fits) {
            Some(images) => Batches { form: cut(images), images, down },
            None => Batches { form: rows, images: 0, down },
        })
    }

    /// A part of the kernel's name.
    pub fn name(&self) -> String {
        let g = &self.form.geometry;
        let [c, h, w, o] = [g.channels, g.image[0], g.image[1], g.outputs];
        let (pad, lanes) = (g.window.pad, self.form.tile.lanes);
        format!("_v{lanes}_{c}x{h}x{w}_p{}x{}_{o}{}_{}", pad[0], pad[1], self.form.name(), self.images)
    }

    /// The rounds: images, weights as [`Winograd::weights`] makes them, results.
    pub fn kernel(
        &self,
        site: &mut Site,
        kernel: &mut KernelBuilder,
        [from, weights, to]: [Memory; 3],
        &Epilogue { bias, activation }: &Epilogue,
    ) {
        let (form, g) = (&self.form, self.form.geometry);
        let rows = Rows::new(site, form.frame());
        let height =
            if self.images == 0 { form.rows_in() } else { self.down * form.transforms.m + form.transforms.r - 1 };
        let padded = kernel.scratch("padded", Elem::F32, height * form.frame().pitch());
        let memories = form.scratch(kernel);
        let top = -(g.window.pad[0] as i64);
        if self.images == 0 {
            let per_image = g.out[0].div_ceil(form.rows());
            return kernel.parallel("t", Expr::BATCH * per_image, |k, t| {
                let (n, row) = (t.div(per_image), t.rem(per_image) * form.rows());
                rows.copy(k, from, &n, &row + top, height.into(), padded);
                let to_at = (&n * g.out[0] + &row) * (g.out[1] * g.outputs);
                let operands = Operands { from: padded, weights, bias, activation, to, to_at };
                form.product(site, k, &operands, memories, &(&row * -1 + g.out[0]));
            });
        }
        let input = form.input_leaf(site);
        let operands = Operands { from: padded, weights, bias, activation, to, to_at: 0.into() };
        let (f, c, m, lanes) = (form.transforms.frequencies(), g.channels, form.transforms.m, form.tile.lanes as usize);
        let (across, width) = (form.tiles[1], form.tile.columns());
        kernel.parallel("t", Expr::BATCH.ceil_div(self.images as i64), |k, t| {
            let first = &t * self.images;
            // The last round may have fewer images; the products of the missing ones go nowhere.
            let present = (Expr::BATCH - first.clone()).min(self.images);
            k.serial("n", present.clone(), |k, n| {
                rows.copy(k, from, &(&first + &n), top.into(), height.into(), padded);
                k.serial("ty", self.down, |k, y| {
                    k.serial("tx", across, |k, x| {
                        let at = padded.at(&y * (m * form.frame().pitch()) + &x * (m * c));
                        let tile = (&n * self.down + &y) * across + &x;
                        k.call(input, [at, memories.between.at(0), memories.v.at(tile * c)]);
                    });
                });
            });
            panel_loop(k, g.outputs, width, (&0.into(), 1), |k, panel, columns| {
                k.serial("f", f, |k, frequency| {
                    let u = weights.at((&panel * f + &frequency) * (c * width));
                    pieces(k, "m", form.count(), form.tile.rows, |k, tile, rows| {
                        let leaf = form.contraction(rows, columns).leaf(site.module());
                        let v = memories.v.at(&frequency * form.pitch() + &tile * c);
                        let at = (&tile * (form.tile.vectors * f) + &frequency) * lanes;
                        k.call(leaf, [v, u.clone(), memories.m.at(at)]);
                    });
                });
                k.serial("n", present.clone(), |k, n| {
                    k.serial("ty", self.down, |k, y| {
                        let left = (&y * -(m as i64) + g.out[0]).min(m);
                        pieces(k, "tx", g.out[1], m, |k, x, wide| {
                            let leaf = form.output_leaf(site, &operands, wide, columns);
                            let tile = (&n * self.down + &y) * across + x.div(m);
                            let row = (&first + &n) * g.out[0] + &y * m;
                            let at = (row * g.out[1] + &x) * g.outputs + &panel * width;
                            let from = memories.m.at(tile * (form.tile.vectors * f * lanes));
                            let mut args = vec![from, memories.between.at(0), to.at(at)];
                            args.extend(bias.map(|b| b.at(&panel * width)));
                            args.push(Arg::Int(left.clone()));
                            k.call(leaf, args);
                        });
                    });
                });
            });
        });
    }
}
