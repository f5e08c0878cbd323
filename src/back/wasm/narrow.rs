//! Parameters that lie in a module as numbers of 16 bits where nothing is lost by it: half of the bytes to fetch.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use ninc_runtime::finite;
use ninc_runtime::tensor::{convert_to_memory, to_memory};
use wasm_encoder::{BlockType, Function, InstructionSink, MemArg, MemArgTarget, ValType};

/// Numbers from which on two bytes each are worth a loop.
const WORTH: usize = 256;
/// Numbers that are converted at once: they stay in the nearest cache until they are compared.
const PIECE: usize = 1024;

/// A format of 16 bits, whose numbers are all numbers of float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Narrow {
    /// IEEE half precision.
    F16,
    /// The upper half of a float32.
    Bf16,
}

/// Floats as a module holds them.
pub enum Floats {
    /// Numbers of 16 bits, which are widened when the module starts.
    Narrow(Narrow, Vec<[u8; 2]>),
    /// As they are.
    Wide(Vec<[u8; 4]>),
}

impl Floats {
    /// Narrows floats where a format of 16 bits holds them exactly, unless they are few. They are given in their
    /// logical order and lie in the module as in memory: dimension `order[i]` at place i.
    pub fn new(dims: &[usize], order: &[usize], numbers: &[f32]) -> Floats {
        match Narrow::of(numbers) {
            Some((format, words)) => {
                let mut memory = vec![[0; 2]; numbers.len()];
                to_memory(dims, order, &words, &mut memory);
                Floats::Narrow(format, memory)
            }
            None => {
                let mut memory = vec![[0; 4]; numbers.len()];
                convert_to_memory(dims, order, numbers, &mut memory, f32::to_le_bytes);
                Floats::Wide(memory)
            }
        }
    }
}

impl Narrow {
    /// Finds the format that holds these numbers exactly, and gives their bytes in it; `None` where there is none, or
    /// they are few.
    fn of(numbers: &[f32]) -> Option<(Narrow, Vec<[u8; 2]>)> {
        if numbers.len() < WORTH {
            return None;
        }
        let as_half = exact::<f16>(numbers).map(|words| (Narrow::F16, words));
        as_half.or_else(|| exact::<bf16>(numbers).map(|words| (Narrow::Bf16, words)))
    }

    /// `widen(at, count)`: `count` numbers in the upper half of the room at `at` become floats in all of it. In rising
    /// order none is overwritten before it is read.
    pub(super) fn widen(self) -> Function {
        let [at, count, from, to, end] = [0, 1, 2, 3, 4];
        let mut body = Function::new([(3, ValType::I32), (1, ValType::V128)]);
        let mut out = body.instructions();
        out.local_get(at).local_tee(to).local_get(count).i32_const(1).i32_shl().i32_add().local_set(from);
        for lanes in [4, 1] {
            out.local_get(at).local_get(count).i32_const(-lanes).i32_and().i32_const(2).i32_shl().i32_add();
            out.local_set(end).block(BlockType::Empty).loop_(BlockType::Empty);
            out.local_get(to).local_get(end).i32_ge_u().br_if(1);
            out.local_get(to).local_get(from);
            if lanes == 4 {
                out.v128_load16x4_u(near(1));
            } else {
                out.i32_load16_u(near(1)).i32x4_splat();
            }
            self.floats(&mut out);
            if lanes == 4 {
                out.v128_store(near(2));
            } else {
                out.v128_store32_lane(near(2), 0);
            }
            out.local_get(to).i32_const(4 * lanes).i32_add().local_set(to);
            out.local_get(from).i32_const(2 * lanes).i32_add().local_set(from);
            out.br(0).end().end();
        }
        out.end();
        body
    }

    /// Turns four words that hold 16 bits each, on the stack, into floats.
    fn floats(self, out: &mut InstructionSink) {
        if self == Narrow::Bf16 {
            out.i32_const(16).i32x4_shl();
            return;
        }
        // Sign and the rest to their places; then the exponent counts from 127 instead of 15. Numbers below the
        // smallest normal one come out right too, because float32 has them and the product is exact.
        out.local_set(WORDS);
        out.local_get(WORDS).i32_const(0x8000).i32x4_splat().v128_and().i32_const(16).i32x4_shl();
        out.local_get(WORDS).i32_const(0x7fff).i32x4_splat().v128_and().i32_const(13).i32x4_shl().v128_or();
        out.f32_const(SCALE.into()).f32x4_splat().f32x4_mul();
    }
}

/// Gives the bytes of these numbers in a format of 16 bits; `None` unless it holds all of them, which are finite.
fn exact<Half: Copy + Default>(numbers: &[f32]) -> Option<Vec<[u8; 2]>>
where
    [Half]: HalfFloatSliceExt,
{
    let mut words = vec![[0; 2]; numbers.len()];
    let (mut halves, mut wide) = ([Half::default(); PIECE], [0.0; PIECE]);
    for (numbers, words) in numbers.chunks(PIECE).zip(words.chunks_mut(PIECE)) {
        let (halves, wide) = (&mut halves[..numbers.len()], &mut wide[..numbers.len()]);
        halves.convert_from_f32_slice(numbers);
        halves.convert_to_f32_slice(wide);
        // All of the piece at once, not up to the first one that differs.
        let other = |(a, b): (&f32, &f32)| a.to_bits() ^ b.to_bits();
        if numbers.iter().zip(&*wide).fold(0, |any, pair| any | other(pair)) != 0 {
            return None;
        }
        words.iter_mut().zip(halves.reinterpret_cast()).for_each(|(word, half)| *word = half.to_le_bytes());
    }
    finite::first_broken(numbers).is_none().then_some(words)
}

/// The local of `widen` that holds four numbers of 16 bits.
const WORDS: u32 = 5;

/// 2^112, from the exponents of half precision to those of float32.
const SCALE: f32 = f32::from_bits((127 + 112) << 23);

/// An address as it is, aligned to 2^`align` bytes.
fn near(align: u32) -> MemArg {
    MemArg { offset: 0, align, target: MemArgTarget::default(), ordering: None }
}
