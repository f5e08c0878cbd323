use super::{Draw, SHAPES, Test, floats};
use ninc::lower::LowerCx;
use ninc::recipes::{maxout, movement};
use ninc::types::Type;
use ninc_runtime::tensor::{from_memory, to_memory};

fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|&x| x.into()).collect()
}

#[test]
fn concat_and_slice() {
    let mut draw = Draw::new(21);
    for [n, c, h, w] in SHAPES {
        let parts = [c, 1, 2 * c + 1];
        let all = Type::batched(&[parts.iter().sum(), h, w]);
        let data: Vec<Vec<f32>> = parts.iter().map(|p| draw.normal(n * p * h * w)).collect();
        let mut joined = vec![];
        for row in 0..n * h * w {
            for (part, data) in parts.iter().zip(&data) {
                joined.extend(&data[row * part..(row + 1) * part]);
            }
        }
        let operands = parts.iter().zip(&data).map(|(&p, d)| floats(&Type::batched(&[p, h, w]), d.clone())).collect();
        let test = Test { operands, result: all.clone(), lower: &movement::concat };
        test.check(n, &wide(&joined), 0.0, "concat");
        let operands = vec![floats(&all, joined)];
        let result = Type::batched(&[parts[2], h, w]);
        let test = Test { operands, result, lower: &|cx| movement::slice(cx, c + 1) };
        test.check(n, &wide(&data[2]), 0.0, "slice");
    }
}

#[test]
fn pad_and_crop() {
    let mut draw = Draw::new(22);
    for [n, c, h, w] in SHAPES {
        for [top, bottom, left, right] in [[0, 0, 0, 0], [1, 2, 3, 0], [0, 5, 0, 1]] {
            let (small, large) = (Type::batched(&[c, h, w]), Type::batched(&[c, top + h + bottom, left + w + right]));
            let x = draw.normal(n * small.elements());
            let (rows, columns) = (top + h + bottom, left + w + right);
            let mut padded = vec![-1.5f32; n * large.elements()];
            for image in 0..n {
                for row in 0..h {
                    let from = (image * h + row) * w * c;
                    let to = ((image * rows + top + row) * columns + left) * c;
                    padded[to..to + w * c].copy_from_slice(&x[from..from + w * c]);
                }
            }
            let lower = |cx: &mut LowerCx| movement::pad(cx, top, left, -1.5);
            let test = Test { operands: vec![floats(&small, x.clone())], result: large.clone(), lower: &lower };
            test.check(n, &wide(&padded), 0.0, "pad");
            let lower = |cx: &mut LowerCx| movement::crop(cx, top, left);
            let test = Test { operands: vec![floats(&large, padded)], result: small, lower: &lower };
            test.check(n, &wide(&x), 0.0, "crop");
        }
    }
}

#[test]
fn reshape_keeps_the_logical_order() {
    let shapes: [(&[usize], &[usize]); 8] = [
        (&[3, 4, 5], &[60]),
        (&[60], &[3, 4, 5]),
        (&[3, 4, 5], &[5, 3, 4]),
        (&[3, 4, 5], &[3, 4, 5]),
        (&[7, 1, 1], &[7]),
        (&[1, 6, 2], &[12]),
        (&[4, 6], &[2, 3, 2, 2]),
        (&[24], &[4, 6]),
    ];
    for (case, (from, to)) in shapes.into_iter().enumerate() {
        for batched in [true, false] {
            let make = |dims: &[usize]| if batched { Type::batched(dims) } else { Type::shared(dims) };
            let (from, to) = (make(from), make(to));
            let each = from.elements();
            let n = if batched { 3 } else { 1 };
            let x = Draw::new(case as u64).normal(n * each);
            let mut y = vec![0.0; x.len()];
            for (x, y) in x.chunks(each).zip(y.chunks_mut(each)) {
                let mut logical = vec![0.0; each];
                from_memory(&from.dims, &from.memory_order(), x, &mut logical);
                to_memory(&to.dims, &to.memory_order(), &logical, y);
            }
            let test = Test { operands: vec![floats(&from, x)], result: to.clone(), lower: &movement::reshape };
            test.check(n, &wide(&y), 0.0, &format!("{from} as {to}"));
        }
    }
}

#[test]
fn fill() {
    for [n, c, h, w] in SHAPES {
        let test = Test { operands: vec![], result: Type::batched(&[c, h, w]), lower: &|s| movement::fill(s, 0.25) };
        test.check(n, &vec![0.25; n * c * h * w], 0.0, "batched");
        let test = Test { operands: vec![], result: Type::shared(&[c, h]), lower: &|s| movement::fill(s, -2.0) };
        test.check(n, &vec![-2.0; c * h], 0.0, "shared");
    }
}

#[test]
fn maxout_and_its_gradient() {
    let mut draw = Draw::new(23);
    for ([n, c, h, w], pieces) in SHAPES.into_iter().zip([1, 2, 3, 5].into_iter().cycle()) {
        let (input, output) = (Type::batched(&[c * pieces, h, w]), Type::batched(&[c, h, w]));
        let (x, dy) = (draw.small(n * input.elements()), draw.normal(n * output.elements()));
        let (mut y, mut dx) = (vec![], vec![0.0; x.len()]);
        for (i, group) in x.chunks(pieces).enumerate() {
            let best = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let first = group.iter().position(|&v| v == best).expect("a maximum is one of them");
            y.push(f64::from(best));
            dx[i * pieces + first] = f64::from(dy[i]);
        }
        let operands = vec![floats(&input, x.clone())];
        let test = Test { operands, result: output.clone(), lower: &|s| maxout::forward(s, pieces) };
        test.check(n, &y, 0.0, "maxout");
        let operands = vec![floats(&input, x), floats(&output, dy)];
        Test { operands, result: input, lower: &|s| maxout::grad(s, pieces) }.check(n, &dx, 0.0, "gradient");
    }
}
