//! Random numbers in kernels (Philox4x32-10; the numbering of elements is the runtime's `philox` module).

use crate::kernel::build::LeafBuilder;
use crate::kernel::ir::{Binary, Compare, Param, Unary, Val};
use crate::kernel::site::{Lowered, Site, Unsupported};

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The four words of one counter per lane: word w of lane l is element `64·b + 16·w + i` of `stream` where the counter
/// is `16·b + i` (`low` and `high` are its I32 halves; 40 bits count). `key` points to the step's four I32.
pub fn words(b: &mut LeafBuilder, key: Param, stream: u32, low: Val, high: Val, lanes: u32) -> [Val; 4] {
    let mut k = [b.broadcast(key, 0i64, lanes), b.broadcast(key, 1i64, lanes)];
    let stream = b.i32((stream << 8) as i32, lanes);
    let second = b.binary(Binary::Or, high, stream);
    let mut c = [low, second, b.broadcast(key, 2i64, lanes), b.broadcast(key, 3i64, lanes)];
    let multipliers = MULTIPLIERS.map(|m| b.i32(m as i32, lanes));
    let weyl = WEYL.map(|w| b.i32(w as i32, lanes));
    for round in 0..10 {
        if round > 0 {
            k = [b.add(k[0], weyl[0]), b.add(k[1], weyl[1])];
        }
        let high_0 = b.binary(Binary::MulHighU, c[0], multipliers[0]);
        let low_0 = b.mul(c[0], multipliers[0]);
        let high_2 = b.binary(Binary::MulHighU, c[2], multipliers[1]);
        let low_2 = b.mul(c[2], multipliers[1]);
        let first = b.binary(Binary::Xor, high_2, c[1]);
        let third = b.binary(Binary::Xor, high_0, c[3]);
        c = [b.binary(Binary::Xor, first, k[0]), low_2, b.binary(Binary::Xor, third, k[1]), low_0];
    }
    c
}

/// The word of element `high · 2^32 + low` (I32 lanes, each with an index of its own). Four times the work of [`words`].
pub fn word_at(b: &mut LeafBuilder, key: Param, stream: u32, low: Val, high: Val) -> Val {
    let lanes = b.ty(low).lanes;
    // counter = index/64 · 16 + index % 16; word = index/16 % 4
    let [two, four, six, thirty] = [2, 4, 6, 30].map(|n| b.i32(n, lanes));
    let block = b.binary(Binary::ShrU, low, six);
    let block = b.binary(Binary::Shl, block, four);
    let fifteen = b.i32(15, lanes);
    let lane = b.binary(Binary::And, low, fifteen);
    let carried = b.binary(Binary::Shl, high, thirty);
    let counter = b.binary(Binary::Or, block, lane);
    let counter = b.binary(Binary::Or, counter, carried);
    let counter_high = b.binary(Binary::ShrU, high, two);
    let all = words(b, key, stream, counter, counter_high, lanes);
    let which = b.binary(Binary::ShrU, low, four);
    let three = b.i32(3, lanes);
    let which = b.binary(Binary::And, which, three);
    let mut word = all[0];
    for (i, &other) in all.iter().enumerate().skip(1) {
        let i = b.i32(i as i32, lanes);
        let mask = b.compare(Compare::Eq, which, i);
        word = b.select(mask, other, word);
    }
    word
}

/// A word as a float in [0, 1) with 24 bits, as the runtime's `philox::unit` makes it.
pub fn unit(b: &mut LeafBuilder, word: Val) -> Val {
    let lanes = b.ty(word).lanes;
    let shift = b.i32(8, lanes);
    let upper = b.binary(Binary::ShrU, word, shift);
    let float = b.unary(Unary::ToFloat, upper);
    let scale = b.f32(1.0 / 16_777_216.0, lanes);
    b.mul(float, scale)
}

/// `(x, key) -> mask · x · scale`: element kept where its random number in [0, 1) is at least `rate`. The element's index
/// is its place in memory order, the image's index in the whole batch outermost.
pub fn dropout(site: &mut Site, _rate: f32, _scale: f32, _stream: u32) -> Lowered {
    Err(Unsupported(format!("{}: random::dropout", site.name)))
}
