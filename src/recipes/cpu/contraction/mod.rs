//! The one contraction: `C[m, n] (+)= Σ_i Σ_j Σ_k A[m, i, j, k] · B[i, j, k, n]`, then an epilogue, as a micro-kernel.
//!
//! A tile of `rows` x `columns` results stays in registers over all three sums. Convolution (forward and both
//! gradients), 1x1 and fully connected layers are loops of kernels around it. All strides are constants of the
//! micro-kernel, so that an address is a pointer plus a constant; what changes from call to call (borders, batch) is
//! a loop count.

mod ahead;
mod panels;

pub use panels::{Matrix, panels, transposed_panels};

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Address, Binary, Compare, Elem, Index, Op, Param, Val, Var};
use crate::lower::MicroKernelSpec;
use crate::lower::tile::Tile;
use crate::recipes::common::Epilogue;
use crate::recipes::common::names::elem_letters;
use std::fmt::{self, Display};

/// Floats of a cache line.
const LINE: usize = 16;

/// Number of iterations of one of the three sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Count {
    /// A constant.
    Fixed(usize),
    /// An `Int` parameter of the micro-kernel; for the innermost sum two of them: iterations of
    /// [`Contraction::unroll`], then the rest.
    Given,
}

/// Where the accumulators start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Init {
    /// Sums start at 0.
    Zero,
    /// A vector `[n]` behind the pointer parameter `bias`.
    Bias,
    /// The results so far: the sums are added to C.
    Load,
    /// Zero, and the sums are added to C at the end: the terms of a block meet each other before they meet the large
    /// sum of all, which loses fewer digits.
    Add,
}

/// One micro-kernel. Strides count elements. Parameters: `a, b, c, [bias]`, then the given counts in the order i, j,
/// k (k: iterations of [`Contraction::unroll`] terms, then the rest).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contraction {
    /// Types of A, B and C: float32, or bf16, which is read as float32 and rounded when stored. B of I32 holds pairs of
    /// bf16, rows 2k and 2k + 1 of a column; A is bf16 then.
    pub elems: [Elem; 3],
    /// Lanes of a vector.
    pub lanes: u32,
    /// Rows of results (m).
    pub rows: usize,
    /// Columns of results (n); the last vector may be partly used.
    pub columns: usize,
    /// Number of terms of the sums over i, j and k.
    pub counts: [Count; 3],
    /// Strides of A for i, j, k.
    pub a: [i64; 3],
    /// Stride of A for m.
    pub a_row: i64,
    /// Whether A has columns too (`A[m, i, j, k, n]`, stride 1): the product of a depthwise convolution.
    pub a_columns: bool,
    /// Strides of B for i, j, k; its columns are consecutive.
    pub b: [i64; 3],
    /// Whether B's rows are padded to whole vectors, so that full loads stay inside.
    pub b_padded: bool,
    /// Rows of B that an iteration of the innermost loop prefetches, from a last pointer parameter on: a part of what
    /// the next product reads. Other products of this B prefetch the rest. 0: nothing is.
    pub next: usize,
    /// Elements from an element of A to what the next product reads there, one prefetch a term; 0: nothing is.
    pub a_ahead: i64,
    /// Stride of C for m.
    pub c_row: i64,
    /// Stride of C from vector to vector: `lanes` where its columns are consecutive.
    pub c_vector: i64,
    /// Where the accumulators start.
    pub init: Init,
    /// What happens to sums before they are stored.
    pub epilogue: Epilogue,
}

impl Contraction {
    /// Terms of the innermost sum that one iteration of its loop adds. Long bodies hide the moves that Cranelift
    /// makes at loop edges (128 bits); wide vectors do as well with less code.
    pub fn unroll(&self) -> usize {
        let most = if self.lanes <= 4 { 8 } else { 4 };
        if self.counts[2] == Count::Given {
            return most;
        }
        (most / 2 + 1..=most).rev().find(|u| self.steps().is_multiple_of(*u)).unwrap_or(most)
    }

    fn pairs(&self) -> bool {
        self.elems[1] == Elem::I32
    }

    /// Returns the terms, or whole pairs of terms, of an innermost sum of fixed length.
    fn steps(&self) -> usize {
        match self.counts[2] {
            Count::Fixed(k) if self.pairs() => k / 2,
            Count::Fixed(k) => k,
            Count::Given => 0,
        }
    }

    fn vectors(&self) -> usize {
        self.columns.div_ceil(self.lanes as usize)
    }

    fn name(&self) -> String {
        let count = |c: Count| match c {
            Count::Fixed(n) => n.to_string(),
            Count::Given => "n".into(),
        };
        let list = |v: &[i64]| v.iter().map(|s| s.to_string().replace('-', "m")).collect::<Vec<_>>().join("_");
        let mut name = format!("contract_{}x{}v{}", self.rows, self.columns, self.lanes);
        name += &format!("_k{}", self.counts.map(count).join("_"));
        name += &format!("_a{}_{}", self.a_row, list(&self.a)).replace('-', "m");
        name += &format!("_b{}_c{}", list(&self.b), self.c_row);
        if self.c_vector != i64::from(self.lanes) {
            name += &format!("_cv{}", self.c_vector);
        }
        name += if self.a_columns { "_depth" } else { "" };
        name += if self.b_padded { "_pad" } else { "" };
        if self.next != 0 {
            name += &format!("_next{}", self.next);
        }
        if self.a_ahead != 0 {
            name += &format!("_aahead{}", self.a_ahead);
        }
        name += match self.init {
            Init::Zero => "",
            Init::Bias => "_bias",
            Init::Load => "_add",
            Init::Add => "_block",
        };
        name += &self.epilogue.name();
        name + &elem_letters("_", &self.elems)
    }

    fn write(&self, b: &mut MicroKernelBuilder, masked: bool) {
        let access = if matches!(self.init, Init::Load | Init::Add) { Access::ReadWrite } else { Access::Write };
        let pa = b.pointer("a", self.elems[0], Access::Read);
        let pb = b.pointer("b", self.elems[1], Access::Read);
        let pc = b.pointer("c", self.elems[2], access);
        let bias = (self.init == Init::Bias).then(|| b.pointer("bias", Elem::F32, Access::Read));
        let mut given = Vec::new();
        for (name, count) in ["i", "j"].into_iter().zip(self.counts) {
            given.push((count == Count::Given).then(|| b.int(&format!("{name}s"))));
        }
        let inner = (self.counts[2] == Count::Given).then(|| (b.int("ks"), b.int("k_rest")));
        let mask = masked.then(|| b.pointer("y", Elem::F32, Access::Read));
        let next = (self.next > 0).then(|| b.pointer("next", Elem::F32, Access::Read));
        let nest = Nest { spec: self, a: pa, b: pb, next, outer: [given[0], given[1]], inner };
        if self.init == Init::Add {
            self.foresee(b, pc);
        }
        mask.into_iter().for_each(|y| self.foresee(b, y));
        let acc = self.start(b, pc, bias);
        let acc = nest.sum(b, 0, Index::default(), Index::default(), acc);
        self.end(b, pc, mask, acc);
    }

    /// Returns the columns of vector `v` that exist.
    fn width(&self, v: usize) -> u32 {
        (self.columns - v * self.lanes as usize).min(self.lanes as usize) as u32
    }

    fn column(&self, v: usize) -> i64 {
        (v * self.lanes as usize) as i64
    }

    fn start(&self, b: &mut MicroKernelBuilder, c: Param, bias: Option<Param>) -> Vec<Val> {
        let lanes = self.lanes;
        let first: Vec<Val> = match (self.init, bias) {
            (Init::Bias, Some(bias)) => {
                (0..self.vectors()).map(|v| b.load_partial(bias, self.column(v), lanes, self.width(v))).collect()
            }
            (Init::Load, _) => vec![],
            _ => vec![b.f32(0.0, lanes); self.vectors()],
        };
        let mut acc = Vec::with_capacity(self.rows * self.vectors());
        for m in 0..self.rows {
            for v in 0..self.vectors() {
                acc.push(match first.get(v) {
                    Some(&value) => value,
                    None => b.load_partial(c, m as i64 * self.c_row + v as i64 * self.c_vector, lanes, self.width(v)),
                });
            }
        }
        acc
    }

    fn end(&self, b: &mut MicroKernelBuilder, c: Param, mask: Option<Param>, acc: Vec<Val>) {
        for (i, value) in acc.into_iter().enumerate() {
            let (m, v) = (i / self.vectors(), i % self.vectors());
            let mut value = self.epilogue.stored_as(self.elems[2]).apply(b, value);
            let place = m as i64 * self.c_row + v as i64 * self.c_vector;
            if self.init == Init::Add {
                let sum = b.load_partial(c, place, self.lanes, self.width(v));
                value = b.add(sum, value);
            }
            if let Some(mask) = mask {
                let y = b.load_partial(mask, place, self.lanes, self.width(v));
                let zero = b.f32(0.0, self.lanes);
                let positive = b.compare(Compare::Gt, y, zero);
                value = b.select(positive, value, zero);
            }
            b.store_partial(c, place, value, self.width(v));
        }
    }
}

impl Display for Contraction {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl MicroKernelSpec for Contraction {
    fn build(&self, b: &mut MicroKernelBuilder) {
        self.write(b, false);
    }

    fn tile(&self) -> Option<Tile> {
        Some(Tile { rows: self.rows, vectors: self.vectors(), lanes: self.lanes })
    }
}

/// A contraction with a last pointer parameter `y`, laid out as C: results are 0 where it is not above 0. It is the
/// gradient of a ReLU whose result is `y`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Masked(pub Contraction);

impl Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}_mask", self.0)
    }
}

impl MicroKernelSpec for Masked {
    fn build(&self, b: &mut MicroKernelBuilder) {
        self.0.write(b, true);
    }

    fn tile(&self) -> Option<Tile> {
        self.0.tile()
    }
}

/// The three sums around the tile.
struct Nest<'a> {
    spec: &'a Contraction,
    a: Param,
    b: Param,
    next: Option<Param>,
    outer: [Option<Var>; 2],
    inner: Option<(Var, Var)>,
}

impl Nest<'_> {
    fn sum(&self, b: &mut MicroKernelBuilder, level: usize, a: Index, at: Index, acc: Vec<Val>) -> Vec<Val> {
        if level == 2 {
            return self.innermost(b, a, at, acc);
        }
        let count = match (self.spec.counts[level], self.outer[level]) {
            (Count::Fixed(0), _) => return acc,
            (Count::Fixed(1), _) => return self.sum(b, level + 1, a, at, acc),
            (Count::Fixed(n), _) => Index::from(n),
            (Count::Given, var) => Index::from(var.expect("a parameter for each given count")),
        };
        b.repeat(["i", "j"][level], count, &acc, |b, var, acc| {
            let a = a.plus(var, self.spec.a[level]);
            let at = at.plus(var, self.spec.b[level]);
            self.sum(b, level + 1, a, at, acc.to_vec())
        })
    }

    fn innermost(&self, b: &mut MicroKernelBuilder, a: Index, at: Index, acc: Vec<Val>) -> Vec<Val> {
        let (unroll, [sa, sb]) = (self.spec.unroll(), self.strides());
        if let Some((iterations, rest)) = self.inner {
            let acc = self.unrolled(b, iterations.into(), unroll, a.clone(), at.clone(), acc);
            let a = a.plus(iterations, unroll as i64 * sa);
            let at = at.plus(iterations, unroll as i64 * sb);
            return self.unrolled(b, rest.into(), 1, a, at, acc);
        }
        let steps = self.spec.steps();
        let looped = if steps <= (2 * unroll).max(16) { 0 } else { steps / unroll };
        let mut acc = acc;
        if looped > 0 {
            acc = self.unrolled(b, looped.into(), unroll, a.clone(), at.clone(), acc);
        }
        for k in looped * unroll..steps {
            acc = self.step(b, a.clone().offset(k as i64 * sa), at.clone().offset(k as i64 * sb), acc);
        }
        if self.spec.pairs() && self.spec.counts[2] == Count::Fixed(2 * steps + 1) {
            acc = self.pair(b, a.offset(steps as i64 * sa), at.offset(steps as i64 * sb), acc, true);
        }
        acc
    }

    fn unrolled(
        &self,
        b: &mut MicroKernelBuilder,
        iterations: Index,
        unroll: usize,
        a: Index,
        at: Index,
        acc: Vec<Val>,
    ) -> Vec<Val> {
        let [sa, sb] = self.strides();
        b.repeat("k", iterations, &acc, |b, var, acc| {
            if let Some(next) = self.next {
                let len = self.spec.next * self.spec.b[2] as usize;
                for line in (0..len).step_by(LINE) {
                    b.prefetch(next, Index::default().plus(var, len as i64).offset(line as i64));
                }
            }
            let a = a.plus(var, unroll as i64 * sa);
            let at = at.plus(var, unroll as i64 * sb);
            (0..unroll as i64)
                .fold(acc.to_vec(), |acc, u| self.step(b, a.clone().offset(u * sa), at.clone().offset(u * sb), acc))
        })
    }

    /// Strides of A and B from step to step of the innermost sum.
    fn strides(&self) -> [i64; 2] {
        let pace = if self.spec.pairs() { 2 } else { 1 };
        [pace * self.spec.a[2], self.spec.b[2]]
    }

    /// Accumulates two terms: rows 2k and 2k + 1 of B (interleaved) times a[2k] and a[2k + 1]; after an odd number of
    /// terms a[2k + 1] does not exist, and B has zeros there.
    fn pair(&self, b: &mut MicroKernelBuilder, a: Index, at: Index, mut acc: Vec<Val>, last: bool) -> Vec<Val> {
        let (spec, lanes) = (self.spec, self.spec.lanes);
        let vectors = spec.vectors();
        let row: Vec<Val> = (0..vectors).map(|v| b.load(self.b, at.clone().offset(spec.column(v)), lanes)).collect();
        for m in 0..spec.rows {
            let from = Address { base: self.a, index: a.clone().offset(m as i64 * spec.a_row) };
            let mut x = b.op(Op::BroadcastPacked { from, lanes });
            if last {
                let first = b.i32(0xffff, lanes);
                x = b.binary(Binary::And, x, first);
            }
            for v in 0..vectors {
                acc[m * vectors + v] = b.op(Op::Dot2Bf16 { acc: acc[m * vectors + v], a: row[v], b: x });
            }
        }
        acc
    }

    /// Accumulates one term: a row of B times a column of A.
    fn step(&self, b: &mut MicroKernelBuilder, a: Index, at: Index, mut acc: Vec<Val>) -> Vec<Val> {
        if self.spec.pairs() {
            return self.pair(b, a, at, acc, false);
        }
        let (spec, lanes) = (self.spec, self.spec.lanes);
        let vectors = spec.vectors();
        let row: Vec<Val> = (0..vectors)
            .map(|v| {
                let width = if spec.b_padded { lanes } else { spec.width(v) };
                b.load_partial(self.b, at.clone().offset(spec.column(v)), lanes, width)
            })
            .collect();
        if spec.a_ahead != 0 {
            b.prefetch(self.a, a.clone().offset(spec.a_ahead));
        }
        for m in 0..spec.rows {
            let place = a.clone().offset(m as i64 * spec.a_row);
            if spec.a_columns {
                for v in 0..vectors {
                    let x = b.load_partial(self.a, place.clone().offset(spec.column(v)), lanes, spec.width(v));
                    acc[m * vectors + v] = b.fma(row[v], x, acc[m * vectors + v]);
                }
            } else {
                let x = b.broadcast(self.a, place, lanes);
                for v in 0..vectors {
                    acc[m * vectors + v] = b.fma(row[v], x, acc[m * vectors + v]);
                }
            }
        }
        acc
    }
}
