//! Shapes of one convolution.

use crate::lower::LowerError;
use crate::recipes::common::Window;
use crate::types::Type;

/// One convolution `x[C, H, W] * w[O, C/groups, kh, kw] -> y[O, oh, ow]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Channels of x.
    pub channels: usize,
    /// Rows and columns of x.
    pub image: [usize; 2],
    /// Channels of y.
    pub outputs: usize,
    /// Rows and columns of y.
    pub out: [usize; 2],
    /// Size, stride, padding and dilation of the kernel.
    pub window: Window,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl Geometry {
    /// From the types of x and w.
    pub fn new(x: &Type, w: &Type, window: &Window, groups: usize) -> Result<Geometry, LowerError> {
        let bad = || LowerError::Bug(format!("a convolution of {x} with {w}"));
        let (channels, h, wide) = x.chw().ok_or_else(bad)?;
        let (&[outputs, inner, kh, kw], true) = (w.dims.as_slice(), groups > 0) else { return Err(bad()) };
        if inner * groups != channels || outputs % groups != 0 || [kh, kw] != window.kernel {
            return Err(bad());
        }
        let image = [h, wide];
        let mut out = [0; 2];
        for d in 0..2 {
            let reach = window.dilation[d] * (window.kernel[d].checked_sub(1).ok_or_else(bad)?) + 1;
            let padded = image[d] + 2 * window.pad[d];
            out[d] = (padded.checked_sub(reach).ok_or_else(bad)?).checked_div(window.stride[d]).ok_or_else(bad)? + 1;
        }
        Ok(Geometry { channels, image, outputs, out, window: *window, groups })
    }

    fn pointwise(&self) -> bool {
        let w = self.window;
        w.kernel == [1, 1] && w.stride == [1, 1] && w.pad == [0, 0]
    }

    /// A 1x1 convolution has no rows: any cut of the image into equal rows gives the same result. One that suits
    /// register tiles (neither short rows nor a single long one) makes even work.
    pub fn flattened(mut self) -> Geometry {
        if self.pointwise() {
            let pixels = self.image[0] * self.image[1];
            let distance = |n: &usize| n.abs_diff(48);
            let width = (1..=pixels).filter(|n| pixels.is_multiple_of(*n)).min_by_key(distance).unwrap_or(1);
            self.image = [pixels / width, width];
            self.out = self.image;
        }
        self
    }

    /// Columns of the product that one panel can hold.
    pub fn tile_columns(&self) -> usize {
        if self.depthwise() { self.outputs } else { self.columns() }
    }

    /// Input and output channels of a group.
    pub fn inner(&self) -> usize {
        self.channels / self.groups
    }

    /// Output channels of a group.
    pub fn columns(&self) -> usize {
        self.outputs / self.groups
    }

    /// Has each channel a filter of its own? Then vectors run along channels on both sides.
    pub fn depthwise(&self) -> bool {
        self.groups > 1 && self.inner() == 1 && self.columns() == 1
    }
}
