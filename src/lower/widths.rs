//! Widths of register tiles that `ninc tune` measured on a processor. A tile's width decides what is loaded how often,
//! and no rounding: each sum has its terms in the same order whatever the tile. Only inference has them: in a step of
//! training the images of an iteration, whose sums are added up in order, follow from what fits beside a tile's sums.

use std::collections::BTreeMap;

/// Vectors of a register tile's columns, by what is computed: batches, operator and types.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Widths(pub BTreeMap<String, u8>);

impl Widths {
    /// The widths that `ninc tune` measures.
    pub const ALL: [u8; 6] = [1, 2, 3, 4, 6, 8];

    /// Parses stored entries. Also returns how many of them could not be used.
    pub fn from_words(words: &BTreeMap<String, String>) -> (Widths, usize) {
        let width = |word: &String| word.parse().ok().filter(|width| Widths::ALL.contains(width));
        let found = words.iter().filter_map(|(key, word)| Some((key.clone(), width(word)?)));
        let widths = Widths(found.collect());
        let lost = words.len() - widths.0.len();
        (widths, lost)
    }
}
