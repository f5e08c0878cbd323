//! Convolutions as products (implicit GEMM): where the terms of a sum over a window lie. A linear layer is the 1x1
//! convolution of an image of one pixel.

use super::cells::Place;
use super::rows::Row;
use crate::kernel::ir::Expr;
use crate::lower::Method;
use crate::recipes::common::Window;
use crate::recipes::common::conv::Geometry;

/// A linear layer.
pub fn pixel_layer(channels: usize, outputs: usize) -> Geometry {
    Geometry { channels, image: [1, 1], outputs, out: [1, 1], window: Window::ONE, groups: 1 }
}

/// Returns a part of a kernel's name.
pub fn name(what: &str, g: &Geometry) -> String {
    let w = &g.window;
    if *g == pixel_layer(g.channels, g.outputs) {
        return format!("{}_{}x{}", what.replace("conv", "linear"), g.channels, g.outputs);
    }
    let [k, s, p, d] = [w.kernel, w.stride, w.pad, w.dilation].map(|v| format!("{}x{}", v[0], v[1]));
    format!("{what}_{}x{}x{}_{k}s{s}p{p}d{d}g{}_{}", g.channels, g.image[0], g.image[1], g.groups, g.outputs)
}

/// Returns the method for reports; `linear` is what a linear layer is called.
pub fn method(g: &Geometry, linear: &str) -> Method {
    if *g == pixel_layer(g.channels, g.outputs) { linear.into() } else { Method::Direct }
}

/// Returns the shape in one column of pixels, where no index needs a division: a 1x1 convolution has no rows and
/// columns.
pub fn straight(g: &Geometry) -> Geometry {
    let column = [g.image[0] * g.image[1], 1];
    let plain = g.window.kernel == [1, 1] && g.window.stride == [1, 1] && g.window.pad == [0, 0];
    if plain { Geometry { image: column, out: column, ..*g } } else { *g }
}

/// A term `tap · width + channel` of a sum over a window: its tap and its channel.
pub fn split(g: &Geometry, k: &Expr, width: usize) -> (Expr, Expr) {
    if g.window.kernel == [1, 1] { (0.into(), k.clone()) } else { (k.div(width), k.rem(width)) }
}

/// Like [`split`], with the tap as row and column.
pub fn term(g: &Geometry, k: &Expr, width: usize) -> ([Expr; 2], Expr) {
    let (tap, channel) = split(g, k, width);
    (pixel(&tap, g.window.kernel[1]), channel)
}

/// The element of x under tap `tap` of the result's pixel `at`, and whether it lies inside the image.
pub fn input(g: &Geometry, image: &Expr, at: [Expr; 2], tap: &[Expr; 2], channel: Expr) -> Place {
    let w = &g.window;
    let position = |d: usize| &at[d] * w.stride[d] + &tap[d] * w.dilation[d] + -(w.pad[d] as i64);
    let [y, x] = [position(0), position(1)];
    let inside = if w.pad == [0, 0] { 1.into() } else { within(&y, g.image[0]) * within(&x, g.image[1]) };
    Place { at: ((image * g.image[0] + y) * g.image[1] + x) * g.channels + channel, inside }
}

/// `0 <= e < end`
pub fn within(e: &Expr, end: usize) -> Expr {
    Expr::from(-1).lt(e.clone()) * e.lt(end)
}

/// Row and column of a pixel.
pub fn pixel(row: &Expr, width: usize) -> [Expr; 2] {
    [row.div(width), row.rem(width)]
}

/// The pixel of x under term `k` of the result's pixel `row`.
pub fn patch(g: &Geometry, row: &Row, k: &Expr, group: &Expr) -> Place {
    let (tap, channel) = term(g, k, g.inner());
    input(g, &row.image, pixel(&row.index, g.out[1]), &tap, group * g.inner() + channel)
}
