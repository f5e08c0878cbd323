//! What most recipes share: how a dense value is cut into rounds, and kernels with a buffer per operand.

use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Elem, Expr, Index, KBuffer, KVar, Memory, MicroKernelId, Module, Var};
use crate::lower::target::Target;
use crate::lower::{BufferId, LowerCx};
use crate::types::{DType, Type};

/// Elements that one round works on, about: the pieces of a few operands then fit into a first-level cache, and a round
/// is long against the cost of handing it to a thread.
pub const ROUND: usize = 4096;

/// Positions of a value (each `width` elements wide), shared among rounds. The cut depends on shapes alone.
///
/// On a GPU a round is a work item, so that rounds are as small as they can be: one position, or (see [`Split::items`]) a
/// vector of columns of a part.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    /// Rounds that share a part, `step` columns each; 1 on the CPU.
    shares: usize,
    step: usize,
    batched: bool,
    /// Of one image, or in all.
    positions: usize,
    /// Rounds of one image.
    pub parts: usize,
    /// Positions of a part; the last one may be smaller.
    part: usize,
    /// Images of a round; above 1 only where `parts` is 1.
    pub images: usize,
}

/// Numbers that a GPU's item reads or writes at once, where they come in rows of `count`.
pub fn run(count: usize) -> usize {
    [4, 2, 1].into_iter().find(|r| count.is_multiple_of(*r)).unwrap_or(1)
}

/// A part of one image, or of the value.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Number of the round that it belongs to; rounds that share a part have the same.
    pub round: Expr,
    /// The first column that this round computes, where the split has columns; else 0.
    pub column: Expr,
    /// First position, counted from the beginning of the buffer.
    pub position: Expr,
    /// Positions.
    pub count: usize,
}

impl Split {
    pub fn new(target: &Target, batched: bool, positions: usize, width: usize) -> Split {
        if target.gpu.is_some() {
            return Split { shares: 1, step: 0, batched, positions, parts: positions.max(1), part: 1, images: 1 };
        }
        Split::large(batched, positions, width)
    }

    /// Large parts on any target: for work that is cheaper in blocks.
    pub fn large(batched: bool, positions: usize, width: usize) -> Split {
        let most = (ROUND / width.max(1)).max(1);
        let mut part = positions.div_ceil(positions.div_ceil(most).max(1)).max(1);
        if width == 1 && part < positions {
            // Parts that begin at whole vectors and whole blocks of random numbers.
            part = part.next_multiple_of(64);
        }
        let parts = positions.div_ceil(part).max(1);
        let images = if batched && parts == 1 { (most / positions.max(1)).max(1) } else { 1 };
        Split { shares: 1, step: 0, batched, positions, parts, part, images }
    }

    /// For a value: `width` is 1 or the number of channels.
    pub fn of(target: &Target, ty: &Type, width: usize) -> Split {
        Split::new(target, ty.batched, ty.elements() / width.max(1), width)
    }

    /// Parts of `block` elements.
    pub fn blocks(ty: &Type, block: usize) -> Split {
        let (positions, part) = (ty.elements(), block.min(ty.elements()).max(1));
        Split {
            shares: 1,
            step: 0,
            batched: ty.batched,
            positions,
            parts: positions.div_ceil(part).max(1),
            part,
            images: 1,
        }
    }

    /// On a GPU each vector of the `width` columns of a part becomes a round of its own: neighbouring items work on
    /// neighbouring elements. Gives the columns that one round computes, and the lanes of its vectors, too.
    pub fn items(self, target: &Target, width: usize) -> (Split, usize, u32) {
        if target.gpu.is_none() {
            return (self, width, target.lanes);
        }
        if width == 1 {
            let lanes = run(self.positions);
            let whole = Split { parts: (self.positions / lanes).max(1), part: lanes, ..self };
            return (whole, 1, lanes as u32);
        }
        self.by(width, run(width))
    }

    /// Each `step` of the `width` columns as a round of its own.
    pub fn by(self, width: usize, step: usize) -> (Split, usize, u32) {
        (Split { shares: width / step, step, ..self }, step, step as u32)
    }

    /// Rounds as the planner wants them: `fixed + each · ceil(batch / images)`.
    fn rounds(&self) -> Expr {
        match (self.batched, self.images) {
            (false, _) => (self.parts * self.shares).into(),
            (true, 1) => KVar::BATCH * (self.parts * self.shares),
            (true, images) => Expr::BATCH.ceil_div(images as i64) * self.shares,
        }
    }

    /// The parallel loop; `piece` writes the work on one piece.
    pub fn run(&self, k: &mut KernelBuilder, piece: impl FnMut(&mut KernelBuilder, &Piece)) {
        self.run_after(k, |_, _, _| {}, piece);
    }

    /// The same; `before` writes what comes before the pieces of a round, whose number and column it gets.
    pub fn run_after(
        &self,
        k: &mut KernelBuilder,
        before: impl FnOnce(&mut KernelBuilder, &Expr, &Expr),
        mut piece: impl FnMut(&mut KernelBuilder, &Piece),
    ) {
        let (positions, parts, part) = (self.positions, self.parts, self.part);
        k.parallel("round", self.rounds(), |k, round| {
            let (round, column) = (round.div(self.shares), round.rem(self.shares) * self.step);
            before(k, &round, &column);
            if self.images > 1 {
                let images = (KVar::BATCH - &round * self.images).min(self.images);
                k.serial("i", images, |k, i| {
                    let position = (&round * self.images + i) * positions;
                    piece(k, &Piece { round, column, position, count: positions });
                });
                return;
            }
            if parts == 1 {
                let position = &round * positions;
                return piece(k, &Piece { round, column, position, count: positions });
            }
            let (image, number) =
                if self.batched { (round.div(parts), round.rem(parts)) } else { (0.into(), round.clone()) };
            let position = image * positions + &number * part;
            let last = positions - (parts - 1) * part;
            if last == part {
                return piece(k, &Piece { round, column, position, count: part });
            }
            let at = |count| Piece { round: round.clone(), column: column.clone(), position: position.clone(), count };
            k.when(number.lt(parts - 1), |k| piece(k, &at(part)));
            k.when(number.equals(parts - 1), |k| piece(k, &at(last)));
        });
    }
}

/// A kernel whose buffers are the operands and then the result of a site.
pub struct Dressed {
    pub kernel: KernelBuilder,
    pub operands: Vec<Memory>,
    pub result: Memory,
    buffers: Vec<BufferId>,
}

impl Dressed {
    pub fn new(cx: &LowerCx, what: &str, access: Access) -> Dressed {
        let mut dressed = Dressed::bare(cx, what);
        for operand in &cx.operands {
            let memory = dressed.buffer("x", cx.elem(operand.buffer), Access::Read, operand.buffer);
            dressed.operands.push(memory);
        }
        dressed.result = dressed.buffer("y", cx.elem(cx.result.buffer), access, cx.result.buffer);
        dressed
    }

    /// Without any buffer; `result` must be set by who uses it.
    pub fn bare(cx: &LowerCx, what: &str) -> Dressed {
        let kernel = KernelBuilder::new(format!("{}.{what}", cx.name));
        Dressed { kernel, operands: vec![], result: Memory::Buffer(KBuffer::from_u32(0)), buffers: vec![] }
    }

    pub fn buffer(&mut self, name: &str, elem: Elem, access: Access, buffer: BufferId) -> Memory {
        let name = format!("{name}{}", self.buffers.len());
        self.buffers.push(buffer);
        self.kernel.buffer(&name, elem, access)
    }

    pub fn launch(self, cx: &mut LowerCx) {
        cx.launch(self.kernel.finish(), &self.buffers);
    }

    /// For a kernel that sums over the images.
    pub fn launch_sums(self, cx: &mut LowerCx) {
        cx.launch_sums(self.kernel.finish(), &self.buffers);
    }
}

pub fn elem(ty: &Type) -> Elem {
    match ty.dtype {
        DType::F32 => Elem::F32,
        DType::I32 => Elem::I32,
    }
}

/// `body(builder, row)` for each row; no loop for a single one.
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
pub fn fill_micro_kernel(module: &mut Module, lanes: u32, count: usize, value: f32) -> MicroKernelId {
    module.micro_kernel(&format!("fill_{count}_{:08x}_v{lanes}", value.to_bits()), |b| {
        let y = b.pointer("y", Elem::F32, Access::Write);
        b.elements(count, lanes, |b, i, lanes| {
            let value = b.f32(value, lanes);
            b.store(y, i, value);
        });
    })
}

/// Copies `rows` rows of `len` elements between strides, as a micro-kernel with the parameters `(x, y)`.
pub fn copy_micro_kernel(
    module: &mut Module,
    elem: Elem,
    lanes: u32,
    rows: usize,
    len: usize,
    from: usize,
    to: usize,
) -> MicroKernelId {
    let (rows, len, from, to) = if from == len && to == len { (1, rows * len, 0, 0) } else { (rows, len, from, to) };
    let kind = if elem == Elem::F32 { "f" } else { "i" };
    module.micro_kernel(&format!("copy_{kind}{rows}x{len}_{from}_{to}_v{lanes}"), |b| {
        let x = b.pointer("x", elem, Access::Read);
        let y = b.pointer("y", elem, Access::Write);
        self::rows(b, rows, |b, row| {
            b.elements(len, lanes, |b, i, lanes| {
                let value = b.load(x, row.at(i.clone(), from), lanes);
                b.store(y, row.at(i, to), value);
            });
        });
    })
}
