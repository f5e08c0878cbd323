//! The work on output pixels inside a micro-kernel: a run of pixels with whole windows, or one with a clipped window.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Elem, Index, Op, Param, Val, Var};
use crate::recipes::common::names::elem_letters;
use std::fmt::{self, Display};

/// Windows of up to this many cells are written out without loops.
const UNROLLED: usize = 16;

/// The channels of an iteration.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Share {
    /// Channels of an iteration.
    pub channels: usize,
    /// Lanes of a vector.
    pub lanes: u32,
}

/// What a micro-kernel over windows knows of the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cells {
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Columns from window to window.
    pub stride: usize,
    /// Columns and channels of the image.
    pub width: usize,
    /// Channels of the image.
    pub channels: usize,
}

/// A micro-kernel for a run of pixels with whole windows, or for one pixel with a clipped window.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Pixels {
    /// The windows.
    pub cells: Cells,
    /// Elements and accesses of the pointers.
    pub sides: Vec<(Elem, Access)>,
    /// The channels.
    pub share: Share,
    /// Pixels of a run; `None` where the window is clipped.
    pub run: Option<usize>,
    /// Whether the number of cells of a clipped window is a parameter.
    pub counts: bool,
}

impl Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (Cells { kernel: [kh, kw], stride, width, channels }, Share { channels: share, lanes }) =
            (self.cells, self.share);
        let run = self.run.map_or("clipped".into(), |r| format!("{r}s{stride}"));
        let part = if share == channels { String::new() } else { format!("{share}of") };
        let kinds = elem_letters("", &self.sides.iter().map(|s| s.0).collect::<Vec<_>>());
        write!(f, "{kinds}_{kh}x{kw}_{run}_w{width}_c{part}{channels}_v{lanes}")
    }
}

impl Pixels {
    /// Writes the micro-kernel; `pixel` writes the work on one pixel.
    pub fn write(&self, b: &mut MicroKernelBuilder, pixel: impl Fn(&mut MicroKernelBuilder, &Pixel, &Index, u32)) {
        let Share { channels: share, lanes } = self.share;
        let mut params = Vec::new();
        for (i, &(elem, access)) in self.sides.iter().enumerate() {
            params.push(b.pointer(&format!("p{i}"), elem, access));
        }
        let cells = self.cells.kernel.iter().product();
        let mut p = Pixel { shape: self.cells, params, clipped: None, cells: Ok(cells), number: None };
        let Some(run) = self.run else {
            p.clipped = Some((b.int("rows"), b.int("columns")));
            if self.counts {
                p.cells = Err(b.int("cells"));
            }
            return b.elements(share, lanes, |b, at, lanes| pixel(b, &p, &at, lanes));
        };
        if run == 1 {
            return b.elements(share, lanes, |b, at, lanes| pixel(b, &p, &at, lanes));
        }
        b.repeat("ox", run, &[], |b, ox, _| {
            p.number = Some(ox);
            b.elements(share, lanes, |b, at, lanes| pixel(b, &p, &at, lanes));
            vec![]
        });
    }
}

/// One output pixel inside a micro-kernel.
pub struct Pixel {
    shape: Cells,
    /// Parameters of the pointers, in their order.
    pub params: Vec<Param>,
    /// Rows and columns of the clipped window; `None` for a whole one.
    clipped: Option<(Var, Var)>,
    /// Cells of the window.
    pub cells: Result<usize, Var>,
    /// The pixel's number in its run of whole windows.
    number: Option<Var>,
}

impl Pixel {
    /// The output's element for the channels at `at`.
    pub fn output(&self, at: &Index) -> Index {
        match self.number {
            Some(n) => at.clone().plus(n, self.shape.channels as i64),
            None => at.clone(),
        }
    }

    /// The number of a cell in every lane.
    pub fn number(&self, b: &mut MicroKernelBuilder, number: Index, lanes: u32) -> Val {
        b.op(Op::IndexI32 { index: number, lanes })
    }

    /// Carries values over the window's cells in row order: `body(builder, element, cell's number, carried) -> next`.
    pub fn fold(
        &self,
        b: &mut MicroKernelBuilder,
        at: &Index,
        init: &[Val],
        mut body: impl FnMut(&mut MicroKernelBuilder, Index, Index, &[Val]) -> Vec<Val>,
    ) -> Vec<Val> {
        let [rows, columns] = self.shape.kernel;
        let (down, right) = ((self.shape.width * self.shape.channels) as i64, self.shape.channels as i64);
        let base = match self.number {
            Some(n) => at.clone().plus(n, right * self.shape.stride as i64),
            None => at.clone(),
        };
        if self.clipped.is_none() && rows * columns <= UNROLLED {
            let mut carried = init.to_vec();
            for cell in 0..rows * columns {
                let place = base.clone().offset((cell / columns) as i64 * down + (cell % columns) as i64 * right);
                carried = body(b, place, cell.into(), &carried);
            }
            return carried;
        }
        let (many, wide) = match self.clipped {
            Some((rows, columns)) => (rows.into(), columns.into()),
            None => (Index::from(rows), Index::from(columns)),
        };
        b.repeat("ky", many, init, |b, ky, carried| {
            b.repeat("kx", wide, carried, |b, kx, carried| {
                let place = base.plus(ky, down).plus(kx, right);
                body(b, place, Index::default().plus(ky, columns as i64).plus(kx, 1), carried)
            })
        })
    }
}
