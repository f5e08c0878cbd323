//! Measures contractions as machine code against the peak of the same instruction set. By hand:
//! `cargo test --test all contraction_speed -- --ignored --nocapture`.

use super::native::{call, compile, launch, runs};
use super::reference::Shape;
use super::run::{builder as lower_node, targets};
use ninc::kernel::build::KernelBuilder;
use ninc::kernel::ir::{Access, Elem, Kernel};
use ninc::lower::target::{Algorithm, Target};
use ninc::lower::tile::tile;
use ninc::lower::{Launch, LowerCx, Lowered, ProgramBuilder, Role};
use ninc::recipes::contraction::{Contraction, Count, Init};
use ninc::recipes::{Epilogue, Function, Stage, Window, conv};
use ninc::types::Type;
use std::time::Instant;

/// Best seconds of one run of the program's kernel.
fn seconds(builder: &ProgramBuilder, target: &Target, blocks: &mut [Vec<u8>]) -> f64 {
    let code = compile(builder, target);
    launch(builder, &code, 1, blocks);
    let mut best = f64::INFINITY;
    for _ in 0..60 {
        let start = Instant::now();
        builder.launches.iter().for_each(|l| call(builder, &code, l, 1, blocks));
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

fn program_of(kernel: Kernel, mut builder: ProgramBuilder, sizes: &[usize]) -> (ProgramBuilder, Vec<Vec<u8>>) {
    let args = sizes.iter().map(|&n| builder.buffer("m", Elem::F32, n, 0, Role::Temp)).collect();
    let kernel = builder.module.kernels.push(kernel);
    builder.launches.push(Launch { kernel, args, accumulates: false });
    (builder, sizes.iter().map(|&n| vec![0u8; 4 * n]).collect())
}

/// GFLOP/s of independent multiply-adds in registers.
fn peak(target: &Target) -> f64 {
    let (rounds, chains) = (100_000usize, 12);
    let mut builder = ProgramBuilder::default();
    let micro_kernel = builder.module.micro_kernel("peak", |b| {
        let y = b.pointer("y", Elem::F32, Access::Write);
        let (factor, term) = (b.f32(0.5, target.lanes), b.f32(1.0, target.lanes));
        let start = vec![term; chains];
        let last = b.repeat("i", rounds, &start, |b, _, acc| acc.iter().map(|&a| b.fma(a, factor, term)).collect());
        last.iter().enumerate().for_each(|(i, &v)| b.store(y, i * target.lanes as usize, v));
    });
    let mut kernel = KernelBuilder::new("peak");
    let y = kernel.buffer("y", Elem::F32, Access::Write);
    kernel.parallel("t", 1, |k, _| k.call(micro_kernel, [y.at(0)]));
    let (builder, mut blocks) = program_of(kernel.finish(), builder, &[chains * 16]);
    2.0 * (rounds * chains) as f64 * f64::from(target.lanes) / seconds(&builder, target, &mut blocks) / 1e9
}

#[test]
#[ignore = "a measurement"]
fn contraction_speed() {
    for target in targets() {
        if !runs(&target) {
            continue;
        }
        let peak = peak(&target);
        println!("{} lanes: peak {peak:.1} GFLOP/s", target.lanes);
        for (m, n, k) in [(40, 192, 75), (40, 192, 96), (40, 160, 192), (40, 192, 192), (40, 96, 480), (48, 96, 2400)] {
            let t = tile(&target, m, n);
            let (rows, width) = (m / t.rows, n / t.columns());
            let (tiles, panels) = (rows, width);
            let contraction = Contraction {
                elems: [Elem::F32; 3],
                lanes: target.lanes,
                rows: t.rows,
                columns: t.columns(),
                counts: [1, 1, k].map(Count::Fixed),
                a: [0, 0, 1],
                a_row: k as i64,
                a_columns: false,
                b: [0, 0, t.columns() as i64],
                b_padded: true,
                next: 0,
                a_ahead: 0,
                c_row: n as i64,
                c_vector: target.lanes.into(),
                init: Init::Bias,
                epilogue: Epilogue::NONE,
            };
            let mut builder = ProgramBuilder::default();
            let micro_kernel = builder.micro_kernel(contraction);
            let mut kernel = KernelBuilder::new("product");
            let a = kernel.buffer("a", Elem::F32, Access::Read);
            let b = kernel.buffer("b", Elem::F32, Access::Read);
            let c = kernel.buffer("c", Elem::F32, Access::Write);
            let bias = kernel.buffer("bias", Elem::F32, Access::Read);
            let repeats = 4_000_000 / (m * n * k) + 1;
            kernel.parallel("t", repeats, |kb, _| {
                kb.serial("p", panels, |kb, p| {
                    kb.serial("m", tiles, |kb, m| {
                        let to = c.at(&m * (t.rows * n) + &p * t.columns());
                        let args =
                            [a.at(m * (t.rows * k)), b.at(&p * (t.columns() * k)), to, bias.at(&p * t.columns())];
                        kb.call(micro_kernel, args);
                    });
                });
            });
            let sizes = [m * k, n * k, m * n, n];
            let (builder, mut blocks) = program_of(kernel.finish(), builder, &sizes);
            let work = 2.0 * (repeats * tiles * t.rows * panels * t.columns() * k) as f64;
            let rate = work / seconds(&builder, &target, &mut blocks) / 1e9;
            println!("  {}x{} k={k}: {rate:.1} GFLOP/s, {:.0} %", t.rows, t.columns(), 100.0 * rate / peak);
        }
    }
}

/// One image through the convolutions of the CIFAR-10 network, forward and backward, one thread: milliseconds, and the
/// share of the peak that the multiply-adds of the direct form would be.
#[test]
#[ignore = "a measurement"]
fn convolution_speed() {
    for target in targets().into_iter().filter(runs) {
        let peak = peak(&target);
        println!("{} lanes: peak {peak:.1} GFLOP/s", target.lanes);
        for (c, o, side, r) in [(3, 192, 32, 5), (192, 160, 32, 1), (96, 192, 16, 5), (192, 192, 8, 3)] {
            let window = Window { kernel: [r, r], stride: [1, 1], pad: [r / 2, r / 2], dilation: [1, 1] };
            let s = Shape { batch: 1, channels: c, image: [side, side], outputs: o, window, groups: 1 };
            let work = 2.0 * (side * side * o * c * r * r) as f64;
            let time = |what: &str,
                        target: &Target,
                        operands: [Type; 2],
                        result: Type,
                        lower: &dyn Fn(&mut LowerCx) -> Lowered| {
                let (builder, _, _) = lower_node(target, &operands, &result, lower);
                let mut blocks: Vec<Vec<u8>> =
                    builder.buffers.values().map(|b| vec![0u8; 4 * (b.fixed + b.per_image)]).collect();
                let seconds = seconds(&builder, target, &mut blocks);
                let share = 100.0 * work / seconds / 1e9 / peak;
                println!("  {c}x{side}x{side} {r}x{r} {o} {what}: {:.3} ms, {share:.0} %", seconds * 1e3);
            };
            let stage = Stage { bias: false, epilogue: Function::Relu.into() };
            let forward = |cx: &mut LowerCx| conv::forward(cx, &window, 1, &[stage], None);
            time("forward", &target, [s.input(), s.weight()], s.output(), &forward);
            if r > 1 {
                let winograd = Target { algorithm: Algorithm::Winograd, ..target.clone() };
                time("Winograd", &winograd, [s.input(), s.weight()], s.output(), &forward);
            }
            time("dx", &target, [s.weight(), s.output()], s.input(), &|cx| {
                conv::grad_input(cx, &window, 1, Epilogue::NONE)
            });
            time("dw", &target, [s.input(), s.output()], s.weight(), &|cx| conv::grad_weight(cx, &window, 1));
        }
    }
}
