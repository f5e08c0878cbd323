//! OpenCL at run time: platforms and devices, compiled programs, and the engine that runs a plan on one of them.
//!
//! The library is found when the program runs (see the crate `opencl-loader`); everything here answers with one clear
//! error where it is missing. `context` is the only file that talks to it, and one of the named places of `unsafe`.

mod cache;
mod context;
mod device_program;
mod devices;
mod engine;
mod program;
mod shared;
pub mod tensor;

pub use cache::tuned;
pub use context::{DeviceContext, Fault};
pub use devices::{Choice, Info, choose, list, of_process, pick};
pub use engine::OpenCl;

/// A module as OpenCL C, and what there is to know of its kernels, in the order of the plan's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// OpenCL C.
    pub text: String,
    /// What a launch needs to know of each kernel, in the order of the module's.
    pub kernels: Vec<Entry>,
    /// Whether the driver's compiler optimises; without that it is done sooner.
    pub optimise: bool,
}

/// One kernel of a [`Source`]. Its parameters are, for each buffer, the memory and the offset in it in bytes (`long`);
/// then the images of this run, the first of them and those of the whole batch (`long`); then the workspace, if it has
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The function's name.
    pub name: String,
    /// Work items of a group, where the kernel is written for groups: one group for each of the launch's iterations.
    /// Otherwise any number of items share the iterations.
    pub items: Option<usize>,
    /// Bytes of global memory that each work item needs for itself.
    pub workspace_bytes: usize,
}
