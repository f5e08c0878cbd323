//! `--precision bf16` and `tf32`: products of operands rounded to that format, sums in float32. The roundings are
//! values of the graph, so the meaning is that of the plain operators on rounded operands, in float64; the tolerance is
//! that of float32 sums.

use crate::ops::{eval, graph};
use crate::support::compiled;
use crate::support::draw::{self, convert, error};
use ninc::graph::engine::Interpreter;
use ninc::graph::interp::Value;
use ninc::graph::{Graph, text, verify};
use ninc::kernel::ir::Elem;
use ninc::lower::target::{Algorithm, Cpu, Isa, Target};
use ninc::model::Model;
use ninc::ops::{self, Case};
use ninc::passes::round;
use ninc::pipeline::{self, Options};
use ninc::types::Format;
use ninc_runtime::philox::Stream;
use ninc_runtime::{Engine, Feed, Tensor};

/// Each instruction set that this machine has, for bf16 with products of pairs and without: where the processor lacks
/// the instruction, its meaning is computed.
fn targets(format: Format) -> Vec<Target> {
    let hosts = Isa::ALL.into_iter().filter(|isa| isa.present()).map(Target::host_with);
    let pairs = if format == Format::Bf16 { &[false, true][..] } else { &[false] };
    hosts.flat_map(|t| pairs.iter().map(move |&bf16| t.clone().with_cpu(|cpu| cpu.bf16 = bf16))).collect()
}

/// Operands as they are drawn, and as products see them.
fn operands(case: &Case, format: Format, seed: u64) -> [Vec<Value<f32>>; 2] {
    let drawn = draw::operands(case, seed);
    let narrow = |(i, value): (usize, &Value<f32>)| match value {
        Value::Real(t) if i < 2 => {
            Value::new(&t.dims, t.data.iter().map(|&v| format.round(f64::from(v)) as f32).collect())
        }
        other => other.clone(),
    };
    let rounded = drawn.iter().enumerate().map(narrow).collect();
    [drawn, rounded]
}

/// A case with its operands rounded by the pass, which finds nothing more to do the second time.
fn rounded(case: &Case, format: Format) -> Graph {
    let pass = round::pass(format);
    let (mut graph, _, result) = graph(case);
    graph.outputs.push(("y".into(), result));
    (pass.run)(&mut graph).expect("a pass that succeeds");
    verify::check(&graph).expect("a valid graph");
    let once = text::print(&graph);
    assert!(once.contains("round(") && once.contains(format.name()), "{once}");
    (pass.run)(&mut graph).expect("a pass that succeeds");
    assert_eq!(once, text::print(&graph), "a second run changes the graph");
    graph
}

/// Every operator with products, on every instruction set, against float64.
#[test]
fn compiled_products_agree() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    let cases = ops::cases().into_iter().enumerate().filter(|(_, case)| case.op.factors() == [0, 1]);
    for ((i, case), format) in cases.flat_map(|case| Format::ALL.map(|format| (case.clone(), format))) {
        let [drawn, narrow] = operands(&case, format, i as u64);
        let expected = eval::<f64>(&case, &narrow.iter().map(convert).collect::<Vec<_>>());
        let graph = rounded(&case, format);
        for target in targets(format) {
            let what = format!("{format:?} {:?} pairs {} {case:?}", target.cpu().isa, target.cpu().bf16);
            let options = Options { target: Some(target), threads: 2, ..Options::default() };
            let results = compiled::run_with(&graph, case.batch, &options, |name, _| {
                drawn[name[1..].parse::<usize>().expect("x and a number")].clone()
            });
            let got: Vec<f64> = results["y"].real().data.iter().map(|v| f64::from(*v)).collect();
            let error = error(&expected.real().data, &got, 1e-3);
            // Also catches NaN.
            if error.is_nan() || error > 2e-5 {
                wrong.push(format!("{what}: {error:e}"));
            }
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} cases");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Odd channels, a chain, poolings, a stride, a linear layer.
const NETWORK: &str = "
network rounded(classes = 5) {
    input image: [3, 12, 11]
    image
        |> mlpconv(kernel = 5, pad = 2, channels = [20, 17, 9])
        |> max_pool(kernel = 3, stride = 2)
        |> conv(kernel = 3, pad = 1, channels = 24) |> relu
        |> conv(kernel = 3, stride = 2, channels = 10, groups = 2) |> relu |> cccp(7) |> relu
        |> flatten |> linear(classes)
}
";

fn run(engine: &mut dyn Engine, integers: bool) -> Vec<f32> {
    let mut random = Stream::new(11, 4, 0);
    let mut draw = |count: usize, most: u32| -> Vec<f32> {
        let mut next = || match integers {
            true => random.below(2 * most + 1) as f32 - most as f32,
            false => 0.3 * random.normal(),
        };
        (0..count).map(|_| next()).collect()
    };
    for port in engine.params().to_vec() {
        let data = draw(port.dims.iter().product(), 1);
        engine.write(&port.name, &Tensor { dims: port.dims.clone(), data }).expect("a parameter");
    }
    let image = draw(3 * 3 * 12 * 11, 20);
    let name = engine.outputs()[0].name.clone();
    engine.run(3, &[("image", Feed::F32(&image))], &[&name]).expect("a result")[0].data.clone()
}

pub fn network() -> Model {
    let (model, diagnostics) = ninc::front::load(NETWORK, "rounded.nin", &[]);
    model.unwrap_or_else(|| panic!("{diagnostics:#?}"))
}

/// Small integers, and other numbers.
const NUMBERS: [bool; 2] = [true, false];

/// The interpreter's results for both kinds of numbers.
pub fn meaning(model: &Model, format: Format) -> [Vec<f32>; 2] {
    let interp = Options { precision: Some(format), device: pipeline::Device::Interp, ..Options::default() };
    let mut meaning = pipeline::inference(model, &interp).expect("it compiles");
    NUMBERS.map(|integers| run(&mut *meaning.engine, integers))
}

/// Sums of small integers are exact in any order, so that all targets give the same bits as the interpreter, however
/// many roundings lie between; unless `exact` is false, for an algorithm that has fractions of its own.
pub fn follow(what: &str, model: &Model, options: &Options, expected: &[Vec<f32>; 2], exact: bool) {
    let mut program = pipeline::inference(model, options).expect("it compiles");
    for (integers, expected) in NUMBERS.into_iter().zip(expected) {
        let got = run(&mut *program.engine, integers);
        if integers && exact {
            assert_eq!(got, *expected, "{what}");
        }
        // Where sums round, a value between may fall on the other side: a last place of bf16 here and there.
        let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let distance = error(&wide(expected), &wide(&got), 1e-3);
        assert!(distance < 1.0 / 128.0, "{what}: {distance}");
    }
}

#[test]
fn a_network_rounds_where_the_interpreter_does() {
    let model = network();
    for format in Format::ALL {
        let expected = meaning(&model, format);
        assert!(expected[0].iter().any(|v| v.abs() > 10_000.0), "roundings matter: {:?}", expected[0]);
        let mut plain = Interpreter::new(model.graph.clone());
        assert!(run(&mut plain, true) != expected[0], "nothing was rounded");
        for target in targets(format) {
            let what = format!("{format:?} {:?} pairs {}", target.cpu().isa, target.cpu().bf16);
            let target = Some(Target { algorithm: Algorithm::Direct, ..target });
            let options = Options { precision: Some(format), target, ..Options::default() };
            follow(&what, &model, &options, &expected, true);
        }
    }
}

/// The CIFAR-10 network's kernels for machines that this one need not be: every product fits the emitter's registers,
/// with the rounding behind it, and is of pairs where the processor multiplies them.
#[test]
#[cfg(target_arch = "x86_64")]
fn products_of_a_model_fit_the_emitter() {
    use ninc::back::x86::{Features, emit, listing};
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cifar10.nin");
    let source = std::fs::read_to_string(path).expect("a readable model");
    let (model, diagnostics) = ninc::front::load(&source, "cifar10.nin", &[]);
    let model = model.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    let plain = Target::portable(true);
    for target in
        [plain.clone().with_vectors(Isa::Avx2), plain.with_vectors(Isa::Avx512).with_cpu(|cpu| cpu.bf16 = true)]
    {
        let Cpu { isa, bf16, .. } = target.cpu();
        let features = Features { bf16, vnni: false, tiles: false };
        let options = Options { precision: Some(Format::Bf16), target: Some(target), ..Options::default() };
        let inference = pipeline::inference_kernels(&model, &options).expect("it compiles");
        let training = pipeline::training_kernels(&model, &options).expect("it compiles");
        let mut pairs = 0;
        for (kernels, what) in [(&inference, "inference"), (&training, "training")] {
            for micro_kernel in
                kernels.module.micro_kernels.values().filter(|micro_kernel| micro_kernel.name.starts_with("contract_"))
            {
                let code = emit(micro_kernel, isa, features).unwrap_or_else(|e| panic!("{what}: {e}"));
                pairs += usize::from(listing(&code).contains("vdpbf16ps"));
            }
        }
        assert_eq!(pairs > 0, features.bf16, "{isa:?}: {pairs} micro_kernels multiply pairs");
        // All that the network keeps between its layers, up to the mean of each class.
        let narrow =
            inference.module.kernels.values().filter(|k| k.buffers.values().any(|b| b.elem == Elem::Bf16)).count();
        assert!(narrow >= 6 || !features.bf16, "{isa:?}: {narrow} kernels with bf16 in memory");
    }
}

/// The yardstick of bf16 and of bytes is the unit that multiplies them fastest: tiles where there are some.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_peak_of_a_precision_is_that_of_its_unit() {
    use ninc::back::x86::{Features, emit};
    use ninc::kernel::{count, verify};
    use ninc::recipes::peak::{self, Terms};
    let (tile, vector) = (4 * 256 * 16 * 16, 24 * 4096 * 16);
    for (tiles, terms, products) in [
        (true, Terms::Bf16, tile * 32),
        (true, Terms::Bytes, tile * 64),
        (true, Terms::Floats, vector),
        (false, Terms::Bf16, vector),
        // Eight sums, each of eight terms that are added in 16 bits first.
        (false, Terms::Bytes, 8 * 4096 * 16 * 8),
    ] {
        let target =
            Target::portable(true).with_vectors(Isa::Avx512).with_cpu(|cpu| (cpu.tiles, cpu.vnni) = (tiles, false));
        let builder = peak::builder(&target, terms);
        let module = verify::verify(builder.module).expect("a valid module");
        let kernel = module.kernels.values().next().expect("one kernel");
        assert_eq!(count::kernel(&module, kernel, 1).multiply_adds, 48 * products, "{tiles} {terms:?}");
        let micro_kernel = module.micro_kernels.values().next().expect("one micro-kernel");
        assert_eq!(micro_kernel.has_tiles(), tiles && terms != Terms::Floats);
        emit(micro_kernel, Isa::Avx512, Features { tiles, ..Features::default() }).expect("it fits the registers");
    }
    for (isa, vnni) in [(Isa::Avx2, false), (Isa::Avx2, true), (Isa::Avx512, true)] {
        let target = Target::portable(true).with_vectors(isa).with_cpu(|cpu| cpu.vnni = vnni);
        for terms in [Terms::Floats, Terms::Bytes] {
            let module = verify::verify(peak::builder(&target, terms).module).expect("a valid module");
            let micro_kernel = module.micro_kernels.values().next().expect("one micro-kernel");
            let code = emit(micro_kernel, isa, Features { vnni, ..Features::default() });
            assert!(code.is_ok(), "{isa:?} {vnni} {terms:?}: {:?}", code.err());
        }
    }
}
