//! Kernels for groups: what the verifier asks of them, what the interpreter makes of them, and that goldens compile.

use super::present;
use crate::ops as table;
use crate::support::draw::{self, convert, error};
use ninc::graph::Graph;
use ninc::kernel::interp::{f32_bytes, run_kernel, to_f32};
use ninc::kernel::ir::{EntityRef, KernelId};
use ninc::kernel::text::parse;
use ninc::kernel::verify;
use ninc::lower::target::Target;
use ninc::model::Model;
use ninc::ops;
use ninc::pipeline::{self, Options, Stage};
use ninc::types::Format;
use ninc_runtime::opencl::{DeviceContext, pick};
use std::fs;
use std::path::Path;

/// Items turn a row round through local memory.
const REVERSE: &str = r#"
micro_kernel copy_one(from: f32 read, to: f32 write) {
  %0: f32 = load from[0]
  store to[0], %0
}
kernel reverse(x: f32 read, y: f32 write) {
  scratch local row: f32[8]
  group g = 0 to batch {
    item i = 0 to 8 {
      call copy_one(x[g*8 + i], row[i])
      barrier
      call copy_one(row[7 - i], y[g*8 + i])
    }
  }
}
"#;

#[test]
fn groups_wait_at_barriers() {
    let module = parse(REVERSE).expect("kernel text");
    assert_eq!(parse(&module.to_string()).expect("its own text"), module);
    let verified = verify::verify(module).expect("well-formed");
    let x: Vec<f32> = (0..16).map(|i| i as f32).collect();
    let mut blocks = vec![f32_bytes(&x), vec![0xff; 64]];
    run_kernel(&verified, KernelId::from_u32(0), &mut blocks, &[0, 1], [2, 0, 2], 0..2).expect("it runs");
    let expected: Vec<f32> = (0..2).flat_map(|g| (0..8).rev().map(move |i| (g * 8 + i) as f32)).collect();
    assert_eq!(to_f32(&blocks[1]), expected);
    // Without the barrier an item reads what nobody has written yet.
    let module = parse(&REVERSE.replace("      barrier\n", "")).expect("kernel text");
    let verified = verify::verify(module).expect("well-formed");
    let mut blocks = vec![f32_bytes(&x), vec![0xff; 64]];
    run_kernel(&verified, KernelId::from_u32(0), &mut blocks, &[0, 1], [2, 0, 2], 0..2).expect("it runs");
    assert!(to_f32(&blocks[1]).iter().any(|v| v.is_nan()), "the missing barrier does not show");
}

#[test]
fn malformed_groups_are_refused() {
    let wrong = |from: &str, to: &str, says: &str| {
        assert!(REVERSE.contains(from), "{from}");
        let module = parse(&REVERSE.replace(from, to)).expect("kernel text");
        let errors = verify::verify(module).expect_err("malformed").to_string();
        assert!(errors.contains(says), "{to}: {errors}");
    };
    wrong("item i = 0 to 8", "item i = 0 to batch", "one item loop from 0 to a constant");
    wrong("item i = 0 to 8", "item i = 0 to 2000", "a group of 2000 items");
    wrong("item i = 0 to 8", "for i = 0 to 8", "exactly one group loop");
    wrong("      barrier\n", "      if i < 4 {\n barrier\n }\n", "not all items");
    wrong("      barrier\n", "      for j = 0 to i {\n barrier\n }\n", "not all items");
}

/// Products in tiles, in the interpreter of kernels: every access is checked, no item may rely on another one's haste.
#[test]
fn tiled_products_agree_in_the_interpreter() {
    let target = Target::gpu();
    let mut checked = 0;
    for (i, case) in ops::cases().iter().enumerate() {
        let name = case.op.name();
        let tiled = name.starts_with("conv2d") || name.starts_with("linear") || name == "mlpconv";
        let small = case.operands.iter().map(|t| t.elements()).max().unwrap_or(0) < 600;
        if !tiled || !small {
            continue;
        }
        let drawn = draw::operands(case, i as u64);
        let wide: Vec<_> = drawn.iter().map(convert).collect();
        let expected = table::eval::<f64>(case, &wide);
        let (mut graph, _, result): (Graph, _, _) = table::graph(case);
        graph.outputs.push(("y".into(), result));
        let program = ninc::translate::run(&graph, &target, false).unwrap_or_else(|e| panic!("{case:?}: {}", e));
        let builder = program.builder;
        let feeds: Vec<_> = program
            .ports
            .inputs
            .iter()
            .chain(&program.ports.params)
            .map(|port| {
                let value = drawn[port.name[1..].parse::<usize>().expect("x and a number")].real().data.clone();
                let mut memory = vec![0.0; value.len()];
                let size = port.elements().max(1);
                for (from, to) in value.chunks(size).zip(memory.chunks_mut(size)) {
                    ninc_runtime::tensor::to_memory(&port.dims, &port.order, from, to);
                }
                (ninc::lower::BufferId::new(port.buffer), f32_bytes(&memory))
            })
            .collect();
        let blocks = ninc::lower::interp::run_program(&builder, case.batch, &feeds);
        let blocks = blocks.unwrap_or_else(|e| panic!("{case:?}: {e}"));
        let port = &program.ports.outputs[0];
        let memory = to_f32(&blocks[port.buffer]);
        let mut found = vec![0.0; memory.len()];
        let size = port.elements().max(1);
        for (from, to) in memory.chunks(size).zip(found.chunks_mut(size)) {
            ninc_runtime::tensor::from_memory(&port.dims, &port.order, from, to);
        }
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        let error = error(&expected.real().data, &found, 1e-3);
        assert!(error < 2e-5, "{case:?}: {error:e}");
        checked += 1;
    }
    assert!(checked >= 10, "only {checked} cases");
}

/// Networks whose kernels have all forms between them: batch normalisation, dropout, sums over the batch; groups,
/// choices, scratch arrays of all kinds; Winograd's convolutions with their gradients.
const NETWORKS: [&str; 3] = [
    "image |> conv(kernel = 3, pad = 1, channels = 4) |> batch_norm |> relu |> max_pool(kernel = 2, stride = 2)
        |> dropout(0.5) |> cccp(channels = 3) |> global_avg_pool |> softmax",
    "image |> stochastic_pool(kernel = 2) |> elu |> conv(kernel = 3, pad = 1, groups = 2, channels = 8) |> lrn(size = 3)
        |> local_conv(kernel = 2, channels = 6) |> maxout(pieces = 2) |> flatten |> linear(8, max_norm = 2.0)
        |> drop_connect(features = 6, rate = 0.5) |> softmax",
    "image |> cccp(channels = 32) |> relu |> conv(kernel = 3, pad = 1, channels = 32) |> global_avg_pool |> softmax",
];

/// The OpenCL C of a training step.
fn training_text(model: &Model) -> String {
    let (emit, target) = (vec![Stage::OpenCl.into()], Some(Target::portable(false)));
    let program = pipeline::training(model, &Options { emit, target, ..Options::default() });
    program.unwrap_or_else(|e| panic!("{}: {e}", model.name)).dumps.remove(0).text
}

/// Large arrays are counted in 64 bits, all others in 32: drivers take both.
#[test]
fn both_widths_of_indices_compile() {
    if !present() {
        return;
    }
    let mut texts: Vec<String> = NETWORKS.map(|layers| training_text(&load(layers))).into();
    for precision in Format::ALL {
        let target = Some(Target::gpu().with_gpu(|gpu| gpu.tensor = true));
        let options = Options { precision: Some(precision), target, ..Options::default() };
        let layers = "image |> mlpconv(kernel = 3, pad = 1, channels = [40, 16]) |> global_avg_pool |> log_softmax";
        texts.push(pipeline::opencl_inference(&load(layers), &options).expect("it compiles").1.text);
    }
    let context = DeviceContext::open(pick(None).expect("a device")).expect("it opens");
    for text in texts {
        for width in ["int", "long"] {
            context.build(&text, &format!("-cl-std=CL1.2 -D IDX={width}")).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

/// A network of these layers, with a training.
fn load(layers: &str) -> Model {
    let text = format!(
        "network n {{\n input image: [4, 8, 8]\n {layers}\n}}\ntrain {{\n loss = cross_entropy\n \
         optimizer = adam(rate = 1e-3)\n clip = 1.0\n batch = 4\n steps = 1\n}}"
    );
    let (model, diagnostics) = ninc::front::load(&text, "test.nin", &[]);
    model.unwrap_or_else(|| panic!("{diagnostics:#?}"))
}

/// Without a driver too: what is compiled again is the same text, or the cache of built programs would never be found.
#[test]
fn every_shipped_model_has_one_text() {
    for (name, model) in super::shipped() {
        let texts = || {
            let (_, infer) = pipeline::opencl_inference(&model, &Options::default()).expect("it compiles");
            [infer.text, model.train.as_ref().map_or(String::new(), |_| training_text(&model))]
        };
        let found = texts();
        assert_eq!(found, texts(), "{name}");
        for text in found {
            // Their reductions have an order of the driver's own.
            assert!(!text.contains("sub_group") && !text.contains("double"), "{name}");
        }
    }
}

/// What people read is OpenCL C.
#[test]
fn goldens_compile() {
    if !present() {
        return;
    }
    let context = DeviceContext::open(pick(None).expect("a device")).expect("it opens");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut compiled = 0;
    for entry in fs::read_dir(folder).expect("goldens") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a golden");
        if let Some((_, source)) = text.split_once("==== opencl\n") {
            for width in ["int", "long"] {
                context.build(source, &format!("-cl-std=CL1.2 -D IDX={width}")).unwrap_or_else(|e| panic!("{e}"));
            }
            compiled += 1;
        }
    }
    assert!(compiled >= 4, "only {compiled} goldens hold OpenCL C");
}
