//! A training step in groups of images, as libraries make it: the same step as with the whole batch at once; and the
//! same bits for any number of threads, in shares too.

use ninc::kernel::interp::InterpCode;
use ninc::kernel::ir::Elem;
use ninc::lower::target::{Isa, Target};
use ninc::model::Model;
use ninc::pipeline::{self, Device, Kernels, Options, ParamInfo, Program, Stage};
use ninc::types::Format;
use ninc_runtime::data::Values;
use ninc_runtime::data::batches::Batch;
use ninc_runtime::philox::Stream;
use ninc_runtime::train::schedule::Hyper;
use ninc_runtime::train::step_inputs::StepInputs;
use ninc_runtime::{Engine, Executor, Feed, Pool, Tensor};
use std::sync::Arc;

/// Convolutions of all gradients' kinds (in the Winograd domain, in parts, with stride), dropout, pools, a linear
/// layer.
const NETWORK: &str = "
network grouped(classes = 5) {
    input image: [3, 12, 12]
    image
        |> conv(kernel = 5, pad = 2, channels = 20) |> relu |> dropout(0.3)
        |> mlpconv(kernel = 3, pad = 1, channels = [24, 16]) as block1
        |> max_pool(kernel = 3, stride = 2)
        |> conv(kernel = 5, pad = 2, channels = 17) |> prelu
        |> conv(kernel = 3, stride = 2, channels = 9, groups = 1) |> relu
        |> flatten |> linear(classes) |> softmax
}
train {
    loss = cross_entropy
    optimizer = sgd(rate = 0.01, momentum = 0.9, decay = 1e-4)
    clip = 5.0
    batch = 21
    steps = 3
}
";

pub(crate) fn load(source: &str) -> Model {
    let (model, diagnostics) = ninc::front::load(source, "step.nin", &[]);
    model.unwrap_or_else(|| panic!("{diagnostics:#?}"))
}

/// Compiled for a machine whose last cache has this size: it decides the group.
fn compiled(model: &Model, device: Device, threads: usize, cache: usize) -> Program {
    let mut target = Target::host();
    target.cache[2] = cache;
    program(model, true, Options { device, threads, target: Some(target), in_shares: false, ..Options::default() })
}

/// A training step, or the network, with parameters.
fn program(model: &Model, training: bool, options: Options) -> Program {
    // The interpreter has no plan to show.
    let emit = if options.device == Device::Interp { vec![] } else { vec![Stage::Plan.into()] };
    let options = Options { emit, ..options };
    let compile = if training { pipeline::training } else { pipeline::inference };
    let mut program = compile(model, &options).expect("it compiles");
    start(&mut *program.engine, &program.params);
    program
}

/// Writes parameters.
pub(crate) fn start(engine: &mut dyn Engine, params: &[ParamInfo]) {
    let mut random = Stream::new(3, 2, 0);
    for parameter in params.iter().cloned() {
        let size: usize = parameter.dims.iter().product();
        let scale = if parameter.state { 0.0 } else { 0.1 };
        let data = (0..size).map(|_| scale * random.normal()).collect();
        engine.write(&parameter.name, &Tensor { dims: parameter.dims, data }).expect("a parameter");
    }
}

/// Losses of three steps, then all parameters.
fn train(model: &Model, program: &mut Program, batch: usize) -> Vec<Vec<f32>> {
    steps(model, &mut *program.engine, &program.params, batch)
}

pub(crate) fn steps(model: &Model, engine: &mut dyn Engine, params: &[ParamInfo], batch: usize) -> Vec<Vec<f32>> {
    let mut random = Stream::new(5, 1, 0);
    let ports = engine.inputs().to_vec();
    let each: usize = ports.iter().find(|p| p.name == "image").expect("the images").elements();
    let images: Vec<f32> = (0..batch * each).map(|_| random.normal()).collect();
    let labels: Vec<i32> = (0..batch).map(|_| random.below(5) as i32).collect();
    let data = Batch::new(Values::Floats(images), labels);
    let recipe = model.train.as_ref().expect("a recipe");
    let mut results = vec![vec![]];
    for step in 0..3 {
        let hyper = Hyper { factor: 0.01, momentum: recipe.optimizer.momentum(), ..Hyper::default() };
        let own = StepInputs::new(&ports, recipe, hyper, 1.0, step).expect("inputs");
        let fed: Vec<(&str, Feed)> = own.with(&ports, &data);
        let loss = engine.run(batch, &fed, &["loss"]).expect("a step");
        results[0].extend(&loss[0].data);
    }
    for parameter in params {
        results.push(engine.read(&parameter.name).expect("a parameter").data);
    }
    results
}

pub(crate) fn close(a: &[Vec<f32>], b: &[Vec<f32>], what: &str) {
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let scale = b.iter().fold(1e-3, |m: f32, v| m.max(v.abs()));
        let distance = a.iter().zip(b).fold(0.0, |m: f32, (a, b)| m.max((a - b).abs())) / scale;
        assert!(distance < 1e-4, "{what}: value {i} differs by {distance}");
    }
}

#[test]
fn groups_make_the_same_step() {
    let model = load(NETWORK);
    let small = 1 << 12;
    let mut grouped = compiled(&model, Device::Cpu, 1, small);
    assert!(grouped.dumps[0].text.contains("groups of 8 images"), "{}", grouped.dumps[0].text);
    let mut whole = compiled(&model, Device::Cpu, 1, 1 << 30);
    assert!(grouped.engine.arena_bytes(21) < whole.engine.arena_bytes(21));
    let mut interpreter = compiled(&model, Device::Interp, 1, small);
    for batch in [21, 8, 3, 16] {
        let found = train(&model, &mut grouped, batch);
        close(&found, &train(&model, &mut whole, batch), &format!("whole batch of {batch}"));
        close(&found, &train(&model, &mut interpreter, batch), &format!("interpreter, batch of {batch}"));
    }
}

/// In bf16 on tiles, as the interpreter of kernels says, in groups and in memory of bf16: the same step as the graph's,
/// and the same bits from machine code where this machine has tiles.
#[test]
fn a_step_on_tiles_means_what_the_graph_says() {
    let model = load(NETWORK);
    let target = Target::portable(true).with_vectors(Isa::Avx512).with_cpu(|cpu| cpu.tiles = true);
    let target = Target { cache: [48 << 10, 96 << 10, 4 << 10], ..target };
    let precision = Some(Format::Bf16);
    let options = Options { precision, target: Some(target), in_shares: false, ..Options::default() };
    let Kernels { plan, module, params, .. } = pipeline::training_kernels(&model, &options).expect("it compiles");
    let narrow = module.kernels.values().filter(|k| k.buffers.values().any(|b| b.elem == Elem::Bf16)).count();
    let tiles = module.kernels.values().filter(|k| k.name.starts_with("tiles_")).count();
    assert!(narrow >= 10 && tiles >= 12, "{narrow} kernels with bf16 in memory, {tiles} on tiles");
    let pool = Arc::new(Pool::new(2).expect("threads"));
    let code = Arc::new(InterpCode::new(Arc::new(module)));
    let mut engine = Executor::new(Arc::new(plan), code, pool).expect("an executor");
    start(&mut engine, &params);
    let found = steps(&model, &mut engine, &params, 11);
    let mut graph = program(&model, true, Options { device: Device::Interp, ..options.clone() });
    for (i, (a, b)) in found.iter().zip(train(&model, &mut graph, 11)).enumerate() {
        let scale = b.iter().fold(1e-3, |m: f32, v| m.max(v.abs()));
        let distance = a.iter().zip(&b).fold(0.0, |m: f32, (a, b)| m.max((a - b).abs())) / scale;
        // A value may be rounded to the other side here and there.
        assert!(distance < 1.0 / 128.0, "value {i} differs by {distance}");
    }
    if Target::host().cpu().tiles {
        let mut native = program(&model, true, options);
        assert!(train(&model, &mut native, 11) == found, "machine code");
    }
}

/// Results for a batch in groups, and for the second plan, of few images.
fn infer(program: &mut Program) -> Vec<Vec<f32>> {
    let mut random = Stream::new(7, 1, 0);
    let name = program.engine.outputs()[0].name.clone();
    let mut run = |batch: usize| {
        let images: Vec<f32> = (0..batch * 3 * 12 * 12).map(|_| random.normal()).collect();
        let results = program.engine.run(batch, &[("image", Feed::F32(&images))], &[&name]).expect("a result");
        results[0].data.clone()
    };
    vec![run(21), run(3), run(1)]
}

/// Training and inference, on each instruction set for itself, in both precisions: the number of threads decides no
/// bit.
#[test]
fn threads_give_the_same_bits() {
    let model = load(NETWORK);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.present()) {
        for (precision, in_shares) in
            [(None, true), (None, false), (Some(Format::Bf16), true), (Some(Format::Bf16), false)]
        {
            let mut target = Target::host_with(isa);
            target.cache[2] = 1 << 12;
            let run = |threads: usize| {
                let target = Some(target.clone());
                let options = Options { threads, target, precision, in_shares, ..Options::default() };
                let trained = train(&model, &mut program(&model, true, options.clone()), 21);
                [trained, infer(&mut program(&model, false, options))].concat()
            };
            let expected = run(1);
            assert!(expected.iter().flatten().all(|v| v.is_finite()), "{isa:?} {precision:?} {in_shares}");
            for threads in [2, 3, 4, 7, 16] {
                assert!(run(threads) == expected, "{isa:?} {precision:?} {in_shares}, {threads} threads");
            }
        }
    }
}

/// Statistics of the batch need all of it.
#[test]
fn batch_normalisation_keeps_the_batch_whole() {
    let model = load(&NETWORK.replace("|> relu |> dropout(0.3)", "|> batch_norm |> relu"));
    let program = compiled(&model, Device::Cpu, 1, 1 << 12);
    assert!(!program.dumps[0].text.contains("groups of"), "{}", program.dumps[0].text);
}

/// Gradients whose squares overflow float32 are clipped to the right length, not to nothing: the update is minus
/// the rate along `(p - y)·x`, which the weights of 0 make easy to say.
#[test]
fn clipping_works_however_large_the_gradients_are() {
    let model = load(
        "network one { input image: [4, 1, 1]  image |> flatten |> linear(features = 3, bias = false) |> softmax }
        train { optimizer = sgd(rate = 0.5)  clip = 2.0  batch = 1  steps = 1 }",
    );
    let x = [3.0, -1.0, 0.5, 2.0];
    for scale in [1.0f32, 1e-12, 1e19, 1e25, 1e37] {
        let image: Vec<f32> = x.iter().map(|v| v * scale).collect();
        let gradient: Vec<f64> = [1.0 / 3.0, 1.0 / 3.0 - 1.0, 1.0 / 3.0]
            .iter()
            .flat_map(|d: &f64| image.iter().map(move |&x| d * f64::from(x)))
            .collect();
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        for device in [Device::Cpu, Device::Interp] {
            let mut program = program(&model, true, Options { device, ..Options::default() });
            let zeros = Tensor { dims: vec![3, 4], data: vec![0.0; 12] };
            program.engine.write("linear1.weight", &zeros).expect("a parameter");
            let ports = program.engine.inputs().to_vec();
            let recipe = model.train.as_ref().expect("a recipe");
            let own =
                StepInputs::new(&ports, recipe, Hyper { factor: 1.0, ..Hyper::default() }, 1.0, 0).expect("inputs");
            let data = Batch::new(Values::Floats(image.clone()), vec![1]);
            program.engine.run(1, &own.with(&ports, &data), &["loss"]).expect("a step");
            let found = program.engine.read("linear1.weight").expect("a parameter").data;
            for (found, gradient) in found.iter().zip(&gradient) {
                let right = -0.5 * gradient * (2.0 / norm).min(1.0);
                assert!((f64::from(*found) - right).abs() <= 1e-5 * right.abs(), "{scale}: {found} {right}");
            }
        }
    }
}
