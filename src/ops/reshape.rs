//! Change of shape in logical (channel, row, column) order; `flatten` is one.

use super::attr::attributes;

attributes! {
    Reshape {
        dims: Vec<usize>,
    }
}
super::unfinished!(Reshape);
