//! Weights in the Winograd domain, as the products read them.

use super::{Patch, Size, add, both_sides, for_vectors};
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Elem, Kernel};
use crate::lower::{MicroKernelSpec, Packing, ProgramBuilder};
use crate::recipes::common::loops::piece;
use std::fmt::{self, Display};

/// The transformed weights `[panel][frequency][channel][panel's width]`: a panel's products read them as one stream.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Weights {
    /// F(m, r).
    pub size: Size,
    /// Channels, outputs, and columns of a panel.
    pub sizes: [usize; 3],
    /// Lanes of a vector.
    pub lanes: u32,
    /// Type of the weights as they are.
    pub source: Elem,
}

impl Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "winograd{}_{}", self.size, self.sizes[2])
    }
}

impl Packing for Weights {
    fn layout(&self) -> (Elem, usize) {
        let [c, o, width] = self.sizes;
        (Elem::F32, o.div_ceil(width) * self.size.transforms().frequencies() * c * width)
    }

    fn kernel(&self, builder: &mut ProgramBuilder) -> Kernel {
        let ([c, o, width], size, lanes) = (self.sizes, self.size, self.lanes);
        let f = size.transforms();
        let kind = kind(self.source);
        let mut kernel = KernelBuilder::new(format!("winograd_weights{kind}_{size}_{c}x{o}_{width}v{lanes}"));
        let from = kernel.buffer("w", self.source, Access::Read);
        let to = kernel.buffer("u", Elem::F32, Access::Write);
        let between = kernel.scratch("between", Elem::F32, f.points() * f.r * lanes as usize);
        kernel.parallel("t", o.div_ceil(width) * c, |k, t| {
            let (p, channel) = (t.div(c), t.rem(c));
            piece(k, &p, o, width, |k, columns| {
                let micro_kernel = builder.micro_kernel(Channel {
                    size,
                    columns,
                    weights: [c, o],
                    per_frequency: c * width,
                    lanes,
                    source: self.source,
                });
                let source = from.at(&channel * o + &p * width);
                let place = (&p * (f.frequencies() * c) + &channel) * width;
                k.call(micro_kernel, [source, between.at(0), to.at(place)]);
            });
        });
        kernel.finish()
    }
}

/// Transforms `columns` outputs of one channel: `(w, between, u)`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Channel {
    size: Size,
    columns: usize,
    /// Channels and outputs of the weights.
    weights: [usize; 2],
    /// Elements of a frequency of a panel.
    per_frequency: usize,
    lanes: u32,
    source: Elem,
}

impl Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Channel { size, columns, weights: [c, o], per_frequency, lanes, source } = self;
        write!(f, "winograd_weight{}_{size}_{columns}_of{c}x{o}_{per_frequency}v{lanes}", kind(*source))
    }
}

impl MicroKernelSpec for Channel {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let &Channel { size, columns, weights: [c, o], per_frequency, lanes, source } = self;
        let f = size.transforms();
        let w = b.pointer("w", source, Access::Read);
        let between = b.pointer("between", Elem::F32, Access::ReadWrite);
        let u = b.pointer("u", Elem::F32, Access::Write);
        for_vectors(b, columns, lanes, |b, at, count| {
            let row = (f.r * c * o) as i64;
            let patch = Patch { memory: w, base: at.clone(), row, column: (c * o) as i64, count };
            both_sides(b, &f.kernel, &patch, between, f.points(), lanes, |b, i, j, value| {
                let place = i.times((f.points() * per_frequency) as i64);
                b.store(u, add(place, &at).offset((j * per_frequency) as i64), value);
            });
        });
    }
}

/// A part of names: what the weights are in memory.
pub(super) fn kind(source: Elem) -> &'static str {
    if source == Elem::F32 { "" } else { "_bf16" }
}
