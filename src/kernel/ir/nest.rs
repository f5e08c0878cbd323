//! Kernels: loops around calls of micro-kernels.

use super::{Access, Elem, Expr, MicroKernelId};
use cranelift_entity::{EntityRef, PrimaryMap, entity_impl};
use std::fmt;

/// A variable of a kernel; index into [`Kernel::vars`]. The first three are always there.
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

/// A buffer of a kernel; index into [`Kernel::buffers`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KBuffer(u32);
entity_impl!(KBuffer, "buffer ");

/// A scratch array of a kernel; index into [`Kernel::scratch`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KScratch(u32);
entity_impl!(KScratch, "scratch ");

/// Values of a kernel's variables while it runs.
pub type KVars = PrimaryMap<KVar, i64>;

/// A loop nest that calls micro-kernels on pieces of its buffers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Its name, for people; it may occur twice in a module.
    pub name: String,
    /// The buffers that a launch passes to it.
    pub buffers: PrimaryMap<KBuffer, BufferParam>,
    /// Arrays of its own.
    pub scratch: PrimaryMap<KScratch, Scratch>,
    /// Names of its variables; the first three are `batch`, `first`, `total`.
    pub vars: PrimaryMap<KVar, String>,
    /// Exactly one statement: on the CPU a `Parallel` loop from 0, whose iterations are independent of each other; on a
    /// GPU a `Group` loop from 0 around an `Item` loop from 0 to a constant. A back end for GPUs takes both: iterations
    /// of a `Parallel` loop are work items that share nothing.
    pub body: Vec<Stmt>,
}

impl Kernel {
    /// The end of the outermost loop, which counts the kernel's independent iterations (or groups, on a GPU).
    pub fn iterations(&self) -> Option<&Expr> {
        match self.body.as_slice() {
            [Stmt::For { end, .. }] => Some(end),
            _ => None,
        }
    }

    /// The variable and the body of a CPU kernel's parallel loop; `None` for a GPU kernel.
    pub fn parallel(&self) -> Option<(KVar, &[Stmt])> {
        match self.body.as_slice() {
            [Stmt::For { var, kind: LoopKind::Parallel, body, .. }] => Some((*var, body)),
            _ => None,
        }
    }

    /// A GPU kernel's loops; `None` for a CPU kernel, and for one that the verifier would refuse.
    pub fn groups(&self) -> Option<Groups<'_>> {
        let from_0 = Expr::Const(0);
        match self.body.as_slice() {
            [Stmt::For { var: group, kind: LoopKind::Group, begin, end, body }] if *begin == from_0 => {
                match body.as_slice() {
                    [Stmt::For { var: item, kind: LoopKind::Item, begin, end: Expr::Const(items), body }]
                        if *begin == from_0 =>
                    {
                        Some(Groups { group: *group, end, item: *item, items: *items, body })
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

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

/// The two loops of a GPU kernel.
pub struct Groups<'a> {
    /// Counter of the groups.
    pub group: KVar,
    /// Number of groups.
    pub end: &'a Expr,
    /// Counter of the items of a group.
    pub item: KVar,
    /// Items of a group.
    pub items: i64,
    /// What each item does.
    pub body: &'a [Stmt],
}

/// A buffer that a launch passes to a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BufferParam {
    /// Its name, for people.
    pub name: String,
    /// Type of its elements.
    pub elem: Elem,
    /// What the kernel does with them.
    pub access: Access,
}

/// Memory of one thread or work item (`Cache`, `Private`) or of one group (`Local`). Holds garbage at the start of each
/// parallel iteration or group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scratch {
    /// Its name, for people.
    pub name: String,
    /// Type of its elements.
    pub elem: Elem,
    /// Number of its elements.
    pub len: usize,
    /// Where it lies, and who shares it.
    pub space: Space,
}

words! {
    /// Where a scratch array lies.
    Space {
        /// CPU: ordinary memory, private to the thread.
        Cache = "cache",
        /// GPU: shared by a work group.
        Local = "local",
        /// GPU: private to a work item.
        Private = "private",
    }
}

words! {
    /// Who runs the iterations of a loop.
    LoopKind {
        /// One thread or item, one after the other.
        Serial = "for",
        /// CPU threads share the iterations in fixed chunks.
        Parallel = "parallel",
        /// GPU: work groups share the iterations, which are independent of each other.
        Group = "group",
        /// GPU: the items of a work group, one iteration each. They share `Local` memory and wait for each other at
        /// barriers.
        Item = "item",
    }
}

/// A statement of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stmt {
    /// Runs `body` for `var` in `begin..end`.
    For {
        /// The counter.
        var: KVar,
        /// Who runs the iterations.
        kind: LoopKind,
        /// First value of the counter.
        begin: Expr,
        /// The value after the last one.
        end: Expr,
        /// What is repeated.
        body: Vec<Stmt>,
    },
    /// Runs one of two bodies.
    If {
        /// `then` runs where it is not 0.
        condition: Expr,
        /// Body where the condition holds.
        then: Vec<Stmt>,
        /// Body where it does not.
        otherwise: Vec<Stmt>,
    },
    /// Calls a micro-kernel.
    Call {
        /// The micro-kernel.
        micro_kernel: MicroKernelId,
        /// Its arguments, in the order of its parameters.
        args: Vec<Arg>,
    },
    /// All items of a group wait for each other, and see what the others wrote before (GPU). Stands where all items
    /// come: in the item loop, or in serial loops whose bounds are the same for all items.
    Barrier,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    /// Address of an element.
    Pointer {
        /// The buffer or array that holds it.
        memory: Memory,
        /// Elements from its start.
        offset: Expr,
    },
    /// An integer.
    Int(Expr),
}

/// Memory that a kernel hands to micro-kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// A buffer that a launch passes.
    Buffer(KBuffer),
    /// An array of the kernel's own.
    Scratch(KScratch),
}

impl Memory {
    /// The address of element `offset`, as an argument.
    pub fn at(self, offset: impl Into<Expr>) -> Arg {
        Arg::Pointer { memory: self, offset: offset.into() }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Memory::Buffer(buffer) => buffer.fmt(f),
            Memory::Scratch(scratch) => scratch.fmt(f),
        }
    }
}
