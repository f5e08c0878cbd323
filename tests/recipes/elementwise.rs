use super::{Draw, LANES, SHAPES, Test, floats};
use ninc::lower::target::Target;
use ninc::lower::{LowerCx, LowerError, Operand, ProgramBuilder, Role};
use ninc::recipes::elementwise;
use ninc::types::Type;

#[test]
fn values_scalars_and_channels() {
    let mut draw = Draw::new(11);
    for [n, c, h, w] in SHAPES {
        let image = Type::batched(&[c, h, w]);
        let count = n * c * h * w;
        let (a, b) = (draw.normal(count), draw.normal(count));
        let (scalar, channel) = (draw.normal(1), draw.normal(c));
        let expected: Vec<f64> = (0..count).map(|i| f64::from(a[i] * channel[i % c] + scalar[0] * b[i])).collect();
        let test = Test {
            operands: vec![
                floats(&image, a),
                floats(&Type::shared(&[c]), channel),
                floats(&Type::shared(&[]), scalar),
                floats(&image, b),
            ],
            result: image,
            lower: &|cx| {
                elementwise::map(cx, "test", |b, v, _| {
                    let (left, right) = (b.mul(v[0], v[1]), b.mul(v[2], v[3]));
                    b.add(left, right)
                })
            },
        };
        test.check(n, &expected, 0.0, &format!("{:?}", [c, h, w]));
    }
}

/// More operands than a micro-kernel has parameters: an optimiser's update.
#[test]
fn many_scalars() {
    let mut draw = Draw::new(12);
    for dims in [vec![], vec![1], vec![5], vec![96, 3, 5, 5]] {
        let ty = Type::shared(&dims);
        let tensors: Vec<Vec<f32>> = (0..3).map(|_| draw.normal(ty.elements())).collect();
        let numbers: Vec<f32> = draw.normal(5);
        let expected: Vec<f64> = (0..ty.elements())
            .map(|i| {
                let scaled = (0..3).map(|t| tensors[t][i] * numbers[t]).fold(0.0, |a, b| a + b);
                f64::from((scaled + numbers[3]) * numbers[4])
            })
            .collect();
        let mut operands: Vec<_> = tensors.iter().map(|t| floats(&ty, t.clone())).collect();
        operands.extend(numbers.iter().map(|&n| floats(&Type::shared(&[]), vec![n])));
        let lower = |cx: &mut LowerCx| {
            elementwise::map(cx, "update", |b, v, lanes| {
                let mut sum = b.f32(0.0, lanes);
                for i in 0..3 {
                    let product = b.mul(v[i], v[3 + i]);
                    sum = b.add(sum, product);
                }
                let sum = b.add(sum, v[6]);
                b.mul(sum, v[7])
            })
        };
        Test { operands, result: ty, lower: &lower }.check(1, &expected, 0.0, &format!("{dims:?}"));
    }
}

#[test]
fn one_number_an_image() {
    let ty = Type::batched(&[]);
    let x = Draw::new(13).normal(9);
    let expected: Vec<f64> = x.iter().map(|&v| f64::from(v * 3.0)).collect();
    let operands = vec![floats(&ty, x), floats(&Type::shared(&[]), vec![3.0])];
    let lower = |cx: &mut LowerCx| elementwise::map(cx, "scale", |b, v, _| b.mul(v[0], v[1]));
    Test { operands, result: ty, lower: &lower }.check(9, &expected, 0.0, "losses");
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    for lanes in LANES {
        let target = Target { lanes, ..Target::portable(true) };
        let mut builder = ProgramBuilder::default();
        let (wrong, ty) = (Type::shared(&[5]), Type::batched(&[4, 2, 2]));
        let operands = vec![Operand { buffer: builder.value("x", &wrong, Role::Input), ty: wrong }];
        let result = Operand { buffer: builder.value("y", &ty, Role::Temp), ty };
        let mut cx = LowerCx { target: &target, name: "test".into(), operands, result, builder: &mut builder };
        let error = elementwise::map(&mut cx, "copy", |_, v, _| v[0]);
        assert_eq!(error, Err(LowerError::Bug("copy: an operand f32[5] for f32[N, 4, 2, 2]".into())));
    }
}
