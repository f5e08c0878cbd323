//! What recipes may know of a GPU, and what `ninc tune` found best on one.

use crate::types::Format;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What recipes know of a GPU. Only tiles differ between devices, and they decide no rounding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gpu {
    /// Memory that the items of a group share, in bytes.
    pub local_bytes: usize,
    /// The most items of a group.
    pub group_items: usize,
    /// What becomes of chains for which nothing was measured.
    pub fusion: Fusion,
    /// Whether 32 neighbouring items multiply matrices of bf16 numbers together.
    pub tensor: bool,
    /// The tile of products for which nothing was measured.
    pub tile: GroupTile,
    /// What `ninc tune` found.
    pub measured: Arc<Measured>,
}

/// What `ninc tune` found best on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Measured {
    /// The best tiles, by the product's name.
    pub tiles: BTreeMap<String, GroupTile>,
    /// The best forms, by the chain's name.
    pub chains: BTreeMap<String, Fusion>,
}

/// Whether chains of convolutions become one kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fusion {
    /// Where it costs less.
    #[default]
    Auto,
    /// Wherever the device has room for it.
    Always,
    /// Wherever the device has room for it, with this many pixels in a group.
    Rows(usize),
    /// No chain is one kernel.
    Never,
}

impl Fusion {
    /// The numbers of pixels that `ninc tune` measures.
    pub const ROWS: [usize; 3] = [64, 32, 16];

    /// Returns the word that a measurement is kept by.
    pub fn name(self) -> String {
        match self {
            Fusion::Auto => "auto".into(),
            Fusion::Always => "fused".into(),
            Fusion::Rows(rows) => format!("rows{rows}"),
            Fusion::Never => "apart".into(),
        }
    }

    /// Finds the measured form of this name.
    pub fn named(name: &str) -> Option<Fusion> {
        let measured = Fusion::ROWS.map(Fusion::Rows).into_iter().chain([Fusion::Never]);
        measured.into_iter().find(|f| f.name() == name)
    }
}

impl Measured {
    /// Returns the key that `name` is kept under. It was measured with this precision, which memory and units that
    /// products use depend on.
    pub fn key(name: &str, precision: Option<Format>) -> String {
        precision.map_or(String::new(), |format| format!("{} ", format.name())) + name
    }

    /// Parses stored tuning entries for this precision. Also returns how many of them could not be used.
    pub fn from_words(
        words: &BTreeMap<String, String>,
        precision: Option<Format>,
        group_items: usize,
    ) -> (Measured, usize) {
        let mut measured = Measured::default();
        let begin = Measured::key("", precision);
        // Names have no spaces.
        let own = |key: &'_ String| key.strip_prefix(&begin).filter(|name| !name.contains(' ')).map(String::from);
        let words: Vec<_> = words.iter().filter_map(|(key, word)| Some((own(key)?, word))).collect();
        for (name, word) in &words {
            if let Some(tile) = GroupTile::named(word).filter(|tile| tile.items() <= group_items) {
                measured.tiles.insert(name.clone(), tile);
            } else if let Some(fusion) = Fusion::named(word) {
                measured.chains.insert(name.clone(), fusion);
            }
        }
        let lost = words.len() - measured.tiles.len() - measured.chains.len();
        (measured, lost)
    }
}

/// The tile of a product that a work group computes, and the part of it that each item keeps in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupTile {
    /// Rows of results of a group.
    pub rows: usize,
    /// Columns of results of a group.
    pub columns: usize,
    /// Rows of results of an item.
    pub item_rows: usize,
    /// Columns of results of an item.
    pub item_columns: usize,
    /// Terms of the sum that a group loads at a time.
    pub depth: usize,
}

impl GroupTile {
    /// The tiles that `ninc tune` measures, the usual one first.
    pub const ALL: [GroupTile; 7] = [
        GroupTile::new([64, 64], [4, 4], 16),
        GroupTile::new([32, 32], [2, 2], 16),
        GroupTile::new([32, 64], [4, 4], 16),
        GroupTile::new([64, 32], [4, 2], 16),
        GroupTile::new([64, 16], [4, 1], 16),
        GroupTile::new([128, 64], [8, 4], 8),
        GroupTile::new([128, 128], [8, 8], 8),
    ];

    const fn new([rows, columns]: [usize; 2], [item_rows, item_columns]: [usize; 2], depth: usize) -> GroupTile {
        GroupTile { rows, columns, item_rows, item_columns, depth }
    }

    /// Items of a group.
    pub fn items(&self) -> usize {
        (self.rows / self.item_rows) * (self.columns / self.item_columns)
    }

    /// Returns its name: `64x64x16_4x4`.
    pub fn name(&self) -> String {
        format!("{}x{}x{}_{}x{}", self.rows, self.columns, self.depth, self.item_rows, self.item_columns)
    }

    /// Finds the measured tile of this name.
    pub fn named(name: &str) -> Option<GroupTile> {
        GroupTile::ALL.into_iter().find(|t| t.name() == name)
    }
}
