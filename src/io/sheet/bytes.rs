//! Where values are rounded to bytes, in files of quantised networks: what of it the layers that multiply such values
//! may rely on.

use super::{LayerId, Sheet};
use crate::quantize::imported::Stated;
use crate::quantize::ranges::Coding;
use std::collections::BTreeMap;

/// What a file says of bytes in a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bytes {
    /// How its value is rounded.
    pub coding: Option<Coding>,
    /// Its products with whole weights, by the weights' suffix.
    pub products: BTreeMap<&'static str, Stated>,
}

/// The suffix of a plain layer's weights.
pub const WEIGHT: &str = "weight";

impl Sheet {
    /// Completes what is stated of products by what flows into them and out of them, or drops it.
    pub(super) fn codings(&mut self) {
        let uses = self.uses();
        let follower = |at: LayerId| {
            let mut users = self.layers.iter().filter(|layer| layer.operands.contains(&at));
            users.next().filter(|user| uses[at] == 1 && user.function == "relu")
        };
        let stated = |at: LayerId| {
            let own = self.layers[at].bytes.products.get(WEIGHT)?;
            let output = follower(at).unwrap_or(&self.layers[at]).bytes.coding;
            self.reads(self.layers[at].operands[0], own.input).then(|| Stated { output, ..own.clone() })
        };
        let all: Vec<Option<Stated>> = (0..self.layers.len()).map(stated).collect();
        for (layer, stated) in self.layers.iter_mut().zip(all) {
            layer.bytes.products = stated.into_iter().map(|stated| (WEIGHT, stated)).collect();
        }
    }

    /// Are these the bytes of the value where they come from? Pools and changes of shape leave bytes as they are; but
    /// means that are not rounded are none.
    fn reads(&self, from: LayerId, coding: Coding) -> bool {
        let mut at = from;
        loop {
            let layer = &self.layers[at];
            let carries = ["max_pool", "avg_pool", "reshape", "flatten"].contains(&layer.function);
            match layer.bytes.coding {
                Some(own) if own != coding => return false,
                Some(_) if !carries => return true,
                None if !carries || layer.function == "avg_pool" => return false,
                _ => at = layer.operands[0],
            }
        }
    }
}
