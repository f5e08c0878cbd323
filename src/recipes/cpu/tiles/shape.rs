//! How the pixels of a convolution become rows of tiles, and where the terms of each lie.

use super::blocks::TILE;
use super::panels::Terms;
use super::unit::Unit;
use crate::kernel::ir::Elem;
use crate::recipes::common::conv::Geometry;

/// Where tiles of A are loaded from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// The image itself: a 1x1 convolution of whole steps.
    Image,
    /// A padded copy of the image, of whole steps for each tap.
    Map,
    /// A copy in which each pixel has its terms behind each other: few channels, or no whole steps.
    Lines,
}

/// A convolution on tiles. Results of a row are tiles side by side; where rows are short, a tile holds `parts` rows,
/// one of each part of the image, pixel by pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// What is multiplied.
    pub unit: Unit,
    /// The convolution, a 1x1 one that reads its image with rows of 16 pixels.
    pub g: Geometry,
    /// Where tiles of A are loaded from.
    pub source: Source,
    /// Parts of the image, one below the other.
    pub parts: usize,
    /// Rows of tiles in an iteration.
    pub rows: usize,
    /// Iterations of an image.
    pub slices: usize,
}

/// Blocks of an iteration's image: `outer` times `count` of them with two tiles, and one behind with `tail` tiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Walk {
    pub outer: usize,
    pub count: usize,
    pub tail: usize,
}

impl Walk {
    /// Blocks of one outer iteration.
    pub fn inner(self) -> usize {
        self.count + usize::from(self.tail > 0)
    }

    /// All of them.
    pub fn blocks(self) -> usize {
        self.outer * self.inner()
    }
}

impl Shape {
    /// `None` where tiles cannot compute it. `elem`: of the image.
    pub fn new(unit: Unit, mut g: Geometry, elem: Elem) -> Option<Shape> {
        let w = g.window;
        let pixels = g.image[0] * g.image[1];
        let pointwise = (w.kernel, w.stride, w.pad) == ([1, 1], [1, 1], [0, 0]);
        let step = unit.step();
        let whole = g.channels.is_multiple_of(step);
        // What fills the last step of a run of bytes may be any bytes: weights of 0 meet them.
        let filled = unit == Unit::Bytes && w.kernel[1] * g.channels >= step;
        if pointwise && pixels.is_multiple_of(TILE) {
            (g.image, g.out) = ([pixels / TILE, TILE], [pixels / TILE, TILE]);
        }
        let source = match whole {
            true if pointwise && Some(elem) == unit.image() && pixels.is_multiple_of(TILE) => Source::Image,
            true => Source::Map,
            false if filled => Source::Map,
            false => Source::Lines,
        };
        if g.groups != 1 || source == Source::Lines && w.dilation != [1, 1] {
            return None;
        }
        let parts = TILE / g.out[1].next_power_of_two().min(TILE);
        let short = source == Source::Map && w.stride == [1, 1] && g.out[0].is_multiple_of(parts);
        let parts = if short { parts } else { 1 };
        Some(Shape { unit, g, source, parts, rows: g.out[0] / parts, slices: 1 })
    }

    /// The same in iterations of `rows` rows of tiles, a divisor of all; where a tile holds parts of the image, it
    /// stays whole.
    pub fn sliced(self, rows: usize) -> Shape {
        if self.parts > 1 { self } else { Shape { rows, slices: self.rows / rows, ..self } }
    }

    /// Elements of the copies of an iteration's image.
    pub fn copies(&self) -> usize {
        match self.source {
            Source::Image => 0,
            Source::Map => self.map_size(),
            Source::Lines => self.map_size() + self.lines_size(),
        }
    }

    /// Pixels of a row of results in a tile.
    pub fn columns(&self) -> usize {
        TILE / self.parts
    }

    /// Tiles of a row of results.
    pub fn across(&self) -> usize {
        self.g.out[1].div_ceil(self.columns())
    }

    /// Does a row of taps lie together in the copy, so that it is one run?
    fn together(&self) -> bool {
        self.unit == Unit::Bytes && self.parts == 1 && self.g.window.dilation[1] == 1
    }

    /// The order of the terms.
    pub fn terms(&self) -> Terms {
        let (unit, w, c, step) = (self.unit, self.g.window, self.g.channels, self.unit.step());
        let row = w.kernel[1] * c;
        if self.source != Source::Lines {
            let (count, run) = if self.together() { (w.kernel[0], row) } else { (w.kernel[0] * w.kernel[1], c) };
            return Terms { unit, count, run, padded: run.next_multiple_of(step) };
        }
        let padded = if row <= step { row.next_power_of_two().max(4) } else { row.next_multiple_of(step) };
        Terms { unit, count: w.kernel[0], run: row, padded }
    }

    /// Rows and columns of the padded copy.
    pub fn map(&self) -> [usize; 2] {
        let w = self.g.window;
        let columns = if self.source == Source::Lines { self.g.out[1] } else { self.across() * self.columns() };
        [w.reach(0, self.rows), w.reach(1, columns)]
    }

    /// Elements of a pixel of the padded copy, or a column of pixels.
    pub fn pixel(&self) -> usize {
        self.unit.parts() * self.g.channels
    }

    /// Elements of a row of the padded copy.
    pub fn map_pitch(&self) -> usize {
        self.map()[1] * self.parts * self.pixel()
    }

    /// Elements from a part of numbers to the next: in the padded copy, and where tiles are loaded from.
    pub fn apart(&self) -> [usize; 2] {
        match self.source {
            Source::Image | Source::Map => [self.g.channels; 2],
            // A row of the copy for each part: a run of terms lies together.
            Source::Lines => [self.map()[1] * self.g.channels, self.line()],
        }
    }

    /// Elements of the padded copy, and of what the last step may read behind it.
    pub fn map_size(&self) -> usize {
        let beyond = if self.unit == Unit::Bytes { self.unit.step() } else { 0 };
        self.map()[0] * self.map_pitch() + beyond
    }

    /// Runs that share a line: as many as fit a step.
    pub fn shared(&self) -> usize {
        (self.unit.step() / self.terms().padded).max(1)
    }

    /// Elements of a line.
    pub fn line(&self) -> usize {
        self.terms().padded.max(self.unit.step())
    }

    /// Elements of a row of lines.
    pub fn line_pitch(&self) -> usize {
        self.across() * TILE * self.a_row()
    }

    /// Rows of lines: those with all their runs, and where the rest of the runs is less, as many rows with these.
    pub fn line_rows(&self) -> [usize; 2] {
        let (shared, count, stride) = (self.shared(), self.g.window.kernel[0], self.g.window.stride[0]);
        let below = (self.rows - 1) * stride;
        let whole = if count / shared > 0 { below + (count / shared - 1) * shared + 1 } else { 0 };
        [whole, if count.is_multiple_of(shared) { 0 } else { below + 1 }]
    }

    /// Elements of all lines.
    pub fn lines_size(&self) -> usize {
        self.line_rows().iter().sum::<usize>() * self.line_pitch()
    }

    /// Elements behind a pixel's place where each step begins.
    pub fn steps(&self) -> Vec<i64> {
        let (w, c, terms, step) = (self.g.window, self.g.channels, self.terms(), self.unit.step());
        let parts_of = |places: usize| (0..places / step).map(move |i| i * step);
        let list: Vec<usize> = match self.source {
            Source::Image => parts_of(c).collect(),
            Source::Map if self.together() => {
                let rows = (0..w.kernel[0]).map(|y| y * w.dilation[0] * self.map_pitch());
                rows.flat_map(|row| parts_of(terms.padded).map(move |part| row + part)).collect()
            }
            Source::Map => {
                let taps = (0..w.kernel[0]).flat_map(|y| (0..w.kernel[1]).map(move |x| [y, x]));
                let right = w.dilation[1] * self.parts * self.pixel();
                let at = |[y, x]: [usize; 2]| y * w.dilation[0] * self.map_pitch() + x * right;
                taps.flat_map(|tap| parts_of(terms.padded).map(move |part| at(tap) + part)).collect()
            }
            Source::Lines if terms.padded >= step => {
                (0..w.kernel[0]).flat_map(|y| parts_of(terms.padded).map(move |p| y * self.line_pitch() + p)).collect()
            }
            Source::Lines => {
                let whole = (0..w.kernel[0] / self.shared()).map(|s| s * self.shared() * self.line_pitch());
                let [rows, tail] = self.line_rows();
                whole.chain((tail > 0).then(|| rows * self.line_pitch())).collect()
            }
        };
        list.into_iter().map(|at| at as i64).collect()
    }

    /// Elements from row to row of a tile of A.
    pub fn a_row(&self) -> usize {
        match self.source {
            Source::Image => self.g.channels,
            Source::Map if self.parts > 1 => self.pixel(),
            Source::Map => self.g.window.stride[1] * self.pixel(),
            Source::Lines => self.unit.parts() * self.line(),
        }
    }

    /// Elements of A from a row of tiles to the next, and from tile to tile of a row.
    pub fn a_steps(&self) -> [usize; 2] {
        let stride = self.g.window.stride[0];
        let row = match self.source {
            Source::Image => TILE * self.g.channels,
            Source::Map => stride * self.map_pitch(),
            Source::Lines => stride * self.line_pitch(),
        };
        [row, TILE * self.a_row()]
    }

    /// The same for results of `pitch` elements a pixel.
    pub fn y_steps(&self, pitch: usize) -> [usize; 2] {
        [self.g.out[1] * pitch, self.columns() * pitch]
    }

    /// How blocks of two tiles cover an iteration's image: rows of one tile in pairs, else pairs of a row. Where the
    /// last tile of a longer row is not full, its pair is a block of its own kind.
    pub fn walk(&self) -> Walk {
        match self.across() {
            1 => Walk { outer: 1, count: self.rows / 2, tail: self.rows % 2 },
            2 => Walk { outer: 1, count: self.rows, tail: 0 },
            n if self.g.out[1].is_multiple_of(self.columns()) => Walk { outer: self.rows, count: n / 2, tail: n % 2 },
            n => Walk { outer: self.rows, count: (n - 1) / 2, tail: if n % 2 == 0 { 2 } else { 1 } },
        }
    }

    /// The steps between blocks: to the second tile, to the next block, and to the next outer iteration, given those
    /// from row to row and from tile to tile.
    pub fn strides(&self, [row, tile]: [usize; 2]) -> [usize; 3] {
        match self.across() {
            1 => [row, 2 * row, row],
            2 => [tile, row, row],
            _ => [tile, 2 * tile, row],
        }
    }

    /// Where the results of the rows of a block lie in memory, `pitch` elements a pixel; `tail`: of the last block.
    pub fn places(&self, pitch: usize, tail: bool) -> Vec<Option<i64>> {
        let (walk, [w, h]) = (self.walk(), [self.g.out[1], self.g.out[0] / self.parts]);
        let first = if tail && self.across() > 2 { 2 * walk.count } else { 0 };
        let [second, ..] = self.strides(self.y_steps(pitch));
        let place = |row: usize| {
            let (tile, r) = (row / TILE, row % TILE);
            let (x, part) = (r / self.parts, r % self.parts);
            let beside = if self.across() == 1 { 0 } else { tile };
            let inside = (first + beside) * self.columns() + x < w;
            inside.then_some((tile * second + (part * h * w + x) * pitch) as i64)
        };
        (0..2 * TILE).map(place).collect()
    }
}
