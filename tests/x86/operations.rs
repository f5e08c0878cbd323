//! Every operation at every width on every instruction set, then what random micro-kernels seldom meet.

use super::generate::{Random, bytes};
use super::support::{Arg, check};
use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use ninc::back::x86::{Features, Isa, emit, listing};
use ninc::kernel::build::MicroKernelBuilder;
use ninc::kernel::interp::{f32_bytes, i32_bytes};
use ninc::kernel::ir::*;

const PLAIN: Features = Features { bf16: false, vnni: false, tiles: false };
const VNNI: Features = Features { bf16: false, vnni: true, tiles: false };
const ALL: Features = Features { bf16: true, vnni: true, tiles: false };

/// All machines, with the lanes that each has.
fn machines(mut run: impl FnMut(Isa, Features, u32)) {
    for (isa, features) in [(Isa::Avx2, PLAIN), (Isa::Avx2, VNNI), (Isa::Avx512, PLAIN), (Isa::Avx512, ALL)] {
        for lanes in [1, 2, 4, 8, 16] {
            if lanes <= 8 || isa == Isa::Avx512 {
                run(isa, features, lanes);
            }
        }
    }
}

/// How an operand reaches its instruction.
#[derive(Clone, Copy, PartialEq)]
enum From {
    /// Loaded early and used again: a register.
    Register,
    /// Loaded, used once.
    Load,
    Broadcast,
    Constant,
}

const FROM: [From; 4] = [From::Register, From::Load, From::Broadcast, From::Constant];

/// Builds `op` on operands of these types in four copies of the buffers, operand `n` as `from` says, the others in
/// registers, and compares.
fn operation(
    types: &[Elem],
    isa: Isa,
    features: Features,
    lanes: u32,
    op: impl Fn(&mut MicroKernelBuilder, &[Val]) -> Val,
) {
    for chosen in 0..types.len() {
        for from in FROM {
            let mut random = Random(u64::from(lanes) + 100 * chosen as u64);
            let mut b = MicroKernelBuilder::new("operation");
            let mut args = vec![];
            let floats = b.pointer("f", Elem::F32, Access::Read);
            let ints = b.pointer("i", Elem::I32, Access::Read);
            for elem in [Elem::F32, Elem::I32] {
                args.push(Arg::Memory { bytes: bytes(elem, 4096, &mut random), origin: 0 });
            }
            // The result's type is known only when it is built: build once for that.
            let mut trial = MicroKernelBuilder::new("trial");
            let sample: Vec<Val> = types.iter().map(|&t| constant(&mut trial, t, lanes)).collect();
            let result = op(&mut trial, &sample);
            let result = trial.ty(result);
            let out_elem = if result.elem == Elem::F32 { Elem::F32 } else { Elem::I32 };
            let out = b.pointer("o", out_elem, Access::Write);
            args.push(Arg::Memory { bytes: vec![0; 4096 * 4], origin: 0 });
            for copy in 0..6 {
                let offset = copy * 64;
                let mut kept = vec![];
                let operands: Vec<Val> = types
                    .iter()
                    .enumerate()
                    .map(|(n, &elem)| {
                        let base = if elem == Elem::F32 { floats } else { ints };
                        let at = offset + n * 16;
                        match if n == chosen { from } else { From::Register } {
                            From::Register => {
                                let v = b.load(base, at, lanes);
                                kept.push((v, elem));
                                v
                            }
                            From::Load => b.load(base, at, lanes),
                            From::Broadcast => b.broadcast(base, at, lanes),
                            From::Constant => constant(&mut b, elem, lanes),
                        }
                    })
                    .collect();
                let mut value = op(&mut b, &operands);
                if b.ty(value).elem == Elem::Mask {
                    let (yes, no) = (b.i32(1, lanes), b.i32(0, lanes));
                    value = b.select(value, yes, no);
                }
                b.store(out, offset * 2, value);
                // Stored too, so that these stay in registers over the operation.
                for (n, (v, elem)) in kept.into_iter().enumerate() {
                    let v = match (elem, out_elem) {
                        (Elem::F32, Elem::I32) => b.unary(Unary::AsInt, v),
                        (Elem::I32, Elem::F32) => b.unary(Unary::AsFloat, v),
                        _ => v,
                    };
                    b.store(out, offset * 2 + 16 * (n + 1), v);
                }
            }
            check(&b.finish(), &args, isa, features).unwrap();
        }
    }
}

fn constant(b: &mut MicroKernelBuilder, elem: Elem, lanes: u32) -> Val {
    if elem == Elem::F32 { b.f32(-1.25, lanes) } else { b.i32(5, lanes) }
}

use Elem::{F32, I32};

#[test]
fn binary_operations() {
    use Binary::*;
    machines(|isa, features, lanes| {
        for op in [Add, Sub, Mul, Div, Max, Min] {
            operation(&[F32, F32], isa, features, lanes, |b, v| b.binary(op, v[0], v[1]));
        }
        for op in [Add, Sub, Mul, Max, Min, MulHighU, And, Or, Xor, MulBytes, AddHalves, SumHalves] {
            operation(&[I32, I32], isa, features, lanes, |b, v| b.binary(op, v[0], v[1]));
        }
        for op in [Shl, ShrU, ShrS] {
            operation(&[I32, I32], isa, features, lanes, |b, v| {
                let bits = b.i32(31, lanes);
                let count = b.binary(And, v[1], bits);
                b.binary(op, v[0], count)
            });
            operation(&[I32], isa, features, lanes, |b, v| {
                let count = b.i32(7, lanes);
                b.binary(op, v[0], count)
            });
        }
    });
}

#[test]
fn unary_operations() {
    machines(|isa, features, lanes| {
        for op in [Unary::Neg, Unary::Abs, Unary::Sqrt, Unary::Round, Unary::Floor] {
            operation(&[F32], isa, features, lanes, |b, v| b.unary(op, v[0]));
        }
        operation(&[F32], isa, features, lanes, |b, v| {
            let (low, high) = (b.f32(-2e9, lanes), b.f32(2e9, lanes));
            let tame = b.max(v[0], low);
            let tame = b.min(tame, high);
            b.unary(Unary::ToInt, tame)
        });
        operation(&[F32], isa, features, lanes, |b, v| b.unary(Unary::ToByte, v[0]));
        operation(&[I32], isa, features, lanes, |b, v| b.unary(Unary::ToFloat, v[0]));
        operation(&[I32], isa, features, lanes, |b, v| b.unary(Unary::AsFloat, v[0]));
    });
}

#[test]
fn fused_multiply_add() {
    machines(|isa, features, lanes| {
        operation(&[F32, F32, F32], isa, features, lanes, |b, v| b.fma(v[0], v[1], v[2]));
        operation(&[F32, F32], isa, features, lanes, |b, v| b.fma(v[0], v[0], v[1]));
        operation(&[F32, F32], isa, features, lanes, |b, v| b.fma(v[0], v[1], v[0]));
        // All die, or all but one.
        operation(&[F32, F32], isa, features, lanes, |b, v| {
            let (x, y) = (b.add(v[0], v[1]), b.mul(v[0], v[1]));
            let (sum, z) = (b.fma(x, y, v[0]), b.sub(v[0], v[1]));
            b.fma(z, sum, x)
        });
    });
}

#[test]
fn comparisons_and_selections() {
    use Compare::*;
    machines(|isa, features, lanes| {
        for op in [Eq, Ne, Lt, Le, Gt, Ge] {
            for elem in [F32, I32] {
                operation(&[elem, elem], isa, features, lanes, |b, v| b.compare(op, v[0], v[1]));
                operation(&[elem, elem, F32, F32], isa, features, lanes, |b, v| {
                    let mask = b.compare(op, v[0], v[1]);
                    b.select(mask, v[2], v[3])
                });
            }
        }
    });
}

#[test]
fn lanes_and_reductions() {
    use Binary::*;
    machines(|isa, features, lanes| {
        for (elem, scalar) in [(F32, 1), (I32, 1)] {
            operation(&[elem], isa, features, scalar, |b, v| b.op(Op::Splat { value: v[0], lanes }));
        }
        if lanes > 1 {
            for op in [Add, Mul, Max, Min] {
                operation(&[F32], isa, features, lanes, |b, v| b.reduce(op, v[0]));
                operation(&[I32], isa, features, lanes, |b, v| b.reduce(op, v[0]));
            }
            operation(&[I32], isa, features, lanes, |b, v| b.reduce(Xor, v[0]));
        }
        for high in [false, true].into_iter().filter(|_| lanes >= 4) {
            operation(&[F32, F32], isa, features, lanes, |b, v| b.zip(v[0], v[1], high));
            operation(&[I32, I32], isa, features, lanes, |b, v| b.zip(v[1], v[0], high));
        }
        operation(&[I32], isa, features, lanes, |b, v| {
            let count = b.op(Op::Iota { lanes });
            b.add(count, v[0])
        });
    });
}

#[test]
fn dot_products() {
    machines(|isa, features, lanes| {
        operation(&[I32, I32, I32], isa, features, lanes, |b, v| b.op(Op::Dot4U8I8 { acc: v[0], a: v[1], b: v[2] }));
        operation(&[I32, I32, I32], isa, features, lanes, |b, v| b.op(Op::Dot2I16 { acc: v[0], a: v[1], b: v[2] }));
    });
    // VDPBF16PS may round in another order: small integers are exact in any.
    machines(|isa, features, lanes| {
        let mut b = MicroKernelBuilder::new("dot2");
        let (x, y) = (b.pointer("x", Elem::Bf16, Access::Read), b.pointer("y", Elem::Bf16, Access::Read));
        let out = b.pointer("o", Elem::F32, Access::ReadWrite);
        let init = b.load(out, 0usize, lanes);
        let sum = b.repeat("k", 5usize, &[init], |b, k, sum| {
            let one = Address { base: x, index: Index::from(0usize).plus(k, 2) };
            let line = Address { base: y, index: Index::from(0usize).plus(k, 32) };
            let one = b.op(Op::BroadcastPacked { from: one, lanes });
            let line = b.op(Op::LoadPacked { from: line, lanes });
            vec![b.op(Op::Dot2Bf16 { acc: sum[0], a: one, b: line })]
        });
        b.store(out, 0usize, sum[0]);
        let halves = |n: usize| -> Vec<u8> {
            (0..n).flat_map(|i| ((i * 7 % 19) as f32 - 9.0).to_le_bytes()[2..].to_vec()).collect()
        };
        let args = [halves(64), halves(256), f32_bytes(&[0.5; 16])].map(|bytes| Arg::Memory { bytes, origin: 0 });
        check(&b.finish(), &args, isa, features).unwrap();
    });
}

/// Every element type, whole, partial with every count, one for all lanes, packed; stores likewise.
#[test]
fn memory_accesses() {
    machines(|isa, features, lanes| {
        for elem in [F32, I32, Elem::Bf16, Elem::I16, Elem::U8, Elem::I8] {
            let mut random = Random(7 + u64::from(lanes));
            // AVX512_BF16 flushes denormal numbers: the random numbers here are not denormal.
            let data = bytes(elem, 400, &mut random);
            for count in 1..=lanes {
                let mut b = MicroKernelBuilder::new("access");
                let from = b.pointer("x", elem, Access::Read);
                let to = b.pointer("y", elem, Access::Write);
                let whole = b.load(from, 3usize, lanes);
                b.store_partial(to, 0usize, whole, count);
                let part = b.load_partial(from, 20usize, lanes, count);
                b.store(to, 16usize, part);
                let all = b.broadcast(from, 41usize, lanes);
                b.store(to, 40usize, all);
                b.repeat("i", 3usize, &[], |b, i, _| {
                    let part = b.load_partial(from, Index::from(50usize).plus(i, 5), lanes, count);
                    b.store_partial(to, Index::from(60usize).plus(i, 7), part, count);
                    vec![]
                });
                let args = [data.clone(), vec![0; 400 * 4]].map(|bytes| Arg::Memory { bytes, origin: 0 });
                check(&b.finish(), &args, isa, features).unwrap();
            }
        }
    });
}

/// Rounding to bf16 at ties, at the largest numbers and for every kind of NaN.
#[test]
fn bf16_rounding() {
    let words =
        [0x3f80_8000, 0x3f81_8000, 0x3f80_8001, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7f80_0001, 0xffff_ffff];
    machines(|isa, features, lanes| {
        let mut b = MicroKernelBuilder::new("round");
        let from = b.pointer("x", F32, Access::Read);
        let to = b.pointer("y", Elem::Bf16, Access::Write);
        let value = b.load(from, 0usize, lanes);
        b.store(to, 0usize, value);
        let data: Vec<u8> = words.iter().cycle().take(16).flat_map(|w: &u32| w.to_le_bytes()).collect();
        let args = [data, vec![0; 64]].map(|bytes| Arg::Memory { bytes, origin: 0 });
        check(&b.finish(), &args, isa, features).unwrap();
    });
}

/// Rounds numbers at ties, outside 0 to 255 and far outside, infinities and NaN, to bytes. They are stored as two rows
/// of two vectors each, as part of a vector, and as a vector that a second store of whole words reads too.
#[test]
fn byte_rounding() {
    let (odd, even) = (0.5, 1.5);
    let inside = [odd, even, 2.5, -odd, -even, 0.49999997, 254.5, 254.49998, 255.5, 3.0, -3.0];
    let outside = [256.0, 70000.0, -70000.0, 3e9, -3e9, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN];
    let numbers: Vec<f32> = inside.into_iter().chain(outside).cycle().take(64).collect();
    machines(|isa, features, lanes| {
        let mut b = MicroKernelBuilder::new("bytes");
        let from = b.pointer("x", F32, Access::Read);
        let to = b.pointer("y", Elem::U8, Access::Write);
        let words = b.pointer("z", I32, Access::Write);
        let byte = |b: &mut MicroKernelBuilder, at: usize| {
            let value = b.load(from, at, lanes);
            b.unary(Unary::ToByte, value)
        };
        let step = lanes as usize;
        let values = [0, 1, 2, 3].map(|i| byte(&mut b, i * step));
        for (row, pair) in values.chunks(2).enumerate() {
            (0..2).for_each(|i| b.store(to, 100 * row + i * step, pair[i]));
        }
        let (part, both) = (byte(&mut b, 5), byte(&mut b, 7));
        b.store_partial(to, 200usize, part, lanes.div_ceil(2));
        b.store(to, 300usize, both);
        b.store(words, 0usize, both);
        let args = [f32_bytes(&numbers), vec![0; 400], vec![0; 64]].map(|bytes| Arg::Memory { bytes, origin: 0 });
        check(&b.finish(), &args, isa, features).unwrap();
    });
}

/// A load must not sink below a store into the same memory.
#[test]
fn loads_stay_above_stores() {
    machines(|isa, features, lanes| {
        let mut b = MicroKernelBuilder::new("order");
        let p = b.pointer("p", F32, Access::ReadWrite);
        let old = b.load(p, 0usize, lanes);
        let each = b.broadcast(p, 1usize, lanes);
        let other = b.load(p, 16usize, lanes);
        let double = b.add(other, other);
        b.store(p, 0usize, double);
        let sum = b.add(other, old);
        let sum = b.add(sum, each);
        b.store(p, 32usize, sum);
        b.repeat("i", 3usize, &[sum], |b, i, sum| {
            let old = b.load(p, Index::from(0usize).plus(i, 16), lanes);
            b.store(p, Index::from(0usize).plus(i, 16), sum[0]);
            vec![b.fma(sum[0], sum[0], old)]
        });
        let bytes = bytes(F32, 64, &mut Random(3));
        check(&b.finish(), &[Arg::Memory { bytes, origin: 0 }], isa, features).unwrap();
    });
}

/// More pointers than general registers: the coldest live on the stack. Far offsets go through a scratch register.
#[test]
fn more_addresses_than_registers() {
    machines(|isa, features, lanes| {
        let mut b = MicroKernelBuilder::new("addresses");
        let from = b.pointer("x", I32, Access::Read);
        let to = b.pointer("y", I32, Access::ReadWrite);
        let n = b.int("n");
        let far = b.int("far");
        b.repeat("i", Index::from(n).offset(1), &[], |b, i, _| {
            for r in 0..10i64 {
                let v = b.load(from, Index::from(r as usize).plus(i, r + 1), lanes);
                b.store(to, Index::from(16 * r).plus(i, 160), v);
            }
            b.repeat("j", Index::from(i), &[], |b, j, _| {
                for r in 0..14i64 {
                    let v = b.load(from, Index::from(0usize).plus(i, 16 * r).plus(j, r + 3), lanes);
                    let old = b.load(to, Index::from(16 * r).plus(i, 1).plus(j, r), lanes);
                    let sum = b.add(v, old);
                    b.store(to, Index::from(16 * r).plus(i, 1).plus(j, r), sum);
                }
                let at = b.op(Op::IndexI32 { index: Index::from(-3i64 as usize).plus(i, 7).plus(j, -2), lanes });
                b.store(to, Index::from(900usize).plus(j, 16), at);
                vec![]
            });
            vec![]
        });
        // Offsets of several GiB that the integer takes back: address arithmetic must be 64 bits wide.
        let v = b.load(from, Index::from(1i64 << 40).plus(far, -(1 << 34)), lanes);
        b.store(to, Index::from(-(1i64 << 31)).plus(far, 1 << 25), v);
        let args = [
            Arg::Memory { bytes: bytes(I32, 2000, &mut Random(5)), origin: 0 },
            Arg::Memory { bytes: i32_bytes(&vec![0; 2000]), origin: 0 },
            Arg::Int(4),
            Arg::Int(64),
        ];
        check(&b.finish(), &args, isa, features).unwrap();
    });
}

/// Constants of a loop are loaded before it, as many as fit.
#[test]
fn constants_leave_loops() {
    let polynomial = |terms: usize, lanes: u32| {
        let mut b = MicroKernelBuilder::new("polynomial");
        let p = b.pointer("p", F32, Access::ReadWrite);
        b.repeat("i", 4usize, &[], |b, i, _| {
            let at = Index::default().plus(i, lanes.into());
            let x = b.load(p, at.clone(), lanes);
            let mut sum = b.f32(0.5, lanes);
            for t in 0..terms {
                let c = b.f32(t as f32 * 0.01 - 0.3, lanes);
                sum = b.fma(sum, x, c);
            }
            b.store(p, at, sum);
            vec![]
        });
        b.finish()
    };
    for (isa, lanes, fit, over) in [(Isa::Avx2, 8, 12, 40), (Isa::Avx512, 16, 28, 80)] {
        for terms in [fit, over] {
            let micro_kernel = polynomial(terms, lanes);
            let args = [Arg::Memory { bytes: f32_bytes(&vec![0.7; 64]), origin: 0 }];
            let code = check(&micro_kernel, &args, isa, PLAIN).unwrap();
            let body: Vec<_> = Decoder::new(64, &code, DecoderOptions::NONE).into_iter().collect();
            let end = body.iter().position(|i| i.mnemonic() == Mnemonic::Jne).unwrap();
            let top = body.iter().position(|i| i.ip() == body[end].near_branch64()).unwrap();
            let from_pool = body[top..end].iter().filter(|i| i.is_ip_rel_memory_operand()).count();
            assert_eq!(from_pool > 0, terms == over, "{}", listing(&code));
        }
    }
}

#[test]
fn a_listing_shows_code_and_data() {
    let mut b = MicroKernelBuilder::new("scale");
    let p = b.pointer("p", F32, Access::ReadWrite);
    let (x, two) = (b.load(p, 0usize, 16), b.f32(2.0, 16));
    let y = b.mul(x, two);
    b.store(p, 0usize, y);
    let text = listing(&emit(&b.finish(), Isa::Avx512, PLAIN).unwrap());
    let lines: Vec<&str> = text.lines().map(|l| l.trim_start().split_once("  ").unwrap().1).collect();
    let code = ["vbroadcastss zmm0,[40h]", "vmulps zmm0,zmm0,[rdi]", "vmovups [rdi],zmm0", "vzeroupper", "ret"];
    assert_eq!(lines[..5], code);
    assert_eq!(lines[5..], ["dd 0x40000000"]);
}
