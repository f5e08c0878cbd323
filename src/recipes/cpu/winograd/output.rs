//! The way back from the Winograd domain to the image.

use super::{add, for_vectors};
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Elem, Expr, Memory, Val};
use crate::lower::MicroKernelSpec;
use crate::recipes::common::Epilogue;
use crate::recipes::common::winograd::{Patch, Size, both_sides};
use std::fmt::{self, Display};

/// The micro-kernel that transforms one tile back: `(m, between, y, [bias], rows)`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Output {
    /// F(m, r).
    pub size: Size,
    /// Columns of the tile that are in the image.
    pub across: usize,
    /// Output channels.
    pub columns: usize,
    /// Columns and channels of the result.
    pub image: [usize; 2],
    /// Lanes of a vector.
    pub lanes: u32,
    /// What becomes of results.
    pub end: End,
}

impl Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Output { size, across, columns, image: [ow, o], lanes, end } = self;
        write!(f, "winograd_output_{size}_{across}_{columns}_{ow}x{o}v{lanes}{end}")
    }
}

impl MicroKernelSpec for Output {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let &Output { size, across, columns, image: [ow, o], lanes, end } = self;
        let f = size.transforms();
        let frequencies = f.frequencies() as i64;
        let m = b.pointer("m", Elem::F32, Access::Read);
        let between = b.pointer("between", Elem::F32, Access::ReadWrite);
        let y = b.pointer("y", end.elem, Access::Write);
        let bias = end.bias.then(|| b.pointer("bias", Elem::F32, Access::Read));
        let rows = b.int("rows");
        for_vectors(b, columns, lanes, |b, at, count| {
            let step = i64::from(lanes);
            let base = at.clone().times(frequencies);
            let patch = Patch { memory: m, base, row: f.points() as i64 * step, column: step, count: lanes };
            let term = bias.map(|bias| b.load_partial(bias, at.clone(), lanes, count));
            both_sides(b, &f.output, &patch, between, rows, lanes, |b, i, j, value: Val| {
                if j >= across {
                    return;
                }
                let value = term.map_or(value, |term| b.add(value, term));
                let value = end.epilogue.apply(b, value);
                let place = add(i.times((ow * o) as i64), &at).offset((j * o) as i64);
                b.store_partial(y, place, value, count);
            });
        });
    }
}

/// What an iteration reads and writes.
pub struct Operands {
    /// The padded copy.
    pub from: Memory,
    /// The transformed weights.
    pub weights: Memory,
    /// One number for each output channel.
    pub bias: Option<Memory>,
    /// What comes after the bias.
    pub epilogue: Epilogue,
    /// The result.
    pub to: Memory,
    /// Type of the results in memory.
    pub elem: Elem,
    /// Where its rows begin.
    pub to_at: Expr,
}

/// What becomes of results on their way to memory, as a part of specifications.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct End {
    /// Whether there is a bias.
    pub bias: bool,
    /// What comes after the bias.
    pub epilogue: Epilogue,
    /// Type of the results in memory.
    pub elem: Elem,
}

impl Display for End {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let bias = if self.bias { "_bias" } else { "" };
        let kind = if self.elem == Elem::F32 { "" } else { "_to_bf16" };
        write!(f, "{bias}{}{kind}", self.epilogue.name())
    }
}

impl Operands {
    pub(super) fn end(&self) -> End {
        End { bias: self.bias.is_some(), epilogue: self.epilogue.stored_as(self.elem), elem: self.elem }
    }
}
