//! Kernel IR: all that a back end ever reads. It has two levels.
//!
//! A [`Kernel`] is a loop nest over index expressions that calls micro-kernels on pieces of buffers. A [`MicroKernel`] is
//! straight-line code and counted loops over scalar and vector values in SSA form: no calls, no allocation.
//! Shapes are constants; only the batch is not. `text` prints and parses, `verify` checks, `interp` defines the meaning.

use crate::types::Format;
use cranelift_entity::entity_impl;
pub use cranelift_entity::{EntityRef, PrimaryMap};
use std::fmt;

/// A compiled unit: kernels and the micro-kernels they call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Module {
    pub micro_kernels: PrimaryMap<MicroKernelId, MicroKernel>,
    pub kernels: PrimaryMap<KernelId, Kernel>,
}

/// Element of memory or of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Elem {
    F32,
    I32,
    /// Brain float: the upper half of a float32. In memory; in values only as pairs inside `I32` lanes.
    Bf16,
    /// Bytes in memory; in values only as quadruples inside `I32` lanes.
    U8,
    I8,
    /// Result of a comparison: all ones or zero in each lane. Never in memory.
    Mask,
}

/// Type of a micro-kernel's value. `lanes == 1` is a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ty {
    pub elem: Elem,
    pub lanes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    Read,
    Write,
    ReadWrite,
}

// ---------------------------------------------------------------- micro-kernels

/// Index into [`MicroKernel::values`]. Each value is defined once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Val(u32);
entity_impl!(Val, "%");

/// An integer variable of a micro-kernel: an `Int` parameter or a loop counter. Index into [`MicroKernel::vars`] (names).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(u32);
entity_impl!(Var, "variable ");

/// Index into [`MicroKernel::params`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Param(u32);
entity_impl!(Param, "parameter ");

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MicroKernel {
    pub name: String,
    /// At most six: they travel in registers.
    pub params: PrimaryMap<Param, MicroKernelParam>,
    /// Types of all values.
    pub values: PrimaryMap<Val, Ty>,
    /// Names of all integer variables.
    pub vars: PrimaryMap<Var, String>,
    pub body: Vec<Inst>,
    /// What neighbouring items do with this micro-kernel if they do it together.
    pub together: Option<Together>,
}

/// On a GPU, 32 neighbouring items that call a micro-kernel at once compute `C += A · B`, each the part that its body says, and a
/// back end may let a matrix unit do all of it. The micro-kernel is `(a, b, c)`; a and b hold numbers that are exact in `format`,
/// term after term: `a[k][row]`, `b[k][column]`, neighbouring rows and columns beside each other. Item i is lane `(g, t) =
/// (i / 4 mod 8, i mod 4)`: its pointers are those of row g and column 2t, its results those of the rows `g + 8·r` and the
/// columns `2t + 8·v` and the next, as `c[r][v][2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Together {
    pub format: Format,
    /// In 16 rows each.
    pub rows: u32,
    /// In 8 columns each.
    pub columns: u32,
    /// Terms of the sums, a multiple of 16.
    pub depth: u32,
    /// Elements from term to term, of a and of b.
    pub pitches: [u32; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MicroKernelParam {
    /// `restrict`-like: pointers of one call never overlap unless they are the same address with the same element
    /// order of accesses (in-place elementwise work).
    Pointer {
        name: String,
        elem: Elem,
        access: Access,
    },
    Int {
        name: String,
        var: Var,
    },
}

/// `offset + Σ coefficient · variable`, counted in elements. Terms are sorted by variable, coefficients are not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Index {
    pub offset: i64,
    pub terms: Vec<(Var, i64)>,
}

/// An element of the memory behind a pointer parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub base: Param,
    pub index: Index,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Inst {
    /// `result = op(...)`
    Let { result: Val, op: Op },
    /// Stores all lanes, or the first `count` of them.
    Store { to: Address, value: Val, count: Option<u32> },
    /// What lies here will be read soon. Changes nothing, and may lie outside of the memory.
    Prefetch { from: Address },
    /// Runs `body` for `var` in `0..count` (not at all where `count <= 0`). `params[i]` is `init[i]` in the first round,
    /// `next[i]` of the round before in the others; `results[i]` is the last of them.
    Loop {
        var: Var,
        count: Index,
        init: Vec<Val>,
        params: Vec<Val>,
        body: Vec<Inst>,
        next: Vec<Val>,
        results: Vec<Val>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A float in every lane (kept as bits so that it prints and compares exactly).
    ConstF32 {
        bits: u32,
        lanes: u32,
    },
    ConstI32 {
        value: i32,
        lanes: u32,
    },
    /// 0, 1, 2, … as I32 lanes.
    Iota {
        lanes: u32,
    },
    /// A micro-kernel's integer (wrapped to 32 bits) in every lane.
    IndexI32 {
        index: Index,
        lanes: u32,
    },
    /// A scalar in every lane.
    Splat {
        value: Val,
        lanes: u32,
    },
    /// `lanes` consecutive elements, or the first `count` of them and zeros. Elements keep their type (F32, I32);
    /// Bf16 widens to F32, U8 and I8 widen to I32.
    Load {
        from: Address,
        ty: Ty,
        count: Option<u32>,
    },
    /// One element in every lane (widened like `Load`).
    Broadcast {
        from: Address,
        ty: Ty,
    },
    /// `lanes` I32 values of raw bytes: 2 Bf16 or 4 U8/I8 in each.
    LoadPacked {
        from: Address,
        lanes: u32,
    },
    /// One I32 of raw bytes (2 Bf16 or 4 U8/I8) in every lane.
    BroadcastPacked {
        from: Address,
        lanes: u32,
    },
    Unary {
        op: Unary,
        value: Val,
    },
    Binary {
        op: Binary,
        left: Val,
        right: Val,
    },
    /// `a · b + c`, rounded once where the target has it, else twice.
    Fma {
        a: Val,
        b: Val,
        c: Val,
    },
    Compare {
        op: Compare,
        left: Val,
        right: Val,
    },
    Select {
        mask: Val,
        then: Val,
        otherwise: Val,
    },
    /// Folds all lanes by halves: lane i with lane i + lanes/2, and so on. Gives a scalar.
    Reduce {
        op: Binary,
        value: Val,
    },
    /// `acc + a.0·b.0 + a.1·b.1` over pairs of Bf16 in I32 lanes (VDPBF16PS).
    Dot2Bf16 {
        acc: Val,
        a: Val,
        b: Val,
    },
    /// `acc + Σ₄ a(u8)·b(i8)` over quadruples in I32 lanes (VPDPBUSD).
    Dot4U8I8 {
        acc: Val,
        a: Val,
        b: Val,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    // F32
    Neg,
    Abs,
    Sqrt,
    /// To the nearest integer, ties to even.
    Round,
    Floor,
    /// F32 → I32, truncating; out of range is unspecified.
    ToInt,
    /// I32 → F32.
    ToFloat,
    /// Reinterprets the bits, I32 ↔ F32.
    AsInt,
    AsFloat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    // F32 and I32 (wrapping)
    Add,
    Sub,
    Mul,
    /// F32: as x86 `maxps left, right`: `if left > right { left } else { right }`, so a NaN on either side gives `right`.
    /// I32: signed.
    Max,
    /// F32: `if left < right { left } else { right }`. I32: signed.
    Min,
    // F32
    Div,
    // I32
    /// Upper 32 bits of the unsigned product.
    MulHighU,
    And,
    Or,
    Xor,
    /// Shifts by the lane's count, 0 to 31.
    Shl,
    ShrU,
    ShrS,
}

/// F32 ordered comparisons (false on NaN; `Ne` is true on NaN) or signed I32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

// ---------------------------------------------------------------- kernels

/// Variable of a kernel: index into [`Kernel::vars`]. The first three are always there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KVar(u32);
entity_impl!(KVar, "variable ");

impl KVar {
    /// Images in this run of the plan.
    pub const BATCH: KVar = KVar(0);
    /// Index of the first of them in the whole batch (differs from 0 when a batch runs in groups).
    pub const FIRST: KVar = KVar(1);
    /// Images in the whole batch, all groups together: what a mean divides by.
    pub const TOTAL: KVar = KVar(2);
    /// Names of these three.
    pub const NAMES: [&str; 3] = ["batch", "first", "total"];

    /// Is it one of the three that every kernel has?
    pub fn is_given(self) -> bool {
        self <= KVar::TOTAL
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    pub name: String,
    pub buffers: PrimaryMap<KBuffer, BufferParam>,
    pub scratch: PrimaryMap<KScratch, Scratch>,
    /// Names; the first three are `batch`, `first`, `total`.
    pub vars: PrimaryMap<KVar, String>,
    /// Exactly one statement: on the CPU a `Parallel` loop from 0, whose rounds are independent of each other; on a GPU a
    /// `Group` loop from 0 around an `Item` loop from 0 to a constant. A back end for GPUs takes both: rounds of a
    /// `Parallel` loop are work items that share nothing.
    pub body: Vec<Stmt>,
}

impl Kernel {
    /// Values of all variables before the kernel starts, those of loops still 0. `given` are batch, first and total.
    pub fn start(&self, given: [i64; 3]) -> KVars {
        let loops = self.vars.len().saturating_sub(given.len());
        given.into_iter().chain(std::iter::repeat_n(0, loops)).collect()
    }

    /// Position of a memory among all of the kernel: buffers first, then scratch arrays.
    pub fn memory_number(&self, memory: Memory) -> usize {
        match memory {
            Memory::Buffer(buffer) => buffer.index(),
            Memory::Scratch(scratch) => self.buffers.len() + scratch.index(),
        }
    }

    /// Type of the elements of a memory.
    pub fn elem(&self, memory: Memory) -> Elem {
        match memory {
            Memory::Buffer(buffer) => self.buffers[buffer].elem,
            Memory::Scratch(scratch) => self.scratch[scratch].elem,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BufferParam {
    pub name: String,
    pub elem: Elem,
    pub access: Access,
}

/// Memory of one thread or work item (`Cache`, `Private`) or of one group (`Local`). Holds garbage at the start of each
/// parallel round or group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scratch {
    pub name: String,
    pub elem: Elem,
    pub len: usize,
    pub space: Space,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// CPU: ordinary memory, private to the thread.
    Cache,
    /// GPU: shared by a work group.
    Local,
    /// GPU: private to a work item.
    Private,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoopKind {
    Serial,
    /// CPU threads share the rounds in fixed chunks.
    Parallel,
    /// GPU: work groups share the rounds, which are independent of each other.
    Group,
    /// GPU: the items of a work group, one round each. They share `Local` memory and wait for each other at barriers.
    Item,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stmt {
    For {
        var: KVar,
        kind: LoopKind,
        begin: Expr,
        end: Expr,
        body: Vec<Stmt>,
    },
    If {
        condition: Expr,
        then: Vec<Stmt>,
        otherwise: Vec<Stmt>,
    },
    /// Arguments are in the order of the micro-kernel's parameters.
    Call {
        micro_kernel: MicroKernelId,
        args: Vec<Arg>,
    },
    /// All items of a group wait for each other, and see what the others wrote before (GPU). Stands where all items
    /// come: in the item loop, or in serial loops whose bounds are the same for all items.
    Barrier,
}

/// Index into [`Module::micro_kernels`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MicroKernelId(u32);
entity_impl!(MicroKernelId, "micro-kernel ");

/// Index into [`Module::kernels`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelId(u32);
entity_impl!(KernelId, "kernel ");

/// Index into [`Kernel::buffers`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KBuffer(u32);
entity_impl!(KBuffer, "buffer ");

/// Index into [`Kernel::scratch`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KScratch(u32);
entity_impl!(KScratch, "scratch ");

/// Values of a kernel's variables while it runs.
pub type KVars = PrimaryMap<KVar, i64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    /// Address of an element, offset counted in elements.
    Pointer {
        memory: Memory,
        offset: Expr,
    },
    Int(Expr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    Buffer(KBuffer),
    Scratch(KScratch),
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Memory::Buffer(buffer) => buffer.fmt(f),
            Memory::Scratch(scratch) => scratch.fmt(f),
        }
    }
}

/// Integer expression of a kernel, 64-bit. Division rounds down; divisors are positive constants in practice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    Const(i64),
    Var(KVar),
    Binary(ExprOp, Box<Expr>, Box<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExprOp {
    Add,
    Sub,
    Mul,
    /// Rounded towards minus infinity.
    Div,
    /// Result has the divisor's sign.
    Rem,
    Min,
    Max,
    /// 1 or 0.
    Lt,
    Eq,
}
