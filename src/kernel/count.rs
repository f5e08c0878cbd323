//! The work of a kernel, counted from its loops, so that it holds for every recipe and needs no bookkeeping in any.

use super::ir::*;
use std::collections::HashMap;
use std::ops::Add;

pub use super::ir::Work;

/// The work of a whole launch of a kernel for `batch` images.
pub fn kernel(module: &Module, kernel: &Kernel, batch: usize) -> Work {
    counter(module, kernel, batch).stmts(&kernel.body)
}

/// The work of a launch by the micro-kernels that do it, in the order of their first calls.
pub fn by_micro_kernel(module: &Module, kernel: &Kernel, batch: usize) -> Vec<(MicroKernelId, Work)> {
    let mut calls: Vec<MicroKernelId> = Vec::new();
    for call in kernel.calls() {
        if !calls.contains(&call) {
            calls.push(call);
        }
    }
    let mut counter = counter(module, kernel, batch);
    let one = |id| {
        counter.only = Some(id);
        (id, counter.stmts(&kernel.body))
    };
    calls.into_iter().map(one).collect()
}

/// The micro-kernel that does most multiply-adds of these, or moves most bytes if none has any.
pub fn main_micro_kernel(works: &[(MicroKernelId, Work)]) -> Option<MicroKernelId> {
    works.iter().max_by_key(|(_, work)| (work.multiply_adds, work.bytes)).map(|(id, _)| *id)
}

fn counter<'a>(module: &'a Module, kernel: &Kernel, batch: usize) -> Counter<'a> {
    let vars = kernel.start([batch as i64, 0, batch as i64]);
    Counter { module, only: None, vars, micro_kernels: HashMap::new() }
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
                    // Each iteration does the same.
                    self.vars[*var] = begin;
                    return self.stmts(body) * (end - begin) as u64;
                }
                let iteration = |i| {
                    self.vars[*var] = i;
                    self.stmts(body)
                };
                (begin..end).map(iteration).fold(Work::default(), Add::add)
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

/// Does the work of a statement depend on the variable (not only its place)?
fn decides(stmt: &Stmt, var: KVar) -> bool {
    statements(std::slice::from_ref(stmt)).any(|stmt| match stmt {
        Stmt::Call { args, .. } => args.iter().any(|a| matches!(a, Arg::Int(e) if e.mentions(&[var]))),
        other => other.exprs().any(|e| e.mentions(&[var])),
    })
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
        Inst::Let { result, op } => {
            let memory = op.address().and_then(|from| micro_kernel.params[from.base].elem());
            op.work(ty(*result), ty, memory)
        }
        Inst::Store { to, value, count } => {
            let elements = u64::from(count.unwrap_or(ty(*value).lanes));
            let bytes = micro_kernel.params[to.base].elem().map_or(0, |elem| elem.bytes() as u64);
            Work { bytes: elements * bytes, ..Work::default() }
        }
        Inst::StoreTile { .. } => Work { bytes: 4 * u64::from(Ty::TILE), ..Work::default() },
        Inst::Prefetch { .. } => Work::default(),
        Inst::Loop { var, count, body, .. } => {
            let iterations = count.eval(vars);
            if iterations <= 0 {
                return Work::default();
            }
            // Without a loop inside whose count the variable decides, each iteration does the same.
            if !instructions(body).any(|i| matches!(i, Inst::Loop { count, .. } if count.mentions(*var))) {
                return insts(micro_kernel, body, vars) * iterations as u64;
            }
            let iteration = |i| {
                vars[*var] = i;
                insts(micro_kernel, body, vars)
            };
            (0..iterations).map(iteration).fold(Work::default(), Add::add)
        }
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
        assert_eq!(main_micro_kernel(&by_micro_kernel(&module, &k, 2)), Some(micro_kernel));
    }
}
