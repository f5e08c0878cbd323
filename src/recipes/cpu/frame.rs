//! Copies of image rows into scratch memory with zeros around them, so that the contractions need no borders.

use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Elem, Expr, Memory, MicroKernelId};
use crate::lower::{LowerCx, MicroKernelSpec, code};
use crate::recipes::common::names::elem_letters;
use std::fmt::{self, Display};

/// A window of an image `[rows][width][channels]` that may reach beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Rows and columns of the image.
    pub image: [usize; 2],
    /// Channels of both.
    pub channels: usize,
    /// Column of the image where the window begins; negative: that many columns of zeros first.
    pub left: i64,
    /// Columns of the window.
    pub width: usize,
}

impl Frame {
    /// Elements of a row of the window.
    pub fn pitch(&self) -> usize {
        self.width * self.channels
    }

    /// First column of the window that is in the image, first column of the image that is in the window, number of
    /// both.
    fn overlap(&self) -> (usize, usize, usize) {
        let to = self.left.clamp(i64::MIN, 0).unsigned_abs() as usize;
        let from = self.left.max(0) as usize;
        let count = self.image[1].saturating_sub(from).min(self.width.saturating_sub(to));
        (to, from, count)
    }
}

/// The two micro-kernels of a frame: a row of the image, a row of zeros.
pub struct Rows {
    frame: Frame,
    copy: MicroKernelId,
    zero: MicroKernelId,
}

/// Sets `count` float32 elements to zero.
pub fn zero(cx: &mut LowerCx, count: usize) -> MicroKernelId {
    zero_of(cx, Elem::F32, count)
}

fn zero_of(cx: &mut LowerCx, elem: Elem, count: usize) -> MicroKernelId {
    let lanes = cx.target.lanes;
    let kind = if elem == Elem::F32 { "" } else { "_bf16" };
    cx.micro_kernel(code(format!("zero{kind}_{count}v{lanes}"), (lanes, elem, count), |&(lanes, elem, count), b| {
        let to = b.pointer("to", elem, Access::Write);
        b.elements(count, lanes, |b, at, lanes| {
            let zero = b.f32(0.0, lanes);
            b.store(to, at, zero);
        });
    }))
}

/// Sets elements of `rows` rows to zero, `columns` of each `pitch`.
pub fn zero_rows(cx: &mut LowerCx, [rows, columns]: [usize; 2], pitch: usize) -> MicroKernelId {
    let lanes = cx.target.lanes;
    let name = format!("zero_{rows}x{columns}_of{pitch}v{lanes}");
    cx.micro_kernel(code(name, (lanes, [rows, columns, pitch]), |&(lanes, [rows, columns, pitch]), b| {
        let to = b.pointer("to", Elem::F32, Access::Write);
        for m in 0..rows {
            b.elements(columns, lanes, |b, at, lanes| {
                let zero = b.f32(0.0, lanes);
                b.store(to, at.offset((m * pitch) as i64), zero);
            });
        }
    }))
}

/// One row of an image to a row of the window: `(to, from)`. All sizes are in columns.
#[derive(PartialEq, Eq, Hash)]
struct CopyRow {
    /// First column of the window that is in the image.
    to: usize,
    /// First column of the image that is in the window.
    from: usize,
    /// Number of columns that are in both.
    count: usize,
    width: usize,
    channels: usize,
    /// Types of the image's and of the copy's elements.
    elems: [Elem; 2],
    lanes: u32,
}

impl Display for CopyRow {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let CopyRow { to, from, count, width, channels, elems, lanes } = self;
        write!(f, "copy_row{}_{channels}_{to}_{from}_{count}_of{width}v{lanes}", elem_letters("", elems))
    }
}

impl MicroKernelSpec for CopyRow {
    fn build(&self, b: &mut MicroKernelBuilder) {
        let &CopyRow { to, from, count, width, channels: c, elems, lanes } = self;
        let target = b.pointer("to", elems[1], Access::Write);
        let source = b.pointer("from", elems[0], Access::Read);
        for (begin, end) in [(0, to * c), ((to + count) * c, width * c)] {
            b.elements(end.saturating_sub(begin), lanes, |b, at, lanes| {
                let zero = b.f32(0.0, lanes);
                b.store(target, at.offset(begin as i64), zero);
            });
        }
        b.elements(count * c, lanes, |b, at, lanes| {
            let value = b.load(source, at.clone().offset((from * c) as i64), lanes);
            b.store(target, at.offset((to * c) as i64), value);
        });
    }
}

impl Rows {
    /// Makes them for float32 images and copies.
    pub fn new(cx: &mut LowerCx, frame: Frame) -> Rows {
        Rows::between(cx, frame, [Elem::F32; 2])
    }

    /// Makes them for images and copies of these types, float32 or bf16.
    pub fn between(cx: &mut LowerCx, frame: Frame, elems: [Elem; 2]) -> Rows {
        let zero = zero_of(cx, elems[1], frame.pitch());
        let (to, from, count) = frame.overlap();
        let row =
            CopyRow { to, from, count, width: frame.width, channels: frame.channels, elems, lanes: cx.target.lanes };
        Rows { frame, copy: cx.micro_kernel(row), zero }
    }

    /// Elements of a copied row.
    pub fn pitch(&self) -> usize {
        self.frame.pitch()
    }

    /// Copies rows `first .. first + count` of image `n` of `image` to `scratch`, zeros for those outside.
    pub fn copy(&self, kernel: &mut KernelBuilder, image: Memory, n: &Expr, first: Expr, count: Expr, scratch: Memory) {
        let [height, width] = self.frame.image;
        let row = width * self.frame.channels;
        kernel.serial("y", count, |k, y| {
            let from = &first + &y;
            let inside = Expr::from(-1).lt(&from) * from.lt(height);
            let to = scratch.at(&y * self.frame.pitch());
            let source = image.at((n * height + &from) * row);
            k.when(inside.clone(), |k| k.call(self.copy, [to.clone(), source]));
            k.when(inside.equals(0), |k| k.call(self.zero, [to]));
        });
    }
}
