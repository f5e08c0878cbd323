//! The program under construction: kernels, buffers and launches.

use super::cost::Choice;
use super::provenance::{Origins, Provenance};
use super::spec::{Key, MicroKernelSpec};
use crate::kernel::ir::{Elem, Kernel, KernelId, MicroKernelId, Module, PrimaryMap};
use crate::types::{DType, Format, Type};
use cranelift_entity::entity_impl;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;

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

/// Memory of one value, before it has a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its name, for people.
    pub name: String,
    /// Type of its elements.
    pub elem: Elem,
    /// Elements: `fixed + per_image · batch`; one of the two is 0.
    pub fixed: usize,
    /// Elements of each image.
    pub per_image: usize,
    /// What it holds.
    pub role: Role,
}

/// A run of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// One of the module's kernels.
    pub kernel: KernelId,
    /// The kernel's buffers, in its order.
    pub args: Vec<BufferId>,
    /// Accumulates over the batch: results of fixed size are overwritten by the first group of images (`first` is 0)
    /// and added to by later ones.
    pub accumulates: bool,
}

/// A form of a buffer's contents (weights, say) that other kernels read, as a value that builds the kernel which
/// makes it. It displays as a part of the packed buffer's name.
pub trait Packing: Eq + Hash + Display + Send + Sync + 'static {
    /// Type and number of the packed elements.
    fn layout(&self) -> (Elem, usize);

    /// The kernel with the arguments `[source, packed]`.
    fn kernel(&self, builder: &mut ProgramBuilder) -> Kernel;
}

/// A value that is a sum over the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialSum {
    /// The first of the launches that compute it, which follow each other.
    pub begin: usize,
    /// The last one: after it the buffer holds the sum over the images that the launches saw.
    pub last: usize,
    /// The buffer.
    pub buffer: BufferId,
}

/// A program under construction: kernels, buffers and the order of launches.
#[derive(Clone, Debug, Default)]
pub struct ProgramBuilder {
    /// Kernels and micro-kernels.
    pub module: Module,
    /// All buffers.
    pub buffers: PrimaryMap<BufferId, Buffer>,
    /// Launches that run when parameters changed (inference), or at the start of each step (training).
    pub prepare: Vec<Launch>,
    /// Launches in the order of a run.
    pub launches: Vec<Launch>,
    /// Values shared by the batch that are made from values per image.
    pub partial_sums: Vec<PartialSum>,
    /// Launches that replace `launches` where the batch is small; they make the same values.
    pub small_batch: Option<Vec<Launch>>,
    /// Choices of algorithms, for whoever wants to know.
    pub choices: Vec<Choice>,
    /// On a GPU, the chains that can be one kernel: their names, and the products that they are otherwise.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Formats that values were rounded to.
    pub exact: HashMap<BufferId, Format>,
    /// Where the module's kernels come from.
    pub origins: Origins,
    micro_kernels: HashMap<Key, MicroKernelId>,
    /// The kernels as their recipes wrote them, by which equal ones are found.
    kernels: HashMap<Kernel, KernelId>,
    packed: HashMap<(BufferId, Key), BufferId>,
}

/// What a value of this type has in memory.
pub fn elem(ty: &Type) -> Elem {
    match ty.dtype {
        DType::F32 => Elem::F32,
        DType::I32 => Elem::I32,
        DType::U8 => Elem::U8,
    }
}

impl ProgramBuilder {
    /// Adds a buffer of `fixed` elements, or `per_image` for each image.
    pub fn buffer(&mut self, name: &str, elem: Elem, fixed: usize, per_image: usize, role: Role) -> BufferId {
        self.buffers.push(Buffer { name: name.into(), elem, fixed, per_image, role })
    }

    /// A buffer for a graph value.
    pub fn value(&mut self, name: &str, ty: &Type, role: Role) -> BufferId {
        let elem = elem(ty);
        let (fixed, per_image) = if ty.batched { (0, ty.elements()) } else { (ty.elements(), 0) };
        self.buffer(name, elem, fixed, per_image, role)
    }

    /// A buffer for a value whose elements are exact in bf16.
    pub fn bf16_value(&mut self, name: &str, ty: &Type, role: Role) -> BufferId {
        let buffer = self.value(name, ty, role);
        self.buffers[buffer].elem = Elem::Bf16;
        buffer
    }

    /// Forgets what was packed within the run: other launches must make their own.
    pub fn forget_packed(&mut self) {
        let buffers = &self.buffers;
        self.packed.retain(|_, buffer| buffers[*buffer].role == Role::Prepared);
    }

    /// The micro-kernel of a specification, built if there is none of an equal one.
    pub fn micro_kernel<S: MicroKernelSpec>(&mut self, spec: S) -> MicroKernelId {
        let spec = Arc::new(spec);
        let key = Key::new(spec.clone());
        if let Some(&id) = self.micro_kernels.get(&key) {
            return id;
        }
        let name = unused(spec.to_string(), |name| self.module.micro_kernels.values().any(|m| m.name == name));
        let id = self.module.micro_kernel(&name, |b| spec.build(b));
        self.origins.tiles.extend(spec.tile().map(|tile| (name, tile)));
        self.micro_kernels.insert(key, id);
        id
    }

    /// Adds a kernel, or finds an equal one; gives its index.
    pub fn kernel(&mut self, kernel: Kernel, provenance: impl Into<Provenance>) -> KernelId {
        if let Some(&index) = self.kernels.get(&kernel) {
            return index;
        }
        let name = unused(kernel.name.clone(), |name| self.module.kernels.values().any(|k| k.name == name));
        self.origins.kernels.insert(name.clone(), provenance.into());
        let index = self.module.kernels.push(Kernel { name, ..kernel.clone() });
        self.kernels.insert(kernel, index);
        index
    }

    /// The contents of `source` packed as `packing` says. Made once for all users of an equal packing; outside the
    /// run if
    /// `source` is a parameter.
    pub fn packed<P: Packing>(&mut self, source: BufferId, packing: P) -> BufferId {
        let packing = Arc::new(packing);
        let key = (source, Key::new(packing.clone()));
        if let Some(&buffer) = self.packed.get(&key) {
            return buffer;
        }
        let Buffer { name, role, .. } = &self.buffers[source];
        let outside = matches!(role, Role::Param | Role::Prepared);
        let ((elem, len), name) = (packing.layout(), format!("{name}.{packing}"));
        let buffer = self.buffer(&name, elem, len, 0, if outside { Role::Prepared } else { Role::Temp });
        let kernel = packing.kernel(self);
        let kernel = self.kernel(kernel, "packing");
        let launches = if outside { &mut self.prepare } else { &mut self.launches };
        launches.push(Launch { kernel, args: vec![source, buffer], accumulates: false });
        self.packed.insert(key, buffer);
        buffer
    }
}

/// Returns `name`, with a number added if it is taken.
fn unused(name: String, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|i| format!("{name}_{i}"));
    std::iter::once(name.clone()).chain(numbered).find(|n| !taken(n)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::super::spec::code;
    use super::*;
    use crate::kernel::build::MicroKernelBuilder;
    use crate::kernel::ir::Access;
    use std::fmt;

    /// A specification whose name forgets its count.
    #[derive(PartialEq, Eq, Hash)]
    struct Zeros(usize);

    impl Display for Zeros {
        fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("zeros")
        }
    }

    impl MicroKernelSpec for Zeros {
        fn build(&self, b: &mut MicroKernelBuilder) {
            zeros(b, self.0);
        }
    }

    fn zeros(b: &mut MicroKernelBuilder, count: usize) {
        let (y, zero) = (b.pointer("y", Elem::F32, Access::Write), b.f32(0.0, 1));
        (0..count).for_each(|i| b.store(y, i, zero));
    }

    #[test]
    fn equal_values_share_a_micro_kernel_and_a_name_alone_does_not() {
        let mut builder = ProgramBuilder::default();
        let one = builder.micro_kernel(Zeros(1));
        let two = builder.micro_kernel(Zeros(2));
        assert!(one != two && one == builder.micro_kernel(Zeros(1)));
        // The same value of another type, and of another function, is another specification.
        let three = builder.micro_kernel(code("zeros", 1usize, |&count, b| zeros(b, count)));
        let four = builder.micro_kernel(code("zeros", 1usize, |&count, b| zeros(b, count + 1)));
        assert!(three != one && four != three);
        let names: Vec<&str> = builder.module.micro_kernels.values().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["zeros", "zeros_2", "zeros_3", "zeros_4"]);
    }
}
