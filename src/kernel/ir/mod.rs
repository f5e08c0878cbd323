//! Kernel IR: all that a back end ever reads. It has two levels.
//!
//! A [`Kernel`] is a loop nest over index expressions that calls micro-kernels on pieces of buffers. A [`MicroKernel`]
//! is straight-line code and counted loops over scalar and vector values in SSA form: no calls, no allocation.
//! Shapes are constants; only the batch is not. `text` prints and parses, `verify` checks, `interp` defines the
//! meaning.

use cranelift_entity::entity_impl;
pub use cranelift_entity::{EntityRef, PrimaryMap};

/// Defines an enum whose variants each have a word in the text of kernel IR.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$inner])* $variant,)* }

        impl $name {
            /// Every variant.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The word that stands for it in the text of kernel IR.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// The variant with this word.
            pub fn named(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|item| item.word() == word)
            }
        }
    };
}

mod expr;
mod micro_kernel;
mod nest;
mod op;
mod op_text;
mod visit;
mod words;
mod work;

pub use expr::{Expr, ExprOp};
pub use micro_kernel::{Address, Index, Inst, MicroKernel, MicroKernelParam, Param, Val, Var, WarpProduct};
pub use nest::{
    Arg, BufferParam, Groups, KBuffer, KScratch, KVar, KVars, Kernel, LoopKind, Memory, Scratch, Space, Stmt,
};
pub use op::Op;
pub use visit::{instructions, run, statements};
pub use words::{Binary, Compare, Outer, Unary};
pub use work::Work;

/// A micro-kernel of a module; index into [`Module::micro_kernels`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MicroKernelId(u32);
entity_impl!(MicroKernelId, "micro-kernel ");

/// A kernel of a module; index into [`Module::kernels`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelId(u32);
entity_impl!(KernelId, "kernel ");

/// A compiled unit: kernels and the micro-kernels they call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Module {
    /// Functions that kernels share.
    pub micro_kernels: PrimaryMap<MicroKernelId, MicroKernel>,
    /// What launches run.
    pub kernels: PrimaryMap<KernelId, Kernel>,
}

words! {
    /// Element of memory or of a vector.
    Elem {
        /// float32.
        F32 = "f32",
        /// 32-bit integer; where the sign matters, operations say how they read it.
        I32 = "i32",
        /// Brain float: the upper half of a float32. In memory; in values only as pairs inside `I32` lanes.
        Bf16 = "bf16",
        /// Signed 16-bit numbers in memory, sign-extended to `I32` lanes; raw in values as pairs inside `I32` lanes.
        I16 = "i16",
        /// Unsigned bytes in memory; in values only as quadruples inside `I32` lanes.
        U8 = "u8",
        /// Signed bytes in memory; in values only as quadruples inside `I32` lanes.
        I8 = "i8",
        /// Result of a comparison: all ones or zero in each lane. Never in memory.
        Mask = "mask",
    }
}

impl Elem {
    /// Bytes in memory.
    pub const fn bytes(self) -> usize {
        match self {
            Elem::F32 | Elem::I32 | Elem::Mask => 4,
            Elem::Bf16 | Elem::I16 => 2,
            Elem::U8 | Elem::I8 => 1,
        }
    }

    /// The type of a value that memory of this type is loaded to and stored from.
    pub const fn widened(self) -> Elem {
        match self {
            Elem::F32 | Elem::Bf16 => Elem::F32,
            Elem::I32 | Elem::I16 | Elem::U8 | Elem::I8 => Elem::I32,
            Elem::Mask => Elem::Mask,
        }
    }
}

impl Elem {
    /// The type of the words of a tile that memory of this type is loaded to.
    pub const fn tile(self) -> Option<Elem> {
        match self {
            Elem::F32 => Some(Elem::F32),
            Elem::I32 | Elem::Bf16 | Elem::U8 | Elem::I8 => Some(Elem::I32),
            Elem::I16 | Elem::Mask => None,
        }
    }
}

/// Type of a micro-kernel's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ty {
    /// Type of each lane.
    pub elem: Elem,
    /// Number of lanes; 1 is a scalar, [`Ty::TILE`] a tile.
    pub lanes: u32,
}

impl Ty {
    /// Rows of a tile, and words of each.
    pub const ROW: u32 = 16;
    /// Words of a tile.
    pub const TILE: u32 = Ty::ROW * Ty::ROW;

    /// A square of [`Ty::ROW`] rows: sums, or the raw bytes that are multiplied.
    pub const fn tile(elem: Elem) -> Ty {
        Ty { elem, lanes: Ty::TILE }
    }

    /// Is it a tile?
    pub const fn is_tile(self) -> bool {
        self.lanes == Ty::TILE
    }

    /// The type of floats.
    pub const fn f32(lanes: u32) -> Ty {
        Ty { elem: Elem::F32, lanes }
    }

    /// The type of integers.
    pub const fn i32(lanes: u32) -> Ty {
        Ty { elem: Elem::I32, lanes }
    }

    /// The type of a comparison's results.
    pub const fn mask(lanes: u32) -> Ty {
        Ty { elem: Elem::Mask, lanes }
    }
}

words! {
    /// What is done with memory.
    Access {
        /// It is only read.
        Read = "read",
        /// It is only written.
        Write = "write",
        /// It is read and written.
        ReadWrite = "readwrite",
    }
}
