//! The context in which one graph node is lowered: its operands and result as buffers, and the program under construction.

use super::program::{BufferId, Launch, ProgramBuilder, Role};
use super::target::Target;
use crate::kernel::ir::{Elem, Kernel, Module};
use crate::types::Type;

/// Why a node cannot be lowered for this target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub String);

pub type Lowered = Result<(), Unsupported>;

/// A graph value as a buffer. Its layout in memory is [`Type::memory_order`], dense, the batch outermost.
#[derive(Clone, Debug)]
pub struct Operand {
    pub buffer: BufferId,
    pub ty: Type,
}

pub struct LowerCx<'a> {
    pub target: &'a Target,
    /// A label for kernels and buffers: the value's name, or one made from the operator.
    pub name: String,
    pub operands: Vec<Operand>,
    pub result: Operand,
    pub builder: &'a mut ProgramBuilder,
}

impl LowerCx<'_> {
    pub fn module(&mut self) -> &mut Module {
        &mut self.builder.module
    }

    /// What the buffer holds: float32 values may be kept as bf16 where they are exact in it.
    pub fn elem(&self, buffer: BufferId) -> Elem {
        self.builder.buffers[buffer].elem
    }

    /// A buffer that lives within this run only.
    pub fn temp(&mut self, suffix: &str, elem: Elem, fixed: usize, per_image: usize) -> BufferId {
        let name = format!("{}.{suffix}", self.name);
        self.builder.buffer(&name, elem, fixed, per_image, Role::Temp)
    }

    /// Appends a launch; `args[i]` is the kernel's buffer i.
    pub fn launch(&mut self, kernel: Kernel, args: &[BufferId]) {
        self.append(kernel, args, false);
    }

    /// The same for a kernel that sums over the images, as [`Launch::sums`] says.
    pub fn launch_sums(&mut self, kernel: Kernel, args: &[BufferId]) {
        self.append(kernel, args, true);
    }

    fn append(&mut self, kernel: Kernel, args: &[BufferId], sums: bool) {
        assert_eq!(kernel.buffers.len(), args.len(), "arguments of kernel {}", kernel.name);
        let kernel = self.builder.kernel(kernel);
        self.builder.launches.push(Launch { kernel, args: args.to_vec(), sums });
    }

    /// The contents of `source` (weights, say) in another form of `len` elements, made by `build`'s kernel with the
    /// arguments `[source, form]`. Made once for all users of the same form; outside the run if `source` is a parameter.
    pub fn prepared(
        &mut self,
        source: BufferId,
        form: &str,
        elem: Elem,
        len: usize,
        build: impl FnOnce(&mut LowerCx) -> Kernel,
    ) -> BufferId {
        if let Some(&buffer) = self.builder.prepared.get(&(source, form.to_string())) {
            return buffer;
        }
        let outside = matches!(self.builder.buffers[source].role, Role::Param | Role::Prepared);
        let role = if outside { Role::Prepared } else { Role::Temp };
        let name = format!("{}.{form}", self.builder.buffers[source].name);
        let buffer = self.builder.buffer(&name, elem, len, 0, role);
        let kernel = build(self);
        let kernel = self.builder.kernel(kernel);
        let launch = Launch { kernel, args: vec![source, buffer], sums: false };
        if outside {
            self.builder.prepare.push(launch)
        } else {
            self.builder.launches.push(launch)
        }
        self.builder.prepared.insert((source, form.to_string()), buffer);
        buffer
    }
}
