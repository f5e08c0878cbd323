//! Runs one micro-kernel in every way and compares.

use super::emulator::{self, Region};
use crate::support::memory::{Code, Guarded};
use iced_x86::{CpuidFeature, Decoder, DecoderOptions};
use ninc::back::EmitError;
use ninc::back::x86::{Features, Isa, configuration, emit};
use ninc::kernel::interp::{Blocks, InterpError, MicroKernelArg, run_micro_kernel};
use ninc::kernel::ir::{Elem, MicroKernel, MicroKernelParam, Module};
use ninc::kernel::verify;
use std::cell::RefCell;

/// An argument: the bytes behind a pointer, which points to byte `origin`, or an integer.
#[derive(Clone, Debug)]
pub enum Arg {
    Memory { bytes: Vec<u8>, origin: usize },
    Int(i64),
}

/// Can this machine run such code?
pub fn host_has(isa: Isa, features: Features) -> bool {
    let wide = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let widest = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    let vnni = match isa {
        Isa::Avx512 => is_x86_feature_detected!("avx512vnni"),
        _ => is_x86_feature_detected!("avxvnni"),
    };
    let extra = (!features.bf16 || is_x86_feature_detected!("avx512bf16"))
        && (!features.vnni || vnni)
        && (!features.tiles || ninc_runtime::tiles::permitted());
    match isa {
        Isa::Avx512 => widest && extra,
        _ => wide && extra,
    }
}

/// Blocks that note which bytes are touched.
struct Traced {
    blocks: Vec<Vec<u8>>,
    touched: RefCell<Vec<Option<(usize, usize)>>>,
}

impl Traced {
    fn note(&self, block: usize, at: i64, bytes: usize) {
        let range = &mut self.touched.borrow_mut()[block];
        let (from, to) = (at as usize, at as usize + bytes);
        *range = Some(range.map_or((from, to), |(a, b)| (a.min(from), b.max(to))));
    }
}

impl Blocks for Traced {
    fn load(&self, block: usize, at: i64, bytes: usize) -> Result<u32, InterpError> {
        self.note(block, at, bytes);
        self.blocks.as_slice().load(block, at, bytes)
    }

    fn store(&mut self, block: usize, at: i64, bytes: usize, value: u32) -> Result<(), InterpError> {
        self.note(block, at, bytes);
        self.blocks.as_mut_slice().store(block, at, bytes, value)
    }
}

/// What the interpreter makes of the micro-kernel: arguments cut to the bytes it touches, and these bytes afterwards.
pub fn expected(micro_kernel: &MicroKernel, args: &[Arg]) -> (Vec<Arg>, Vec<Vec<u8>>) {
    let module = Module { micro_kernels: [micro_kernel.clone()].into_iter().collect(), ..Module::default() };
    assert_eq!(verify::check(&module), vec![], "{micro_kernel:?}");
    let blocks: Vec<Vec<u8>> = args
        .iter()
        .map(|a| match a {
            Arg::Memory { bytes, .. } => bytes.clone(),
            Arg::Int(_) => vec![],
        })
        .collect();
    let values: Vec<MicroKernelArg> = args
        .iter()
        .enumerate()
        .map(|(block, a)| match a {
            Arg::Memory { origin, .. } => MicroKernelArg::Pointer { block, byte: *origin as i64 },
            Arg::Int(i) => MicroKernelArg::Int(*i),
        })
        .collect();
    let touched = RefCell::new(vec![None; args.len()]);
    let mut traced = Traced { blocks: blocks.clone(), touched };
    run_micro_kernel(micro_kernel, &values, &mut traced).expect("the micro_kernel stays in its buffers");
    let touched = traced.touched.into_inner();
    let mut cut = vec![];
    let mut after = vec![];
    for (i, arg) in args.iter().enumerate() {
        let (from, to) = touched[i].unwrap_or((0, 0));
        after.push(traced.blocks[i][from..to].to_vec());
        cut.push(match arg {
            // The origin may lie outside of what is touched: then it is a wrapped number.
            Arg::Memory { bytes, origin } => {
                Arg::Memory { bytes: bytes[from..to].to_vec(), origin: origin.wrapping_sub(from) }
            }
            Arg::Int(v) => Arg::Int(*v),
        });
    }
    (cut, after)
}

/// Memory after a native run between guard pages.
fn native(code: &[u8], args: &[Arg], tiles: bool, at_end: bool) -> Vec<Vec<u8>> {
    let code = Code::new(code);
    let [begin, end] = configuration().unwrap().map(|code| Code::new(&code));
    let mut buffers = vec![];
    let mut values = vec![];
    for arg in args {
        match arg {
            Arg::Memory { bytes, origin } => {
                let buffer = Guarded::new(bytes, at_end);
                values.push(buffer.address().wrapping_add(*origin as u64));
                buffers.push(Some(buffer));
            }
            Arg::Int(v) => {
                values.push(*v as u64);
                buffers.push(None);
            }
        }
    }
    if tiles {
        begin.call(&[]);
    }
    code.call(&values);
    if tiles {
        end.call(&[]);
    }
    buffers.iter().map(|b| b.as_ref().map_or(vec![], Guarded::bytes)).collect()
}

/// Memory after a run in the emulator, where every access is checked.
fn emulated(code: &[u8], args: &[Arg]) -> Vec<Vec<u8>> {
    let mut regions = vec![];
    let mut values = vec![];
    for (i, arg) in args.iter().enumerate() {
        let base = (i as u64 + 1) << 32;
        match arg {
            Arg::Memory { bytes, origin } => {
                regions.push(Region { base, bytes: bytes.clone() });
                values.push(base.wrapping_add(*origin as u64));
            }
            Arg::Int(v) => {
                regions.push(Region { base, bytes: vec![] });
                values.push(*v as u64);
            }
        }
    }
    emulator::run(code, &values, &mut regions).unwrap_or_else(|e| {
        panic!("{e}\n{}", ninc::back::x86::listing(code));
    });
    regions.into_iter().map(|r| r.bytes).collect()
}

/// Every decoded instruction is valid and belongs to the instruction set.
pub fn check_encodings(code: &[u8], isa: Isa) {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    loop {
        let instruction = decoder.decode();
        assert!(!instruction.is_invalid(), "an invalid instruction at {:x}", instruction.ip());
        for feature in instruction.cpuid_features() {
            use CpuidFeature::*;
            let ok = match feature {
                X64 | INTEL8086 | INTEL186 | INTEL386 | MULTIBYTENOP | CMOV | AVX | AVX2 | FMA => true,
                AVX_VNNI => isa == Isa::Avx2,
                AMX_TILE | AMX_BF16 | AMX_INT8 => isa == Isa::Avx512,
                AVX512F | AVX512BW | AVX512DQ | AVX512VL | AVX512_BF16 | AVX512_VNNI => isa == Isa::Avx512,
                _ => false,
            };
            assert!(ok, "{instruction} needs {feature:?}");
        }
        if instruction.code() == iced_x86::Code::Retnq {
            return;
        }
    }
}

/// The same bits, except that one NaN is as good as another.
fn same(elem: Elem, left: &[u8], right: &[u8]) -> bool {
    let words = |b: &[u8]| -> Vec<u32> {
        let (size, shift) = if elem == Elem::Bf16 { (2, 16) } else { (4, 0) };
        let word = |c: &[u8]| c.iter().rev().fold(0u32, |w, &b| w << 8 | u32::from(b)) << shift;
        b.chunks(size).map(word).collect()
    };
    if left.len() != right.len() || !matches!(elem, Elem::F32 | Elem::Bf16) {
        return left == right;
    }
    let nan = |w: u32| f32::from_bits(w).is_nan();
    words(left).into_iter().zip(words(right)).all(|(l, r)| l == r || nan(l) && nan(r))
}

fn compare(micro_kernel: &MicroKernel, how: &str, code: &[u8], expected: &[Vec<u8>], got: &[Vec<u8>]) {
    for (i, param) in micro_kernel.params.values().enumerate() {
        let MicroKernelParam::Pointer { name, elem, .. } = param else { continue };
        if !same(*elem, &expected[i], &got[i]) {
            let at = expected[i].iter().zip(&got[i]).position(|(a, b)| a != b);
            panic!(
                "{how}: {name} differs at byte {at:?}\nexpected {:02x?}\ngot      {:02x?}\n{micro_kernel:#?}\n{}",
                expected[i],
                got[i],
                ninc::back::x86::listing(code)
            );
        }
    }
}

/// Emits for the instruction set and compares all runs with the interpreter. Gives the code.
pub fn check(micro_kernel: &MicroKernel, args: &[Arg], isa: Isa, features: Features) -> Result<Vec<u8>, EmitError> {
    let code = emit(micro_kernel, isa, features)?;
    check_encodings(&code, isa);
    let (args, expected) = expected(micro_kernel, args);
    compare(micro_kernel, "emulated", &code, &expected, &emulated(&code, &args));
    if host_has(isa, features) {
        for at_end in [false, true] {
            compare(micro_kernel, "native", &code, &expected, &native(&code, &args, micro_kernel.has_tiles(), at_end));
        }
    }
    Ok(code)
}
