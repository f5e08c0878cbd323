//! The place where one graph node is lowered: its operands and result as buffers, and the program under construction.

use super::cost::Choice;
use super::ir::{Elem, Kernel, Module};
use super::target::Target;
use crate::types::Format;
use crate::types::{DType, Type};
use std::collections::{BTreeMap, HashMap};

/// A buffer of the program under construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// Why a node cannot be lowered for this target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub String);

pub type Lowered = Result<(), Unsupported>;

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
    /// Index into the module's kernels.
    pub kernel: usize,
    pub args: Vec<Slot>,
    /// It sums over the images: its results of fixed size start from nothing in the first group of a batch (`first` is 0) and
    /// grow with each further one.
    pub sums: bool,
}

/// A program under construction: kernels, buffers and the order of launches.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub module: Module,
    pub buffers: Vec<Buffer>,
    /// Run when parameters changed (inference), or at the start of each step (training).
    pub prepare: Vec<Launch>,
    pub launches: Vec<Launch>,
    /// The launch after which a shared value that is made from values per image is complete, and the value.
    pub sums: Vec<(usize, Slot)>,
    /// Instead of `launches` where the batch is small; makes the same values.
    pub few: Option<Vec<Launch>>,
    /// What was weighed, for whoever wants to know.
    pub choices: Vec<Choice>,
    /// On a GPU, the chains that can be one kernel: their names, and the products that they are otherwise.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Formats that values were rounded to.
    pub exact: HashMap<Slot, Format>,
    prepared: HashMap<(Slot, String), Slot>,
}

/// A graph value as a buffer. Its layout in memory is [`Type::memory_order`], dense, the batch outermost.
#[derive(Clone, Debug)]
pub struct Operand {
    pub slot: Slot,
    pub ty: Type,
}

pub struct Site<'a> {
    pub target: &'a Target,
    /// A label for kernels and buffers: the value's name, or one made from the operator.
    pub name: String,
    pub operands: Vec<Operand>,
    pub result: Operand,
    pub draft: &'a mut Draft,
}

impl Draft {
    pub fn buffer(&mut self, name: &str, elem: Elem, fixed: usize, per_image: usize, role: Role) -> Slot {
        self.buffers.push(Buffer { name: name.into(), elem, fixed, per_image, role });
        Slot(self.buffers.len() as u32 - 1)
    }

    /// A buffer for a graph value.
    pub fn value(&mut self, name: &str, ty: &Type, role: Role) -> Slot {
        let elem = match ty.dtype {
            DType::F32 => Elem::F32,
            DType::I32 => Elem::I32,
        };
        let (fixed, per_image) = if ty.batched { (0, ty.elements()) } else { (ty.elements(), 0) };
        self.buffer(name, elem, fixed, per_image, role)
    }

    /// A buffer for a value whose elements are exact in bf16.
    pub fn narrow(&mut self, name: &str, ty: &Type, role: Role) -> Slot {
        let slot = self.value(name, ty, role);
        self.buffers[slot.0 as usize].elem = Elem::Bf16;
        slot
    }

    /// Forgets forms that were made within the run: other launches must make their own.
    pub fn forget_forms(&mut self) {
        let buffers = &self.buffers;
        self.prepared.retain(|_, slot| buffers[slot.0 as usize].role == Role::Prepared);
    }

    fn kernel(&mut self, kernel: Kernel) -> usize {
        if let Some(i) = self.module.kernels.iter().position(|k| *k == kernel) {
            return i;
        }
        self.module.kernels.push(kernel);
        self.module.kernels.len() - 1
    }
}

impl Site<'_> {
    pub fn module(&mut self) -> &mut Module {
        &mut self.draft.module
    }

    /// What the buffer holds: float32 values may be kept as bf16 where they are exact in it.
    pub fn elem(&self, slot: Slot) -> Elem {
        self.draft.buffers[slot.0 as usize].elem
    }

    /// A buffer that lives within this run only.
    pub fn temp(&mut self, suffix: &str, elem: Elem, fixed: usize, per_image: usize) -> Slot {
        let name = format!("{}.{suffix}", self.name);
        self.draft.buffer(&name, elem, fixed, per_image, Role::Temp)
    }

    /// Appends a launch; `args[i]` is the kernel's buffer i.
    pub fn launch(&mut self, kernel: Kernel, args: &[Slot]) {
        self.append(kernel, args, false);
    }

    /// The same for a kernel that sums over the images, as [`Launch::sums`] says.
    pub fn launch_sums(&mut self, kernel: Kernel, args: &[Slot]) {
        self.append(kernel, args, true);
    }

    fn append(&mut self, kernel: Kernel, args: &[Slot], sums: bool) {
        assert_eq!(kernel.buffers.len(), args.len(), "arguments of kernel {}", kernel.name);
        let kernel = self.draft.kernel(kernel);
        self.draft.launches.push(Launch { kernel, args: args.to_vec(), sums });
    }

    /// The contents of `source` (weights, say) in another form of `len` elements, made by `build`'s kernel with the
    /// arguments `[source, form]`. Made once for all users of the same form; outside the run if `source` is a parameter.
    pub fn prepared(
        &mut self,
        source: Slot,
        form: &str,
        elem: Elem,
        len: usize,
        build: impl FnOnce(&mut Site) -> Kernel,
    ) -> Slot {
        if let Some(&slot) = self.draft.prepared.get(&(source, form.to_string())) {
            return slot;
        }
        let outside = matches!(self.draft.buffers[source.0 as usize].role, Role::Param | Role::Prepared);
        let role = if outside { Role::Prepared } else { Role::Temp };
        let name = format!("{}.{form}", self.draft.buffers[source.0 as usize].name);
        let slot = self.draft.buffer(&name, elem, len, 0, role);
        let kernel = build(self);
        let kernel = self.draft.kernel(kernel);
        let launch = Launch { kernel, args: vec![source, slot], sums: false };
        if outside {
            self.draft.prepare.push(launch)
        } else {
            self.draft.launches.push(launch)
        }
        self.draft.prepared.insert((source, form.to_string()), slot);
        slot
    }
}
