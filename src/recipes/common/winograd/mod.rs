//! Winograd's algorithm on any machine: its matrices, the transforms as code of micro-kernels, where it applies.

mod matrices;
mod transform;

pub use matrices::{Matrix, Size, Transforms};
pub use transform::{Patch, apply, both_sides};

use super::Window;
use super::conv::Geometry;

/// Does the algorithm apply: to square windows of 2 to 7 taps without stride?
pub fn applies(g: &Geometry) -> bool {
    let w = g.window;
    let plain = w.stride == [1, 1] && w.dilation == [1, 1] && g.groups == 1;
    plain && w.kernel[0] == w.kernel[1] && (2..=7).contains(&w.kernel[0])
}

/// Returns the gradient of `g`'s input as a convolution of dy; `None` where its window would have a stride or reach
/// beyond the padding.
pub fn mirrored(g: &Geometry) -> Option<Geometry> {
    let w = g.window;
    let pad = [0, 1].map(|d| w.kernel[d].checked_sub(w.pad[d] + 1));
    let [Some(down), Some(across)] = pad else { return None };
    let plain = w.stride == [1, 1] && w.dilation == [1, 1] && g.groups == 1;
    plain.then_some(Geometry {
        channels: g.outputs,
        image: g.out,
        outputs: g.channels,
        out: g.image,
        window: Window { pad: [down, across], ..w },
        groups: 1,
    })
}
