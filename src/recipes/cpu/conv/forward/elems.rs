//! What the memories of a chain's kernel hold: float32, or bf16 where its products multiply pairs.

use super::super::choice::Form;
use crate::kernel::ir::Elem;
use crate::lower::{BufferId, LowerCx};
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::conv::Link;
use crate::recipes::common::names::elem_letters;
use crate::types::Format;

/// What the memories of a kernel hold.
pub(super) struct Elems {
    /// The image in memory.
    pub image: Elem,
    /// The padded copy of the image.
    pub padded: Elem,
    /// Scratch images between the links.
    pub between: Elem,
    /// The result in memory.
    pub result: Elem,
    /// Whether a pooling reads the last link's result.
    pooled: bool,
    /// Whether the first link has a Winograd form, which reads a float32 copy.
    transformed: bool,
}

impl Elems {
    /// Decides for a chain from `x` to `y`.
    pub fn new(cx: &LowerCx, [x, y]: [BufferId; 2], chain: &[Link], (pooled, form): (bool, &Form)) -> Elems {
        let g = &chain[0].geometry;
        let transformed = !matches!(form, Form::Direct);
        let narrow = cx.target.cpu().bf16 && !transformed && !g.depthwise();
        let padded = if narrow && cx.elem(chain[0].weights) == Elem::Bf16 { cx.elem(x) } else { Elem::F32 };
        let between = if pooled { Elem::F32 } else { between_elem(cx, chain) };
        Elems { image: cx.elem(x), padded, between, result: cx.elem(y), pooled, transformed }
    }

    /// Elements of an array, with one that the last pair of an odd row reaches.
    pub fn length(&self, elements: usize) -> usize {
        elements + usize::from([self.padded, self.between].contains(&Elem::Bf16))
    }

    /// Returns a part of the kernel's name.
    pub fn name(&self) -> String {
        elem_letters("_", &[self.image, self.padded, self.between, self.result])
    }

    /// Returns the types of the operands and the result of link `i`.
    pub fn of(&self, cx: &LowerCx, chain: &[Link], i: usize) -> [Elem; 3] {
        let g = &chain[i].geometry;
        let framed = g.window.pad != [0, 0];
        let from = match (i, framed) {
            (0, true) => self.padded,
            (0, false) => self.image,
            _ => self.between,
        };
        let to = if i + 1 == chain.len() && !self.pooled { self.result } else { self.between };
        if i == 0 && self.transformed {
            return [Elem::F32, Elem::F32, to];
        }
        let kept = cx.elem(chain[i].weights);
        // Without a copy there is nothing after the last pixel.
        let reaches = i > 0 || framed || run(g).is_multiple_of(2);
        let pairs = cx.target.cpu().bf16 && from == Elem::Bf16 && kept == Elem::Bf16 && reaches && !g.depthwise();
        let weights = match (pairs, g.depthwise()) {
            (true, _) => Elem::I32,
            (false, true) => kept,
            (false, false) => Elem::F32,
        };
        [from, weights, to]
    }
}

/// Elements of the results between two links or more: bf16 if they are rounded anyway and all that read them multiply
/// pairs.
pub(super) fn between_elem(cx: &LowerCx, chain: &[Link]) -> Elem {
    let paired = |p: &[Link]| p[0].epilogue.round == Some(Format::Bf16) && cx.elem(p[1].weights) == Elem::Bf16;
    if cx.target.cpu().bf16 && chain.windows(2).all(paired) { Elem::Bf16 } else { Elem::F32 }
}

/// Terms that follow each other in the image: those of a row of taps, where they are neighbours, or of one tap.
pub(super) fn run(g: &Geometry) -> usize {
    if g.groups == 1 && g.window.dilation[1] == 1 { g.window.kernel[1] * g.inner() } else { g.inner() }
}
