//! Plain loops in f64, in logical order (NCHW, OIHW), which carry the error that the same sums may have in f32.

use ninc::recipes::{Reduction, Window};
use ninc::types::Type;

#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub batch: usize,
    pub channels: usize,
    pub image: [usize; 2],
    pub outputs: usize,
    pub window: Window,
    pub groups: usize,
}

/// Values with the error allowed for each.
#[derive(Clone, Debug)]
pub struct Exact {
    pub values: Vec<f64>,
    pub errors: Vec<f64>,
}

impl Exact {
    /// The values as the program stores them.
    pub fn f32(&self) -> Vec<f32> {
        self.values.iter().map(|v| *v as f32).collect()
    }

    /// Numbers that are given, so without error.
    pub fn of(values: &[f32]) -> Exact {
        Exact { values: values.iter().map(|&v| v.into()).collect(), errors: vec![0.0; values.len()] }
    }

    pub fn relu(mut self) -> Exact {
        self.values.iter_mut().for_each(|v| *v = v.max(0.0));
        self
    }
}

/// A sum of products of inexact a and exact b.
#[derive(Clone, Copy, Default)]
struct Sum {
    value: f64,
    magnitude: f64,
    inherited: f64,
    terms: f64,
}

impl Sum {
    fn add(&mut self, a: f64, error: f64, b: f64) {
        self.value += a * b;
        self.magnitude += (a * b).abs();
        self.inherited += error * b.abs();
        self.terms += 1.0;
    }
}

fn collect(sums: Vec<Sum>) -> Exact {
    let unit = 2f64.powi(-24);
    Exact {
        values: sums.iter().map(|s| s.value).collect(),
        errors: sums.iter().map(|s| 4.0 * s.terms * unit * s.magnitude + s.inherited * (1.0 + 1e-4)).collect(),
    }
}

impl Shape {
    pub fn is_valid(&self) -> bool {
        (0..2).all(|d| self.image[d] + 2 * self.window.pad[d] >= self.reach(d))
    }

    fn reach(&self, d: usize) -> usize {
        self.window.dilation[d] * (self.window.kernel[d] - 1) + 1
    }

    pub fn out(&self) -> [usize; 2] {
        [0, 1].map(|d| (self.image[d] + 2 * self.window.pad[d] - self.reach(d)) / self.window.stride[d] + 1)
    }

    pub fn input(&self) -> Type {
        Type::batched(&[self.channels, self.image[0], self.image[1]])
    }

    pub fn output(&self) -> Type {
        Type::batched(&[self.outputs, self.out()[0], self.out()[1]])
    }

    pub fn weight(&self) -> Type {
        let [kh, kw] = self.window.kernel;
        Type::shared(&[self.outputs, self.channels / self.groups, kh, kw])
    }

    /// Returns the image under a 1x1 convolution.
    pub fn pointwise(mut self) -> Shape {
        self.window = Window { kernel: [1, 1], stride: [1, 1], pad: [0, 0], dilation: [1, 1] };
        self.groups = 1;
        self
    }

    /// Without dilation (and with a smaller reach, so still valid).
    pub fn undilated(mut self) -> Shape {
        self.window.dilation = [1, 1];
        self
    }

    /// A 1x1 convolution of this one's result.
    pub fn next(&self, outputs: usize) -> Shape {
        Shape { channels: self.outputs, image: self.out(), outputs, ..self.clone() }.pointwise()
    }

    /// Calls `f(n, o, c, output position, tap, place in x, y, w)` for each product of the convolution.
    fn products(&self, mut f: impl FnMut([usize; 3], [usize; 2])) {
        let (w, [h, wide], [oh, ow]) = (&self.window, self.image, self.out());
        let (inner, columns) = (self.channels / self.groups, self.outputs / self.groups);
        let [kh, kw] = w.kernel;
        for n in 0..self.batch {
            for o in 0..self.outputs {
                for y in 0..oh * ow {
                    for i in 0..inner {
                        for t in 0..kh * kw {
                            let c = o / columns * inner + i;
                            let iy = (y / ow * w.stride[0] + t / kw * w.dilation[0]).wrapping_sub(w.pad[0]);
                            let ix = (y % ow * w.stride[1] + t % kw * w.dilation[1]).wrapping_sub(w.pad[1]);
                            if iy < h && ix < wide {
                                let place = [
                                    ((n * self.channels + c) * h + iy) * wide + ix,
                                    (n * self.outputs + o) * oh * ow + y,
                                    (o * inner + i) * kh * kw + t,
                                ];
                                f(place, [y, o]);
                            }
                        }
                    }
                }
            }
        }
    }

    pub fn forward(&self, x: &Exact, w: &[f32], bias: Option<&[f32]>) -> Exact {
        let pixels = self.out()[0] * self.out()[1];
        let mut sums = vec![Sum::default(); self.batch * self.outputs * pixels];
        if let Some(bias) = bias {
            sums.iter_mut().enumerate().for_each(|(i, s)| s.add(bias[i / pixels % self.outputs].into(), 0.0, 1.0));
        }
        self.products(|[ix, iy, iw], _| sums[iy].add(x.values[ix], x.errors[ix], w[iw].into()));
        collect(sums)
    }

    pub fn grad_input(&self, w: &[f32], dy: &[f32]) -> Exact {
        let mut sums = vec![Sum::default(); self.batch * self.input().elements()];
        self.products(|[ix, iy, iw], _| sums[ix].add(dy[iy].into(), 0.0, w[iw].into()));
        collect(sums)
    }

    pub fn grad_weight(&self, x: &[f32], dy: &[f32]) -> Exact {
        let mut sums = vec![Sum::default(); self.weight().elements()];
        self.products(|[ix, iy, iw], _| sums[iw].add(x[ix].into(), 0.0, dy[iy].into()));
        collect(sums)
    }

    /// Unshared weights `[P, O, I, kh, kw]`, bias `[O, P]`: result, gradient of x, gradient of w.
    pub fn local(&self, x: &[f32], w: &[f32], dy: &[f32], bias: Option<&[f32]>) -> [Exact; 3] {
        let (pixels, per_position) = (self.out()[0] * self.out()[1], self.weight().elements());
        let mut y = vec![Sum::default(); self.batch * self.outputs * pixels];
        let mut dx = vec![Sum::default(); x.len()];
        let mut dw = vec![Sum::default(); w.len()];
        if let Some(bias) = bias {
            y.iter_mut().enumerate().for_each(|(i, s)| s.add(bias[i % (self.outputs * pixels)].into(), 0.0, 1.0));
        }
        self.products(|[ix, iy, iw], [position, _]| {
            let iw = position * per_position + iw;
            y[iy].add(x[ix].into(), 0.0, w[iw].into());
            dx[ix].add(dy[iy].into(), 0.0, w[iw].into());
            dw[iw].add(x[ix].into(), 0.0, dy[iy].into());
        });
        [collect(y), collect(dx), collect(dw)]
    }

    /// Pools this one's result; sizes rounded up, a last window beyond image and left padding dropped.
    pub fn pool(&self, x: &Exact, kind: Reduction, window: &Window) -> (Exact, [usize; 3]) {
        let image = self.out();
        let size = |d: usize| {
            let (k, s, p) = (window.kernel[d], window.stride[d], window.pad[d]);
            let n = (image[d] + 2 * p).saturating_sub(k).div_ceil(s) + 1;
            if n > 1 && (n - 1) * s >= image[d] + p { n - 1 } else { n }
        };
        let out = [size(0), size(1)];
        let (mut values, mut errors) = (vec![], vec![]);
        for plane in 0..self.batch * self.outputs {
            for o in 0..out[0] * out[1] {
                let cells = |d: usize, o: usize| {
                    let begin = (o * window.stride[d]) as i64 - window.pad[d] as i64;
                    let end = (begin + window.kernel[d] as i64).min(image[d] as i64);
                    begin.max(0) as usize..end as usize
                };
                let (mut max, mut sum, mut error, mut count) = (f64::NEG_INFINITY, 0.0, 0f64, 0.0);
                for y in cells(0, o / out[1]) {
                    for x_ in cells(1, o % out[1]) {
                        let at = (plane * image[0] + y) * image[1] + x_;
                        max = max.max(x.values[at]);
                        sum += x.values[at];
                        error = error.max(x.errors[at] + 1e-6 * x.values[at].abs());
                        count += 1.0;
                    }
                }
                values.push(if kind == Reduction::Max { max } else { sum / count });
                errors.push(error);
            }
        }
        (Exact { values, errors }, [self.outputs, out[0], out[1]])
    }
}
