//! Checks one kernel. The list of invariants is in the parent module.

use crate::kernel::ir::*;

pub(super) fn check(module: &Module, kernel: &Kernel) -> Vec<String> {
    let scope = kernel.vars.keys().map(KVar::is_given).collect();
    let mut check = Check { module, kernel, errors: Vec::new(), scope, next_var: 3 };
    if !kernel.vars.values().map(String::as_str).take(3).eq(KVar::NAMES) {
        check.errors.push("the first variables are not batch, first, total".into());
        return check.errors;
    }
    check.memory();
    if is_gpu(kernel) {
        check.gpu()
    } else {
        check.cpu()
    }
    check.block(&kernel.body);
    if check.next_var != kernel.vars.len() {
        check.errors.push(format!("{} variables are named, {} are defined", kernel.vars.len(), check.next_var));
    }
    check.errors
}

struct Check<'a> {
    module: &'a Module,
    kernel: &'a Kernel,
    errors: Vec<String>,
    scope: PrimaryMap<KVar, bool>,
    next_var: usize,
}

impl Check<'_> {
    fn error(&mut self, message: String) {
        self.errors.push(message);
    }

    fn memory(&mut self) {
        let gpu = is_gpu(self.kernel);
        let buffers = self.kernel.buffers.values().map(|b| (&b.name, b.elem));
        for (name, elem) in buffers.chain(self.kernel.scratch.values().map(|s| (&s.name, s.elem))) {
            if elem == Elem::Mask {
                self.errors.push(format!("{name}: masks are never in memory"));
            }
        }
        for s in self.kernel.scratch.values() {
            if !gpu && s.space == Space::Local {
                self.errors.push(format!("{}: only GPU kernels have local memory", s.name));
            }
        }
    }

    fn cpu(&mut self) {
        let [Stmt::For { kind: LoopKind::Parallel, begin, end, body, .. }] = self.kernel.body.as_slice() else {
            return self.error("a CPU kernel is exactly one parallel loop".into());
        };
        if *begin != Expr::Const(0) {
            self.error("the parallel loop does not start from 0".into());
        }
        if uses_other_vars(end) {
            self.error("the end of the parallel loop depends on more than batch, first and total".into());
        }
        if has_parallel(body) {
            self.error("a parallel loop inside the parallel loop".into());
        }
    }

    fn gpu(&mut self) {
        let Some(g) = self.kernel.groups() else {
            return self.error(
                "a GPU kernel is exactly one group loop from 0 around one item loop from 0 to a constant".into(),
            );
        };
        if !(1..=1024).contains(&g.items) {
            self.error(format!("a group of {} items", g.items));
        }
        if uses_other_vars(g.end) {
            self.error("the end of the group loop depends on more than batch, first and total".into());
        }
        if has_parallel(g.body) {
            self.error("a parallel loop inside the item loop".into());
        }
        self.barriers(g.body, &mut vec![g.item], true);
    }

    /// Checks that barriers stand where all items come. `varying`: variables that differ between the items of a group.
    fn barriers(&mut self, body: &[Stmt], varying: &mut Vec<KVar>, reached: bool) {
        for stmt in body {
            match stmt {
                Stmt::For { var, begin, end, body, .. } => {
                    let differs = begin.mentions(varying) || end.mentions(varying);
                    if differs {
                        varying.push(*var);
                    }
                    self.barriers(body, varying, reached && !differs);
                }
                Stmt::If { then, otherwise, .. } => {
                    self.barriers(then, varying, false);
                    self.barriers(otherwise, varying, false);
                }
                Stmt::Barrier if !reached => self.error("a barrier that not all items of a group reach".into()),
                Stmt::Call { .. } | Stmt::Barrier => {}
            }
        }
    }

    fn block(&mut self, body: &[Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::For { var, begin, end, body, .. } => {
                    self.expr(begin);
                    self.expr(end);
                    if var.index() != self.next_var || !self.scope.is_valid(*var) {
                        self.error(format!("{var} is not defined in the order of numbers"));
                        continue;
                    }
                    self.next_var += 1;
                    self.scope[*var] = true;
                    self.block(body);
                    self.scope[*var] = false;
                }
                Stmt::If { condition, then, otherwise } => {
                    self.expr(condition);
                    self.block(then);
                    self.block(otherwise);
                }
                Stmt::Call { micro_kernel, args } => self.call(*micro_kernel, args),
                Stmt::Barrier => {}
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Const(_) => {}
            Expr::Var(v) => {
                if self.scope.get(*v) != Some(&true) {
                    self.error(format!("{v} is not in scope"));
                }
            }
            Expr::Binary(op, l, r) => {
                self.expr(l);
                self.expr(r);
                let positive = matches!(**r, Expr::Const(d) if d > 0);
                if matches!(op, ExprOp::Div | ExprOp::Rem) && !positive {
                    self.error("a divisor that is not a positive constant".into());
                }
            }
        }
    }

    fn call(&mut self, micro_kernel: MicroKernelId, args: &[Arg]) {
        let Some(callee) = self.module.micro_kernels.get(micro_kernel) else {
            return self.error(format!("a call of {micro_kernel}, which does not exist"));
        };
        if callee.params.len() != args.len() {
            self.error(format!("{} arguments for {} parameters of {}", args.len(), callee.params.len(), callee.name));
        }
        for (param, arg) in callee.params.values().zip(args) {
            match (param, arg) {
                (MicroKernelParam::Int { .. }, Arg::Int(e)) => self.expr(e),
                (MicroKernelParam::Pointer { name, elem, access }, Arg::Pointer { memory, offset }) => {
                    self.expr(offset);
                    let Some((given, allowed)) = self.place(*memory) else { continue };
                    if given != *elem {
                        self.error(format!("{} wants {elem} memory for {name}, gets {given}", callee.name));
                    }
                    if allowed != Access::ReadWrite && allowed != *access {
                        self.error(format!("{} may not access the memory for {name} as it does", callee.name));
                    }
                }
                _ => self.error(format!("an argument of {} is a number for a pointer or the reverse", callee.name)),
            }
        }
    }

    fn place(&mut self, memory: Memory) -> Option<(Elem, Access)> {
        let found = match memory {
            Memory::Buffer(b) => self.kernel.buffers.get(b).map(|b| (b.elem, b.access)),
            Memory::Scratch(s) => self.kernel.scratch.get(s).map(|s| (s.elem, Access::ReadWrite)),
        };
        if found.is_none() {
            self.error(format!("{memory} does not exist"));
        }
        found
    }
}

/// Does the kernel contain GPU loops or barriers?
fn is_gpu(kernel: &Kernel) -> bool {
    kernel.statements().any(|s| matches!(s, Stmt::For { kind: LoopKind::Group | LoopKind::Item, .. } | Stmt::Barrier))
}

fn uses_other_vars(expr: &Expr) -> bool {
    expr.any(&mut |e| matches!(e, Expr::Var(v) if !v.is_given()))
}

fn has_parallel(body: &[Stmt]) -> bool {
    statements(body).any(|s| matches!(s, Stmt::For { kind, .. } if *kind != LoopKind::Serial))
}
