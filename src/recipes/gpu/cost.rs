//! What work costs on a GPU, in multiply-adds that an item does in the same time: by this recipes choose. It knows
//! products, the numbers that they fetch, and those that go through memory. The ratios are those of common devices'
//! data sheets, rounded; nothing here depends on the device, because choices decide roundings.

use super::cells::Cells;
use crate::lower::target::GroupTile;

/// Time of a number on its way from the cache that all groups share.
pub const CACHED: f64 = 16.0;
/// Time of a number to or from memory.
pub const MEMORY: f64 = 48.0;

/// Returns the usual tile, narrower for narrow results with the same number of items.
pub fn usual(tile: GroupTile, columns: usize) -> GroupTile {
    let fits = |shrink: &usize| tile.item_columns.is_multiple_of(*shrink) && columns <= tile.columns / shrink;
    let shrink = [4, 2].into_iter().find(fits).unwrap_or(1);
    GroupTile { columns: tile.columns / shrink, item_columns: tile.item_columns / shrink, ..tile }
}

/// A row of a product with `depth` terms and `columns` columns in a launch of its own, without its way to memory.
pub fn product_row(depth: usize, columns: usize) -> f64 {
    let t = usual(GroupTile::ALL[0], columns);
    let tiles = columns.div_ceil(t.columns);
    let fetched = (depth * tiles) as f64 + (depth * columns) as f64 / t.rows as f64;
    (depth * tiles * t.columns) as f64 * Cells::of(&t).effort() + CACHED * fetched
}
