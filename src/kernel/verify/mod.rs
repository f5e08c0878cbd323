//! Checks a module before any back end sees it, so that back ends need no error paths for malformed code.
//!
//! Micro-kernels (`micro_kernel`):
//! - at most six parameters; names of micro-kernels are unique;
//! - every value has one definition, which comes before its uses and is not inside a loop that has ended;
//! - operands and results of every operation have the types that the operation asks for;
//! - lanes are 1, 2, 4, 8 or 16; partial counts lie between 1 and lanes - 1;
//! - nothing is stored through a `Read` pointer or loaded through a `Write` pointer;
//! - what a loop carries has one type in `init`, `params`, `next` and `results`;
//! - variables are numbered in the order of their definition and used in scope only; index terms are sorted, without
//!   zeros.
//!
//! Kernels (`nest`):
//! - the first three variables are `batch`, `first`, `total`; the others as in micro-kernels;
//! - arguments of a call match the micro-kernel's parameters: kind, element type, access;
//! - divisors are positive constants;
//! - a CPU kernel is exactly one `Parallel` loop from 0, whose end depends on `batch`, `first`, `total` and constants
//!   only; no GPU loop, barrier or GPU memory occurs in it;
//! - a GPU kernel is exactly one `Group` loop from 0, whose end depends on the same, around one `Item` loop from 0 to a
//!   constant of at most 1024; no other parallel loop occurs in it, and barriers stand where all items come: not in
//!   conditions, and in serial loops only if their bounds do not depend on the item.

use super::error::{Place, VerifyError, VerifyErrors};
use super::ir::Module;
use crate::verified::{Faults, Verified};
use std::collections::HashSet;

mod micro_kernel;
mod nest;

/// Checks a module. Returns it as verified, or all rules that it breaks.
pub fn verify(module: Module) -> Result<Verified<Module>, VerifyErrors> {
    let errors = check(&module);
    if errors.is_empty() { Ok(Verified::vouch(module)) } else { Err(Faults(errors)) }
}

/// All that is wrong with the module.
pub fn check(module: &Module) -> Vec<VerifyError> {
    let mut errors = Vec::new();
    let mut names = HashSet::new();
    for m in module.micro_kernels.values() {
        let place = || Place::MicroKernel(m.name.clone());
        if !names.insert(m.name.as_str()) {
            let what = "another micro-kernel has this name".into();
            errors.push(VerifyError { place: place(), what });
        }
        errors.extend(micro_kernel::check(m).into_iter().map(|what| VerifyError { place: place(), what }));
    }
    for k in module.kernels.values() {
        let place = || Place::Kernel(k.name.clone());
        errors.extend(nest::check(module, k).into_iter().map(|what| VerifyError { place: place(), what }));
    }
    errors
}
