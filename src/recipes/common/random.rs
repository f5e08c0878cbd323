//! Random numbers in kernels (Philox4x32-10; the numbering of elements is the runtime's `philox` module).

use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{
    Access, Arg, Binary, Compare, Elem, Expr, Index, Memory, MicroKernelId, Op, Param, Unary, Val, Var,
};
use crate::lower::{Constant, LowerCx, Lowered, code};
use crate::recipes::common::partition::{KernelWithOperands, Partition};

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The four words of one counter per lane: word w of lane l is element `64·b + 16·w + i` of `stream` where the counter
/// is `16·b + i` (`low` and `high` are its I32 halves; 40 bits count). `key` points to the step's four I32.
pub fn words(b: &mut MicroKernelBuilder, key: Param, stream: u32, low: Val, high: Val, lanes: u32) -> [Val; 4] {
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

/// The word of element `high · 2^32 + low` (I32 lanes, each with an index of its own). Four times the work of
/// [`words`].
pub fn word_at(b: &mut MicroKernelBuilder, key: Param, stream: u32, low: Val, high: Val) -> Val {
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
pub fn unit(b: &mut MicroKernelBuilder, word: Val) -> Val {
    let lanes = b.ty(word).lanes;
    let shift = b.i32(8, lanes);
    let upper = b.binary(Binary::ShrU, word, shift);
    let float = b.unary(Unary::ToFloat, upper);
    let scale = b.f32(1.0 / 16_777_216.0, lanes);
    b.mul(float, scale)
}

/// Random numbers for a run of consecutive elements, made block by block into scratch memory.
pub struct Units {
    /// The step's key, four I32.
    pub key: Memory,
    /// The stream of random numbers.
    pub stream: u32,
    /// Length of the longest run.
    pub most: usize,
}

/// [`Units`] with its scratch memory and micro-kernel.
pub struct UnitsOf {
    /// Scratch memory with the numbers.
    pub memory: Memory,
    key: Memory,
    micro_kernel: MicroKernelId,
}

impl Units {
    /// Adds the scratch memory and the micro-kernel.
    pub fn prepare(&self, cx: &mut LowerCx, k: &mut KernelBuilder) -> UnitsOf {
        // A run that begins in the middle of a block touches one more.
        let memory = k.scratch("random", Elem::F32, self.most.next_multiple_of(BLOCK) + BLOCK);
        UnitsOf { memory, key: self.key, micro_kernel: block_micro_kernel(cx, self.stream) }
    }
}

impl UnitsOf {
    /// Fills the scratch memory for `count` elements from element `first` on; gives where they begin in it.
    pub fn fill(&self, k: &mut KernelBuilder, first: &Expr, count: &Expr) -> Expr {
        let begin = first.rem(BLOCK);
        let blocks = (&begin + count + (BLOCK - 1)).div(BLOCK);
        k.serial("block", blocks, |k, i| {
            let [low, high] = counter(&(first.div(BLOCK) + &i));
            k.call(self.micro_kernel, [self.key.at(0), self.memory.at(i * BLOCK), Arg::Int(low), Arg::Int(high)]);
        });
        begin
    }
}

/// Elements that share counters: 16 counters of four words.
const BLOCK: usize = 64;

/// Both halves of a block's first counter. No counter inside a block carries into the upper half.
fn counter(block: &Expr) -> [Expr; 2] {
    let first = block * 16;
    [first.clone(), first.div(1i64 << 32)]
}

/// `body(builder, element inside the block, word)` for all of a block's words, `lanes` at a time.
fn block_words(
    b: &mut MicroKernelBuilder,
    key: Param,
    stream: u32,
    [low, high]: [Var; 2],
    lanes: u32,
    mut body: impl FnMut(&mut MicroKernelBuilder, Index, Val),
) {
    let mut vector = |b: &mut MicroKernelBuilder, at: Index| {
        let place = b.op(Op::Iota { lanes });
        let low = at.terms.iter().fold(Index::from(low), |sum, &(var, c)| sum.plus(var, c));
        let low = b.op(Op::IndexI32 { index: low, lanes });
        let low = b.add(low, place);
        let high = b.op(Op::IndexI32 { index: high.into(), lanes });
        let words = words(b, key, stream, low, high, lanes);
        for (w, word) in words.into_iter().enumerate() {
            body(b, at.clone().offset(16 * w as i64), word);
        }
    };
    if lanes >= 16 {
        return vector(b, Index::default());
    }
    b.repeat("c", 16 / lanes as usize, &[], |b, c, _| {
        vector(b, Index::default().plus(c, lanes.into()));
        vec![]
    });
}

/// The block of random numbers in [0, 1) whose first counter is given: parameters `(key, y, low, high)`.
fn block_micro_kernel(cx: &mut LowerCx, stream: u32) -> MicroKernelId {
    let lanes = cx.target.lanes.min(16);
    cx.micro_kernel(code(format!("random_{stream}_v{lanes}"), (stream, lanes), |&(stream, lanes), b| {
        let key = b.pointer("key", Elem::I32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        let halves = [b.int("low"), b.int("high")];
        block_words(b, key, stream, halves, lanes, |b, at, word| {
            let unit = unit(b, word);
            b.store(y, at, unit);
        });
    }))
}

/// Keeps `x · scale` where `unit >= rate`.
fn mask(b: &mut MicroKernelBuilder, x: Val, unit: Val, rate: f32, scale: f32) -> Val {
    let lanes = b.ty(x).lanes;
    let (rate, zero) = (b.f32(rate, lanes), b.f32(0.0, lanes));
    let scaled = if scale == 1.0 {
        x
    } else {
        let scale = b.f32(scale, lanes);
        b.mul(x, scale)
    };
    let kept = b.compare(Compare::Ge, unit, rate);
    b.select(kept, scaled, zero)
}

/// Masks a whole block, whose first counter is given: `(x, key, y, low, high)`. Constants are rate and scale.
fn whole_micro_kernel(cx: &mut LowerCx, constants: [Constant; 2], stream: u32) -> MicroKernelId {
    let (lanes, [rate, scale]) = (cx.target.lanes.min(16), constants);
    let name = format!("dropout_{stream}_{rate}_{scale}_v{lanes}");
    cx.micro_kernel(code(name, (stream, constants, lanes), |&(stream, constants, lanes), b| {
        let [rate, scale] = constants.map(Constant::get);
        let x = b.pointer("x", Elem::F32, Access::Read);
        let key = b.pointer("key", Elem::I32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        let halves = [b.int("low"), b.int("high")];
        block_words(b, key, stream, halves, lanes, |b, at, word| {
            let (unit, value) = (unit(b, word), b.load(x, at.clone(), lanes));
            let kept = mask(b, value, unit, rate, scale);
            b.store(y, at, kept);
        });
    }))
}

/// Masks some elements by random numbers that were made before: `(x, units, y, count)`.
fn some_micro_kernel(cx: &mut LowerCx, constants: [Constant; 2]) -> MicroKernelId {
    let [rate, scale] = constants;
    cx.micro_kernel(code(format!("dropout_some_{rate}_{scale}"), constants, |constants, b| {
        let [rate, scale] = constants.map(Constant::get);
        let x = b.pointer("x", Elem::F32, Access::Read);
        let units = b.pointer("units", Elem::F32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        let count = b.int("count");
        b.repeat("i", count, &[], |b, i, _| {
            let (value, unit) = (b.load(x, i, 1), b.load(units, i, 1));
            let kept = mask(b, value, unit, rate, scale);
            b.store(y, i, kept);
            vec![]
        });
    }))
}

/// `(x, key) -> mask · x · scale`: element kept where its random number in [0, 1) is at least `rate`. The element's
/// index is its place in memory order, the image's index in the whole batch outermost.
pub fn dropout(cx: &mut LowerCx, rate: f32, scale: f32, stream: u32) -> Lowered {
    let elements = cx.result.ty.elements();
    let ty = &cx.result.ty;
    // On a GPU, too, an item makes whole blocks of random numbers: one of them.
    let split = if cx.target.is_gpu() { Partition::blocks(ty, BLOCK) } else { Partition::of(cx.target, ty, 1) };
    let mut d = KernelWithOperands::new(cx, "dropout", Access::Write);
    let (x, key, y) = (d.operands[0], d.operands[1], d.result);
    let constants = [rate, scale].map(Constant::from);
    let (whole, some) = (whole_micro_kernel(cx, constants, stream), some_micro_kernel(cx, constants));
    let units = Units { key, stream, most: BLOCK }.prepare(cx, &mut d.kernel);
    let partial = |k: &mut KernelBuilder, place: &Expr, first: &Expr, count: &Expr| {
        let begin = units.fill(k, first, count);
        k.call(some, [x.at(place), units.memory.at(begin), y.at(place), Arg::Int(count.clone())]);
    };
    split.run(&mut d.kernel, |k, piece| {
        // Elements before the first whole block, whole blocks, elements after the last.
        let place = &piece.position;
        let first = Expr::FIRST * elements + place;
        let aligned = elements.is_multiple_of(BLOCK);
        let before = if aligned { Expr::from(0) } else { (Expr::from(0) - &first).rem(BLOCK).min(piece.count) };
        if !aligned {
            k.when(Expr::from(0).lt(before.clone()), |k| partial(k, place, &first, &before));
        }
        let blocks = (Expr::from(piece.count) - &before).div(BLOCK);
        k.serial("block", blocks.clone(), |k, i| {
            let done = &before + &i * BLOCK;
            let [low, high] = counter(&(&first + &done).div(BLOCK));
            let at = place + &done;
            k.call(whole, [x.at(&at), key.at(0), y.at(at), Arg::Int(low), Arg::Int(high)]);
        });
        let done = &before + blocks * BLOCK;
        let after = Expr::from(piece.count) - &done;
        if !(aligned && piece.count.is_multiple_of(BLOCK)) {
            k.when(Expr::from(0).lt(after.clone()), |k| partial(k, &(place + &done), &(&first + &done), &after));
        }
    });
    d.launch(cx);
    Ok(())
}
