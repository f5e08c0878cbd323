//! Rows of a product that are dealt out to work groups in tiles: pixels of images, or a fixed number.

use crate::kernel::ir::{Expr, KVar};

/// Rows of a result.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    Fixed(usize),
    PerImage(usize),
}

/// A row: its image (0 for fixed rows) and its number there.
pub struct Row {
    /// Its image.
    pub image: Expr,
    /// Its number in the image.
    pub index: Expr,
}

/// A tile of rows: the row at a place in it, and whether it exists.
pub struct RowTile {
    number: Expr,
    rows: Rows,
    tile: usize,
    /// Images of a tile, where they are smaller than it.
    images: usize,
    /// Tiles of an image, where they are larger.
    per_image: usize,
}

impl Rows {
    /// Images of a tile, and tiles of an image.
    fn sizes(self, tile: usize) -> (usize, usize) {
        match self {
            Rows::PerImage(n) if n <= tile => ((tile / n.max(1)).max(1), 1),
            Rows::PerImage(n) | Rows::Fixed(n) => (1, n.div_ceil(tile)),
        }
    }

    /// Number of tiles of `tile` rows.
    pub fn tiles(self, tile: usize) -> Expr {
        let (images, per_image) = self.sizes(tile);
        match self {
            Rows::PerImage(_) if images > 1 => Expr::BATCH.ceil_div(images as i64),
            Rows::PerImage(_) => KVar::BATCH * per_image,
            Rows::Fixed(_) => per_image.into(),
        }
    }

    /// Returns tile `number`.
    pub fn tile(self, tile: usize, number: &Expr) -> RowTile {
        let (images, per_image) = self.sizes(tile);
        RowTile { number: number.clone(), rows: self, tile, images, per_image }
    }
}

impl RowTile {
    /// The row at place `r` of the tile, and whether there is one.
    pub fn row(&self, r: &Expr) -> (Row, Expr) {
        match self.rows {
            Rows::Fixed(n) => {
                let index = &self.number * self.tile + r;
                (Row { image: 0.into(), index: index.clone() }, index.lt(n))
            }
            Rows::PerImage(n) if self.images > 1 => {
                let image = &self.number * self.images + r.div(n);
                let there = image.lt(KVar::BATCH);
                let there = if self.images * n < self.tile { r.lt(self.images * n) * there } else { there };
                (Row { image, index: r.rem(n) }, there)
            }
            Rows::PerImage(n) => {
                let index = self.number.rem(self.per_image) * self.tile + r;
                let there = if n.is_multiple_of(self.tile) { 1.into() } else { index.lt(n) };
                (Row { image: self.number.div(self.per_image), index }, there)
            }
        }
    }
}
