//! What lowering a graph node to kernels works with: the context of the node, the program under construction, the machine, and
//! what work costs on it.

pub mod context;
pub mod cost;
pub mod interp;
pub mod program;
pub mod target;
pub mod tile;

pub use context::{LowerCx, Lowered, Operand, Unsupported};
pub use program::{Buffer, BufferId, Launch, ProgramBuilder, Role};
