//! Parts of the names of kernels and micro-kernels, which are for people.

use crate::kernel::ir::Elem;

/// Makes a part of a name, after `before`, for what memories hold: nothing where all hold float32.
pub fn elem_letters(before: &str, elems: &[Elem]) -> String {
    if elems.iter().all(|&elem| elem == Elem::F32) {
        return String::new();
    }
    let letter = |elem: &Elem| match elem {
        Elem::Bf16 => 'h',
        Elem::I32 => 'p',
        Elem::U8 => 'b',
        _ => 'f',
    };
    before.chars().chain(elems.iter().map(letter)).collect()
}
