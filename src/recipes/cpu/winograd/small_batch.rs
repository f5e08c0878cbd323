//! Few images: threads share one. Two launches with V between them: the first transforms rows of tiles, the second
//! has the products and the transform back, a panel of output channels in each iteration.

use super::{Memories, Operands, Winograd};
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr};
use crate::lower::target::Target;
use crate::lower::tile::{Tile, tile_by};
use crate::lower::{BufferId, LowerCx};
use crate::recipes::common::Epilogue;
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::loops::piece;
use crate::recipes::common::winograd::applies;
use crate::recipes::cpu::frame::Rows;

impl Winograd {
    /// A whole image; `None` where a panel's products would not stay in the second level of cache.
    pub fn small_batch(target: &Target, g: Geometry, m: usize) -> Option<Winograd> {
        let mut form = applies(&g).then(|| Winograd::cut(target, g, m, g.out[0].div_ceil(m)))?;
        // A panel is an iteration: an odd number of few iterations leaves a thread without work at the end.
        let uneven = |tile: Tile| {
            let panels = g.outputs.div_ceil(tile.columns()) as f64;
            (panels / 2.0).ceil() * 2.0 / panels
        };
        form.tile = tile_by(target, form.count(), g.outputs, uneven);
        (4 * form.lens()[2] <= target.cache[1]).then_some(form)
    }

    /// Appends the launches: from image `x` to image `y`.
    pub fn launch_small_batch(
        &self,
        cx: &mut LowerCx,
        name: &str,
        [x, y]: [BufferId; 2],
        weights: BufferId,
        bias: Option<BufferId>,
        epilogue: Epilogue,
    ) {
        let [_, v, _] = self.lens();
        let form = self.weights(cx, weights);
        let v = cx.temp("tiles", Elem::F32, 0, v);
        self.launch_inputs(cx, name, x, v);
        self.launch_products(cx, name, [v, form, y], bias, epilogue);
    }

    fn launch_inputs(&self, cx: &mut LowerCx, name: &str, x: BufferId, v: BufferId) {
        let (g, m, c) = (&self.geometry, self.transforms.m, self.geometry.channels);
        let [between, len, _] = self.lens();
        let (height, kept) = (m + self.transforms.r - 1, cx.elem(x));
        let mut kernel = KernelBuilder::new(format!("tiles{name}{}{}", self.name(), mark(kept)));
        let from = kernel.buffer("x", kept, Access::Read);
        let to = kernel.buffer("v", Elem::F32, Access::Write);
        let rows = Rows::between(cx, self.frame(), [kept, Elem::F32]);
        let padded = kernel.scratch("padded", Elem::F32, height * rows.pitch());
        let between = kernel.scratch("between", Elem::F32, between);
        let input = self.input_micro_kernel(cx);
        let [down, across] = self.tiles;
        kernel.parallel("t", Expr::BATCH * down, |k, t| {
            let (n, row) = (t.div(down), t.rem(down));
            let top = &row * m + -(g.window.pad[0] as i64);
            rows.copy(k, from, &n, top, height.into(), padded);
            k.serial("tx", across, |k, x| {
                let tile = &n * len + (&row * across + &x) * c;
                k.call(input, [padded.at(&x * (m * c)), between.at(0), to.at(tile)]);
            });
        });
        let kernel = kernel.finish();
        cx.launch(self.method(), kernel, &[x, v]);
    }

    fn launch_products(
        &self,
        cx: &mut LowerCx,
        name: &str,
        [v, weights, y]: [BufferId; 3],
        bias: Option<BufferId>,
        epilogue: Epilogue,
    ) {
        let g = &self.geometry;
        let ([between, len, m], width) = (self.lens(), self.tile.columns());
        let panels = g.outputs.div_ceil(width);
        let elem = cx.elem(y);
        let mut kernel = KernelBuilder::new(format!("panels{name}{}{}", self.name(), mark(elem)));
        let tiles = kernel.buffer("v", Elem::F32, Access::Read);
        let u = kernel.buffer("u", Elem::F32, Access::Read);
        let b = bias.map(|_| kernel.buffer("b", Elem::F32, Access::Read));
        let to = kernel.buffer("y", elem, Access::Write);
        let memories = Memories {
            between: kernel.scratch("between", Elem::F32, between),
            v: tiles,
            m: kernel.scratch("m", Elem::F32, m),
        };
        kernel.parallel("t", Expr::BATCH * panels, |k, t| {
            let (n, panel) = (t.div(panels), t.rem(panels));
            let to_at = &n * (g.out[0] * g.out[1] * g.outputs);
            let p = Operands { from: tiles, weights: u, bias: b, epilogue, to, elem, to_at: to_at.clone() };
            piece(k, &panel, g.outputs, width, |k, columns| {
                self.panel(cx, k, (u, tiles, memories.m), &(&n * len), (&panel, columns), None);
                self.back(cx, k, &p, memories, (&panel, columns), &0.into(), &to_at, &g.out[0].into());
            });
        });
        let kernel = kernel.finish();
        let args: Vec<BufferId> = [v, weights].into_iter().chain(bias).chain([y]).collect();
        cx.launch(self.method(), kernel, &args);
    }
}

/// Returns a part of a kernel's name.
fn mark(elem: Elem) -> &'static str {
    if elem == Elem::F32 { "" } else { "_bf16" }
}
