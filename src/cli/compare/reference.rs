//! Values that another program computed: the arrays of an `.npz` archive.

use super::sides::Gradients;
use crate::cli::output::Done;
use ninc::pipeline::GRADIENTS;
use ninc_runtime::Tensor;
use ninc_runtime::data::npz;
use std::path::Path;

/// Arrays by name.
pub struct Reference {
    arrays: Vec<(String, Tensor)>,
}

impl Reference {
    /// Name of the array of the images' classes.
    pub const LABELS: &str = "labels";

    /// Is it such a file, by its name?
    pub fn is(path: &Path) -> bool {
        path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"))
    }

    /// Reads all arrays.
    pub fn read(path: &Path) -> Done<Reference> {
        Ok(Reference { arrays: npz::arrays(path)? })
    }

    /// The array of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.arrays.iter().find(|(known, _)| known == name).map(|(_, array)| array)
    }

    /// Names of the arrays that are no gradients, in the file's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.iter().map(|(name, _)| name.as_str()).filter(|name| !name.starts_with(GRADIENTS))
    }

    /// The gradients.
    pub fn gradients(&self) -> Gradients {
        self.arrays.iter().filter(|(name, _)| name.starts_with(GRADIENTS)).cloned().collect()
    }
}
