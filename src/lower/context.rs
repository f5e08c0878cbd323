//! The context in which one graph node is lowered: its operands and result as buffers, and the program under
//! construction.

use super::program::{BufferId, Launch, Packing, ProgramBuilder, Role};
use super::provenance::Provenance;
use super::spec::MicroKernelSpec;
use super::target::Target;
use crate::kernel::ir::{Elem, Expr, Kernel, MicroKernelId};
use crate::types::Type;
use thiserror::Error;

/// Why a node cannot be lowered for this target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LowerError {
    /// No recipe computes it.
    #[error("{0}")]
    Unsupported(String),
    /// Shapes that the checks of graphs rule out.
    #[error("{0}")]
    Bug(String),
}

/// The outcome of lowering a node.
pub type Lowered = Result<(), LowerError>;

/// A graph value as a buffer. Its layout in memory is [`Type::memory_order`], dense, the batch outermost.
#[derive(Clone, Debug)]
pub struct Operand {
    /// Where it lies.
    pub buffer: BufferId,
    /// What it is.
    pub ty: Type,
}

/// What lowering a node reads and writes.
pub struct LowerCx<'a> {
    /// The machine that kernels are written for.
    pub target: &'a Target,
    /// A label for kernels and buffers: the value's name, or one made from the operator.
    pub name: String,
    /// The node's operands, in order.
    pub operands: Vec<Operand>,
    /// What the node computes.
    pub result: Operand,
    /// The program that launches are added to.
    pub builder: &'a mut ProgramBuilder,
}

impl LowerCx<'_> {
    /// What the buffer holds: float32 values may be kept as bf16 where they are exact in it.
    pub fn elem(&self, buffer: BufferId) -> Elem {
        self.builder.buffers[buffer].elem
    }

    /// 0 where there is nothing to add to: before the first images of a sum. Of a share sums are zeros then.
    pub fn images_before(&self) -> Expr {
        if self.target.shares { 1.into() } else { Expr::FIRST }
    }

    /// A buffer that lives within this run only.
    pub fn temp(&mut self, suffix: &str, elem: Elem, fixed: usize, per_image: usize) -> BufferId {
        let name = format!("{}.{suffix}", self.name);
        self.builder.buffer(&name, elem, fixed, per_image, Role::Temp)
    }

    /// The micro-kernel of a specification, shared by equal ones.
    pub fn micro_kernel(&mut self, spec: impl MicroKernelSpec) -> MicroKernelId {
        self.builder.micro_kernel(spec)
    }

    /// Appends a launch; `args[i]` is the kernel's buffer i.
    pub fn launch(&mut self, from: impl Into<Provenance>, kernel: Kernel, args: &[BufferId]) {
        self.append(from.into(), kernel, args, false);
    }

    /// Appends a launch of a kernel that sums over the images, as [`Launch::accumulates`] says.
    pub fn launch_accumulating(&mut self, from: impl Into<Provenance>, kernel: Kernel, args: &[BufferId]) {
        self.append(from.into(), kernel, args, true);
    }

    fn append(&mut self, from: Provenance, kernel: Kernel, args: &[BufferId], accumulates: bool) {
        assert_eq!(kernel.buffers.len(), args.len(), "arguments of kernel {}", kernel.name);
        let kernel = self.builder.kernel(kernel, from);
        self.builder.launches.push(Launch { kernel, args: args.to_vec(), accumulates });
    }

    /// The contents of `source` packed for other kernels, see [`ProgramBuilder::packed`].
    pub fn packed(&mut self, source: BufferId, packing: impl Packing) -> BufferId {
        self.builder.packed(source, packing)
    }
}
