//! Every operator with a kernel: its recipe against its own reference evaluation, on the operator's test cases.

use super::{Data, Draw, LANES, Test, close};
use crate::support::draw::gives_floats;
use ninc::graph::interp::{EvalCx, Value};
use ninc::lower::LowerCx;
use ninc::ops::{self, Case};
use ninc::types::{DType, Type};
use ninc_runtime::tensor::to_memory;

/// Memory order of a value in logical order, image by image.
fn memory<T: Copy + Default>(ty: &Type, logical: &[T]) -> Vec<T> {
    let each = ty.elements().max(1);
    let mut out = vec![T::default(); logical.len()];
    for (from, to) in logical.chunks(each).zip(out.chunks_mut(each)) {
        to_memory(&ty.dims, &ty.memory_order(), from, to);
    }
    out
}

fn draw(case: &Case, ty: &Type, rng: &mut Draw) -> Vec<f32> {
    let count: usize = ty.full_dims(case.batch).iter().product();
    match case.draw {
        ops::Draw::Positive => rng.positive(count),
        ops::Draw::Distinct => {
            // A shuffled grid: no two are close.
            let step = 4.0 / count.max(1) as f32;
            let mut values: Vec<f32> = (0..count).map(|i| (i as f32 + 0.5) * step - 2.0).collect();
            (1..count).rev().for_each(|i| values.swap(i, rng.below(i as u32 + 1) as usize));
            values
        }
        _ => rng.normal(count),
    }
}

fn ints(case: &Case, ty: &Type, rng: &mut Draw) -> Vec<i32> {
    let count: usize = ty.full_dims(case.batch).iter().product();
    let bound = match case.draw {
        _ if ty.dtype == DType::U8 => 256,
        ops::Draw::Labels(classes) => classes as u32,
        _ => 1 << 30,
    };
    (0..count).map(|_| rng.below(bound) as i32).collect()
}

#[test]
fn recipes_compute_what_operators_mean() {
    let cases = ops::cases();
    assert!(cases.len() > 60, "{} cases are too few for all operators", cases.len());
    let mut rng = Draw::new(61);
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| gives_floats(case)) {
        let ty = case.op.infer(&case.operands).expect("a case of matching types");
        let (mut values, mut exact, mut operands) = (vec![], vec![], vec![]);
        for operand in &case.operands {
            let dims = operand.full_dims(case.batch);
            if operand.dtype != DType::F32 {
                let data = ints(case, operand, &mut rng);
                values.push(Value::<f64>::Int(ninc::graph::interp::Tensor { dims, data: data.clone() }));
                let data = memory(operand, &data);
                let bytes = || Data::U8(data.iter().map(|&v| v as u8).collect());
                operands.push((operand.clone(), if operand.dtype == DType::U8 { bytes() } else { Data::I32(data) }));
            } else {
                let data = draw(case, operand, &mut rng);
                values.push(Value::new(&dims, data.iter().map(|&x| f64::from(x)).collect()));
                operands.push((operand.clone(), Data::F32(memory(operand, &data))));
            }
        }
        exact.extend(&values);
        let cx = EvalCx { batch: case.batch, first: 0, total: case.batch, ty: &ty };
        let expected = case.op.eval(&cx, &exact);
        let expected = memory(&ty, &expected.real().data);
        let lower = |cx: &mut LowerCx| case.op.lower(cx);
        let test = Test { operands, result: ty.clone(), lower: &lower };
        for lanes in LANES {
            let what = format!("case {number}: {} {:?}, {lanes} lanes", case.op.name(), case.op.attrs());
            close(&test.run(lanes, case.batch), &expected, 2e-5, &what);
        }
        let what = format!("case {number}: {} {:?}, GPU", case.op.name(), case.op.attrs());
        close(&test.run_gpu(case.batch), &expected, 2e-5, &what);
    }
}
