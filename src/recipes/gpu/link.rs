//! One convolution of a chain as a product of its own.

use super::cells::TileEpilogue;
use super::product::{Factor, Product, Span};
use super::rows::Rows;
use super::window::{method, name, patch, straight};
use crate::lower::target::Gpu;
use crate::lower::{BufferId, LowerCx};
use crate::recipes::common::conv::Link;
use crate::recipes::common::partition::run;

impl Link {
    /// Terms of a sum.
    pub fn depth(&self) -> usize {
        self.geometry.window.kernel.iter().product::<usize>() * self.geometry.inner()
    }

    /// What happens to sums before they are stored.
    pub fn tile_epilogue(&self) -> TileEpilogue {
        TileEpilogue { bias: self.bias.is_some(), epilogue: self.epilogue, mask: false }
    }
}

/// What a link is called as a product of its own.
pub fn product_name(link: &Link) -> String {
    name("conv", &link.geometry) + &link.tile_epilogue().name()
}

/// The convolution of one link: a product whose rows are pixels and whose terms are taps and channels.
pub fn product(cx: &mut LowerCx, gpu: &Gpu, x: BufferId, link: &Link, to: BufferId) {
    let g = &straight(&link.geometry);
    let (columns, depth) = (g.columns(), link.depth());
    let epilogue = link.tile_epilogue();
    Product {
        name: product_name(link),
        method: method(&link.geometry, "linear"),
        rows: Rows::PerImage(g.out[0] * g.out[1]),
        columns,
        groups: g.groups,
        parts: 1,
        span: &|_| Span::all(depth),
        a: Factor { buffer: x, along_k: true, run: run(g.inner()), at: &|row, k, group| patch(g, row, k, group) },
        b: Factor {
            buffer: link.weights,
            along_k: false,
            run: run(columns),
            at: &|column, k, group| (k * g.outputs + group * columns + &column.index).into(),
        },
        c: &|row, column, group, _| {
            (&row.image * (g.out[0] * g.out[1]) + &row.index) * g.outputs + group * columns + column
        },
        result: to,
        bias: link.bias,
        epilogue,
        mask: None,
    }
    .launch(cx, gpu);
}
