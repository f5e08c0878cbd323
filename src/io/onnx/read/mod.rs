//! A file's bytes to a graph of nodes and constants: sizes checked, functions inlined.

pub mod external;
mod faults;
mod functions;
pub mod net;
pub mod tensor;

pub use net::{Net, Node};
pub use tensor::{Const, Data};
