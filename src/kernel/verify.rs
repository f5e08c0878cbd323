//! Checks a module before any back end sees it, so that back ends need no error paths for malformed code.
//!
//! Leaf functions (`leaf`):
//! - at most six parameters; names of leaves are unique;
//! - every value has one definition, which comes before its uses and is not inside a loop that has ended;
//! - operands and results of every operation have the types that the operation asks for;
//! - lanes are 1, 2, 4, 8 or 16; partial counts lie between 1 and lanes - 1;
//! - nothing is stored through a `Read` pointer or loaded through a `Write` pointer;
//! - what a loop carries has one type in `init`, `params`, `next` and `results`;
//! - variables are numbered in the order of their definition and used in scope only; index terms are sorted, without zeros.
//!
//! Kernels (`nest`):
//! - the first three variables are `batch`, `first`, `total`; the others as in leaves;
//! - arguments of a call match the leaf's parameters: kind, element type, access;
//! - divisors are positive constants;
//! - a CPU kernel is exactly one `Parallel` loop from 0, whose end depends on `batch`, `first`, `total` and constants only;
//!   no GPU loop, barrier or GPU memory occurs in it;
//! - a GPU kernel has no `Parallel` loop, and its group and item loops start from 0.

use super::ir::{LoopKind, Module, Stmt};
use crate::verified::Verified;
use std::collections::HashSet;

mod leaf;
mod nest;

/// All that is wrong with the module, or the witness that nothing is.
pub fn verify(module: Module) -> Result<Verified<Module>, Vec<String>> {
    let errors = check(&module);
    if errors.is_empty() { Ok(Verified::vouch(module)) } else { Err(errors) }
}

/// All that is wrong with the module.
pub fn check(module: &Module) -> Vec<String> {
    let mut errors = Vec::new();
    let mut names = HashSet::new();
    for l in &module.leaves {
        if !names.insert(l.name.as_str()) {
            errors.push(format!("leaf {}: another leaf has this name", l.name));
        }
        errors.extend(leaf::check(l).into_iter().map(|e| format!("leaf {}: {e}", l.name)));
    }
    for k in &module.kernels {
        errors.extend(nest::check(module, k).into_iter().map(|e| format!("kernel {}: {e}", k.name)));
    }
    errors
}

/// Does the body contain GPU loops or barriers?
pub fn is_gpu(body: &[Stmt]) -> bool {
    body.iter().any(|stmt| match stmt {
        Stmt::For { kind: LoopKind::Group(_) | LoopKind::Item(_), .. } | Stmt::Barrier => true,
        Stmt::For { body, .. } => is_gpu(body),
        Stmt::If { then, otherwise, .. } => is_gpu(then) || is_gpu(otherwise),
        Stmt::Call { .. } => false,
    })
}
