//! Shapes that tests of convolutions try.

use crate::ops::window::Window;
use crate::types::Type;

/// Odd channels for remainders of vectors, strides that leave pixels unseen, padding wider than needed, one pixel,
/// groups.
pub(super) struct Shape {
    pub(super) batch: usize,
    pub(super) input: [usize; 3],
    pub(super) output: [usize; 3],
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) pad: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) groups: usize,
}

impl Shape {
    pub(super) fn window(&self) -> Window {
        let &Shape { kernel, stride, pad, dilation, .. } = self;
        Window { kernel, stride, pad, dilation }
    }

    pub(super) fn image(&self) -> Type {
        Type::batched(&self.input)
    }

    pub(super) fn weight(&self) -> Type {
        Type::shared(&[self.output[0], self.input[0] / self.groups, self.kernel[0], self.kernel[1]])
    }
}

/// Odd channels for tails of vectors, strides that leave pixels unseen, padding wider than needed, one pixel, groups.
pub(super) const SHAPES: &[Shape] = &[
    shape(2, [3, 8, 7], [10, 8, 7], [5, 5], [1, 1], [2, 2], [1, 1], 1),
    shape(3, [5, 6, 6], [9, 6, 6], [1, 1], [1, 1], [0, 0], [1, 1], 1),
    shape(1, [4, 9, 10], [6, 4, 4], [3, 3], [2, 3], [0, 1], [1, 1], 1),
    shape(2, [3, 11, 9], [4, 2, 2], [5, 5], [4, 4], [0, 0], [1, 1], 1),
    shape(2, [6, 7, 7], [4, 7, 7], [3, 3], [1, 1], [2, 2], [2, 2], 2),
    shape(2, [4, 5, 5], [4, 7, 5], [1, 3], [1, 1], [1, 1], [1, 1], 4),
    shape(5, [17, 1, 1], [33, 1, 1], [1, 1], [1, 1], [0, 0], [1, 1], 1),
    shape(1, [2, 3, 4], [3, 1, 1], [3, 4], [1, 1], [0, 0], [1, 1], 1),
];

const fn shape(
    batch: usize,
    input: [usize; 3],
    output: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
) -> Shape {
    Shape { batch, input, output, kernel, stride, pad, dilation, groups }
}
