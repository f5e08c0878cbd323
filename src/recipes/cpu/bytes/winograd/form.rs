//! Shapes of a convolution in the domain, and when it pays.

use super::matrices::{MOST, Whole};
use crate::kernel::ir::Elem;
use crate::lower::cost::{Candidate, operations};
use crate::lower::target::{Algorithm, Target};
use crate::lower::tile::{Tile, tile_of_whole};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::winograd::Size;
use crate::recipes::cpu::bytes::Factors;

/// Elements between the points of V beyond its contents, and between the tiles of M: powers of two would share sets of
/// the cache.
const SKEW: usize = 32;

/// How a convolution is done.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub g: Geometry,
    /// F(m, r) along rows.
    pub size: Size,
    /// Tiles of a row.
    pub across: usize,
    /// Register tile of the products: tiles of the image by output channels.
    pub tile: Tile,
}

impl Form {
    /// Returns the fastest tiles for a convolution that has any, with what was weighed.
    pub fn choose(target: &Target, g: &Geometry) -> Option<(Form, [Candidate; 2])> {
        let w = g.window;
        let plain = w.stride == [1, 1] && w.dilation[1] == 1 && g.groups == 1;
        if !plain || Factors::of(target) != Factors::Words || target.algorithm == Algorithm::Direct {
            return None;
        }
        let r = w.kernel[1];
        let sizes = (2..=MOST + 1 - r.min(MOST)).map(|m| Size { m, r });
        let exact = sizes.filter(|s| r > 1 && Whole::new(s.m, r).exact(r * w.kernel[0] * g.channels));
        let forms = exact.map(|size| {
            let form = Form::new(target, g, size);
            (form, form.cycles(target))
        });
        let (form, cycles) = forms.min_by(|a, b| a.1.total_cmp(&b.1))?;
        let terms = w.kernel[0] * (r * g.channels).div_ceil(2);
        let products = g.out[0] * g.out[1] * vectors(target, g.outputs) * terms;
        let direct = Candidate { name: "direct".into(), cycles: operations(2.0 * products as f64) };
        let whole = Candidate { name: form.method(), cycles };
        let asked = target.algorithm == Algorithm::Winograd;
        (asked || whole.cycles < direct.cycles).then_some((form, [direct, whole]))
    }

    fn new(target: &Target, g: &Geometry, size: Size) -> Form {
        let across = g.out[1].div_ceil(size.m);
        Form { g: *g, size, across, tile: tile_of_whole(target, g.out[0] * across, g.outputs) }
    }

    /// Predicted cycles: products are a multiplication and an addition each.
    fn cycles(&self, target: &Target) -> f64 {
        let (g, Size { m, .. }, points) = (&self.g, self.size, self.size.points());
        let outputs = vectors(target, g.outputs);
        let tiles = g.out[0] * self.across;
        let products = tiles * points * outputs * (g.window.kernel[0] * g.channels.div_ceil(2));
        let there = self.rows_in(g.out[0]) * self.across * vectors(target, g.channels) * 6 * points;
        let back = tiles * outputs * (3 * points + 12 * m);
        operations((2 * products + there + back) as f64)
    }

    /// Describes the algorithm.
    pub fn method(&self) -> String {
        format!("words, F({},{}) by rows", self.size.m, self.size.r)
    }

    /// A part of names: all that the kernels depend on, but for zeros, results and types.
    pub fn name(&self) -> String {
        let (g, w) = (&self.g, &self.g.window);
        let [c, h, wide, o] = [g.channels, g.image[0], g.image[1], g.outputs];
        let (t, [kh, pad_y, pad_x, d]) = (self.tile, [w.kernel[0], w.pad[0], w.pad[1], w.dilation[0]]);
        format!("v{}_{}_{c}x{h}x{wide}_{kh}p{pad_y}x{pad_x}d{d}_{o}_{}x{}", t.lanes, self.size, t.rows, t.vectors)
    }

    /// Channels of V.
    pub fn channels(&self) -> usize {
        self.g.channels.next_multiple_of(2)
    }

    /// Rows of the padded image that so many rows of results read.
    pub fn rows_in(&self, rows: usize) -> usize {
        rows + self.g.window.dilation[0] * (self.g.window.kernel[0] - 1)
    }

    /// Elements of a row of V.
    pub fn row(&self) -> usize {
        self.across * self.channels()
    }

    /// Elements from point to point of V for so many rows of results.
    pub fn point(&self, rows: usize) -> usize {
        self.rows_in(rows) * self.row() + SKEW
    }

    /// Elements of V.
    pub fn v(&self, rows: usize) -> usize {
        self.size.points() * self.point(rows)
    }

    /// Elements of M from tile to tile.
    pub fn tile_pitch(&self) -> usize {
        self.size.points() * self.tile.columns() + SKEW
    }

    /// Elements of M.
    pub fn m(&self, rows: usize) -> usize {
        rows * self.across * self.tile_pitch()
    }

    /// Bytes of V and M.
    pub fn bytes(&self, rows: usize) -> usize {
        Elem::I16.bytes() * self.v(rows) + Elem::I32.bytes() * self.m(rows)
    }

    /// Bytes of a row of the padded copy.
    pub fn pitch(&self) -> usize {
        (self.across * self.size.m + self.size.r - 1).max(self.g.image[1] + self.g.window.pad[1]) * self.g.channels
    }
}

fn vectors(target: &Target, channels: usize) -> usize {
    channels.div_ceil(target.lanes as usize)
}
