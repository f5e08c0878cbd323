//! Pointers that accesses of a micro-kernel share: those that differ by a constant only have one.

use crate::kernel::ir::{Inst, Param, Var, instructions};

/// A pointer parameter plus terms, without the constant.
pub type Key = (Param, Vec<(Var, i64)>);

/// Returns the pointer without the term of a variable.
pub fn without(key: &Key, var: Var) -> Key {
    (key.0, key.1.iter().filter(|t| t.0 != var).copied().collect())
}

/// Collects the different pointers that a loop's body needs, as far as they are known at its start: terms of loops
/// inside are left out (their variables have larger numbers). In order of first use.
pub fn keys(body: &[Inst], var: Var) -> Vec<Key> {
    let mut found = Vec::new();
    for address in instructions(body).filter_map(Inst::address) {
        let terms = address.index.terms.iter().filter(|t| t.0 <= var).copied().collect();
        let key = (address.base, terms);
        if !found.contains(&key) {
            found.push(key);
        }
    }
    found
}
