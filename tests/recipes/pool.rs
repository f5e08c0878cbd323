use super::random::key;
use super::{Draw, LANES, Test, close, floats};
use ninc::lower::{LowerCx, Lowered};
use ninc::recipes::{Window, global, pool};
use ninc::types::Type;
use ninc_runtime::philox;

/// `[batch, channels, height, width]`, kernel, stride, pad: whole windows, overlapping ones, gaps between them,
/// padding, windows over the edge, windows larger than the image, one row of cells.
const CASES: [([usize; 4], [usize; 2], [usize; 2], [usize; 2]); 12] = [
    ([0, 3, 4, 4], [2, 2], [2, 2], [0, 0]),
    ([2, 4, 6, 6], [2, 2], [2, 2], [0, 0]),
    ([2, 5, 7, 7], [3, 3], [2, 2], [0, 0]),
    ([1, 96, 8, 8], [3, 3], [2, 2], [0, 0]),
    ([2, 3, 5, 6], [3, 3], [1, 1], [1, 1]),
    ([2, 17, 9, 4], [2, 3], [3, 1], [0, 2]),
    ([3, 1, 1, 1], [1, 1], [1, 1], [0, 0]),
    ([2, 2, 1, 1], [3, 3], [2, 2], [1, 1]),
    ([2, 6, 10, 5], [2, 2], [4, 3], [0, 0]),
    ([1, 33, 5, 5], [5, 5], [1, 1], [2, 2]),
    ([2, 8, 6, 1], [4, 1], [3, 1], [1, 0]),
    ([1, 3, 4, 20], [1, 7], [1, 5], [0, 3]),
];

struct Windows {
    n: usize,
    c: usize,
    size: [usize; 2],
    output: [usize; 2],
    window: Window,
}

impl Windows {
    fn new([n, c, h, w]: [usize; 4], kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2], ceil: bool) -> Windows {
        let window = Window { kernel, stride, pad, dilation: [1, 1] };
        let output = [(h, 0), (w, 1)].map(|(size, i)| {
            let room = (size + 2 * pad[i]).saturating_sub(kernel[i]);
            let count = if ceil { room.div_ceil(stride[i]) } else { room / stride[i] } + 1;
            if (count - 1) * stride[i] >= size + pad[i] { count - 1 } else { count }
        });
        Windows { n, c, size: [h, w], output, window }
    }

    fn image(&self) -> Type {
        Type::batched(&[self.c, self.size[0], self.size[1]])
    }

    fn out(&self) -> Type {
        Type::batched(&[self.c, self.output[0], self.output[1]])
    }

    /// Elements of the cells of each output element, in row order.
    fn cells(&self) -> Vec<Vec<usize>> {
        let range = |axis: usize, o: usize| {
            let start = o * self.window.stride[axis];
            let pad = self.window.pad[axis];
            start.saturating_sub(pad)..(start + self.window.kernel[axis] - pad).min(self.size[axis])
        };
        let mut all = vec![];
        for image in 0..self.n {
            for (oy, ox) in (0..self.output[0]).flat_map(|y| (0..self.output[1]).map(move |x| (y, x))) {
                for c in 0..self.c {
                    let place = |y: usize, x: usize| ((image * self.size[0] + y) * self.size[1] + x) * self.c + c;
                    all.push(range(0, oy).flat_map(|y| range(1, ox).map(move |x| place(y, x))).collect());
                }
            }
        }
        all
    }
}

fn every_case(test: impl Fn(&Windows, &mut Draw)) {
    let mut draw = Draw::new(31);
    for (shape, kernel, stride, pad) in CASES {
        for ceil in [false, true] {
            test(&Windows::new(shape, kernel, stride, pad, ceil), &mut draw);
        }
    }
}

fn forward(w: &Windows, x: &[f32], lower: &dyn Fn(&mut LowerCx) -> Lowered, expected: &[f64], tolerance: f64) {
    let test = Test { operands: vec![floats(&w.image(), x.to_vec())], result: w.out(), lower };
    test.check(w.n, expected, tolerance, &format!("{:?}", w.window));
}

/// Index of the first maximum.
fn first_maximum(cells: &[usize], x: &[f32]) -> usize {
    let best = cells.iter().map(|&i| x[i]).fold(f32::NEG_INFINITY, f32::max);
    *cells.iter().find(|&&i| x[i] == best).expect("the window has cells")
}

#[test]
fn max_and_its_gradient() {
    every_case(|w, draw| {
        let (x, dy) = (draw.small(w.n * w.image().elements()), draw.small(w.n * w.out().elements()));
        let cells = w.cells();
        let y: Vec<f64> = cells.iter().map(|c| x[first_maximum(c, &x)].into()).collect();
        let mut dx = vec![0.0; x.len()];
        cells.iter().zip(&dy).for_each(|(c, &g)| dx[first_maximum(c, &x)] += f64::from(g));
        forward(w, &x, &|s| pool::max(s, &w.window), &y, 0.0);
        let operands = vec![floats(&w.image(), x), floats(&w.out(), dy)];
        let test = Test { operands, result: w.image(), lower: &|s| pool::max_grad(s, &w.window) };
        test.check(w.n, &dx, 0.0, "gradient");
    });
}

#[test]
fn average_and_its_gradient() {
    every_case(|w, draw| {
        let (x, dy) = (draw.normal(w.n * w.image().elements()), draw.normal(w.n * w.out().elements()));
        let cells = w.cells();
        let sum = |c: &[usize]| c.iter().map(|&i| f64::from(x[i])).sum::<f64>();
        let y: Vec<f64> = cells.iter().map(|c| sum(c) / c.len() as f64).collect();
        let mut dx = vec![0.0; x.len()];
        for (cells, &g) in cells.iter().zip(&dy) {
            cells.iter().for_each(|&i| dx[i] += f64::from(g) / cells.len() as f64);
        }
        forward(w, &x, &|s| pool::avg(s, &w.window), &y, 1e-6);
        let operands = vec![floats(&w.out(), dy)];
        let test = Test { operands, result: w.image(), lower: &|s| pool::avg_grad(s, &w.window) };
        test.check(w.n, &dx, 1e-6, "gradient");
    });
}

#[test]
fn stochastic_at_inference() {
    every_case(|w, draw| {
        let (x, dy) = (draw.small(w.n * w.image().elements()), draw.normal(w.n * w.out().elements()));
        let a = |i: usize| f64::from(x[i].max(0.0));
        let (mut y, mut dx) = (vec![], vec![0.0; x.len()]);
        for (cells, &g) in w.cells().iter().zip(&dy) {
            let sum: f64 = cells.iter().map(|&i| a(i)).sum();
            let squares: f64 = cells.iter().map(|&i| a(i) * a(i)).sum();
            let mean = if sum > 0.0 { squares / sum } else { 0.0 };
            y.push(mean);
            for &i in cells.iter().filter(|&&i| x[i] > 0.0) {
                dx[i] += f64::from(g) * (2.0 * a(i) - mean) / sum;
            }
        }
        forward(w, &x, &|s| pool::stochastic(s, &w.window), &y, 1e-6);
        let operands = vec![floats(&w.image(), x), floats(&w.out(), dy)];
        let test = Test { operands, result: w.image(), lower: &|s| pool::stochastic_grad(s, &w.window) };
        test.check(w.n, &dx, 2e-6, "gradient");
    });
}

/// Also for images in the middle of a batch: the numbers are those of the whole batch.
#[test]
fn stochastic_in_training() {
    let (k, stream) = ([1, 2, 3, 4], 9);
    every_case(|w, draw| {
        // Small whole numbers: the running sums are exact, so that the choice cannot differ by a rounding.
        let (x, dy) = (draw.small(w.n * w.image().elements()), draw.small(w.n * w.out().elements()));
        for first in [0, 3] {
            let (mut y, mut dx) = (vec![], vec![0.0; x.len()]);
            for (o, cells) in w.cells().iter().enumerate() {
                let index = first * w.out().elements() + o;
                let u = philox::unit(philox::element(k, stream, index as u64));
                let total: f32 = cells.iter().map(|&i| x[i].max(0.0)).sum();
                let mut running = 0.0;
                let reached = |&&i: &&usize| {
                    running += x[i].max(0.0);
                    running >= u * total
                };
                let picked = *cells.iter().find(reached).expect("the whole sum is reached");
                y.push(f64::from(x[picked].max(0.0)));
                if x[picked] > 0.0 {
                    dx[picked] += f64::from(dy[o]);
                }
            }
            let images = [w.n, first, first + w.n];
            let operands = vec![floats(&w.image(), x.clone()), key(k)];
            let lower = |s: &mut LowerCx| pool::stochastic_train(s, &w.window, stream);
            let value = Test { operands, result: w.out(), lower: &lower };
            let operands = vec![floats(&w.image(), x.clone()), floats(&w.out(), dy.clone()), key(k)];
            let lower = |s: &mut LowerCx| pool::stochastic_train_grad(s, &w.window, stream);
            let gradient = Test { operands, result: w.image(), lower: &lower };
            for lanes in LANES {
                close(&value.run_group(lanes, images, &[]), &y, 0.0, "value");
                close(&gradient.run_group(lanes, images, &[]), &dx, 0.0, "gradient");
            }
        }
    });
}

#[test]
fn global_pooling() {
    let mut draw = Draw::new(32);
    for [n, c, h, w] in super::SHAPES {
        let windows = Windows::new([n, c, h, w], [h, w], [1, 1], [0, 0], false);
        let (x, dy) = (draw.small(n * c * h * w), draw.small(n * c));
        let (image, vector, cells) = (windows.image(), Type::batched(&[c]), windows.cells());
        let sum = |c: &[usize]| c.iter().map(|&i| f64::from(x[i])).sum::<f64>();
        let mean: Vec<f64> = cells.iter().map(|c| sum(c) / (h * w) as f64).collect();
        let top: Vec<f64> = cells.iter().map(|c| x[first_maximum(c, &x)].into()).collect();
        let (mut spread, mut to_top) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        for (cells, &g) in cells.iter().zip(&dy) {
            cells.iter().for_each(|&i| spread[i] = f64::from(g) / (h * w) as f64);
            to_top[first_maximum(cells, &x)] = f64::from(g);
        }
        let (x, dy) = (floats(&image, x.clone()), floats(&vector, dy));
        let checks: [(Vec<_>, &Type, fn(&mut LowerCx) -> Lowered, &[f64]); 4] = [
            (vec![x.clone()], &vector, global::avg, &mean),
            (vec![x.clone()], &vector, global::max, &top),
            (vec![dy.clone()], &image, global::avg_grad, &spread),
            (vec![x, dy], &image, global::max_grad, &to_top),
        ];
        for (i, (operands, result, lower, expected)) in checks.into_iter().enumerate() {
            let test = Test { operands, result: result.clone(), lower: &lower };
            test.check(n, expected, 1e-6, &format!("{image} {i}"));
        }
    }
}
