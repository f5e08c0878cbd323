//! What most recipes share: how a dense value is cut into iterations, and kernels with a buffer per operand.

use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Elem, Expr, Index, KBuffer, KVar, Memory, MicroKernelId, Var};
use crate::lower::target::Target;
use crate::lower::{BufferId, Constant, LowerCx, Method, code};
use crate::recipes::common::names::elem_letters;
use crate::types::Type;

/// Elements that one iteration works on, about: the pieces of a few operands then fit into a first-level cache, and
/// an iteration is long against the cost of handing it to a thread.
pub const ELEMENTS: usize = 4096;

/// Positions of a value (each `width` elements wide), shared among iterations. The cut depends on shapes alone.
///
/// On a GPU an iteration is a work item, so that iterations are as small as they can be: one position, or (see
/// [`Partition::items`]) a vector of columns of a part.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    /// Iterations that share a part, `step` columns each; 1 on the CPU.
    shares: usize,
    step: usize,
    batched: bool,
    /// Positions of one image, or in all.
    positions: usize,
    /// Parts of one image.
    parts: usize,
    /// Positions of a part; the last one may be smaller.
    part: usize,
    /// Images of an iteration; above 1 only where `parts` is 1.
    pub images: usize,
    /// Parts of an image that an iteration works on one after another.
    each: usize,
}

/// Numbers that a GPU's item reads or writes at once, where they come in rows of `count`.
pub fn run(count: usize) -> usize {
    [4, 2, 1].into_iter().find(|r| count.is_multiple_of(*r)).unwrap_or(1)
}

/// A part of one image, or of the value.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Number of the iteration that it belongs to; iterations that share a part have the same.
    pub iteration: Expr,
    /// The first column that this iteration computes, where the split has columns; else 0.
    pub column: Expr,
    /// First position, counted from the beginning of the buffer.
    pub position: Expr,
    /// Number of positions.
    pub count: usize,
}

impl Partition {
    /// Cuts `positions` positions, `width` elements each, per image if `batched`.
    pub fn new(target: &Target, batched: bool, positions: usize, width: usize) -> Partition {
        if target.is_gpu() {
            return Partition {
                shares: 1,
                step: 0,
                batched,
                positions,
                parts: positions.max(1),
                part: 1,
                images: 1,
                each: 1,
            };
        }
        Partition::large(batched, positions, width)
    }

    /// Large parts on any target: for work that is cheaper in blocks.
    pub fn large(batched: bool, positions: usize, width: usize) -> Partition {
        let most = (ELEMENTS / width.max(1)).max(1);
        let mut part = positions.div_ceil(positions.div_ceil(most).max(1)).max(1);
        if width == 1 && part < positions {
            // Parts that begin at whole vectors and whole blocks of random numbers.
            part = part.next_multiple_of(64);
        }
        let parts = positions.div_ceil(part).max(1);
        let images = if batched && parts == 1 { (most / positions.max(1)).max(1) } else { 1 };
        Partition { shares: 1, step: 0, batched, positions, parts, part, images, each: 1 }
    }

    /// Cuts a value; `width` is 1 or the number of channels.
    pub fn of(target: &Target, ty: &Type, width: usize) -> Partition {
        Partition::new(target, ty.batched, ty.elements() / width.max(1), width)
    }

    /// Cuts a value into parts of `block` elements.
    pub fn blocks(ty: &Type, block: usize) -> Partition {
        let (positions, part) = (ty.elements(), block.min(ty.elements()).max(1));
        Partition {
            shares: 1,
            step: 0,
            batched: ty.batched,
            positions,
            parts: positions.div_ceil(part).max(1),
            part,
            images: 1,
            each: 1,
        }
    }

    /// On a GPU each vector of the `width` columns of a part becomes an iteration of its own: neighbouring items work
    /// on neighbouring elements. Gives the columns that one iteration computes, and the lanes of its vectors, too.
    pub fn items(self, target: &Target, width: usize) -> (Partition, usize, u32) {
        if !target.is_gpu() {
            return (self, width, target.lanes);
        }
        if width == 1 {
            let lanes = run(self.positions);
            let whole = Partition { parts: (self.positions / lanes).max(1), part: lanes, ..self };
            return (whole, 1, lanes as u32);
        }
        self.by(width, run(width))
    }

    /// Makes each `step` of the `width` columns an iteration of its own.
    pub fn by(self, width: usize, step: usize) -> (Partition, usize, u32) {
        (Partition { shares: width / step, step, ..self }, step, step as u32)
    }

    /// Lets an iteration work on up to `most` parts of an image, one after another, as evenly as they go.
    pub fn together(self, most: usize) -> Partition {
        let rows = self.parts.div_ceil(most.max(1)).max(1);
        Partition { each: self.parts.div_ceil(rows), ..self }
    }

    /// Iterations of one image, or of the value.
    pub fn rows(&self) -> usize {
        self.parts.div_ceil(self.each)
    }

    /// Iterations as the planner wants them: `fixed + each · ceil(batch / images)`.
    fn iterations(&self) -> Expr {
        match (self.batched, self.images) {
            (false, _) => (self.rows() * self.shares).into(),
            (true, 1) => KVar::BATCH * (self.rows() * self.shares),
            (true, images) => Expr::BATCH.ceil_div(images as i64) * self.shares,
        }
    }

    /// Writes the parallel loop; `piece` writes the work on one piece.
    pub fn run(&self, k: &mut KernelBuilder, piece: impl FnMut(&mut KernelBuilder, &Piece)) {
        self.run_after(k, |_, _, _| {}, piece);
    }

    /// Like [`Partition::run`]; `before` writes what comes before the pieces of an iteration, whose number and column
    /// it gets.
    pub fn run_after(
        &self,
        k: &mut KernelBuilder,
        before: impl FnOnce(&mut KernelBuilder, &Expr, &Expr),
        mut piece: impl FnMut(&mut KernelBuilder, &Piece),
    ) {
        let (positions, parts, part) = (self.positions, self.parts, self.part);
        k.parallel("i", self.iterations(), |k, iteration| {
            let (iteration, column) = (iteration.div(self.shares), iteration.rem(self.shares) * self.step);
            before(k, &iteration, &column);
            if self.images > 1 {
                let images = (KVar::BATCH - &iteration * self.images).min(self.images);
                k.serial("image", images, |k, i| {
                    let position = (&iteration * self.images + i) * positions;
                    piece(k, &Piece { iteration, column, position, count: positions });
                });
                return;
            }
            if parts == 1 {
                let position = &iteration * positions;
                return piece(k, &Piece { iteration, column, position, count: positions });
            }
            let rows = self.rows();
            let (image, row) =
                if self.batched { (iteration.div(rows), iteration.rem(rows)) } else { (0.into(), iteration.clone()) };
            let mut one = |k: &mut KernelBuilder, number: Expr| {
                let position = &image * positions + &number * part;
                let at = |count| Piece {
                    iteration: iteration.clone(),
                    column: column.clone(),
                    position: position.clone(),
                    count,
                };
                let last = positions - (parts - 1) * part;
                if last == part {
                    return piece(k, &at(part));
                }
                k.when(number.lt(parts - 1), |k| piece(k, &at(part)));
                k.when(number.equals(parts - 1), |k| piece(k, &at(last)));
            };
            if self.each == 1 {
                return one(k, row);
            }
            let first = &row * self.each;
            k.serial("part", (Expr::from(parts) - &first).min(self.each), |k, j| one(k, &first + j));
        });
    }
}

/// A kernel whose buffers are the operands and then the result of a node.
pub struct KernelWithOperands {
    /// Its loops are written through this.
    pub kernel: KernelBuilder,
    /// Buffers of the operands, in the node's order.
    pub operands: Vec<Memory>,
    /// Buffer of the result, the last one.
    pub result: Memory,
    method: Method,
    buffers: Vec<BufferId>,
}

impl KernelWithOperands {
    /// Makes a kernel with all operands to read, and the result with `access`; `what` names the kernel and its method.
    pub fn new(cx: &LowerCx, what: &str, access: Access) -> KernelWithOperands {
        let mut nest = KernelWithOperands::bare(cx, what);
        for operand in &cx.operands {
            let memory = nest.buffer("x", cx.elem(operand.buffer), Access::Read, operand.buffer);
            nest.operands.push(memory);
        }
        nest.result = nest.buffer("y", cx.elem(cx.result.buffer), access, cx.result.buffer);
        nest
    }

    /// Makes a kernel without any buffer; whoever uses it must set `result`.
    pub fn bare(cx: &LowerCx, what: &str) -> KernelWithOperands {
        let kernel = KernelBuilder::new(format!("{}.{what}", cx.name));
        KernelWithOperands {
            kernel,
            operands: vec![],
            result: Memory::Buffer(KBuffer::from_u32(0)),
            method: what.into(),
            buffers: vec![],
        }
    }

    /// Adds a buffer.
    pub fn buffer(&mut self, name: &str, elem: Elem, access: Access, buffer: BufferId) -> Memory {
        let name = format!("{name}{}", self.buffers.len());
        self.buffers.push(buffer);
        self.kernel.buffer(&name, elem, access)
    }

    /// Appends the launch.
    pub fn launch(self, cx: &mut LowerCx) {
        cx.launch(self.method, self.kernel.finish(), &self.buffers);
    }

    /// Appends the launch of a kernel that sums over the images.
    pub fn launch_accumulating(self, cx: &mut LowerCx) {
        cx.launch_accumulating(self.method, self.kernel.finish(), &self.buffers);
    }
}

/// Writes `body(builder, row)` for each row; no loop for a single one.
pub fn rows(b: &mut MicroKernelBuilder, count: usize, body: impl FnOnce(&mut MicroKernelBuilder, Row)) {
    if count == 1 {
        return body(b, Row(None));
    }
    b.repeat("row", count, &[], |b, row, _| {
        body(b, Row(Some(row)));
        vec![]
    });
}

/// A row's number inside a micro-kernel.
#[derive(Clone, Copy, Debug)]
pub struct Row(Option<Var>);

impl Row {
    /// `index + number · stride`
    pub fn at(self, index: Index, stride: usize) -> Index {
        match self.0 {
            Some(row) => index.plus(row, stride as i64),
            None => index,
        }
    }
}

/// `y[0..count] = value` as a micro-kernel with the parameter `(y)`.
pub fn fill_micro_kernel(cx: &mut LowerCx, elem: Elem, lanes: u32, count: usize, value: f32) -> MicroKernelId {
    let value = Constant::from(value);
    cx.micro_kernel(code(
        format!("fill_{count}_{value}_v{lanes}{}", elem_letters("_", &[elem])),
        (elem, lanes, count, value),
        |&(elem, lanes, count, value), b| {
            let y = b.pointer("y", elem, Access::Write);
            b.elements(count, lanes, |b, i, lanes| {
                let value = b.f32(value.get(), lanes);
                b.store(y, i, value);
            });
        },
    ))
}

/// Copies rows between strides, as a micro-kernel with the parameters `(x, y)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CopyRows {
    /// Type of the elements of both.
    pub elem: Elem,
    /// Lanes of a vector.
    pub lanes: u32,
    /// Rows to copy.
    pub rows: usize,
    /// Elements of a row.
    pub len: usize,
    /// Elements from row to row, of x and of y.
    pub strides: [usize; 2],
}

impl CopyRows {
    /// Copies one row of `len` elements.
    pub fn one(elem: Elem, lanes: u32, len: usize) -> CopyRows {
        CopyRows { elem, lanes, rows: 1, len, strides: [0, 0] }
    }

    /// Makes the micro-kernel; dense rows are copied as one.
    pub fn micro_kernel(mut self, cx: &mut LowerCx) -> MicroKernelId {
        if self.strides == [self.len; 2] {
            self = CopyRows::one(self.elem, self.lanes, self.rows * self.len);
        }
        let CopyRows { elem, lanes, rows, len, strides: [from, to] } = self;
        let kind = if elem == Elem::F32 { "f" } else { "i" };
        cx.micro_kernel(code(format!("copy_{kind}{rows}x{len}_{from}_{to}_v{lanes}"), self, |copy, b| {
            let x = b.pointer("x", copy.elem, Access::Read);
            let y = b.pointer("y", copy.elem, Access::Write);
            let [from, to] = copy.strides;
            self::rows(b, copy.rows, |b, row| {
                b.elements(copy.len, copy.lanes, |b, i, lanes| {
                    let value = b.load(x, row.at(i.clone(), from), lanes);
                    b.store(y, row.at(i, to), value);
                });
            });
        }))
    }
}
