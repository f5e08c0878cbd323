//! Winograd's convolution for batches: an iteration transforms several small images, so that the weights, which come
//! from the last level of cache, serve enough tiles; of a large image it takes some rows.

use super::{Operands, Winograd, results};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Elem, Expr, Memory};
use crate::lower::LowerCx;
use crate::recipes::common::Epilogue;
use crate::recipes::common::conv::Geometry;
use crate::recipes::cpu::frame::Rows;

/// Tiles, about, that should share a read of the weights; more would leave a group of images too few iterations.
const TILES: usize = 16;

/// What happens to the results before they are stored.
pub struct BiasedEpilogue {
    /// One number for each output channel.
    pub bias: Option<Memory>,
    /// What comes after the bias.
    pub epilogue: Epilogue,
}

/// A convolution for batches.
pub struct Batches {
    /// Tiles and sizes of an iteration.
    pub form: Winograd,
    /// Whole images of an iteration; 0: the iteration is a block of rows of one image, as `form` says.
    images: usize,
}

impl Batches {
    /// Plans the convolution; `None` where the algorithm does not apply.
    pub fn new(cx: &LowerCx, g: Geometry) -> Option<Batches> {
        let rows = Winograd::new(cx, g, false)?;
        let m = results(g.window.kernel[0]);
        let [down, across] = g.out.map(|n| n.div_ceil(m));
        // The transformed tiles are read once for each panel; the padded image is small beside them.
        let room = cx.target.cache[1] + cx.target.cache[1] / 4;
        let cut = |images: usize| Winograd::cut(cx.target, g, m, images * down);
        let fits = |images: &usize| 4 * cut(*images).lens().iter().sum::<usize>() <= room;
        let most = TILES.div_ceil(down * across);
        Some(match (1..=most).rev().find(fits) {
            Some(images) => Batches { form: cut(images), images },
            None => Batches { form: rows, images: 0 },
        })
    }

    /// Returns a part of the kernel's name.
    pub fn name(&self) -> String {
        let g = &self.form.geometry;
        let [c, h, w, o] = [g.channels, g.image[0], g.image[1], g.outputs];
        let (pad, lanes) = (g.window.pad, self.form.tile.lanes);
        format!("_v{lanes}_{c}x{h}x{w}_p{}x{}_{o}{}_{}", pad[0], pad[1], self.form.name(), self.images)
    }

    /// The iterations: images, weights as [`Winograd::weights`] makes them, results.
    pub fn kernel(
        &self,
        cx: &mut LowerCx,
        kernel: &mut KernelBuilder,
        [from, weights, to]: [Memory; 3],
        &BiasedEpilogue { bias, epilogue }: &BiasedEpilogue,
    ) {
        let (form, g) = (&self.form, self.form.geometry);
        let rows = Rows::new(cx, form.frame());
        let height = form.rows_in();
        let padded = kernel.scratch("padded", Elem::F32, height * form.frame().pitch());
        let memories = form.scratch(kernel);
        let top = -(g.window.pad[0] as i64);
        if self.images == 0 {
            let per_image = g.out[0].div_ceil(form.rows());
            return kernel.parallel("t", Expr::BATCH * per_image, |k, t| {
                let (n, row) = (t.div(per_image), t.rem(per_image) * form.rows());
                rows.copy(k, from, &n, &row + top, height.into(), padded);
                let to_at = (&n * g.out[0] + &row) * (g.out[1] * g.outputs);
                let operands = Operands { from: padded, weights, bias, epilogue, to, elem: Elem::F32, to_at };
                form.product(cx, k, &operands, memories, &(&row * -1 + g.out[0]));
            });
        }
        let result = g.out[0] * g.out[1] * g.outputs;
        kernel.parallel("t", Expr::BATCH.ceil_div(self.images as i64), |k, t| {
            let first = &t * self.images;
            // The last iteration may have fewer images.
            let present = (Expr::BATCH - first.clone()).min(self.images);
            k.serial("n", present.clone(), |k, n| {
                rows.copy(k, from, &(&first + &n), top.into(), height.into(), padded);
                form.transform_image(cx, k, padded, memories, &n);
            });
            let to_at = &first * result;
            let operands = Operands { from: padded, weights, bias, epilogue, to, elem: Elem::F32, to_at };
            form.group_product(cx, k, &operands, memories, &present);
        });
    }
}
