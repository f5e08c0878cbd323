//! Random valid micro-kernels: nested loops, carried values, partial accesses, every operation.

use super::support::Arg;
use ninc::back::x86::Isa;
use ninc::kernel::build::MicroKernelBuilder;
use ninc::kernel::ir::*;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// Bytes for memory of this type: small numbers, exact and inexact ones, now and then a special one.
pub fn bytes(elem: Elem, count: usize, random: &mut Random) -> Vec<u8> {
    let mut out = vec![];
    for _ in 0..count {
        let special = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0, -1.0, 3e38];
        let float = match random.below(24) {
            0 => random.pick(&special),
            1..12 => random.below(64) as f32 / 8.0 - 4.0,
            _ => (random.next() as i32) as f32 / 3e8,
        };
        match elem {
            Elem::Bf16 => out.extend_from_slice(&float.to_le_bytes()[2..]),
            Elem::I32 => out.extend_from_slice(&(random.next() as u32 >> random.below(32)).to_le_bytes()),
            Elem::I16 => out.extend_from_slice(&(random.next() as u16).to_le_bytes()),
            Elem::U8 | Elem::I8 => out.push(random.next() as u8),
            _ => out.extend_from_slice(&float.to_le_bytes()),
        }
    }
    out
}

/// Elements in every buffer; pointers point to the middle.
const SIZE: usize = 6000;
const ORIGIN: usize = SIZE / 2;

struct Generator<'a> {
    b: MicroKernelBuilder,
    random: &'a mut Random,
    widest: u32,
    inputs: Vec<(Param, Elem)>,
    outputs: Vec<(Param, Elem)>,
    /// Counters and integers in scope.
    vars: Vec<Var>,
    /// Values in scope.
    values: Vec<Val>,
    /// Instructions that may still be written.
    budget: usize,
}

/// A micro-kernel and arguments for it. Vectors beyond the instruction set are avoided.
pub fn micro_kernel(random: &mut Random, isa: Isa, budget: usize) -> (MicroKernel, Vec<Arg>) {
    let mut b = MicroKernelBuilder::new("random");
    let (mut inputs, mut outputs, mut vars, mut args) = (vec![], vec![], vec![], vec![]);
    let kinds = [Elem::F32, Elem::I32, Elem::Bf16, Elem::I16, Elem::U8, Elem::I8];
    for i in 0..4 {
        let elem = if i < 2 { random.pick(&kinds[..3]) } else { random.pick(&kinds) };
        let write = i == 1 || i == 3;
        let access = if !write { Access::Read } else { random.pick(&[Access::Write, Access::ReadWrite]) };
        let param = b.pointer(["p", "q", "r", "s"][i], elem, access);
        if access != Access::Write {
            inputs.push((param, elem));
        }
        if write {
            outputs.push((param, elem));
        }
        args.push(Arg::Memory { bytes: bytes(elem, SIZE, random), origin: ORIGIN * elem.bytes() });
    }
    for name in ["n", "m"].into_iter().take(random.below(3)) {
        vars.push(b.int(name));
        args.push(Arg::Int(random.below(6) as i64 - 1));
    }
    let widest = if isa == Isa::Avx2 { 8 } else { 16 };
    let mut g = Generator { b, random, widest, inputs, outputs, vars, values: vec![], budget };
    g.block(0);
    // Something must be seen.
    g.store();
    (g.b.finish(), args)
}

impl Generator<'_> {
    fn lanes(&mut self) -> u32 {
        let all = [1, 2, 4, 8, 8, 16, 16];
        loop {
            let lanes = self.random.pick(&all);
            if lanes <= self.widest {
                return lanes;
            }
        }
    }

    fn index(&mut self) -> Index {
        let mut index = Index::from(self.random.below(60) as i64 - 30);
        for var in self.vars.clone() {
            if self.random.below(2) == 0 {
                index = index.plus(var, self.random.pick(&[1, 2, 3, 4, 8, 16, 17, 32, -1, -5, -16]));
            }
        }
        index
    }

    /// A value of this type: one that exists, or a new one.
    fn operand(&mut self, ty: Ty) -> Val {
        let fitting: Vec<Val> = self.values.iter().copied().filter(|&v| self.b.ty(v) == ty).collect();
        if !fitting.is_empty() && self.random.below(8) > 0 {
            // Recent ones more often: otherwise everything lives long and no micro-kernel fits the registers.
            let from = if self.random.below(3) == 0 { 0 } else { fitting.len().saturating_sub(3) };
            return fitting[from + self.random.below(fitting.len() - from)];
        }
        let lanes = ty.lanes;
        match ty.elem {
            Elem::Mask => {
                let elem = self.random.pick(&[Elem::F32, Elem::I32]);
                let (l, r) = (self.operand(Ty { elem, lanes }), self.operand(Ty { elem, lanes }));
                use Compare::*;
                let op = self.random.pick(&[Eq, Ne, Lt, Le, Gt, Ge]);
                self.b.compare(op, l, r)
            }
            _ if self.random.below(3) == 0 => self.constant(ty),
            elem => self.loaded(elem, lanes).unwrap_or_else(|| self.constant(ty)),
        }
    }

    fn constant(&mut self, ty: Ty) -> Val {
        let lanes = ty.lanes;
        if ty.elem == Elem::F32 {
            let value = self.random.pick(&[0.0, 1.0, -1.5, 0.1, 3.25, 7.0, -0.3, 1e-3]);
            return self.b.f32(value, lanes);
        }
        match self.random.below(6) {
            0 => self.b.op(Op::Iota { lanes }),
            1 => {
                let index = self.index();
                self.b.op(Op::IndexI32 { index, lanes })
            }
            _ => {
                let value = self.random.pick(&[0, 1, -1, 3, 255, 0x1234_5678, i32::MIN]);
                self.b.i32(value, lanes)
            }
        }
    }

    fn loaded(&mut self, elem: Elem, lanes: u32) -> Option<Val> {
        let wide = |e: Elem| if matches!(e, Elem::F32 | Elem::Bf16) { Elem::F32 } else { Elem::I32 };
        let (param, memory) = self.random.pick(&self.inputs);
        let index = self.index();
        if elem == Elem::I32 && !matches!(memory, Elem::F32 | Elem::I32) && self.random.below(3) == 0 {
            let from = Address { base: param, index };
            let op = if self.random.below(2) == 0 {
                Op::LoadPacked { from, lanes }
            } else {
                Op::BroadcastPacked { from, lanes }
            };
            return Some(self.b.op(op));
        }
        if wide(memory) != elem {
            return None;
        }
        Some(match self.random.below(4) {
            0 => self.b.broadcast(param, index, lanes),
            1 if lanes > 1 => {
                let count = 1 + self.random.below(lanes as usize - 1) as u32;
                self.b.load_partial(param, index, lanes, count)
            }
            _ => self.b.load(param, index, lanes),
        })
    }

    /// A float between -1000 and 1000, never a NaN: for conversions whose other results are unspecified.
    fn tame(&mut self, lanes: u32) -> Val {
        let value = self.operand(Ty::f32(lanes));
        let (low, high) = (self.b.f32(-1000.0, lanes), self.b.f32(1000.0, lanes));
        let value = self.b.max(value, low);
        self.b.min(value, high)
    }

    fn operation(&mut self) -> Val {
        let lanes = self.lanes();
        let (float, int) = (Ty::f32(lanes), Ty::i32(lanes));
        use Binary::*;
        match self.random.below(16) {
            0..3 => {
                let (l, r) = (self.operand(float), self.operand(float));
                let op = self.random.pick(&[Add, Sub, Mul, Max, Min, Div]);
                self.b.binary(op, l, r)
            }
            3..6 => {
                let (a, b, c) = (self.operand(float), self.operand(float), self.operand(float));
                self.b.fma(a, b, c)
            }
            6..8 => {
                let (l, r) = (self.operand(int), self.operand(int));
                let op = self
                    .random
                    .pick(&[Add, Sub, Mul, Max, Min, MulHighU, And, Or, Xor, MulBytes, AddHalves, SumHalves]);
                self.b.binary(op, l, r)
            }
            8 => {
                let op = self.random.pick(&[Shl, ShrU, ShrS]);
                let value = self.operand(int);
                let count = if self.random.below(2) == 0 {
                    let by = self.random.below(32) as i32;
                    self.b.i32(by, lanes)
                } else {
                    let (any, bits) = (self.operand(int), self.b.i32(31, lanes));
                    self.b.binary(And, any, bits)
                };
                self.b.binary(op, value, count)
            }
            9 => {
                let op = self.random.pick(&[Unary::Neg, Unary::Abs, Unary::Sqrt, Unary::Round, Unary::Floor]);
                let value = self.operand(float);
                self.b.unary(op, value)
            }
            10 => {
                let op = self.random.pick(&[Unary::ToInt, Unary::ToByte, Unary::AsInt]);
                let value = if op == Unary::ToByte { self.operand(float) } else { self.tame(lanes) };
                self.b.unary(op, value)
            }
            11 => {
                let value = self.operand(int);
                self.b.unary(Unary::ToFloat, value)
            }
            12 => {
                let ty = self.random.pick(&[float, int]);
                let mask = self.operand(Ty::mask(lanes));
                let (then, otherwise) = (self.operand(ty), self.operand(ty));
                self.b.select(mask, then, otherwise)
            }
            13 => {
                let ty = self.random.pick(&[Ty::f32(1), Ty::i32(1)]);
                let value = self.operand(ty);
                self.b.op(Op::Splat { value, lanes })
            }
            14 => {
                let op = self.random.pick(&[Add, Mul, Max, Min]);
                let ty = self.random.pick(&[float, int]);
                let value = self.operand(ty);
                self.b.reduce(op, value)
            }
            _ => {
                let (acc, a, b) = (self.operand(int), self.operand(int), self.operand(int));
                let bytes = self.random.below(2) == 0;
                self.b.op(if bytes { Op::Dot4U8I8 { acc, a, b } } else { Op::Dot2I16 { acc, a, b } })
            }
        }
    }

    fn store(&mut self) {
        let (to, memory) = self.random.pick(&self.outputs.clone());
        let lanes = self.lanes();
        let float = matches!(memory, Elem::F32 | Elem::Bf16);
        let value = self.operand(if float { Ty::f32(lanes) } else { Ty::i32(lanes) });
        let index = self.index();
        if lanes > 1 && self.random.below(3) == 0 {
            let count = 1 + self.random.below(lanes as usize - 1) as u32;
            self.b.store_partial(to, index, value, count);
        } else {
            self.b.store(to, index, value);
        }
    }

    fn block(&mut self, depth: usize) {
        let length = 2 + self.random.below(10);
        for _ in 0..length {
            if self.budget == 0 {
                return;
            }
            self.budget -= 1;
            match self.random.below(10) {
                0..2 if depth < 3 => self.repeat(depth),
                0..4 => self.store(),
                _ => {
                    let value = self.operation();
                    self.values.push(value);
                }
            }
        }
    }

    fn repeat(&mut self, depth: usize) {
        let count = match self.random.below(3) {
            0 if !self.vars.is_empty() => {
                let var = self.random.pick(&self.vars.clone());
                Index::from(self.random.below(3) as i64).plus(var, 1)
            }
            _ => Index::from(self.random.below(5)),
        };
        let carried: Vec<Val> = (0..self.random.below(4))
            .map(|_| {
                let lanes = self.lanes();
                let ty = self.random.pick(&[Ty::f32(lanes), Ty::f32(lanes), Ty::i32(lanes), Ty::mask(lanes)]);
                self.operand(ty)
            })
            .collect();
        let (vars, values) = (self.vars.len(), self.values.len());
        // The builder lends itself to the body: the generator goes along inside of it.
        let mut lent = std::mem::replace(&mut self.b, MicroKernelBuilder::new("lent"));
        let results = lent.repeat("i", count, &carried, |b, var, params| {
            std::mem::swap(&mut self.b, b);
            self.vars.push(var);
            self.values.extend_from_slice(params);
            self.block(depth + 1);
            let next = params
                .iter()
                .map(|&p| {
                    let ty = self.b.ty(p);
                    self.operand(ty)
                })
                .collect();
            std::mem::swap(&mut self.b, b);
            next
        });
        self.b = lent;
        self.vars.truncate(vars);
        self.values.truncate(values);
        self.values.extend(results);
    }
}
