//! Tiles that stay in registers from a product to the next.

use crate::kernel::ir::Val;

/// The tiles of a factor that are in registers: those of one place.
#[derive(Default)]
pub struct Loaded {
    place: Option<i64>,
    /// Those that are loaded.
    pub tiles: Vec<Val>,
}

impl Loaded {
    /// Tile `n` of a place, loaded unless it is there.
    pub fn tile(&mut self, place: i64, n: usize, load: impl FnOnce() -> Val) -> Val {
        if self.place != Some(place) {
            (self.place, self.tiles) = (Some(place), vec![]);
        }
        if self.tiles.len() == n {
            self.tiles.push(load());
        }
        self.tiles[n]
    }
}
