use super::{Data, Draw, LANES, SHAPES, Test, floats, near};
use ninc::lower::{LowerCx, Lowered};
use ninc::recipes::softmax;
use ninc::types::Type;

/// Log-softmax of a row, in double precision.
fn log_softmax(row: &[f64]) -> Vec<f64> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log = row.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
    row.iter().map(|x| x - top - log).collect()
}

fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|&x| x.into()).collect()
}

fn narrow(v: &[f64]) -> Vec<f32> {
    v.iter().map(|&x| x as f32).collect()
}

#[test]
fn softmax_and_its_kin() {
    let mut draw = Draw::new(51);
    for ([n, c, h, w], scale) in SHAPES.into_iter().flat_map(|s| [1.0, 30.0].map(|k| (s, k))) {
        let image = Type::batched(&[c, h, w]);
        let x: Vec<f32> = draw.normal(n * c * h * w).iter().map(|v| v * scale).collect();
        let dy = draw.normal(x.len());
        let log: Vec<f64> = wide(&x).chunks(c).flat_map(log_softmax).collect();
        let y: Vec<f64> = log.iter().map(|v| v.exp()).collect();
        let (mut dx, mut dx_log) = (vec![], vec![]);
        for (y, dy) in y.chunks(c).zip(wide(&dy).chunks(c)) {
            let dot: f64 = y.iter().zip(dy).map(|(a, b)| a * b).sum();
            let sum: f64 = dy.iter().sum();
            dx.extend(y.iter().zip(dy).map(|(y, g)| y * (g - dot)));
            dx_log.extend(y.iter().zip(dy).map(|(y, g)| g - y * sum));
        }
        let (narrow_y, narrow_log) = (narrow(&y), narrow(&log));
        let (x, dy) = (floats(&image, x), floats(&image, dy));
        let checks: [(Vec<_>, fn(&mut LowerCx) -> Lowered, &[f64]); 4] = [
            (vec![x.clone()], softmax::softmax, &y),
            (vec![x], softmax::log_softmax, &log),
            (vec![floats(&image, narrow_y), dy.clone()], softmax::softmax_grad, &dx),
            (vec![floats(&image, narrow_log), dy], softmax::log_softmax_grad, &dx_log),
        ];
        for (i, (operands, lower, expected)) in checks.into_iter().enumerate() {
            let test = Test { operands, result: image.clone(), lower: &lower };
            let what = format!("{image} {i}");
            // Gradients are differences of numbers around 1, however small the difference is.
            let scale = expected.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
            for lanes in LANES {
                near(&test.run(lanes, n), expected, 2e-6 * scale, &what);
            }
            near(&test.run_gpu(n), expected, 2e-6 * scale, &what);
        }
    }
}

#[test]
fn huge_logits_are_no_problem() {
    let ty = Type::batched(&[3]);
    let x = vec![1e4, -1e4, 0.0, -1e4, -1e4, -1e4, 1e4, 1e4, -1e4];
    let third = 1.0 / 3.0;
    let expected = [1.0, 0.0, 0.0, third, third, third, 0.5, 0.5, 0.0];
    let test = Test { operands: vec![floats(&ty, x)], result: ty.clone(), lower: &softmax::softmax };
    test.check(3, &expected, 1e-7, "±10000");
}

#[test]
fn cross_entropy_and_its_gradient() {
    let mut draw = Draw::new(52);
    for (n, c) in [(0, 3), (1, 1), (3, 10), (5, 100), (2, 1000), (700, 10)] {
        let (vector, number) = (Type::batched(&[c]), Type::batched(&[]));
        let x: Vec<f32> = draw.normal(n * c).iter().map(|v| v * 3.0).collect();
        // Targets need not be a distribution, though those of label smoothing and mixing are.
        let (t, dy) = (draw.positive(n * c), draw.normal(n));
        let (mut loss, mut dx) = (vec![], vec![]);
        for (i, (x, t)) in wide(&x).chunks(c).zip(wide(&t).chunks(c)).enumerate() {
            let log = log_softmax(x);
            let weight: f64 = t.iter().sum();
            loss.push(-log.iter().zip(t).map(|(l, t)| l * t).sum::<f64>());
            dx.extend(log.iter().zip(t).map(|(l, t)| f64::from(dy[i]) * (l.exp() * weight - t)));
        }
        let operands = vec![floats(&vector, x), floats(&vector, t), floats(&number, dy)];
        let value = Test { operands: operands[..2].to_vec(), result: number, lower: &softmax::cross_entropy };
        value.check(n, &loss, 2e-6, &format!("loss of {c} classes"));
        let gradient = Test { operands, result: vector, lower: &softmax::cross_entropy_grad };
        gradient.check(n, &dx, 4e-6, &format!("gradient of {c} classes"));
    }
}

#[test]
fn one_hot_labels() {
    for (c, smoothing) in [(1, 0.0f32), (3, 0.1), (10, 0.0), (37, 0.25)] {
        let labels: Vec<i32> = (-1..=c).collect();
        let (n, c) = (labels.len(), c as usize);
        let rest = f64::from(smoothing) / c as f64;
        let mut expected = vec![rest; n * c];
        for (row, &label) in expected.chunks_mut(c).zip(&labels) {
            // A label beyond the classes marks nothing.
            if let Some(cell) = usize::try_from(label).ok().and_then(|l| row.get_mut(l)) {
                *cell = 1.0 - f64::from(smoothing) + rest;
            }
        }
        let test = Test {
            operands: vec![(Type::ints(true, &[]), Data::I32(labels))],
            result: Type::batched(&[c]),
            lower: &|s| softmax::one_hot(s, smoothing),
        };
        test.check(n, &expected, 1e-7, &format!("{c} classes"));
        assert_eq!(test.every_width(n, 0.0).len(), n * c, "all {} widths give the same bits", LANES.len());
    }
}
