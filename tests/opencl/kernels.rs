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
use ninc::ops;
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
        let errors = verify::check(&module).join("\n");
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
        let program = ninc::translate::run(&graph, &target, false).unwrap_or_else(|e| panic!("{case:?}: {}", e.0));
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
    assert!(compiled >= 3, "only {compiled} goldens hold OpenCL C");
}
