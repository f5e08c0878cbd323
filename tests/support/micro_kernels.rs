//! Random valid micro-kernels, and a kernel that calls one of them.

use ninc::kernel::build::{KernelBuilder, MicroKernelBuilder};
use ninc::kernel::ir::*;
use ninc_runtime::philox::Stream;

/// Elements that a random micro-kernel may touch in each buffer.
pub const LEN: usize = 2048;
/// Elements in front of and behind them that nobody may touch.
pub const GUARD: usize = 64;

/// Random accesses end below this element; every value in scope is stored behind it at the end.
const SINK: i64 = 160;

/// Parameters of random micro-kernels: five pointers and an integer.
pub struct Params {
    x: Param,
    packed: (Param, Elem),
    k: Param,
    y: Param,
    z: (Param, Elem),
    n: Var,
}

pub struct Random {
    rng: Stream,
    params: Params,
    lanes: u32,
    /// Values in scope.
    pool: Vec<Val>,
    vars: Vec<Var>,
}

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.rng.below(bound)
    }

    fn choose<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    /// Stays below `SINK`: loops run at most five iterations and are nested at most twice.
    fn index(&mut self) -> Index {
        let mut index = Index::from(i64::from(self.below(40)));
        for var in self.vars.clone() {
            if self.below(2) == 0 {
                index = index.plus(var, i64::from(self.below(9)));
            }
        }
        index
    }

    /// A value of this type, an old one or a constant.
    fn any(&mut self, b: &mut MicroKernelBuilder, ty: Ty) -> Val {
        let fitting: Vec<Val> = self.pool.iter().copied().filter(|&v| b.ty(v) == ty).collect();
        if !fitting.is_empty() && self.below(8) > 0 {
            return self.choose(&fitting);
        }
        match ty.elem {
            Elem::F32 => {
                let value = self.choose(&[0.0, -0.0, 1.5, -2.25, 1e-3, 117.0]);
                b.f32(value, ty.lanes)
            }
            Elem::I32 => {
                let value = self.rng.word() as i32;
                b.i32(value, ty.lanes)
            }
            _ => {
                let (l, r) = (self.any(b, Ty::f32(ty.lanes)), self.any(b, Ty::f32(ty.lanes)));
                b.compare(Compare::Lt, l, r)
            }
        }
    }

    /// Finite and moderate; a NaN becomes a number. Bits of NaNs are not part of the meaning of the IR.
    fn tame(&mut self, b: &mut MicroKernelBuilder, value: Val) -> Val {
        let lanes = b.ty(value).lanes;
        let (low, high) = (b.f32(-1e4, lanes), b.f32(1e4, lanes));
        let value = b.max(value, low);
        b.min(value, high)
    }

    fn step(&mut self, b: &mut MicroKernelBuilder) {
        let lanes = if self.below(4) == 0 { 1 } else { self.lanes };
        let (f, i) = (Ty::f32(lanes), Ty::i32(lanes));
        let value = match self.below(21) {
            0 | 1 => self.load(b, lanes),
            2 => {
                let from = self.choose(&[self.params.x, self.params.packed.0, self.params.k]);
                let index = self.index();
                b.broadcast(from, index, lanes)
            }
            3 => {
                let from = Address { base: self.params.packed.0, index: self.index() };
                let broadcast = self.below(2) == 0;
                b.op(if broadcast { Op::BroadcastPacked { from, lanes } } else { Op::LoadPacked { from, lanes } })
            }
            4 => {
                let index = self.index();
                let iota = self.below(2) == 0;
                b.op(if iota { Op::Iota { lanes } } else { Op::IndexI32 { index, lanes } })
            }
            5 => {
                let ty = self.choose(&[Ty::f32(1), Ty::i32(1)]);
                let scalar = self.any(b, ty);
                b.splat(scalar, lanes)
            }
            6 | 7 => {
                let op =
                    self.choose(&[Unary::Neg, Unary::Abs, Unary::Round, Unary::Floor, Unary::ToInt, Unary::ToByte]);
                let value = self.any(b, f);
                b.unary(op, value)
            }
            8 => {
                let value = self.any(b, f);
                let value = b.unary(Unary::Abs, value);
                b.unary(Unary::Sqrt, value)
            }
            9 => {
                let value = self.any(b, f);
                let value = self.tame(b, value);
                b.unary(Unary::AsInt, value)
            }
            10 => {
                let value = self.any(b, i);
                let float = b.unary(self.choose(&[Unary::ToFloat, Unary::AsFloat]), value);
                self.tame(b, float)
            }
            11 | 12 => {
                let op = self.choose(&[Binary::Add, Binary::Sub, Binary::Mul, Binary::Max, Binary::Min, Binary::Div]);
                let (l, r) = (self.any(b, f), self.any(b, f));
                let value = b.binary(op, l, r);
                self.tame(b, value)
            }
            13 => {
                use Binary::*;
                let op =
                    self.choose(&[Add, Sub, Mul, Max, Min, MulHighU, And, Or, Xor, MulBytes, AddHalves, SumHalves]);
                let (l, r) = (self.any(b, i), self.any(b, i));
                b.binary(op, l, r)
            }
            14 => self.shift(b, i),
            15 => {
                let (x, y, c) = (self.any(b, f), self.any(b, f), self.any(b, f));
                let value = b.fma(x, y, c);
                self.tame(b, value)
            }
            16 => {
                use Compare::*;
                let op = self.choose(&[Eq, Ne, Lt, Le, Gt, Ge]);
                let ty = self.choose(&[f, i]);
                let (l, r) = (self.any(b, ty), self.any(b, ty));
                b.compare(op, l, r)
            }
            17 => {
                let ty = self.choose(&[f, i]);
                let (m, t, e) = (self.any(b, Ty::mask(lanes)), self.any(b, ty), self.any(b, ty));
                b.select(m, t, e)
            }
            18 => {
                let ty = self.choose(&[f, i]);
                let ops = [Binary::Add, Binary::Mul, Binary::Max, Binary::Min, Binary::And, Binary::Or, Binary::Xor];
                let op = self.choose(if ty == f { &ops[..4] } else { &ops });
                let value = self.any(b, ty);
                let value = b.reduce(op, value);
                if ty == f { self.tame(b, value) } else { value }
            }
            19 if self.lanes >= 4 => {
                let ty = self.choose(&[Ty::f32(self.lanes), Ty::i32(self.lanes)]);
                let (left, right, high) = (self.any(b, ty), self.any(b, ty), self.below(2) == 0);
                b.zip(left, right, high)
            }
            _ => {
                let whole = self.below(3);
                let (a, c) = (self.any(b, i), self.any(b, i));
                if whole > 0 {
                    let acc = self.any(b, i);
                    b.op(if whole == 1 { Op::Dot4U8I8 { acc, a, b: c } } else { Op::Dot2I16 { acc, a, b: c } })
                } else {
                    // Any bits are a pair of numbers: keep them moderate by masking the exponents' top bits.
                    let mask = b.i32(0xbfff_bfffu32 as i32, lanes);
                    let (a, c) = (b.binary(Binary::And, a, mask), b.binary(Binary::And, c, mask));
                    let acc = self.any(b, f);
                    let value = b.op(Op::Dot2Bf16 { acc, a, b: c });
                    self.tame(b, value)
                }
            }
        };
        self.pool.push(value);
    }

    fn load(&mut self, b: &mut MicroKernelBuilder, lanes: u32) -> Val {
        let from = self.choose(&[self.params.x, self.params.packed.0, self.params.k]);
        let (index, count) = (self.index(), 1 + self.below(lanes));
        if self.below(3) == 0 { b.load_partial(from, index, lanes, count) } else { b.load(from, index, lanes) }
    }

    fn shift(&mut self, b: &mut MicroKernelBuilder, ty: Ty) -> Val {
        let op = self.choose(&[Binary::Shl, Binary::ShrU, Binary::ShrS]);
        let value = self.any(b, ty);
        let amount = if self.below(2) == 0 {
            let amount = self.below(32) as i32;
            b.i32(amount, ty.lanes)
        } else {
            let (amount, mask) = (self.any(b, ty), b.i32(31, ty.lanes));
            b.binary(Binary::And, amount, mask)
        };
        b.binary(op, value, amount)
    }

    fn store(&mut self, b: &mut MicroKernelBuilder) {
        let lanes = if self.below(4) == 0 { 1 } else { self.lanes };
        let (to, elem) = self.choose(&[(self.params.y, Elem::F32), self.params.z]);
        let ty = if matches!(elem, Elem::F32 | Elem::Bf16) { Ty::f32(lanes) } else { Ty::i32(lanes) };
        let mut value = self.any(b, ty);
        if elem == Elem::Bf16 {
            value = self.tame(b, value);
        }
        let (index, count) = (self.index(), 1 + self.below(lanes));
        if self.below(3) == 0 { b.store_partial(to, index, value, count) } else { b.store(to, index, value) }
    }

    /// Stores all values in scope, in a form that keeps every bit.
    fn sink(&mut self, b: &mut MicroKernelBuilder) {
        let mut at = SINK;
        for value in self.pool.clone() {
            let Ty { elem, lanes } = b.ty(value);
            let parts = match elem {
                Elem::F32 => vec![value],
                Elem::I32 if self.params.z.1 == Elem::I32 => {
                    b.store(self.params.z.0, at, value);
                    vec![]
                }
                Elem::I32 => {
                    let (mask, sixteen) = (b.i32(0xffff, lanes), b.i32(16, lanes));
                    let (low, high) = (b.binary(Binary::And, value, mask), b.binary(Binary::ShrU, value, sixteen));
                    vec![b.unary(Unary::ToFloat, low), b.unary(Unary::ToFloat, high)]
                }
                _ => {
                    let (one, zero) = (b.f32(1.0, lanes), b.f32(0.0, lanes));
                    vec![b.select(value, one, zero)]
                }
            };
            for part in parts {
                b.store(self.params.y, at, part);
                at += i64::from(lanes);
            }
            at += i64::from(lanes);
        }
        assert!(at <= LEN as i64, "room for all values");
    }

    fn body(&mut self, b: &mut MicroKernelBuilder, depth: u32) {
        for _ in 0..3 + self.below(12) {
            match self.below(9) {
                0 if depth < 2 => self.repeat(b, depth),
                1 | 2 => self.store(b),
                // Outside of the memory too: it must not matter.
                3 => {
                    let far = i64::from(self.below(3)) * 1_000_000 - 1_000_000;
                    let at = self.index().offset(far);
                    b.prefetch(self.params.y, at);
                }
                _ => self.step(b),
            }
        }
    }

    fn repeat(&mut self, b: &mut MicroKernelBuilder, depth: u32) {
        let count = match self.below(4) {
            0 => Index::from(self.params.n),
            1 if depth == 1 => Index::from(i64::from(self.below(3))).plus(*self.vars.last().expect("inside a loop"), 1),
            _ => Index::from(i64::from(self.below(6))),
        };
        // A count that depends on the outer counter stays below six with the offsets above.
        let mut init = Vec::new();
        for _ in 0..self.below(4) {
            let ty = self.choose(&[Ty::f32(self.lanes), Ty::i32(self.lanes), Ty::f32(1), Ty::i32(1)]);
            init.push(self.any(b, ty));
        }
        let outside = self.pool.len();
        let results = b.repeat("i", count, &init, |b, var, carried| {
            self.vars.push(var);
            self.pool.extend(carried);
            self.body(b, depth + 1);
            let types: Vec<Ty> = carried.iter().map(|&v| b.ty(v)).collect();
            let next = types.into_iter().map(|ty| self.any(b, ty)).collect();
            self.vars.pop();
            next
        });
        self.pool.truncate(outside);
        self.pool.extend(results);
    }
}

/// A random micro-kernel `(x: f32, packed, k: i32, y: f32 out, z out, n)`.
pub fn random_micro_kernel(seed: u64) -> MicroKernel {
    let mut rng = Stream::new(seed, 1, 0);
    let mut b = MicroKernelBuilder::new(format!("random{seed}"));
    let packed = [Elem::Bf16, Elem::I16, Elem::U8, Elem::I8][rng.below(4) as usize];
    let out = [Elem::I32, Elem::Bf16, Elem::I16, Elem::U8, Elem::I8][rng.below(5) as usize];
    let params = Params {
        x: b.pointer("x", Elem::F32, Access::Read),
        packed: (b.pointer("packed", packed, Access::Read), packed),
        k: b.pointer("k", Elem::I32, Access::Read),
        y: b.pointer("y", Elem::F32, Access::ReadWrite),
        z: (b.pointer("z", out, Access::Write), out),
        n: b.int("n"),
    };
    let lanes = [1, 2, 4, 8, 16][rng.below(5) as usize];
    let mut random = Random { rng, params, lanes, pool: Vec::new(), vars: Vec::new() };
    random.body(&mut b, 0);
    random.store(&mut b);
    random.sink(&mut b);
    b.finish()
}

/// A micro-kernel `(x: f32, packed, k: i32, y: f32 out, z: i32 out, n)` that does every operation once at this width
/// and stores all results: random micro-kernels alone would leave rare operations in dead code.
pub fn every_operation(lanes: u32) -> MicroKernel {
    use Binary::*;
    let mut b = MicroKernelBuilder::new(format!("every{lanes}"));
    let x = b.pointer("x", Elem::F32, Access::Read);
    b.pointer("packed", Elem::U8, Access::Read);
    let k = b.pointer("k", Elem::I32, Access::Read);
    let y = b.pointer("y", Elem::F32, Access::ReadWrite);
    let z = b.pointer("z", Elem::I32, Access::Write);
    let n = b.int("n");
    let (f, g, h) = (b.load(x, 0usize, lanes), b.load(x, 16usize, lanes), b.load(x, 32usize, lanes));
    let (i, j) = (b.load(k, 0usize, lanes), b.load(k, 16usize, lanes));
    let mut out = Vec::new();
    for op in
        [Unary::Neg, Unary::Abs, Unary::Sqrt, Unary::Round, Unary::Floor, Unary::ToInt, Unary::ToByte, Unary::AsInt]
    {
        out.push(b.unary(op, f));
    }
    out.extend([b.unary(Unary::ToFloat, i), b.unary(Unary::AsFloat, i)]);
    for op in [Add, Sub, Mul, Max, Min, Div] {
        out.extend([b.binary(op, f, g), b.binary(op, g, f)]);
    }
    for op in [Add, Sub, Mul, Max, Min, MulHighU, And, Or, Xor, MulBytes, AddHalves, SumHalves] {
        out.extend([b.binary(op, i, j), b.binary(op, j, i)]);
    }
    let mask = b.i32(31, lanes);
    let amounts = b.binary(And, j, mask);
    let same = b.op(Op::IndexI32 { index: Index::from(7i64).plus(n, 1), lanes });
    for op in [Shl, ShrU, ShrS] {
        let thirteen = b.i32(13, lanes);
        out.extend([b.binary(op, i, amounts), b.binary(op, i, thirteen), b.binary(op, i, same)]);
    }
    let iota = b.op(Op::Iota { lanes });
    out.extend([b.fma(f, g, h), b.fma(g, g, f), same, iota]);
    for op in [Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le, Compare::Gt, Compare::Ge] {
        for (l, r) in [(f, g), (f, f), (i, j), (i, i)] {
            let mask = b.compare(op, l, r);
            out.extend([b.select(mask, i, j), b.select(mask, f, g)]);
        }
    }
    if lanes >= 4 {
        out.extend([false, true].map(|high| b.zip(f, g, high)));
        out.extend([false, true].map(|high| b.zip(j, i, high)));
    }
    if lanes > 1 {
        out.extend([Add, Mul, Max, Min].map(|op| b.reduce(op, f)));
        out.extend([Add, Mul, Max, Min, And, Or, Xor].map(|op| b.reduce(op, i)));
        let (scalar, index) = (b.load(x, 5usize, 1), b.load(k, 5usize, 1));
        out.extend([b.splat(scalar, lanes), b.splat(index, lanes)]);
    }
    // Pairs of floats of moderate size.
    let moderate = b.i32(0xbfff_bfffu32 as i32, lanes);
    let (c, d) = (b.binary(And, i, moderate), b.binary(And, j, moderate));
    out.push(b.op(Op::Dot2Bf16 { acc: h, a: c, b: d }));
    out.push(b.op(Op::Dot4U8I8 { acc: i, a: i, b: j }));
    out.push(b.op(Op::Dot2I16 { acc: j, a: i, b: j }));
    let mut at = 0i64;
    for value in out {
        b.store(if b.ty(value).elem == Elem::F32 { y } else { z }, at, value);
        at += i64::from(lanes);
    }
    b.finish()
}

/// A micro-kernel with the same parameters that loads and stores `elem` in every way, whole and in part, at this width.
pub fn every_access(elem: Elem, lanes: u32) -> MicroKernel {
    let mut b = MicroKernelBuilder::new(format!("access {elem} {lanes}"));
    b.pointer("x", Elem::F32, Access::Read);
    let from = b.pointer("from", elem, Access::Read);
    let to = b.pointer("to", elem, Access::Write);
    let wide = if matches!(elem, Elem::F32 | Elem::Bf16) { Elem::F32 } else { Elem::I32 };
    let widened = b.pointer("widened", wide, Access::Write);
    let packed = b.pointer("packed", Elem::I32, Access::Write);
    let n = b.int("n");
    let mut at = 0i64;
    for count in 1..=lanes {
        let value = b.load_partial(from, Index::from(at).plus(n, 1), lanes, count);
        b.store(widened, at, value);
        let value = b.load(from, at + 3, lanes);
        b.store_partial(to, Index::from(at).plus(n, 3), value, count);
        at += i64::from(lanes) + 1;
    }
    let value = b.broadcast(from, Index::from(n), lanes);
    b.store(widened, at, value);
    if matches!(elem, Elem::Bf16 | Elem::I16 | Elem::U8 | Elem::I8) {
        let from = Address { base: from, index: Index::from(2i64).plus(n, 1) };
        let value = b.op(Op::LoadPacked { from: from.clone(), lanes });
        b.store(packed, 0i64, value);
        let value = b.op(Op::BroadcastPacked { from, lanes });
        b.store(packed, 16i64, value);
    }
    b.finish()
}

/// A module of one kernel that calls the micro-kernel once, with `n`, on memory behind guards.
pub fn module_of(micro_kernel: MicroKernel, n: i64) -> Module {
    let mut k = KernelBuilder::new("call");
    let mut args = Vec::new();
    for param in micro_kernel.params.values() {
        args.push(match param {
            MicroKernelParam::Pointer { name, elem, access } => k.buffer(name, *elem, *access).at(GUARD),
            MicroKernelParam::Int { .. } => Arg::Int(n.into()),
        });
    }
    k.parallel("round", 1, |k, _| k.call(MicroKernelId::from_u32(0), args));
    Module { micro_kernels: [micro_kernel].into_iter().collect(), kernels: [k.finish()].into_iter().collect() }
}

/// Contents of the buffers of such a kernel, guards included.
pub fn random_blocks(module: &Module, seed: u64) -> Vec<Vec<u8>> {
    let mut rng = Stream::new(seed, 2, 0);
    let mut blocks = Vec::new();
    for buffer in module.kernels[KernelId::from_u32(0)].buffers.values() {
        let mut block = Vec::new();
        for _ in 0..LEN + 2 * GUARD {
            match buffer.elem {
                Elem::F32 => {
                    let special = [f32::NAN, -0.0, f32::INFINITY, 1e-40];
                    let value = match rng.below(40) {
                        i if i < 4 => special[i as usize],
                        _ => rng.unit() * 8.0 - 4.0,
                    };
                    block.extend(value.to_le_bytes());
                }
                Elem::Bf16 => block.extend(&((rng.unit() * 8.0 - 4.0).to_bits() >> 16).to_le_bytes()[..2]),
                elem => block.extend(&rng.word().to_le_bytes()[..elem.bytes()]),
            }
        }
        blocks.push(block);
    }
    blocks
}

/// A random kernel of one buffer of integers: loops, branches and index expressions of all kinds, whose values it mixes
/// into 64 elements of each iteration's own, some of them by way of scratch memory. For a batch of 3.
pub fn random_kernel(seed: u64) -> Module {
    let mut module = Module::default();
    let mix = module.micro_kernel("mix", |b| {
        let out = b.pointer("out", Elem::I32, Access::ReadWrite);
        let value = b.int("value");
        let old = b.load(out, 0usize, 1);
        let factor = b.i32(31, 1);
        let product = b.mul(old, factor);
        let new = b.op(Op::IndexI32 { index: value.into(), lanes: 1 });
        let sum = b.add(product, new);
        b.store(out, 0usize, sum);
    });
    let set = module.micro_kernel("set", |b| {
        let out = b.pointer("out", Elem::I32, Access::Write);
        let zero = b.i32(0, 16);
        b.store(out, 0usize, zero);
    });
    let add = module.micro_kernel("add", |b| {
        let (from, to) = (b.pointer("from", Elem::I32, Access::Read), b.pointer("to", Elem::I32, Access::ReadWrite));
        let (l, r) = (b.load(from, 0usize, 16), b.load(to, 0usize, 16));
        let sum = b.add(l, r);
        b.store(to, 0usize, sum);
    });
    let mut rng = Stream::new(seed, 3, 0);
    let mut k = KernelBuilder::new("random");
    let out = k.buffer("out", Elem::I32, Access::ReadWrite);
    let (_, scratch) = (k.scratch("pad", Elem::U8, 5), k.scratch("sums", Elem::I32, 16));
    k.parallel("round", Expr::BATCH * 2, |k, round| {
        k.call(set, [scratch.at(0)]);
        let mut nest = Nest { rng: &mut rng, mix, out, scratch, vars: vec![Expr::BATCH, Expr::TOTAL, round.clone()] };
        nest.body(k, &(round.clone() * 64), 0);
        k.call(add, [scratch.at(0), out.at(round * 64)]);
    });
    module.kernels.push(k.finish());
    module
}

struct Nest<'a> {
    rng: &'a mut Stream,
    mix: MicroKernelId,
    out: Memory,
    scratch: Memory,
    vars: Vec<Expr>,
}

impl Nest<'_> {
    fn expr(&mut self, depth: u32) -> Expr {
        use ExprOp::*;
        match self.rng.below(if depth > 3 { 2 } else { 6 }) {
            0 => Expr::Const(i64::from(self.rng.below(41)) - 20),
            1 => self.vars[self.rng.below(self.vars.len() as u32) as usize].clone(),
            _ => {
                let op = [Add, Sub, Mul, Div, Rem, Min, Max, Lt, Eq][self.rng.below(9) as usize];
                let left = self.expr(depth + 1);
                let divisor = Expr::Const(i64::from(self.rng.below(9)) + 1);
                let right = if matches!(op, Div | Rem) { divisor } else { self.expr(depth + 1) };
                // Without folding, so that all of it reaches the back end.
                Expr::Binary(op, Box::new(left), Box::new(right))
            }
        }
    }

    fn body(&mut self, k: &mut KernelBuilder, own: &Expr, depth: u32) {
        for _ in 0..2 + self.rng.below(3) {
            match self.rng.below(4) {
                0 if depth < 3 => {
                    let (begin, end) = (self.expr(2).rem(4) - 2, self.expr(2).rem(5));
                    k.range("i", LoopKind::Serial, begin, end, |k, i| {
                        self.vars.push(i);
                        self.body(k, own, depth + 1);
                        self.vars.pop();
                    });
                }
                1 if depth < 3 => {
                    let condition = self.expr(1);
                    k.when(condition, |k| self.body(k, own, depth + 1));
                }
                choice => {
                    let (at, value) = (self.expr(0), self.expr(0));
                    let place = if choice == 2 { self.scratch.at(at.rem(16)) } else { self.out.at(own + at.rem(64)) };
                    k.call(self.mix, [place, Arg::Int(value)]);
                }
            }
        }
    }
}
