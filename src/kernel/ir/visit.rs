//! Walks over nested code, so that nobody writes one by hand who only looks for something.

use super::{Arg, Expr, Inst, KVars, Kernel, MicroKernel, MicroKernelId, Stmt};

/// Code that holds code of its own kind.
trait Nested: Sized {
    /// What lies inside, in order.
    fn inside(&self) -> [&[Self]; 2];
}

impl Nested for Stmt {
    fn inside(&self) -> [&[Stmt]; 2] {
        match self {
            Stmt::For { body, .. } => [body, &[]],
            Stmt::If { then, otherwise, .. } => [then, otherwise],
            Stmt::Call { .. } | Stmt::Barrier => [&[], &[]],
        }
    }
}

impl Nested for Inst {
    fn inside(&self) -> [&[Inst]; 2] {
        match self {
            Inst::Loop { body, .. } => [body, &[]],
            Inst::Let { .. } | Inst::Store { .. } | Inst::StoreTile { .. } | Inst::Prefetch { .. } => [&[], &[]],
        }
    }
}

/// Bodies that remain to be visited, the next one last.
struct Walk<'a, T>(Vec<&'a [T]>);

impl<'a, T: Nested> Iterator for Walk<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            let Some((first, rest)) = self.0.pop()?.split_first() else { continue };
            let [inside, behind] = first.inside();
            self.0.extend([rest, behind, inside]);
            return Some(first);
        }
    }
}

/// All statements of a body in the order of the text: each before those inside of it.
pub fn statements(body: &[Stmt]) -> impl Iterator<Item = &Stmt> {
    Walk(vec![body])
}

/// All instructions of a body in the order of the text: each before those inside of it.
pub fn instructions(body: &[Inst]) -> impl Iterator<Item = &Inst> {
    Walk(vec![body])
}

impl Kernel {
    /// All statements in the order of the text.
    pub fn statements(&self) -> impl Iterator<Item = &Stmt> {
        statements(&self.body)
    }

    /// The micro-kernel of each call, in the order of the text.
    pub fn calls(&self) -> impl Iterator<Item = MicroKernelId> {
        self.statements().filter_map(|stmt| match stmt {
            Stmt::Call { micro_kernel, .. } => Some(*micro_kernel),
            Stmt::For { .. } | Stmt::If { .. } | Stmt::Barrier => None,
        })
    }
}

impl MicroKernel {
    /// All instructions in the order of the text.
    pub fn instructions(&self) -> impl Iterator<Item = &Inst> {
        instructions(&self.body)
    }

    /// Does it work on tiles, for which not every processor has registers?
    pub fn has_tiles(&self) -> bool {
        self.values.values().any(|ty| ty.is_tile())
    }
}

impl Stmt {
    /// The statement's own expressions, without those of statements inside of it.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let (own, args): ([Option<&Expr>; 2], &[Arg]) = match self {
            Stmt::For { begin, end, .. } => ([Some(begin), Some(end)], &[]),
            Stmt::If { condition, .. } => ([Some(condition), None], &[]),
            Stmt::Call { args, .. } => ([None; 2], args),
            Stmt::Barrier => ([None; 2], &[]),
        };
        let args = args.iter().map(|arg| match arg {
            Arg::Int(e) | Arg::Pointer { offset: e, .. } => e,
        });
        own.into_iter().flatten().chain(args)
    }
}

/// Runs the loops and conditions of a body and hands each call and barrier to `step`, until that fails. `vars` hold the
/// values of the variables; the body's own loops set theirs.
pub fn run<E>(body: &[Stmt], vars: &mut KVars, step: &mut impl FnMut(&Stmt, &KVars) -> Result<(), E>) -> Result<(), E> {
    for stmt in body {
        match stmt {
            Stmt::For { var, begin, end, body, .. } => {
                for i in begin.eval(vars)..end.eval(vars) {
                    vars[*var] = i;
                    run(body, vars, step)?;
                }
            }
            Stmt::If { condition, then, otherwise } => {
                run(if condition.eval(vars) != 0 { then } else { otherwise }, vars, step)?;
            }
            Stmt::Call { .. } | Stmt::Barrier => step(stmt, vars)?,
        }
    }
    Ok(())
}
