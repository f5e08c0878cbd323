//! Plans and their execution: places, updates in place, threads, and what callers may do wrong.

use ninc::back::cranelift;
use ninc::kernel::build::{KernelBuilder, MicroKernelBuilder};
use ninc::kernel::interp::{self, InterpCode};
use ninc::kernel::ir::*;
use ninc::lower::target::Target;
use ninc::lower::{BufferId, Launch, ProgramBuilder, Role, code};
use ninc::plan::{Options, Ports, plan, text};
use ninc_runtime::exec::Code;
use ninc_runtime::philox::Stream;
use ninc_runtime::plan::{self, DType, Place, Plan, Port};
use ninc_runtime::{Engine, Executor, Feed, Pool, Tensor};
use std::sync::Arc;

fn port(name: &str, batched: bool, len: usize, buffer: BufferId) -> Port {
    Port {
        name: name.into(),
        role: plan::Role::Tensor,
        dtype: DType::F32,
        batched,
        dims: vec![len],
        order: vec![0],
        buffer: buffer.index(),
    }
}

/// Adds a launch that writes `target` (of `len` elements per image) from `sources`: element i is the sum of all
/// elements of the sources, each times 0.3, plus i. Any element that another buffer overwrote changes all of the
/// result.
fn mix(builder: &mut ProgramBuilder, target: BufferId, len: usize, sources: &[(BufferId, usize)]) {
    let lens: Vec<usize> = sources.iter().map(|s| s.1).collect();
    let name = format!("mix {lens:?} {len}");
    let micro_kernel = builder.micro_kernel(code(name.clone(), (lens.clone(), len), |&(ref lens, len), b| {
        let pointers: Vec<Param> =
            (0..lens.len()).map(|i| b.pointer(&format!("a{i}"), Elem::F32, Access::Read)).collect();
        let out = b.pointer("out", Elem::F32, Access::Write);
        let factor = b.f32(0.3, 1);
        let mut sum = b.f32(0.0, 1);
        for (&pointer, &len) in pointers.iter().zip(lens) {
            sum = b.repeat("i", len, &[sum], |b, i, carried| {
                let value = b.load(pointer, i, 1);
                vec![b.fma(value, factor, carried[0])]
            })[0];
        }
        b.repeat("o", len, &[], |b, o, _| {
            let at = b.op(Op::IndexI32 { index: o.into(), lanes: 1 });
            let at = b.unary(Unary::ToFloat, at);
            let value = b.add(sum, at);
            b.store(out, o, value);
            vec![]
        });
    }));
    let mut k = KernelBuilder::new(name);
    let mut args: Vec<Memory> = (0..lens.len()).map(|i| k.buffer(&format!("a{i}"), Elem::F32, Access::Read)).collect();
    args.push(k.buffer("out", Elem::F32, Access::Write));
    let sizes: Vec<usize> = lens.iter().copied().chain([len]).collect();
    k.parallel("image", Expr::BATCH, |k, image| {
        let places: Vec<Arg> = args.iter().zip(&sizes).map(|(m, &len)| m.at(image.clone() * len)).collect();
        k.call(micro_kernel, places);
    });
    let kernel = builder.module.kernels.push(k.finish());
    let args = sources.iter().map(|s| s.0).chain([target]).collect();
    builder.launches.push(Launch { kernel, args, accumulates: false });
}

/// An input and a chain of launches that each read one or two earlier values; outputs are the last value and another.
fn random_program(seed: u64) -> (ProgramBuilder, Ports) {
    let mut rng = Stream::new(seed, 7, 0);
    let mut builder = ProgramBuilder::default();
    let mut values = vec![(builder.buffer("x", Elem::F32, 0, 5, Role::Input), 5)];
    let count = 4 + rng.below(10) as usize;
    for i in 0..count {
        let len = 1 + rng.below(70) as usize;
        let buffer = builder.buffer(&format!("t{i}"), Elem::F32, 0, len, Role::Temp);
        let recent = |rng: &mut Stream| values[values.len() - 1 - rng.below(values.len().min(4) as u32) as usize];
        let mut sources = vec![recent(&mut rng)];
        if rng.below(2) == 0 {
            sources.push(recent(&mut rng));
        }
        mix(&mut builder, buffer, len, &sources);
        values.push((buffer, len));
    }
    let some = values[1 + rng.below(count as u32) as usize];
    let last = *values.last().expect("several");
    let outputs = vec![port("some", true, some.1, some.0), port("last", true, last.1, last.0)];
    (builder, Ports { inputs: vec![port("x", true, 5, values[0].0)], outputs, params: vec![] })
}

/// No two buffers that hold something at the same time share memory. Computed here from the launches alone.
fn assert_disjoint(plan: &Plan, seed: u64) {
    let end = plan.launches.len();
    let mut lives = Vec::new();
    for (b, buffer) in plan.buffers.iter().enumerate() {
        let uses: Vec<usize> = (0..end).filter(|&i| plan.launches[i].buffers.contains(&b)).collect();
        let (Some(mut first), Some(mut last)) = (uses.first().copied(), uses.last().copied()) else { continue };
        if plan.inputs.iter().any(|p| p.buffer == b) {
            first = 0;
        }
        if plan.outputs.iter().any(|p| p.buffer == b) {
            last = end;
        }
        let Place::PerImage { offset } = buffer.place else { panic!("all are per image") };
        assert!(offset % 64 == 0 && offset + buffer.per_image <= plan.image_bytes);
        lives.push((first, last, offset, offset + buffer.per_image));
    }
    for (i, a) in lives.iter().enumerate() {
        for b in &lives[i + 1..] {
            let meet = a.0 <= b.1 && b.0 <= a.1;
            assert!(!meet || a.3 <= b.2 || b.3 <= a.2, "seed {seed}: {a:?} and {b:?}\n{}", text::print(plan));
        }
    }
}

#[test]
fn random_plans_never_overlap_live_buffers_and_any_number_of_threads_gives_the_same_bits() {
    let target = Target::host();
    let mut shared = 0;
    for seed in 0..40 {
        let (builder, ports) = random_program(seed);
        let outputs: Vec<usize> = ports.outputs.iter().map(|p| p.buffer).collect();
        let feeds = |batch: usize| -> Vec<f32> { (0..5 * batch).map(|i| (i as f32 * 0.37).sin()).collect() };
        let mut expected = Vec::new();
        for batch in [1, 4, 9] {
            let blocks = ninc::lower::interp::run_program(
                &builder,
                batch,
                &[(BufferId::from_u32(0), interp::f32_bytes(&feeds(batch)))],
            )
            .expect("runs");
            let values: Vec<Vec<f32>> = outputs.iter().map(|&o| interp::to_f32(&blocks[o])).collect();
            expected.push((batch, values));
        }
        let bytes: usize = builder.buffers.values().map(|b| (4 * b.per_image).next_multiple_of(64)).sum();
        let (plan, module, _) =
            plan(builder, ports, Options { name: "random".into(), ..Options::default() }).expect("plans");
        assert_disjoint(&plan, seed);
        shared += usize::from(plan.image_bytes < bytes);
        let mut grouped = plan.clone();
        grouped.group = Some(2);
        let (plan, grouped) = (Arc::new(plan), Arc::new(grouped));
        let interpreted: Arc<dyn Code> = Arc::new(InterpCode::new(Arc::new(module.clone())));
        let mut codes = vec![interpreted];
        if target.fma {
            codes.push(Arc::new(cranelift::compile(&module, &target).expect("compiles")));
        }
        for code in codes {
            for threads in [1, 2, 3, 7] {
                let pool = Arc::new(Pool::new(threads).expect("threads"));
                for plan in [&plan, &grouped] {
                    let mut executor = Executor::new(plan.clone(), code.clone(), pool.clone()).expect("executor");
                    for (batch, values) in &expected {
                        let got = executor.run(*batch, &[("x", Feed::F32(&feeds(*batch)))], &["some", "last"]);
                        let got: Vec<Vec<f32>> = got.expect("runs").into_iter().map(|t| t.data).collect();
                        assert_eq!(&got, values, "seed {seed}, {threads} threads, batch {batch}");
                    }
                }
            }
        }
    }
    assert!(shared > 20, "buffers share memory in most plans, here in {shared} of 40");
}

/// A program with a parameter `w` of 10 elements, an input `g` and `w_new`, written by a micro-kernel; then `more`
/// launches.
fn update_program(build: impl FnOnce(&mut MicroKernelBuilder, [Param; 3])) -> (ProgramBuilder, Ports, [BufferId; 2]) {
    let mut builder = ProgramBuilder::default();
    let g = builder.buffer("g", Elem::F32, 10, 0, Role::Input);
    let w = builder.buffer("w", Elem::F32, 10, 0, Role::Param);
    let new = builder.buffer("w_new", Elem::F32, 10, 0, Role::Temp);
    let micro_kernel = builder.module.micro_kernel("step", |b| {
        let params = [("g", Access::Read), ("w", Access::Read), ("new", Access::Write)];
        let params = params.map(|(name, access)| b.pointer(name, Elem::F32, access));
        build(b, params);
    });
    let mut k = KernelBuilder::new("step");
    let params = [("g", Access::Read), ("w", Access::Read), ("new", Access::Write)];
    let [a, b, c] = params.map(|(name, access)| k.buffer(name, Elem::F32, access));
    k.parallel("all", 1, |k, _| k.call(micro_kernel, [a.at(0), b.at(0), c.at(0)]));
    let kernel = builder.module.kernels.push(k.finish());
    builder.launches.push(Launch { kernel, args: vec![g, w, new], accumulates: false });
    let ports = Ports {
        inputs: vec![port("g", false, 10, g)],
        outputs: vec![port("new", false, 10, new)],
        params: vec![port("w", false, 10, w)],
    };
    (builder, ports, [w, new])
}

/// Runs three steps and gives `w` and the number of launches.
fn three_steps(builder: ProgramBuilder, ports: Ports, updates: Vec<(BufferId, BufferId)>) -> (Vec<f32>, usize) {
    let options = Options { updates, prepare_each_run: true, ..Options::default() };
    let (plan, module, _) = plan(builder, ports, options).expect("plans");
    let launches = plan.launches.len();
    let code = cranelift::compile(&module, &Target::portable(false)).expect("compiles");
    let pool = Arc::new(Pool::new(2).expect("threads"));
    let mut executor = Executor::new(Arc::new(plan), Arc::new(code), pool).expect("executor");
    let w: Vec<f32> = (0..10).map(|i| i as f32).collect();
    executor.write("w", &Tensor::new(&[10], w).expect("ten")).expect("w");
    let g = [0.5f32; 10];
    for _ in 0..3 {
        let new = executor.run(1, &[("g", Feed::F32(&g))], &["new"]).expect("runs").remove(0);
        assert_eq!(new, executor.read("w").expect("w"), "the new value is the parameter's now");
    }
    (executor.read("w").expect("w").data, launches)
}

#[test]
fn elementwise_updates_happen_in_place() {
    let (builder, ports, [w, new]) = update_program(|b, [g, w, new]| {
        b.elements(10, 4, |b, index, lanes| {
            let (g, w) = (b.load(g, index.clone(), lanes), b.load(w, index.clone(), lanes));
            let next = b.sub(w, g);
            b.store(new, index, next);
        });
    });
    let (values, launches) = three_steps(builder, ports, vec![(w, new)]);
    assert_eq!(launches, 1);
    assert_eq!(values, (0..10).map(|i| i as f32 - 1.5).collect::<Vec<_>>());
}

#[test]
fn updates_that_read_what_they_overwrote_are_copied() {
    let (builder, ports, [w, new]) = update_program(|b, [g, w, new]| {
        b.repeat("i", 10usize, &[], |b, i, _| {
            let (g, w) = (b.load(g, i, 1), b.load(w, Index::from(9usize).plus(i, -1), 1));
            let next = b.sub(w, g);
            b.store(new, i, next);
            vec![]
        });
    });
    let (values, launches) = three_steps(builder, ports, vec![(w, new)]);
    assert_eq!(launches, 2);
    assert_eq!(values, (0..10).map(|i| (9 - i) as f32 - 1.5).collect::<Vec<_>>());
}

#[test]
fn a_later_reader_of_the_old_value_forces_a_copy() {
    let (mut builder, mut ports, [w, new]) = update_program(|b, [g, w, new]| {
        b.elements(10, 4, |b, index, lanes| {
            let (g, w) = (b.load(g, index.clone(), lanes), b.load(w, index.clone(), lanes));
            let next = b.sub(w, g);
            b.store(new, index, next);
        });
    });
    let seen = builder.buffer("seen", Elem::F32, 10, 0, Role::Temp);
    builder.launches.push(Launch { kernel: KernelId::from_u32(0), args: vec![new, w, seen], accumulates: false });
    ports.outputs.push(port("seen", false, 10, seen));
    let (values, launches) = three_steps(builder, ports, vec![(w, new)]);
    assert_eq!(launches, 3);
    assert_eq!(values, (0..10).map(|i| i as f32 - 1.5).collect::<Vec<_>>());
}

#[test]
fn prepared_forms_follow_their_parameter() {
    let mut builder = ProgramBuilder::default();
    let x = builder.buffer("x", Elem::F32, 0, 3, Role::Input);
    let w = builder.buffer("w", Elem::F32, 3, 0, Role::Param);
    let form = builder.buffer("w.form", Elem::F32, 3, 0, Role::Prepared);
    let y = builder.buffer("y", Elem::F32, 0, 3, Role::Temp);
    // For one image only, so the same kernel serves both.
    mix(&mut builder, form, 3, &[(w, 3)]);
    let mut prepare = builder.launches.pop().expect("just made");
    let Stmt::For { end, .. } = &mut builder.module.kernels[KernelId::from_u32(0)].body[0] else { panic!("a loop") };
    *end = Expr::Const(1);
    prepare.kernel = KernelId::from_u32(0);
    builder.prepare.push(prepare);
    mix(&mut builder, y, 3, &[(x, 3), (form, 3)]);
    let ports = Ports {
        inputs: vec![port("x", true, 3, x)],
        outputs: vec![port("y", true, 3, y)],
        params: vec![port("w", false, 3, w)],
    };
    let (plan, module, _) = plan(builder, ports, Options::default()).expect("plans");
    let code = Arc::new(InterpCode::new(Arc::new(module)));
    let mut executor = Executor::new(Arc::new(plan), code, Arc::new(Pool::new(1).expect("one"))).expect("executor");
    executor.set_profile(true);
    let mut results = Vec::new();
    for value in [0.0, 10.0] {
        executor.write("w", &Tensor::new(&[3], vec![value; 3]).expect("three")).expect("w");
        for _ in 0..2 {
            results
                .push(executor.run(1, &[("x", Feed::F32(&[1.0, 2.0, 3.0]))], &["y"]).expect("runs").remove(0).data[0]);
        }
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[2], results[3]);
    assert!((results[2] - results[0] - 8.1).abs() < 1e-3, "0.3 · 3 · (0.3 · 3 · 10): {results:?}");
    assert_eq!(executor.profile().len(), 2);
}

#[test]
fn wrong_feeds_are_explained() {
    let (builder, ports) = random_program(1);
    let (plan, module, _) = plan(builder, ports, Options::default()).expect("plans");
    let code = Arc::new(InterpCode::new(Arc::new(module)));
    let pool = Arc::new(Pool::new(1).expect("one"));
    let mut damaged = plan.clone();
    damaged.image_bytes = 64;
    assert!(Executor::new(Arc::new(damaged), code.clone(), pool.clone()).is_err());
    let mut executor = Executor::new(Arc::new(plan), code, pool).expect("executor");
    let x = [0.0f32; 10];
    let ints = [0i32; 10];
    let cases: [(usize, Vec<(&str, Feed)>, &[&str], &str); 8] = [
        (2, vec![], &["last"], "x is not fed"),
        (2, vec![("y", Feed::F32(&x))], &["last"], "no input y"),
        (2, vec![("x", Feed::F32(&x)), ("x", Feed::F32(&x))], &["last"], "fed twice"),
        (3, vec![("x", Feed::F32(&x))], &["last"], "takes the shape [3, 5], fed 10 numbers"),
        (2, vec![("x", Feed::I32(&ints))], &["last"], "takes floats"),
        (2, vec![("x", Feed::F32(&x))], &["first"], "no output first"),
        (0, vec![("x", Feed::F32(&[]))], &["last"], "an empty batch"),
        (usize::MAX / 4, vec![("x", Feed::F32(&x))], &["last"], "takes the shape"),
    ];
    for (batch, feeds, outputs, message) in cases {
        let error = executor.run(batch, &feeds, outputs).expect_err(message);
        assert!(error.to_string().contains(message), "{error}");
    }
    assert!(executor.read("w").is_err());
    assert_eq!(executor.run(2, &[("x", Feed::F32(&x))], &["last"]).expect("still works").len(), 1);
}

#[test]
fn programs_that_break_a_rule_are_refused() {
    let refuse = |change: &dyn Fn(&mut ProgramBuilder, &mut Ports), message: &str| {
        let (mut builder, mut ports) = random_program(2);
        change(&mut builder, &mut ports);
        let error = plan(builder, ports, Options::default()).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
    };
    refuse(&|d, _| d.launches.swap(0, 1), "which nothing wrote before");
    refuse(&|_, p| p.outputs[0].dims = vec![1000], "elements");
    refuse(&|d, _| d.buffers[BufferId::from_u32(0)].role = Role::Temp, "which nothing wrote before");
    refuse(&|d, _| d.prepare.push(d.launches[0].clone()), "does not outlive the run");
    refuse(&|d, _| d.launches[0].args.truncate(1), "arguments");
    refuse(&|d, _| d.buffers[BufferId::from_u32(0)].elem = Elem::I32, "wrong type");
}

#[test]
fn the_text_of_a_plan_starts_with_the_number_of_launches() {
    let (builder, ports) = random_program(5);
    let count = builder.launches.len();
    let (plan, ..) = plan(builder, ports, Options { name: "net".into(), ..Options::default() }).expect("plans");
    let text = text::print(&plan);
    assert_eq!(text.lines().next(), Some(format!("{count} launches").as_str()));
    assert!(text.contains("iterations batch") && text.contains("x f32[N, 5] in x"), "{text}");
}
