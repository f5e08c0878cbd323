//! A file's bytes to a graph of nodes and constants: sizes checked, functions inlined.

mod attributes;
pub mod external;
mod faults;
mod functions;
pub mod net;
mod qoperators;
pub mod tensor;

pub use net::{Net, Node};
pub use tensor::{Const, Data};
