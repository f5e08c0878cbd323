//! How much a kernel computes: counted from its loops, so that it holds for every recipe and needs no bookkeeping in any.

use super::ir::*;
use std::collections::HashMap;
use std::ops::{Add, AddAssign, Div, Mul};

/// Arithmetic and memory traffic of a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiplications with an addition on float32 or pairs of bf16, one for each lane and product.
    pub multiply_adds: u64,
    /// Other additions, subtractions, multiplications, divisions and roots on float32, one for each lane.
    pub others: u64,
    /// Bytes that loads and stores move between registers and the nearest memory.
    pub bytes: u64,
}

impl Work {
    /// Floating-point operations: two for each multiply-add.
    pub fn flops(&self) -> u64 {
        2 * self.multiply_adds + self.others
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.multiply_adds += other.multiply_adds;
        self.others += other.others;
        self.bytes += other.bytes;
    }
}

impl Add for Work {
    type Output = Work;
    fn add(mut self, other: Work) -> Work {
        self += other;
        self
    }
}

impl Mul<u64> for Work {
    type Output = Work;
    fn mul(self, times: u64) -> Work {
        Work { multiply_adds: self.multiply_adds * times, others: self.others * times, bytes: self.bytes * times }
    }
}

impl Div<u64> for Work {
    type Output = Work;
    /// A part of it, rounded up.
    fn div(self, parts: u64) -> Work {
        Work {
            multiply_adds: self.multiply_adds.div_ceil(parts),
            others: self.others.div_ceil(parts),
            bytes: self.bytes.div_ceil(parts),
        }
    }
}

/// The work of a whole launch of a kernel for `batch` images.
pub fn kernel(module: &Module, kernel: &Kernel, batch: usize) -> Work {
    count(module, kernel, batch, None)
}

/// The micro-kernel that does most multiply-adds in a launch of the kernel, or moves most bytes if none has any.
pub fn main_micro_kernel(module: &Module, kernel: &Kernel, batch: usize) -> Option<MicroKernelId> {
    let mut calls = Vec::new();
    called(&kernel.body, &mut calls);
    calls.into_iter().max_by_key(|&micro_kernel| {
        let work = count(module, kernel, batch, Some(micro_kernel));
        (work.multiply_adds, work.bytes)
    })
}

fn called(stmts: &[Stmt], calls: &mut Vec<MicroKernelId>) {
    for stmt in stmts {
        match stmt {
            Stmt::For { body, .. } => called(body, calls),
            Stmt::If { then, otherwise, .. } => {
                called(then, calls);
                called(otherwise, calls);
            }
            Stmt::Call { micro_kernel, .. } if !calls.contains(micro_kernel) => calls.push(*micro_kernel),
            Stmt::Call { .. } | Stmt::Barrier => {}
        }
    }
}

fn count(module: &Module, kernel: &Kernel, batch: usize, only: Option<MicroKernelId>) -> Work {
    let vars = kernel.start([batch as i64, 0, batch as i64]);
    let mut counter = Counter { module, only, vars, micro_kernels: HashMap::new() };
    counter.stmts(&kernel.body)
}

struct Counter<'a> {
    module: &'a Module,
    /// The only micro-kernel that counts, if there is one.
    only: Option<MicroKernelId>,
    vars: KVars,
    /// Work of micro-kernels by their integer arguments.
    micro_kernels: HashMap<(MicroKernelId, Vec<i64>), Work>,
}

impl Counter<'_> {
    fn stmts(&mut self, stmts: &[Stmt]) -> Work {
        stmts.iter().map(|s| self.stmt(s)).fold(Work::default(), Add::add)
    }

    fn stmt(&mut self, stmt: &Stmt) -> Work {
        match stmt {
            Stmt::For { var, begin, end, body, .. } => {
                let (begin, end) = (begin.eval(&self.vars), end.eval(&self.vars));
                if begin >= end {
                    return Work::default();
                }
                if !body.iter().any(|s| decides(s, *var)) {
                    // Each round does the same.
                    self.vars[*var] = begin;
                    return self.stmts(body) * (end - begin) as u64;
                }
                let round = |i| {
                    self.vars[*var] = i;
                    self.stmts(body)
                };
                (begin..end).map(round).fold(Work::default(), Add::add)
            }
            Stmt::If { condition, then, otherwise } => {
                let branch = if condition.eval(&self.vars) != 0 { then } else { otherwise };
                self.stmts(branch)
            }
            Stmt::Call { micro_kernel, .. } if self.only.is_some_and(|only| only != *micro_kernel) => Work::default(),
            Stmt::Call { micro_kernel, args } => {
                let ints = args.iter().filter_map(|a| match a {
                    Arg::Int(e) => Some(e.eval(&self.vars)),
                    Arg::Pointer { .. } => None,
                });
                let key = (*micro_kernel, ints.collect());
                if let Some(work) = self.micro_kernels.get(&key) {
                    return *work;
                }
                let work = micro_kernel_work(&self.module.micro_kernels[*micro_kernel], &key.1);
                self.micro_kernels.insert(key, work);
                work
            }
            Stmt::Barrier => Work::default(),
        }
    }
}

/// Does the variable decide how much a statement does (and not just where)?
fn decides(stmt: &Stmt, var: KVar) -> bool {
    match stmt {
        Stmt::For { begin, end, body, .. } => {
            uses(begin, var) || uses(end, var) || body.iter().any(|s| decides(s, var))
        }
        Stmt::If { condition, then, otherwise } => {
            uses(condition, var) || then.iter().chain(otherwise).any(|s| decides(s, var))
        }
        Stmt::Call { args, .. } => args.iter().any(|a| matches!(a, Arg::Int(e) if uses(e, var))),
        Stmt::Barrier => false,
    }
}

fn uses(expr: &Expr, var: KVar) -> bool {
    match expr {
        Expr::Const(_) => false,
        Expr::Var(v) => *v == var,
        Expr::Binary(_, l, r) => uses(l, var) || uses(r, var),
    }
}

/// Values of a micro-kernel's integer variables.
type Vars = PrimaryMap<Var, i64>;

/// The work of one call with these integer arguments.
fn micro_kernel_work(micro_kernel: &MicroKernel, ints: &[i64]) -> Work {
    let mut vars: Vars = micro_kernel.vars.keys().map(|_| 0).collect();
    let params = micro_kernel.params.values().filter_map(|p| match p {
        MicroKernelParam::Int { var, .. } => Some(*var),
        MicroKernelParam::Pointer { .. } => None,
    });
    for (var, &value) in params.zip(ints) {
        vars[var] = value;
    }
    insts(micro_kernel, &micro_kernel.body, &mut vars)
}

fn insts(micro_kernel: &MicroKernel, body: &[Inst], vars: &mut Vars) -> Work {
    body.iter().map(|inst| inst_work(micro_kernel, inst, vars)).fold(Work::default(), Add::add)
}

fn inst_work(micro_kernel: &MicroKernel, inst: &Inst, vars: &mut Vars) -> Work {
    let ty = |v: Val| micro_kernel.values[v];
    match inst {
        Inst::Let { result, op } => op_work(micro_kernel, op, ty(*result)),
        Inst::Store { to, value, count } => {
            let elements = u64::from(count.unwrap_or(ty(*value).lanes));
            Work { bytes: elements * bytes_behind(micro_kernel, to.base), ..Work::default() }
        }
        Inst::Prefetch { .. } => Work::default(),
        Inst::Loop { var, count, body, .. } => {
            let rounds = value(count, vars);
            if rounds <= 0 {
                return Work::default();
            }
            if !body.iter().any(|i| loop_depends(i, *var)) {
                return insts(micro_kernel, body, vars) * rounds as u64;
            }
            let round = |i| {
                vars[*var] = i;
                insts(micro_kernel, body, vars)
            };
            (0..rounds).map(round).fold(Work::default(), Add::add)
        }
    }
}

/// Does a loop inside run a number of rounds that the variable decides?
fn loop_depends(inst: &Inst, var: Var) -> bool {
    match inst {
        Inst::Loop { count, body, .. } => {
            count.terms.iter().any(|t| t.0 == var) || body.iter().any(|i| loop_depends(i, var))
        }
        _ => false,
    }
}

fn value(index: &Index, vars: &Vars) -> i64 {
    index.offset + index.terms.iter().map(|&(v, c)| c * vars[v]).sum::<i64>()
}

fn bytes_behind(micro_kernel: &MicroKernel, param: Param) -> u64 {
    match &micro_kernel.params[param] {
        MicroKernelParam::Pointer { elem, .. } => elem.bytes() as u64,
        MicroKernelParam::Int { .. } => 0,
    }
}

fn op_work(micro_kernel: &MicroKernel, op: &Op, ty: Ty) -> Work {
    let lanes = u64::from(ty.lanes);
    let float = ty.elem == Elem::F32;
    let none = Work::default();
    match op {
        Op::Fma { .. } => Work { multiply_adds: lanes, ..none },
        Op::Dot2Bf16 { .. } => Work { multiply_adds: 2 * lanes, ..none },
        Op::Binary { op: Binary::Add | Binary::Sub | Binary::Mul | Binary::Div, .. } if float => {
            Work { others: lanes, ..none }
        }
        Op::Unary { op: Unary::Sqrt, .. } => Work { others: lanes, ..none },
        Op::Reduce { op: Binary::Add | Binary::Mul, value } if float => {
            let lanes = u64::from(micro_kernel.values[*value].lanes);
            Work { others: lanes - 1, ..none }
        }
        Op::Load { from, count, .. } => {
            let elements = count.map_or(lanes, u64::from);
            Work { bytes: elements * bytes_behind(micro_kernel, from.base), ..none }
        }
        Op::Broadcast { from, .. } => Work { bytes: bytes_behind(micro_kernel, from.base), ..none },
        Op::LoadPacked { lanes, .. } => Work { bytes: 4 * u64::from(*lanes), ..none },
        Op::BroadcastPacked { .. } => Work { bytes: 4, ..none },
        _ => none,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::build::KernelBuilder;

    /// Two images of three rows; row r sums r + 1 products of four lanes and stores four elements.
    #[test]
    fn triangular_work() {
        let mut module = Module::default();
        let micro_kernel = module.micro_kernel("row", |b| {
            let x = b.pointer("x", Elem::F32, Access::ReadWrite);
            let n = b.int("n");
            let zero = b.f32(0.0, 4);
            let sum = b.repeat("i", n, &[zero], |b, i, sum| {
                let value = b.load(x, Index::default().plus(i, 4), 4);
                vec![b.fma(value, value, sum[0])]
            });
            b.store(x, 0usize, sum[0]);
        });
        let mut k = KernelBuilder::new("rows");
        let x = k.buffer("x", Elem::F32, Access::ReadWrite);
        k.parallel("image", Expr::BATCH, |k, _| {
            k.serial("row", 3, |k, row| k.call(micro_kernel, vec![x.at(0), Arg::Int(row + 1)]));
        });
        let k = k.finish();
        let work = kernel(&module, &k, 2);
        assert_eq!(work.multiply_adds, 2 * 4 * (1 + 2 + 3));
        assert_eq!(work.bytes, 2 * 16 * (1 + 2 + 3 + 3));
        assert_eq!(work.flops(), 2 * work.multiply_adds);
        assert_eq!(kernel(&module, &k, 0), Work::default());
        assert_eq!(main_micro_kernel(&module, &k, 2), Some(micro_kernel));
    }
}
