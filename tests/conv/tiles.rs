//! Convolutions on tiles: exact on small integers, whatever the order of the sums, and the same bits from machine code
//! where this machine has tiles. Scratch memory starts as NaN, so that what leaks from a remainder shows.

use super::cases::Draw;
use super::native;
use super::reference::{Exact, Shape};
use super::run::{builder, places};
use ninc::kernel::interp::{f32_bytes, to_f32};
use ninc::kernel::ir::EntityRef;
use ninc::lower::interp::run_program;
use ninc::lower::target::{Algorithm, Batch, Isa, Target};
use ninc::lower::{LowerCx, Lowered};
use ninc::recipes::common::conv::links;
use ninc::recipes::cpu::tiles::{self, Unit};
use ninc::recipes::{self, Epilogue, Function, Stage, Window};
use ninc::types::{Format, Type};

/// Channels, image, size of the kernel, stride, padding, dilation, outputs of each link.
type Case = (usize, [usize; 2], usize, usize, usize, usize, &'static [usize]);

const CASES: [Case; 13] = [
    // Lines with two rows of taps each and a rest, two tiles a row, tails of channels between the links.
    (3, [6, 32], 5, 1, 2, 1, &[40, 33, 10]),
    // Two halves of the image in a tile, then pixels of 16 channels and one more.
    (32, [6, 8], 3, 1, 1, 1, &[33, 17]),
    (32, [4, 4], 3, 1, 1, 1, &[20]),
    // Rows of seven pixels, an odd number of them.
    (64, [5, 7], 1, 1, 0, 1, &[16]),
    // The image itself.
    (32, [6, 16], 1, 1, 0, 1, &[64, 32]),
    // Four rows of taps in a line and one behind; a last tile that is half full.
    (1, [7, 28], 5, 1, 0, 1, &[20]),
    // Taps of a row that fill no whole step, and a stride.
    (3, [15, 39], 11, 4, 2, 1, &[12]),
    // Three, four and five tiles a row, the last one full or not.
    (32, [2, 40], 3, 1, 1, 1, &[8]),
    (32, [2, 48], 1, 1, 0, 1, &[32, 8]),
    (2, [2, 58], 1, 1, 0, 1, &[36, 8]),
    (2, [1, 70], 1, 1, 0, 1, &[8, 40]),
    (32, [5, 33], 3, 2, 1, 2, &[34]),
    (64, [1, 1], 1, 1, 0, 1, &[48]),
];

pub(super) fn target(batch: Batch, cache: [usize; 3]) -> Target {
    let target = Target::portable(true).with_vectors(Isa::Avx512);
    let target = Target { lanes: 16, registers: 32, batch, cache, algorithm: Algorithm::Split, ..target };
    target.with_cpu(|cpu| (cpu.bf16, cpu.tiles, cpu.parts) = (true, true, true))
}

/// What factors of its products are exact in.
pub(super) fn format(unit: Unit) -> Option<Format> {
    match unit {
        Unit::Bf16 => Some(Format::Bf16),
        Unit::Tf32 => Some(Format::Tf32),
        Unit::Split | Unit::Bytes => None,
    }
}

/// A chain with its operands in logical order and, for small integers, its result.
pub(super) struct Chain {
    pub shape: Shape,
    pub stages: Vec<Stage>,
    pub operands: Vec<(Type, Vec<f32>)>,
    pub result: Type,
    pub expected: Vec<f32>,
}

fn chain(draw: &mut Draw, case: &Case, unit: Unit, batch: usize, integers: bool) -> Chain {
    let (channels, image, kernel, stride, pad, dilation, outputs) = *case;
    let window = Window { kernel: [kernel; 2], stride: [stride; 2], pad: [pad; 2], dilation: [dilation; 2] };
    let mut values = |count: usize, most: usize| -> Vec<f32> {
        match integers {
            true => (0..count).map(|_| draw.below(2 * most + 1) as f32 - most as f32).collect(),
            false => match format(unit) {
                None => draw.values(count),
                Some(format) => draw.values(count).into_iter().map(|v| format.round(v.into()) as f32).collect(),
            },
        }
    };
    let shape = Shape { batch, channels, image, outputs: outputs[0], window, groups: 1 };
    let x = values(batch * shape.input().elements(), 3);
    let (mut link, mut value) = (shape.clone(), Exact::of(&x));
    let (mut operands, mut stages) = (vec![(shape.input(), x)], vec![]);
    for (i, &outputs) in outputs.iter().enumerate() {
        if i > 0 {
            link = link.next(outputs);
        }
        let last = i + 1 == case.6.len();
        let activation = (i % 2 == 0).then_some(Function::Relu);
        let round = format(unit).filter(|_| !last || outputs % 2 == 1);
        let stage = Stage { bias: i != 1, epilogue: Epilogue { activation, round } };
        let (w, b) = (values(link.weight().elements(), 1), values(link.outputs, 9));
        value = link.forward(&value, &w, stage.bias.then_some(b.as_slice()));
        if activation.is_some() {
            value = value.relu();
        }
        if let Some(round) = round {
            value.values.iter_mut().for_each(|v| *v = round.round(*v));
        }
        operands.push((link.weight(), w));
        if stage.bias {
            operands.push((Type::shared(&[link.outputs]), b));
        }
        stages.push(stage);
    }
    let expected = value.f32();
    Chain { shape, stages, operands, result: link.output(), expected }
}

/// Returns the result by the interpreter; that of machine code has the same bits.
pub(super) fn run(what: &str, target: &Target, unit: Unit, chain: &Chain) -> Vec<f32> {
    run_as(what, target, unit, chain, |cx| {
        let links = links(cx, &chain.shape.window, 1, &chain.stages)?;
        let (x, y) = (cx.operands[0].buffer, cx.result.buffer);
        assert_eq!(tiles::unit_of(cx, x, &links), Some(unit), "{what}");
        tiles::forward(cx, unit, x, y, &links);
        Ok(())
    })
}

fn run_as(
    what: &str,
    target: &Target,
    unit: Unit,
    chain: &Chain,
    lower: impl FnOnce(&mut LowerCx) -> Lowered,
) -> Vec<f32> {
    run_with(what, target, unit, chain.shape.batch, &chain.operands, &chain.result, lower)
}

fn run_with(
    what: &str,
    target: &Target,
    unit: Unit,
    batch: usize,
    operands: &[(Type, Vec<f32>)],
    result_type: &Type,
    lower: impl FnOnce(&mut LowerCx) -> Lowered,
) -> Vec<f32> {
    let types: Vec<Type> = operands.iter().map(|(ty, _)| ty.clone()).collect();
    let (builder, buffers, result) = builder(target, &types, result_type, |cx| {
        for operand in &cx.operands {
            cx.builder.exact.extend(format(unit).map(|format| (operand.buffer, format)));
        }
        lower(cx)
    });
    assert!(builder.module.micro_kernels.values().any(|m| m.has_tiles()), "{what}");
    let mut feeds = Vec::new();
    for ((ty, data), buffer) in operands.iter().zip(buffers) {
        let mut memory = vec![0.0; data.len()];
        places(ty, batch).iter().zip(data).for_each(|(&at, &v)| memory[at] = v);
        feeds.push((buffer, f32_bytes(&memory)));
    }
    let blocks = run_program(&builder, batch, &feeds).unwrap_or_else(|e| panic!("{what}: {e}"));
    if native::runs(target) {
        let compiled = native::run_program(&builder, target, batch, &feeds);
        assert_eq!(blocks[result.index()], compiled[result.index()], "{what}: machine code");
    }
    let memory = to_f32(&blocks[result.index()]);
    places(result_type, batch).iter().map(|&at| memory[at]).collect()
}

/// Large caches and batches; weights that fill a cache, panel after panel; few images, shared by threads.
#[test]
fn tiles_are_exact_on_integers() {
    let mut draw = Draw::new(14);
    let (large, small) = ([48 << 10, 2 << 20, 32 << 20], [4 << 10, 8 << 10, 1 << 20]);
    for (i, case) in CASES.iter().enumerate() {
        let batch = 1 + i % 2;
        let units = [[Unit::Bf16, Unit::Split], [Unit::Split, Unit::Tf32], [Unit::Tf32, Unit::Bf16]][i % 3];
        let ways = [(Batch::Throughput, [large, small][i % 2]), (Batch::Latency, [small, large][i % 2])];
        for ((how, cache), unit) in ways.into_iter().zip(units) {
            let chain = chain(&mut draw, case, unit, batch, true);
            let what = format!("{case:?} {unit:?} {how:?} {cache:?}");
            assert_eq!(run(&what, &target(how, cache), unit, &chain), chain.expected, "{what}");
        }
    }
}

/// Weights that do not stay in the cache while few images are computed: each link has a launch, and tiles.
#[test]
fn links_of_large_weights_stay_on_tiles() {
    let target = target(Batch::Latency, [4 << 10, 8 << 10, 1 << 20]);
    let chain = chain(&mut Draw::new(19), &(32, [3, 6], 3, 1, 1, 1, &[96, 64, 33]), Unit::Bf16, 1, true);
    let got = run_as("large weights", &target, Unit::Bf16, &chain, |cx| {
        recipes::conv::forward(cx, &chain.shape.window, 1, &chain.stages, None)?;
        let origins = &cx.builder.origins.kernels;
        let methods =
            cx.builder.launches.iter().map(|l| origins[&cx.builder.module.kernels[l.kernel].name].method.to_string());
        assert_eq!(methods.collect::<Vec<_>>(), ["tiles"; 3]);
        Ok(())
    });
    assert_eq!(got, chain.expected);
}

/// Fully connected layers: whole and half filled blocks of images, features that fill no step.
#[test]
fn linear_layers_are_exact_on_integers() {
    let mut draw = Draw::new(16);
    let target = target(Batch::Throughput, [48 << 10, 2 << 20, 32 << 20]);
    for (inputs, outputs, batch) in [(64, 40, 35), (50, 65, 32), (7, 3, 1), (32, 32, 65)] {
        let case: Case = (inputs, [1, 1], 1, 1, 0, 1, Box::leak(Box::new([outputs])));
        for unit in [Unit::Bf16, Unit::Split, Unit::Tf32] {
            let mut chain = chain(&mut draw, &case, unit, batch, true);
            // A 1x1 convolution of one pixel is a linear layer.
            chain.operands[0].0 = Type::batched(&[inputs]);
            chain.operands[1].0 = Type::shared(&[outputs, inputs]);
            chain.result = Type::batched(&[outputs]);
            let what = format!("{inputs} to {outputs}, batch {batch} {unit:?}");
            let got = run_as(&what, &target, unit, &chain, |cx| recipes::linear::forward(cx, chain.stages[0]));
            assert_eq!(got, chain.expected, "{what}");
        }
    }
}

/// A step of training of fully connected layers: the result and both gradients, of batches that fill tiles or not.
#[test]
fn gradients_of_linear_layers_are_exact_on_integers() {
    let mut draw = Draw::new(18);
    for (inputs, outputs, batch, second) in [(64, 40, 33, 2 << 20), (50, 65, 64, 16 << 10), (7, 3, 1, 2 << 20)] {
        let shape = Shape { batch, channels: inputs, image: [1, 1], outputs, window: Window::ONE, groups: 1 };
        let target = target(Batch::Training, [48 << 10, second, 32 << 20]);
        let (x, w) = ((Type::batched(&[inputs]), inputs * batch), (Type::shared(&[outputs, inputs]), inputs * outputs));
        let y = (Type::batched(&[outputs]), outputs * batch);
        let [x, w, dy] = [(x, 3), (w, 1), (y, 3)].map(|((ty, count), most)| {
            (ty, (0..count).map(|_| draw.below(2 * most + 1) as f32 - most as f32).collect::<Vec<_>>())
        });
        let run = |operands: [&(Type, Vec<f32>); 2], result: &Type, lower: &dyn Fn(&mut LowerCx) -> Lowered| {
            let what = format!("{inputs} to {outputs}, batch {batch}, to {result}");
            run_with(&what, &target, Unit::Bf16, batch, &operands.map(Clone::clone), result, lower)
        };
        let got = run([&x, &w], &dy.0, &|cx| recipes::linear::forward(cx, Stage::default()));
        assert_eq!(got, shape.forward(&Exact::of(&x.1), &w.1, None).f32());
        assert_eq!(run([&w, &dy], &x.0, &recipes::linear::grad_input), shape.grad_input(&w.1, &dy.1).f32());
        assert_eq!(run([&x, &dy], &w.0, &recipes::linear::grad_weight), shape.grad_weight(&x.1, &dy.1).f32());
    }
}

/// Numbers whose sums round: machine code follows the interpreter.
#[test]
fn tiles_round_as_the_interpreter_says() {
    let target = target(Batch::Throughput, [48 << 10, 16 << 10, 32 << 20]);
    if !native::runs(&target) {
        eprintln!("skipped: this machine has no tiles");
        return;
    }
    let mut draw = Draw::new(15);
    for case in &CASES[..4] {
        for unit in [Unit::Bf16, Unit::Split, Unit::Tf32] {
            let chain = chain(&mut draw, case, unit, 1, false);
            let got = run(&format!("{case:?} {unit:?}"), &target, unit, &chain);
            assert!(got.iter().any(|v| v.fract() != 0.0));
        }
    }
}

/// A step of training: the result, the gradient of the weights, and that of the input with and without a ReLU before.
#[test]
fn gradients_are_exact_on_integers() {
    let mut draw = Draw::new(17);
    let (large, small) = ([48 << 10, 2 << 20, 32 << 20], [4 << 10, 8 << 10, 1 << 20]);
    for (i, case) in CASES.iter().enumerate() {
        let &(channels, image, kernel, stride, pad, dilation, outputs) = case;
        let window = Window { kernel: [kernel; 2], stride: [stride; 2], pad: [pad; 2], dilation: [dilation; 2] };
        let shape = Shape { batch: 1 + i % 4, channels, image, outputs: outputs[0], window, groups: 1 };
        let mut integers = |ty: &Type, most: usize| -> Vec<f32> {
            let count = if ty.batched { shape.batch * ty.elements() } else { ty.elements() };
            (0..count).map(|_| draw.below(2 * most + 1) as f32 - most as f32).collect()
        };
        let (x, dy) = (integers(&shape.input(), 3), integers(&shape.output(), 3));
        let w = integers(&shape.weight(), 1);
        let target = target(Batch::Training, [large, small][i % 2]);
        let what = |kind: &str| format!("{kind} {case:?} batch {}", shape.batch);
        let run =
            |kind: &str, operands: &[(Type, Vec<f32>)], result: &Type, lower: &dyn Fn(&mut LowerCx) -> Lowered| {
                run_with(&what(kind), &target, Unit::Bf16, shape.batch, operands, result, lower)
            };
        let operands = [(shape.input(), x.clone()), (shape.weight(), w.clone())];
        // Not by the choice of algorithms, which takes other forms of some.
        let got = run("forward", &operands, &shape.output(), &|cx| {
            let links = links(cx, &window, 1, &[Stage::default()])?;
            let (x, y) = (cx.operands[0].buffer, cx.result.buffer);
            tiles::forward(cx, Unit::Bf16, x, y, &links);
            Ok(())
        });
        assert_eq!(got, shape.forward(&Exact::of(&x), &w, None).f32(), "{}", what("forward"));
        let operands = [(shape.input(), x.clone()), (shape.output(), dy.clone())];
        let got = run("weight", &operands, &shape.weight(), &|cx| recipes::conv::grad_weight(cx, &window, 1));
        assert_eq!(got, shape.grad_weight(&x, &dy).f32(), "{}", what("weight"));
        if (stride, dilation) == (1, 1) {
            let expected = shape.grad_input(&w, &dy).f32();
            let operands = [(shape.weight(), w), (shape.output(), dy), (shape.input(), x.clone())];
            let lower = |cx: &mut LowerCx| recipes::conv::grad_input(cx, &window, 1, Epilogue::NONE);
            assert_eq!(run("input", &operands[..2], &shape.input(), &lower), expected, "{}", what("input"));
            let masked: Vec<f32> = expected.iter().zip(&x).map(|(dx, y)| if *y > 0.0 { *dx } else { 0.0 }).collect();
            assert_eq!(run("masked", &operands, &shape.input(), &lower), masked, "{}", what("masked"));
        }
    }
}
