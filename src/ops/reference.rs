//! What the operators' reference evaluations share. Sums and functions are computed in f64 and rounded once, so that
//! the interpreter in f32 is as exact as f32 can hold.

use super::window::{self, Window};
use crate::graph::interp::{EvalCx, Real, Tensor, Value};
use crate::types::Type;
use ninc_runtime::tensor::to_memory;
use std::ops::Range;

/// The result, rounded to the interpreter's type.
pub fn result<T: Real>(cx: &EvalCx, data: Vec<f64>) -> Value<T> {
    Value::new(&cx.ty.full_dims(cx.batch), data.into_iter().map(T::of).collect())
}

/// Computes `f` of the operands' elements at each place. All operands have the same number of elements.
pub fn map<T: Real, const N: usize>(cx: &EvalCx, operands: [&Value<T>; N], f: impl Fn([f64; N]) -> f64) -> Value<T> {
    let data = operands.map(|o| o.real().data.as_slice());
    let count = data.first().map_or(0, |d| d.len());
    result(cx, (0..count).map(|i| f(data.map(|d| d[i].f64()))).collect())
}

/// The standard normal distribution function, to about 1e-15 of the smaller of itself and its complement.
pub fn normal_cdf(x: f64) -> f64 {
    let size = x.abs();
    let density = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    if size < 2.5 {
        // φ(x)·(x + x³/3 + x⁵/(3·5) + …), whose terms all have x's sign.
        let (mut term, mut sum) = (x, x);
        for i in 1..60 {
            term *= x * x / f64::from(2 * i + 1);
            sum += term;
        }
        return 0.5 + density * sum;
    }
    // φ(x)/(x + 1/(x + 2/(x + 3/…))) is what lies outside.
    let below = (1..200).rev().fold(size, |below, i| size + f64::from(i) / below);
    let outside = density / below;
    if x < 0.0 { outside } else { 1.0 - outside }
}

/// `[N, C, …]` as images, channels, positions.
pub fn planes(dims: &[usize]) -> [usize; 3] {
    [dims[0], dims[1], dims[2..].iter().product()]
}

/// `[N, C, H, W]`
pub fn nchw(dims: &[usize]) -> [usize; 4] {
    dims.try_into().expect("infer has checked that this is an image")
}

/// Logical places of an image's elements in the order in which they lie in memory: the order of random numbers.
pub fn memory_places(ty: &Type) -> Vec<usize> {
    let logical: Vec<usize> = (0..ty.elements()).collect();
    let mut memory = logical.clone();
    to_memory(&ty.dims, &ty.memory_order(), &logical, &mut memory);
    memory
}

/// Calls `f(channel, elements' places)` for the plane of each image and channel.
pub fn each_plane([images, channels, positions]: [usize; 3], mut f: impl FnMut(usize, Range<usize>)) {
    for plane in 0..images * channels {
        f(plane % channels, plane * positions..(plane + 1) * positions);
    }
}

/// Computes the result's channel vectors by `f` of the operands' channel vectors at each position.
pub fn over_channels<T: Real, const N: usize>(
    cx: &EvalCx,
    operands: [&Value<T>; N],
    f: impl Fn([&[f64]; N]) -> Vec<f64>,
) -> Value<T> {
    let dims = cx.ty.full_dims(cx.batch);
    let [images, channels, positions] = planes(&dims);
    let mut data = vec![0.0; images * channels * positions];
    for n in 0..images {
        for p in 0..positions {
            let vectors = operands.map(|o| {
                let own = planes(o.dims())[1];
                let at = |c: usize| o.real().data[(n * own + c) * positions + p].f64();
                (0..own).map(at).collect::<Vec<f64>>()
            });
            let views = std::array::from_fn(|i| vectors[i].as_slice());
            for (c, value) in f(views).into_iter().enumerate() {
                data[(n * channels + c) * positions + p] = value;
            }
        }
    }
    result(cx, data)
}

/// Calls `f` for each window of a pooling, plane after plane.
fn each_window(x: [usize; 4], output: [usize; 2], window: &Window, mut f: impl FnMut(Cells)) {
    for plane in 0..x[0] * x[1] {
        for row in 0..output[0] {
            for column in 0..output[1] {
                let (place, rows) = (row * output[1] + column, window::pixels(window, 0, row, x[2]));
                f(Cells { plane, place, rows, columns: window::pixels(window, 1, column, x[3]), size: [x[2], x[3]] });
            }
        }
    }
}

/// The cells of a window in a plane.
pub struct Cells {
    /// Number of the plane: image times channels plus channel.
    pub plane: usize,
    /// Place of the result in its plane.
    pub place: usize,
    /// Rows of the window that lie in the plane.
    pub rows: Range<usize>,
    /// Columns of the window that lie in the plane.
    pub columns: Range<usize>,
    /// Rows and columns of the plane.
    size: [usize; 2],
}

impl Cells {
    /// Returns how many cells there are.
    pub fn count(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Their places among all elements, in row order.
    pub fn places(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let (start, width, columns) = (self.plane * self.size[0] * self.size[1], self.size[1], self.columns.clone());
        self.rows.clone().flat_map(move |row| columns.clone().map(move |column| start + row * width + column))
    }

    /// Place of the first maximum in row order.
    pub fn first_maximum<T: Real>(&self, data: &[T]) -> usize {
        first_maximum(data, self.places())
    }
}

/// The first of these places that has the maximum.
pub fn first_maximum<T: Real>(data: &[T], mut places: impl Iterator<Item = usize>) -> usize {
    let first = places.next().expect("a maximum of something");
    places.fold(first, |best, place| if data[place] > data[best] { place } else { best })
}

/// The result of a pooling: a number from each window of `x`.
pub fn pool<T: Real>(cx: &EvalCx, x: &Tensor<T>, window: &Window, number: impl FnMut(&Cells) -> f64) -> Value<T> {
    result(cx, windows(cx, &x.dims, window, number))
}

/// `number` of each window of images `dims`, for a result that need not be floats.
pub fn windows<N>(cx: &EvalCx, dims: &[usize], window: &Window, mut number: impl FnMut(&Cells) -> N) -> Vec<N> {
    let mut y = Vec::with_capacity(cx.batch * cx.ty.elements());
    each_window(nchw(dims), [cx.ty.dims[1], cx.ty.dims[2]], window, |cells| y.push(number(&cells)));
    y
}

/// The gradient of a pooling of `dims`: `add(dx, cells, dy)` gives the derivative of a window's result to its cells.
pub fn unpool<T: Real>(
    cx: &EvalCx,
    dims: [usize; 4],
    dy: &Tensor<T>,
    window: &Window,
    mut add: impl FnMut(&mut [f64], &Cells, f64),
) -> Value<T> {
    let [.., oh, ow] = nchw(&dy.dims);
    let mut dx = vec![0.0; dims.iter().product()];
    each_window(dims, [oh, ow], window, |cells| {
        add(&mut dx, &cells, dy.data[cells.plane * oh * ow + cells.place].f64());
    });
    result(cx, dx)
}

/// Shapes of a convolution.
pub struct Sliding {
    /// Images in the batch.
    pub images: usize,
    /// Channels of an image.
    pub inputs: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Channels of the result.
    pub outputs: usize,
    /// Height and width of the result.
    pub output: [usize; 2],
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// The pixels that a pixel of the result reads.
    pub window: Window,
    /// Whether weights are `[positions, out, in, kh, kw]` instead of `[out, in, kh, kw]`.
    pub unshared: bool,
}

/// A run of multiply-adds of a convolution, along a row of the result: places of the first, and steps to the next.
pub struct Run {
    /// Place of the first element of the image.
    pub x: usize,
    /// Elements of the image from one product to the next.
    pub x_step: usize,
    /// Place of the first weight.
    pub w: usize,
    /// Weights from one product to the next.
    pub w_step: usize,
    /// Place of the first element of the result; the next ones follow it.
    pub y: usize,
    /// Number of products.
    pub count: usize,
}

impl Sliding {
    /// Calls `f` for all products `x·w` that make each `y`.
    pub fn each_run(&self, mut f: impl FnMut(Run)) {
        let ([height, width], [oh, ow], [kh, kw]) = (self.size, self.output, self.window.kernel);
        let (group_inputs, group_outputs) = (self.inputs / self.groups, self.outputs / self.groups);
        let weight = self.outputs * group_inputs * kh * kw;
        for n in 0..self.images {
            for o in 0..self.outputs {
                for i in 0..group_inputs {
                    let x = (n * self.inputs + o / group_outputs * group_inputs + i) * height * width;
                    let y = (n * self.outputs + o) * oh * ow;
                    for tap in 0..kh * kw {
                        let w = (o * group_inputs + i) * kh * kw + tap;
                        let rows = window::outputs(&self.window, 0, tap / kw, height, oh);
                        let columns = window::outputs(&self.window, 1, tap % kw, width, ow);
                        if columns.is_empty() {
                            continue;
                        }
                        for row in rows {
                            let pixel = |axis, output, tap| {
                                let w = &self.window;
                                output * w.stride[axis] + tap * w.dilation[axis] - w.pad[axis]
                            };
                            let position = row * ow + columns.start;
                            f(Run {
                                x: x + pixel(0, row, tap / kw) * width + pixel(1, columns.start, tap % kw),
                                x_step: self.window.stride[1],
                                w: if self.unshared { position * weight + w } else { w },
                                w_step: if self.unshared { weight } else { 0 },
                                y: y + position,
                                count: columns.len(),
                            });
                        }
                    }
                }
            }
        }
    }

    /// `y = Σ x·w`, `y` holding the biases.
    pub fn forward<T: Real>(&self, x: &[T], w: &[T], y: &mut [f64]) {
        self.each_run(|run| {
            for (j, y) in y[run.y..run.y + run.count].iter_mut().enumerate() {
                *y += x[run.x + j * run.x_step].f64() * w[run.w + j * run.w_step].f64();
            }
        });
    }

    /// `dx = Σ w·dy`
    pub fn grad_input<T: Real>(&self, w: &[T], dy: &[T]) -> Vec<f64> {
        let mut dx = vec![0.0; self.images * self.inputs * self.size[0] * self.size[1]];
        self.each_run(|run| {
            for (j, dy) in dy[run.y..run.y + run.count].iter().enumerate() {
                dx[run.x + j * run.x_step] += w[run.w + j * run.w_step].f64() * dy.f64();
            }
        });
        dx
    }

    /// `dw = Σ x·dy`
    pub fn grad_weight<T: Real>(&self, x: &[T], dy: &[T], count: usize) -> Vec<f64> {
        let mut dw = vec![0.0; count];
        self.each_run(|run| {
            for (j, dy) in dy[run.y..run.y + run.count].iter().enumerate() {
                dw[run.w + j * run.w_step] += x[run.x + j * run.x_step].f64() * dy.f64();
            }
        });
        dw
    }
}
