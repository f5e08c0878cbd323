//! What lowering a graph node to kernels works with: the context of the node, the program under construction, the
//! machine, and what work costs on it.

pub mod context;
pub mod cost;
mod gpu;
pub mod interp;
pub mod program;
pub mod provenance;
pub mod spec;
pub mod target;
pub mod tile;
mod widths;

pub use context::{LowerCx, LowerError, Lowered, Operand};
pub use program::{Buffer, BufferId, Launch, Packing, PartialSum, ProgramBuilder, Role};
pub use provenance::{Method, Origins, Provenance, Tunable};
pub use spec::{Code, Constant, MicroKernelSpec, Params, Pure, Stateless, code};
