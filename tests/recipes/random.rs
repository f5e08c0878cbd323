//! Random numbers in kernels are those of the runtime.

use super::{Data, Draw, LANES, Memory, Test, floats};
use ninc::kernel::interp::{MicroKernelArg, i32_bytes, run_micro_kernel, to_i32};
use ninc::kernel::ir::{Access, Elem, MicroKernelId, Module};
use ninc::kernel::verify;
use ninc::recipes::random;
use ninc::types::Type;
use ninc_runtime::philox;

const KEYS: [[u32; 4]; 2] = [[0, 0, 0, 0], [0x9abc_def0, 0xfedc_ba98, 123_456, 7]];

pub fn key(key: [u32; 4]) -> (Type, Data) {
    (Type::ints(false, &[4]), Data::I32(key.map(|k| k as i32).to_vec()))
}

/// Indices in the middle of blocks, at their borders, beyond 32 bits.
fn indices() -> Vec<u64> {
    let mut draw = Draw::new(7);
    let mut all: Vec<u64> = (0..130).collect();
    all.extend((0..62).map(|i| (1 << 32) - 31 + i));
    all.extend((0..256).map(|_| u64::from(draw.below(u32::MAX)) << draw.below(10)));
    all
}

#[test]
fn words_at_any_index() {
    let indices = indices();
    for (lanes, k, stream) in LANES.iter().flat_map(|&l| KEYS.map(|k| (l, k, 5 + l))) {
        let mut module = Module::default();
        module.micro_kernel("words", |b| {
            let [low, high, key] = ["low", "high", "key"].map(|n| b.pointer(n, Elem::I32, Access::Read));
            let y = b.pointer("y", Elem::I32, Access::Write);
            b.elements(indices.len(), lanes, |b, i, lanes| {
                let (low, high) = (b.load(low, i.clone(), lanes), b.load(high, i.clone(), lanes));
                let word = random::word_at(b, key, stream, low, high);
                b.store(y, i, word);
            });
        });
        let module = verify::verify(module).expect("well-formed code");
        let low: Vec<i32> = indices.iter().map(|&i| i as i32).collect();
        let high: Vec<i32> = indices.iter().map(|&i| (i >> 32) as i32).collect();
        let blocks = vec![i32_bytes(&low), i32_bytes(&high), i32_bytes(&k.map(|w| w as i32)), vec![0; low.len() * 4]];
        let mut memory = Memory(blocks);
        let args = [0, 1, 2, 3].map(|block| MicroKernelArg::Pointer { block, byte: 0 });
        run_micro_kernel(&module.micro_kernels[MicroKernelId::from_u32(0)], &args, &mut memory)
            .expect("a sound micro_kernel");
        for (&index, &word) in indices.iter().zip(&to_i32(&memory.0[3])) {
            assert_eq!(word as u32, philox::element(k, stream, index), "element {index} with {lanes} lanes");
        }
    }
}

/// Aligned and unaligned images, ends inside blocks, several iterations an image, several images an iteration, groups.
#[test]
fn dropout_drops_what_philox_says() {
    let (rate, scale, stream) = (0.4f32, 1.0 / 0.6f32, 3);
    let shapes: [(&[usize], usize); 7] =
        [(&[1], 3), (&[10], 20), (&[64], 3), (&[63], 70), (&[3, 5, 7], 4), (&[8, 40, 40], 2), (&[7, 31, 41], 2)];
    for (dims, batch) in shapes {
        let ty = Type::batched(dims);
        let each = ty.elements();
        let mut x = Draw::new(2).normal(each * batch);
        x.iter_mut().for_each(|v| *v = v.abs() + 0.1);
        for (first, k) in [(0, KEYS[0]), (5, KEYS[1]), ((1 << 33) / each + 1, KEYS[1])] {
            let expected: Vec<f32> = (x.iter().enumerate())
                .map(|(i, &v)| {
                    let word = philox::element(k, stream, (first * each + i) as u64);
                    if philox::unit(word) >= rate { v * scale } else { 0.0 }
                })
                .collect();
            let test = Test {
                operands: vec![floats(&ty, x.clone()), key(k)],
                result: ty.clone(),
                lower: &|cx| random::dropout(cx, rate, scale, stream),
            };
            for lanes in LANES {
                let got = test.run_group(lanes, [batch, first, first + batch], &[]);
                assert!(got == expected, "dropout of {dims:?} from image {first}, {lanes} lanes");
            }
        }
    }
}
