//! Products of bytes that are summed in 16 bits: results on every instruction set, and the shape of the code.

use super::support::{Arg, check};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};
use ninc::back::x86::{Features, Isa, listing};
use ninc::kernel::build::MicroKernelBuilder;
use ninc::kernel::interp::i32_bytes;
use ninc::kernel::ir::{Access, Address, Binary, Elem, Index, MicroKernel, Op, Val};

/// `y += Σ_k a[m] · b[k]`, k in words of four bytes, products of `together` words summed in 16 bits, as recipes do it.
fn products([rows, vectors, words, together]: [usize; 4], lanes: u32) -> MicroKernel {
    let mut b = MicroKernelBuilder::new(format!("narrow_{rows}x{vectors}k{words}t{together}"));
    let (image, panel) = (b.pointer("a", Elem::U8, Access::Read), b.pointer("b", Elem::I32, Access::Read));
    let out = b.pointer("y", Elem::I32, Access::ReadWrite);
    let width = vectors * lanes as usize;
    let start: Vec<Val> = (0..rows * vectors).map(|i| b.load(out, i * lanes as usize, lanes)).collect();
    let sums = b.repeat("k", words / 4, &start, |b, k, sums| {
        let mut sums = sums.to_vec();
        for first in (0..4).step_by(together) {
            for m in 0..rows {
                let of_image = |b: &mut MicroKernelBuilder, word: usize| {
                    let index = Index::from(m * 4 * words + 4 * word).plus(k, 16);
                    b.op(Op::BroadcastPacked { from: Address { base: image, index }, lanes })
                };
                let image: Vec<Val> = (first..first + together).map(|word| of_image(b, word)).collect();
                for v in 0..vectors {
                    let product = |b: &mut MicroKernelBuilder, i: usize| {
                        let at = Index::from((first + i) * width + v * lanes as usize).plus(k, 4 * width as i64);
                        let weights = b.load(panel, at, lanes);
                        b.binary(Binary::MulBytes, image[i], weights)
                    };
                    let all: Vec<Val> = (0..together).map(|i| product(b, i)).collect();
                    let narrow = all.into_iter().reduce(|l, r| b.binary(Binary::AddHalves, l, r)).expect("a word");
                    let sum = &mut sums[m * vectors + v];
                    *sum = b.binary(Binary::SumHalves, *sum, narrow);
                }
            }
        }
        sums
    });
    for (i, &sum) in sums.iter().enumerate() {
        b.store(out, i * lanes as usize, sum);
    }
    b.finish()
}

/// Every weight is read once for each row, by the product itself; the ones that widen sums stay in a register, and
/// nothing is moved.
#[test]
fn products_read_their_weights_from_memory() {
    let shapes = [(Isa::Avx2, 5, 2), (Isa::Avx2, 2, 5), (Isa::Avx2, 3, 3), (Isa::Avx512, 8, 3), (Isa::Avx512, 13, 2)];
    for (isa, rows, vectors) in shapes {
        for together in [1, 2] {
            let (lanes, words) = (if isa == Isa::Avx2 { 8 } else { 16 }, 12);
            let width = vectors * lanes as usize;
            // The largest sums there are room for, of both signs, and others.
            let most = [32i8, 32, -32, -32, 32, 32, -32, -32, 127, 0, -64, -64, 1, 0, -64, -64, 3, -5, 7, 9];
            let image: Vec<u8> = (0..rows * 4 * words).map(|i| if i % 7 < 5 { 255 } else { i as u8 }).collect();
            let weight =
                |i: usize| i32::from_le_bytes([0, 1, 2, 3].map(|byte| most[(4 * (i / width) + byte) % 20] as u8));
            let panel = i32_bytes(&(0..words * width).map(weight).collect::<Vec<i32>>());
            let sums = i32_bytes(&(0..rows * width).map(|i| i as i32).collect::<Vec<i32>>());
            let args = [image, panel, sums].map(|bytes| Arg::Memory { bytes, origin: 0 });
            let kernel = products([rows, vectors, words, together], lanes);
            let code = check(&kernel, &args, isa, Features::default()).unwrap();
            let all: Vec<Instruction> = Decoder::new(64, &code, DecoderOptions::NONE).into_iter().collect();
            let end = all.iter().position(|i| i.mnemonic() == Mnemonic::Jne).unwrap();
            let top = all.iter().position(|i| i.ip() == all[end].near_branch64()).unwrap();
            let count = |m: Mnemonic| all[top..end].iter().filter(|i| i.mnemonic() == m).count();
            let products = 4 * rows * vectors;
            let from_memory = |i: &&Instruction| i.mnemonic() == Mnemonic::Vpmaddubsw && i.op2_kind() == OpKind::Memory;
            assert_eq!(all[top..end].iter().filter(from_memory).count(), products, "{}", listing(&code));
            assert_eq!(count(Mnemonic::Vpmaddwd), products / together);
            // For each product and each sum one instruction, for each word of a pixel a broadcast; two pointers, the
            // counter.
            let adds = (together - 1) * products / together;
            let most = products + adds + 2 * products / together + 4 * rows + 3;
            assert!(end - top <= most, "{} of {most}: {}", end - top, listing(&code));
        }
    }
}
