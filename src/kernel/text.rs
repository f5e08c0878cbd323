//! Kernel IR as text: prints and parses a module exactly.

use super::ir::{Elem, Ty};
use std::fmt;

impl fmt::Display for Elem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Elem::F32 => "f32",
            Elem::I32 => "i32",
            Elem::Bf16 => "bf16",
            Elem::U8 => "u8",
            Elem::I8 => "i8",
            Elem::Mask => "mask",
        })
    }
}

/// `f32` is a scalar, `f32x8` a vector.
impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.elem.fmt(f)?;
        if self.lanes == 1 { Ok(()) } else { write!(f, "x{}", self.lanes) }
    }
}
