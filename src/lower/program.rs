//! The program under construction: kernels, buffers and launches.

use super::cost::Choice;
use crate::kernel::ir::{Elem, Kernel, KernelId, Module, PrimaryMap};
use crate::types::{DType, Format, Type};
use cranelift_entity::entity_impl;
use std::collections::{BTreeMap, HashMap};

/// A buffer of the program under construction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(u32);
entity_impl!(BufferId, "buffer ");

/// What a buffer holds; the planner decides where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Fed by the caller before each run.
    Input,
    /// Kept between runs: a parameter or an optimiser's state.
    Param,
    /// Derived from parameters alone; made again when they change.
    Prepared,
    /// Made and used within a run.
    Temp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub name: String,
    pub elem: Elem,
    /// Elements: `fixed + per_image · batch`; one of the two is 0.
    pub fixed: usize,
    pub per_image: usize,
    pub role: Role,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub kernel: KernelId,
    pub args: Vec<BufferId>,
    /// It sums over the images: its results of fixed size start from nothing in the first group of a batch (`first` is 0) and
    /// grow with each further one.
    pub sums: bool,
}

/// A program under construction: kernels, buffers and the order of launches.
#[derive(Clone, Debug, Default)]
pub struct ProgramBuilder {
    pub module: Module,
    pub buffers: PrimaryMap<BufferId, Buffer>,
    /// Run when parameters changed (inference), or at the start of each step (training).
    pub prepare: Vec<Launch>,
    pub launches: Vec<Launch>,
    /// The launch after which a shared value that is made from values per image is complete, and the value.
    pub sums: Vec<(usize, BufferId)>,
    /// Instead of `launches` where the batch is small; makes the same values.
    pub few: Option<Vec<Launch>>,
    /// What was weighed, for whoever wants to know.
    pub choices: Vec<Choice>,
    /// On a GPU, the chains that can be one kernel: their names, and the products that they are otherwise.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Formats that values were rounded to.
    pub exact: HashMap<BufferId, Format>,
    pub(super) prepared: HashMap<(BufferId, String), BufferId>,
}

impl ProgramBuilder {
    pub fn buffer(&mut self, name: &str, elem: Elem, fixed: usize, per_image: usize, role: Role) -> BufferId {
        self.buffers.push(Buffer { name: name.into(), elem, fixed, per_image, role })
    }

    /// A buffer for a graph value.
    pub fn value(&mut self, name: &str, ty: &Type, role: Role) -> BufferId {
        let elem = match ty.dtype {
            DType::F32 => Elem::F32,
            DType::I32 => Elem::I32,
        };
        let (fixed, per_image) = if ty.batched { (0, ty.elements()) } else { (ty.elements(), 0) };
        self.buffer(name, elem, fixed, per_image, role)
    }

    /// A buffer for a value whose elements are exact in bf16.
    pub fn narrow(&mut self, name: &str, ty: &Type, role: Role) -> BufferId {
        let buffer = self.value(name, ty, role);
        self.buffers[buffer].elem = Elem::Bf16;
        buffer
    }

    /// Forgets forms that were made within the run: other launches must make their own.
    pub fn forget_forms(&mut self) {
        let buffers = &self.buffers;
        self.prepared.retain(|_, buffer| buffers[*buffer].role == Role::Prepared);
    }

    pub(super) fn kernel(&mut self, kernel: Kernel) -> KernelId {
        let found = self.module.kernels.iter().find(|(_, k)| **k == kernel).map(|(id, _)| id);
        found.unwrap_or_else(|| self.module.kernels.push(kernel))
    }
}
