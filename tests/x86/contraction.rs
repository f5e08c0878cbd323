//! The contraction's inner micro-kernel: results, the shape of its code, and (ignored, for `--release`) its speed.

use super::support::{Arg, check, host_has};
use crate::support::memory::{Code, Guarded};
use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind};
use ninc::back::EmitError;
use ninc::back::x86::{Features, Isa, emit, listing};
use ninc::kernel::build::MicroKernelBuilder;
use ninc::kernel::interp::f32_bytes;
use ninc::kernel::ir::{Access, Elem, Index, MicroKernel, Val};
use ninc::lower::MicroKernelSpec;
use ninc::recipes::Function;
use ninc::recipes::contraction::{Contraction, Count, Init};
use std::time::Instant;

/// `c[rows][cols] += Σ_k a[rows][k] · b[k][cols]`, k in fours, all in one register tile.
pub fn contraction(rows: usize, cols: usize, k: usize, lanes: u32) -> MicroKernel {
    let mut b = MicroKernelBuilder::new(format!("contraction_{rows}x{cols}x{k}"));
    let left = b.pointer("a", Elem::F32, Access::Read);
    let right = b.pointer("b", Elem::F32, Access::Read);
    let out = b.pointer("c", Elem::F32, Access::ReadWrite);
    let vectors = cols / lanes as usize;
    let at = |r: usize, c: usize| r * cols + c * lanes as usize;
    let init: Vec<Val> = (0..rows * vectors).map(|i| b.load(out, at(i / vectors, i % vectors), lanes)).collect();
    assert_eq!(k % 4, 0);
    let sums = b.repeat("k", k / 4, &init, |b, i, sums| {
        let mut sums = sums.to_vec();
        for step in 0..4 {
            let line: Vec<Val> = (0..vectors)
                .map(|c| {
                    let index = Index::from(step * cols + c * lanes as usize).plus(i, 4 * cols as i64);
                    b.load(right, index, lanes)
                })
                .collect();
            for r in 0..rows {
                let each = b.broadcast(left, Index::from(r * k + step).plus(i, 4), lanes);
                for (c, &vector) in line.iter().enumerate() {
                    let sum = &mut sums[r * vectors + c];
                    *sum = b.fma(vector, each, *sum);
                }
            }
        }
        sums
    });
    for (i, &sum) in sums.iter().enumerate() {
        b.store(out, at(i / vectors, i % vectors), sum);
    }
    b.finish()
}

/// Independent sums that never leave their registers: what the machine can do.
fn peak(chains: usize, lanes: u32, rounds: usize) -> MicroKernel {
    let mut b = MicroKernelBuilder::new("peak");
    let out = b.pointer("c", Elem::F32, Access::ReadWrite);
    let x = b.broadcast(out, 0usize, lanes);
    let y = b.broadcast(out, 1usize, lanes);
    let init: Vec<Val> = (0..chains).map(|i| b.load(out, i * lanes as usize, lanes)).collect();
    let sums = b.repeat("i", rounds / 4, &init, |b, _, sums| {
        let mut sums = sums.to_vec();
        for _ in 0..4 {
            sums.iter_mut().for_each(|s| *s = b.fma(x, y, *s));
        }
        sums
    });
    for (i, &sum) in sums.iter().enumerate() {
        b.store(out, i * lanes as usize, sum);
    }
    b.finish()
}

const TILES: [(Isa, u32, usize, usize); 6] = [
    (Isa::Avx512, 16, 8, 48),
    (Isa::Avx512, 16, 12, 32),
    (Isa::Avx512, 16, 28, 16),
    (Isa::Avx512, 16, 6, 64),
    (Isa::Avx2, 8, 6, 16),
    (Isa::Avx2, 8, 4, 24),
];

fn floats(n: usize, seed: usize) -> Vec<u8> {
    let value = |i: usize| ((i * 37 + seed * 11) % 64) as f32 / 16.0 - 2.0;
    f32_bytes(&(0..n).map(value).collect::<Vec<_>>())
}

#[test]
fn contractions_are_exact() {
    for (isa, lanes, rows, cols) in TILES {
        for k in [4, 12] {
            let micro_kernel = contraction(rows, cols, k, lanes);
            let args = [rows * k, k * cols, rows * cols].map(|n| Arg::Memory { bytes: floats(n, n), origin: 0 });
            check(&micro_kernel, &args, isa, Features::default()).unwrap();
        }
    }
}

/// Between the top of the loop and its back edge: one instruction per multiply-add, load and broadcast, no moves.
#[test]
fn inner_loops_hold_no_moves() {
    for (isa, lanes, rows, cols) in TILES {
        let code = emit(&contraction(rows, cols, 192, lanes), isa, Features::default()).unwrap();
        let all: Vec<_> = Decoder::new(64, &code, DecoderOptions::NONE).into_iter().collect();
        let end = all.iter().position(|i| i.mnemonic() == Mnemonic::Jne).unwrap();
        let top = all.iter().position(|i| i.ip() == all[end].near_branch64()).unwrap();
        let body = &all[top..end];
        let count = |m: Mnemonic| body.iter().filter(|i| i.mnemonic() == m).count();
        let vectors = cols / lanes as usize;
        let loads = count(Mnemonic::Vmovups);
        assert_eq!(count(Mnemonic::Vfmadd231ps), 4 * rows * vectors);
        let registers_only =
            |i: &&iced_x86::Instruction| i.mnemonic() == Mnemonic::Vmovaps && i.op1_kind() == OpKind::Register;
        assert_eq!(body.iter().filter(registers_only).count(), 0, "{}", listing(&code));
        // Two pointers and the counter step.
        assert!(body.len() <= 4 * rows * vectors + loads + count(Mnemonic::Vbroadcastss) + 3, "{}", listing(&code));
        assert!(loads <= 4 * vectors);
    }
}

/// `relu(a · b)` of bf16 as the recipes write it, A with rows of `k + 1` elements.
fn pairs(rows: usize, vectors: usize, k: usize) -> MicroKernel {
    let columns = 16 * vectors;
    let spec = Contraction {
        elems: [Elem::Bf16, Elem::I32, Elem::Bf16],
        lanes: 16,
        rows,
        columns,
        counts: [1, 1, k].map(Count::Fixed),
        a: [0, 0, 1],
        a_row: k as i64 + 1,
        a_columns: false,
        b: [0, 0, columns as i64],
        b_padded: true,
        next: 0,
        a_ahead: 0,
        c_row: columns as i64,
        c_vector: 16,
        init: Init::Zero,
        epilogue: Function::Relu.into(),
    };
    let mut b = MicroKernelBuilder::new(spec.to_string());
    spec.build(&mut b);
    b.finish()
}

/// Small integers as bf16: their sums are exact in any order, and denormal numbers do not occur.
fn halves(count: usize) -> Vec<u8> {
    (0..count).flat_map(|i| ((i * 7 % 19) as f32 - 9.0).to_le_bytes()[2..].to_vec()).collect()
}

/// Products of pairs where the machine has them: right, also for an odd number of terms, and one instruction each.
#[test]
fn pairs_are_one_instruction_each() {
    let features = Features { bf16: true, vnni: false, tiles: false };
    for (rows, vectors, k) in
        [(8, 3, 96), (12, 2, 75), (28, 1, 17), (6, 4, 192), (1, 1, 1)] as [(usize, usize, usize); 5]
    {
        let args = [rows * (k + 1), 2 * k.div_ceil(2) * 16 * vectors, rows * 16 * vectors]
            .map(|n| Arg::Memory { bytes: halves(n), origin: 0 });
        let code = check(&pairs(rows, vectors, k), &args, Isa::Avx512, features).unwrap();
        let all: Vec<_> = Decoder::new(64, &code, DecoderOptions::NONE).into_iter().collect();
        let count = |body: &[iced_x86::Instruction], m: Mnemonic| body.iter().filter(|i| i.mnemonic() == m).count();
        let Some(end) = all.iter().position(|i| i.mnemonic() == Mnemonic::Jne) else {
            assert_eq!(count(&all, Mnemonic::Vdpbf16ps), rows * vectors * k.div_ceil(2), "{}", listing(&code));
            continue;
        };
        let top = all.iter().position(|i| i.ip() == all[end].near_branch64()).unwrap();
        let body = &all[top..end];
        let products = count(body, Mnemonic::Vdpbf16ps);
        assert!(products >= 2 * rows * vectors && products.is_multiple_of(rows * vectors), "{}", listing(&code));
        let steps = products / (rows * vectors);
        // Loads of B, broadcasts of A, two pointers and the counter.
        assert!(body.len() <= products + steps * (vectors + rows) + 3, "{}", listing(&code));
    }
}

/// A register tile that is too large says how many registers it needs.
#[test]
fn shortage_is_an_error() {
    let error = emit(&contraction(7, 64, 192, 16), Isa::Avx512, Features::default()).unwrap_err();
    let limit = "micro-kernel contraction_7x64x192: needs 33 vector registers, 32 exist";
    assert_eq!(error, EmitError::Limit(limit.into()));
    let wide = emit(&contraction(6, 16, 192, 16), Isa::Avx2, Features::default()).unwrap_err();
    assert!(wide.to_string().contains("16 lanes, this instruction set has 8"), "{wide}");
}

/// Median of the best rates in GFLOP/s over several rounds.
fn rate(micro_kernel: &MicroKernel, isa: Isa, sizes: [usize; 3], flops: f64) -> f64 {
    let code = Code::new(&emit(micro_kernel, isa, Features::default()).unwrap());
    let buffers = sizes.map(|n| Guarded::new(&f32_bytes(&vec![1e-3; n]), true));
    let args: Vec<u64> = buffers.iter().map(Guarded::address).collect();
    let args = if micro_kernel.params.len() == 1 { &args[..1] } else { &args[..] };
    let calls = (2e7 / flops).max(1.0) as usize;
    let mut rates: Vec<f64> = (0..41)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| code.call(args));
            flops * calls as f64 / start.elapsed().as_secs_f64() / 1e9
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[test]
#[ignore = "measures; run with --release on a quiet machine"]
fn speed() {
    for (isa, lanes, rows, cols) in TILES {
        if !host_has(isa, Features::default()) {
            eprintln!("skipped: this host has no {isa:?}");
            continue;
        }
        for k in [76, 96, 192, 480] {
            let chains = if isa == Isa::Avx2 { 12 } else { 24 };
            let n = chains * lanes as usize;
            let top = rate(&peak(chains, lanes, 4000), isa, [n; 3], 2.0 * n as f64 * 4000.0);
            let sizes = [rows * k, k * cols, rows * cols];
            let got = rate(&contraction(rows, cols, k, lanes), isa, sizes, 2.0 * (rows * cols * k) as f64);
            eprintln!("{isa:?} {rows}x{cols} K={k}: {got:.1} GFLOP/s, peak {top:.1}, {:.0} %", 100.0 * got / top);
        }
    }
}
