//! Shapes of a convolution in the domain, and when it pays.

use super::matrices::{Down, MOST, Whole, exact};
use crate::kernel::ir::Elem;
use crate::lower::cost::{self, Candidate, operations};
use crate::lower::target::{Algorithm, Batch, Target};
use crate::lower::tile::{Tile, tile_of_whole};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::winograd::Size;
use crate::recipes::cpu::bytes::Factors;
use crate::recipes::cpu::conv::rows::rows_for_large_batch;
use std::fmt::{self, Display};

/// Elements between the points of V beyond its contents, and between the tiles of M: powers of two would share sets of
/// the cache.
const SKEW: usize = 32;

/// Which tiles: F(m, r) along rows, and down the columns sums over the window's rows or [`Down`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tiles {
    /// Along rows.
    pub size: Size,
    /// Rows of the window.
    pub rows: usize,
    /// Whether its rows are transformed as well.
    pub both: bool,
}

impl Tiles {
    /// The matrices along rows.
    pub fn across(self) -> Whole {
        Whole::new(self.size.m, self.size.r)
    }

    /// The matrices down the columns, if there are any.
    pub fn down(self) -> Option<Down> {
        self.both.then(|| Down::new(self.rows))
    }

    /// Rows of results of a tile.
    pub fn results(self) -> usize {
        if self.both { Down::RESULTS } else { 1 }
    }

    /// Points of a tile, those along rows next to each other.
    pub fn points(self) -> usize {
        self.size.points() * if self.both { Down::points(self.rows) } else { 1 }
    }

    /// Rows of the window that a point's sum goes over.
    pub fn summed(self) -> usize {
        if self.both { 1 } else { self.rows }
    }
}

impl Display for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}_{}{}", self.size, if self.both { "both" } else { "rows" }, self.rows)
    }
}

/// How a convolution is done.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub g: Geometry,
    pub tiles: Tiles,
    /// Tiles of a row.
    pub across: usize,
    /// Register tile of the products: tiles of the image by output channels.
    pub tile: Tile,
}

impl Form {
    /// Returns the fastest tiles for a convolution that has any, with what was weighed.
    pub fn choose(target: &Target, g: &Geometry, narrow: usize) -> Option<(Form, [Candidate; 2])> {
        let (w, [rows, r]) = (g.window, g.window.kernel);
        let plain = w.stride == [1, 1] && w.dilation[1] == 1 && g.groups == 1;
        if !plain || r == 1 || Factors::of(target, 1) != Factors::Words || target.algorithm == Algorithm::Direct {
            return None;
        }
        let terms = rows * r * g.channels;
        let sizes = (2..=MOST + 1 - r.min(MOST)).map(|m| Size { m, r });
        let all = sizes.flat_map(|size| [false, true].map(|both| Tiles { size, rows, both }));
        let exact = all.filter(|tiles| {
            let possible = !tiles.both || rows > 1 && w.dilation[0] == 1;
            possible && exact(&tiles.across(), tiles.down().as_ref(), terms)
        });
        let forms = exact.filter_map(|tiles| {
            let form = Form::new(target, g, tiles);
            Some((form, form.cycles(target, form.iteration(target)?)))
        });
        let (form, cycles) = forms.min_by(|a, b| a.1.total_cmp(&b.1))?;
        let pairs = rows * (r * g.channels).div_ceil(2);
        let count = g.out[0] * g.out[1] * vectors(target, g.outputs) * pairs;
        let products = operations(count as f64 * Factors::of(target, narrow).operations());
        let direct = Candidate { name: "direct".into(), cycles: products.max(weights(target, g, pairs, 1)) };
        let whole = Candidate { name: form.method(), cycles };
        let asked = target.algorithm == Algorithm::Winograd;
        (asked || whole.cycles < direct.cycles).then_some((form, [direct, whole]))
    }

    fn new(target: &Target, g: &Geometry, tiles: Tiles) -> Form {
        let across = g.out[1].div_ceil(tiles.size.m);
        let rows = g.out[0].div_ceil(tiles.results());
        Form { g: *g, tiles, across, tile: tile_of_whole(target, rows * across, g.outputs, Factors::Words.beside()) }
    }

    /// Rows of results of an iteration that takes all channels: as many as the cache holds, in equal parts of the
    /// image; `None` where tiles of two rows would have to be cut.
    pub fn iteration(&self, target: &Target) -> Option<usize> {
        let rows = rows_for_large_batch(self.g.out[0], |rows| 4 * self.bytes(rows) <= 3 * target.cache[1]);
        (rows == self.g.out[0] || rows.is_multiple_of(self.tiles.results())).then_some(rows)
    }

    /// Predicted cycles of an image whose iterations have `iteration` rows: products are a multiplication and an
    /// addition each.
    fn cycles(&self, target: &Target, iteration: usize) -> f64 {
        let (g, size, points) = (&self.g, self.tiles.size, self.tiles.points());
        let [inputs, outputs] = [g.channels, g.outputs].map(|channels| vectors(target, channels));
        let iterations = g.out[0] / iteration;
        let tiles = iterations * self.tile_rows(iteration) * self.across;
        let products = tiles * points * outputs * (self.tiles.summed() * g.channels.div_ceil(2));
        // What a call does beside products: sums go to memory and come back.
        let calls = tiles * points * outputs * 4;
        let rows = iterations * self.rows_in(iteration) * self.across * inputs * 6 * size.points();
        let columns = if self.tiles.both { tiles * points * inputs * 7 } else { 0 };
        let back = tiles * outputs * (2 * points + 12 * size.m * self.tiles.results());
        let pairs = points * self.tiles.summed() * g.channels.div_ceil(2);
        let products = operations((2 * products + calls) as f64).max(weights(target, g, pairs, iterations));
        products + operations((rows + columns + back) as f64)
    }

    /// Describes the algorithm.
    pub fn method(&self) -> String {
        let Size { m, r } = self.tiles.size;
        let down = if self.tiles.both { " and by twos down" } else { "" };
        format!("words, F({m},{r}) by rows{down}")
    }

    /// A part of names: all that the kernels depend on, but for zeros, results and types.
    pub fn name(&self) -> String {
        let (g, w) = (&self.g, &self.g.window);
        let [c, h, wide, o] = [g.channels, g.image[0], g.image[1], g.outputs];
        let (t, [pad_y, pad_x, d]) = (self.tile, [w.pad[0], w.pad[1], w.dilation[0]]);
        format!("v{}_{}_{c}x{h}x{wide}_p{pad_y}x{pad_x}d{d}_{o}_{}x{}", t.lanes, self.tiles, t.rows, t.vectors)
    }

    /// Channels of V.
    pub fn channels(&self) -> usize {
        self.g.channels.next_multiple_of(2)
    }

    /// Rows of tiles in `rows` rows of results.
    pub fn tile_rows(&self, rows: usize) -> usize {
        rows.div_ceil(self.tiles.results())
    }

    /// Rows of the padded image that `rows` rows of results read.
    pub fn rows_in(&self, rows: usize) -> usize {
        self.tile_rows(rows) * self.tiles.results() + self.g.window.dilation[0] * (self.g.window.kernel[0] - 1)
    }

    /// Elements of a row of V.
    pub fn row(&self) -> usize {
        self.across * self.channels()
    }

    /// Elements from point to point of what rows are transformed to, for `rows` rows of results.
    pub fn point_of_rows(&self, rows: usize) -> usize {
        self.rows_in(rows) * self.row() + SKEW
    }

    /// Elements from point to point of V for `rows` rows of results.
    pub fn point(&self, rows: usize) -> usize {
        if self.tiles.both { self.tile_rows(rows) * self.row() + SKEW } else { self.point_of_rows(rows) }
    }

    /// Elements of V.
    pub fn v(&self, rows: usize) -> usize {
        self.tiles.points() * self.point(rows)
    }

    /// Elements of what rows are transformed to on their way to V; 0 where that is V.
    pub fn between(&self, rows: usize) -> usize {
        if self.tiles.both { self.tiles.size.points() * self.point_of_rows(rows) } else { 0 }
    }

    /// Elements of M from tile to tile.
    pub fn tile_pitch(&self) -> usize {
        self.tiles.points() * self.tile.columns() + SKEW
    }

    /// Elements of M.
    pub fn m(&self, rows: usize) -> usize {
        self.tile_rows(rows) * self.across * self.tile_pitch()
    }

    /// Bytes of scratch memory of an iteration.
    fn bytes(&self, rows: usize) -> usize {
        Elem::I16.bytes() * (self.v(rows) + self.between(rows)) + Elem::I32.bytes() * self.m(rows)
    }

    /// Bytes of a row of the padded copy.
    pub fn pitch(&self) -> usize {
        (self.across * self.tiles.size.m + self.tiles.size.r - 1).max(self.g.image[1] + self.g.window.pad[1])
            * self.g.channels
    }
}

/// Cycles to read the weights, `pairs` pairs of terms for each output channel, `times` times for an image.
fn weights(target: &Target, g: &Geometry, pairs: usize, times: usize) -> f64 {
    let bytes = 4 * pairs * g.outputs;
    let times = if target.batch == Batch::Latency { 1 } else { times };
    cost::stream(target, times * bytes, bytes)
}

fn vectors(target: &Target, channels: usize) -> usize {
    channels.div_ceil(target.lanes as usize)
}
