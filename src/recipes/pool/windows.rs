//! The loops around a pooling window: which output pixels see a whole window and which a clipped one.

use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Elem, Expr, Index, Memory, MicroKernelId, Op, Param, Val, Var};
use crate::lower::{LowerCx, Unsupported};
use crate::recipes::Window;
use crate::recipes::contraction::elem_letters;
use crate::recipes::random::{Units, UnitsOf};
use crate::recipes::split::{Dressed, fill_micro_kernel, run};
use std::ops::Range;

/// Windows of up to this many cells are written out without loops.
const UNROLLED: usize = 16;

/// A pooling with all its sizes.
#[derive(Clone, Debug)]
pub struct Pooling {
    pub window: Window,
    pub channels: usize,
    /// Of the image.
    pub size: [usize; 2],
    /// Of the output.
    pub output: [usize; 2],
}

/// A pointer of the pixel's micro-kernel: into image-sized memory (at the window's first cell) or output-sized (at the pixel).
#[derive(Clone, Copy, Debug)]
pub struct Side {
    memory: Memory,
    access: Access,
    kind: SideKind,
    elem: Elem,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SideKind {
    Image,
    Output,
    /// A row of random numbers in [0, 1).
    Random,
}

impl Side {
    pub fn image(memory: Memory, access: Access) -> Side {
        Side { memory, access, kind: SideKind::Image, elem: Elem::F32 }
    }

    pub fn output(memory: Memory, access: Access) -> Side {
        Side { memory, access, kind: SideKind::Output, elem: Elem::F32 }
    }

    /// The same with other elements.
    pub fn of(self, elem: Elem) -> Side {
        Side { elem, ..self }
    }

    pub fn random(units: &UnitsOf) -> Side {
        Side { memory: units.memory, access: Access::Read, kind: SideKind::Random, elem: Elem::F32 }
    }
}

/// One output pixel inside a micro-kernel.
pub struct Pixel<'a> {
    shape: &'a Pooling,
    /// Parameters of the pointers, in their order.
    pub params: Vec<Param>,
    /// Rows and columns of the clipped window, or none for a whole one.
    clipped: Option<(Var, Var)>,
    /// Cells of the window.
    pub cells: Result<usize, Var>,
    /// The pixel's number in its run of whole windows.
    number: Option<Var>,
}

impl Pixel<'_> {
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
        let [rows, columns] = self.shape.window.kernel;
        let (down, right) = ((self.shape.size[1] * self.shape.channels) as i64, self.shape.channels as i64);
        let base = match self.number {
            Some(n) => at.clone().plus(n, right * self.shape.window.stride[1] as i64),
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

impl Pooling {
    fn new(
        window: &Window,
        image: (usize, usize, usize),
        output: (usize, usize, usize),
    ) -> Result<Pooling, Unsupported> {
        if window.dilation != [1, 1] {
            return Err(Unsupported(format!("pooling with dilation {:?}", window.dilation)));
        }
        if (0..2).any(|i| window.pad[i] >= window.kernel[i]) {
            return Err(Unsupported(format!("pooling with pad {:?} for kernel {:?}", window.pad, window.kernel)));
        }
        let size = [image.1, image.2];
        Ok(Pooling { window: *window, channels: image.0, size, output: [output.1, output.2] })
    }

    /// Operand 0 is the image, the result the output.
    pub fn forward(cx: &LowerCx, window: &Window) -> Result<Pooling, Unsupported> {
        let (image, output) = (chw(cx, Some(0))?, chw(cx, None)?);
        Pooling::new(window, image, output)
    }

    /// The result is the image's gradient, operand `dy` the output's.
    pub fn gradient(cx: &LowerCx, window: &Window, dy: usize) -> Result<Pooling, Unsupported> {
        let (image, output) = (chw(cx, None)?, chw(cx, Some(dy))?);
        Pooling::new(window, image, output)
    }

    /// One window over the whole image.
    pub fn global((channels, height, width): (usize, usize, usize)) -> Pooling {
        let window = Window { kernel: [height, width], stride: [height, width], pad: [0, 0], dilation: [1, 1] };
        Pooling { window, channels, size: [height, width], output: [1, 1] }
    }

    /// Elements of the image.
    fn image_len(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }

    fn output_row(&self) -> usize {
        self.output[1] * self.channels
    }

    /// Output rows or columns whose windows lie inside the image.
    fn whole(&self, axis: usize) -> Range<usize> {
        let Window { kernel, stride, pad, .. } = self.window;
        let room = self.size[axis] + pad[axis];
        let begin = pad[axis].div_ceil(stride[axis]).min(self.output[axis]);
        let end = room.checked_sub(kernel[axis]).map_or(0, |r| r / stride[axis] + 1).min(self.output[axis]);
        begin..end.max(begin)
    }

    /// A round per output row.
    pub fn forward_kernel(
        &self,
        cx: &mut LowerCx,
        d: &mut Dressed,
        tag: &str,
        sides: &[Side],
        counts: bool,
        random: Option<&UnitsOf>,
        mut pixel: impl FnMut(&mut MicroKernelBuilder, &Pixel, &Index, u32),
    ) {
        let (shares, share) = self.shares(cx, random);
        let micro_kernels = self.micro_kernels(cx, tag, sides, counts, share, &mut pixel);
        d.kernel.parallel("round", Expr::BATCH * (self.output[0] * shares), |k, round| {
            let (round, channel) = (round.div(shares), round.rem(shares) * share.channels);
            let (image, row) = (round.div(self.output[0]), round.rem(self.output[0]));
            self.row(k, &micro_kernels, sides, random, counts, &[image, row, channel]);
        });
    }

    /// A round per image; the last pointer is the gradient, which is set to zero first.
    pub fn gradient_kernel(
        &self,
        cx: &mut LowerCx,
        d: &mut Dressed,
        tag: &str,
        sides: &[Side],
        counts: bool,
        random: Option<&UnitsOf>,
        mut pixel: impl FnMut(&mut MicroKernelBuilder, &Pixel, &Index, u32),
    ) {
        let (shares, share) = self.shares(cx, random);
        let micro_kernels = self.micro_kernels(cx, tag, sides, counts, share, &mut pixel);
        let zero = self.zeros(cx, share);
        let dx = d.result;
        d.kernel.parallel("image", Expr::BATCH * shares, |k, round| {
            let (image, channel) = (round.div(shares), round.rem(shares) * share.channels);
            k.call(zero, [dx.at(&image * self.image_len() + &channel)]);
            k.serial("oy", self.output[0], |k, row| {
                self.row(k, &micro_kernels, sides, random, counts, &[image.clone(), row, channel.clone()]);
            });
        });
    }

    /// Rounds that share a row or an image, the channels of each, and the lanes of its vectors. On a GPU every vector of
    /// channels is a round of its own, unless a row's random numbers are made for all channels together.
    fn shares(&self, cx: &LowerCx, random: Option<&UnitsOf>) -> (usize, Share) {
        let lanes = run(self.channels);
        match cx.target.gpu.is_some() && random.is_none() {
            true => (self.channels / lanes, Share { channels: lanes, lanes: lanes as u32 }),
            false => (1, Share { channels: self.channels, lanes: cx.target.lanes }),
        }
    }

    /// Sets `share` channels of an image to zero.
    fn zeros(&self, cx: &mut LowerCx, share: Share) -> MicroKernelId {
        let (pixels, channels, Share { channels: share, lanes }) = (self.size[0] * self.size[1], self.channels, share);
        if share == channels {
            return fill_micro_kernel(cx.module(), lanes, self.image_len(), 0.0);
        }
        cx.module().micro_kernel(&format!("zeros_{pixels}x{share}_of{channels}_v{lanes}"), |b| {
            let y = b.pointer("y", super::F32, Access::Write);
            super::super::split::rows(b, pixels, |b, row| {
                b.elements(share, lanes, |b, at, lanes| {
                    let zero = b.f32(0.0, lanes);
                    b.store(y, row.at(at, channels), zero);
                });
            });
        })
    }

    /// The work on one output row: pixels with clipped windows one by one, the run of whole ones in one call.
    fn row(
        &self,
        k: &mut KernelBuilder,
        micro_kernels: &Leaves,
        sides: &[Side],
        random: Option<&UnitsOf>,
        counts: bool,
        [image, row, channel]: &[Expr; 3],
    ) {
        let units = random.map(|u| self.units(k, u, image, row));
        let place = Place { shape: self, sides, image, row, channel, units };
        let clipped = |k: &mut KernelBuilder, columns: Range<usize>| {
            if let (Some(micro_kernel), false) = (micro_kernels.clipped, columns.is_empty()) {
                let range = (columns.start, columns.end);
                k.range("ox", crate::kernel::ir::LoopKind::Serial, range.0, range.1, |k, column| {
                    k.call(micro_kernel, place.arguments(&column, true, counts));
                });
            }
        };
        let (rows, columns) = (self.whole(0), self.whole(1));
        let all = 0..self.output[1];
        let Some(micro_kernel) = micro_kernels.whole else { return clipped(k, all) };
        let inner = |k: &mut KernelBuilder| {
            clipped(k, 0..columns.start);
            k.call(micro_kernel, place.arguments(&Expr::from(columns.start), false, counts));
            clipped(k, columns.end..all.end);
        };
        if rows == (0..self.output[0]) {
            return inner(k);
        }
        let is_inner = row.lt(rows.end) - row.lt(rows.start);
        k.when(is_inner.clone(), inner);
        k.when(is_inner.equals(0), |k| clipped(k, all.clone()));
    }

    /// Fills the row's random numbers; gives where they begin.
    fn units(&self, k: &mut KernelBuilder, units: &UnitsOf, image: &Expr, row: &Expr) -> Expr {
        let first = ((Expr::FIRST + image) * self.output[0] + row) * self.output_row();
        units.fill(k, &first, &Expr::from(self.output_row()))
    }

    /// Random numbers for a row of the output.
    pub fn units_for(&self, cx: &mut LowerCx, d: &mut Dressed, key: Memory, stream: u32) -> UnitsOf {
        Units { key, stream, most: self.output_row() }.prepare(cx, &mut d.kernel)
    }

    fn micro_kernels(
        &self,
        cx: &mut LowerCx,
        tag: &str,
        sides: &[Side],
        counts: bool,
        share: Share,
        pixel: &mut impl FnMut(&mut MicroKernelBuilder, &Pixel, &Index, u32),
    ) -> Leaves {
        let (rows, columns) = (self.whole(0), self.whole(1));
        let inner = !rows.is_empty() && !columns.is_empty();
        let all = rows == (0..self.output[0]) && columns == (0..self.output[1]);
        let whole = inner.then(|| self.micro_kernel(cx, tag, sides, counts, share, Some(columns.len()), pixel));
        let clipped = (!all).then(|| self.micro_kernel(cx, tag, sides, counts, share, None, pixel));
        Leaves { whole, clipped }
    }

    /// A micro-kernel for `run` pixels with whole windows, or for one with a clipped window.
    fn micro_kernel(
        &self,
        cx: &mut LowerCx,
        tag: &str,
        sides: &[Side],
        counts: bool,
        share: Share,
        run: Option<usize>,
        pixel: &mut impl FnMut(&mut MicroKernelBuilder, &Pixel, &Index, u32),
    ) -> MicroKernelId {
        let ([kh, kw], Share { channels: share, lanes }) = (self.window.kernel, share);
        let (stride, width, channels) = (self.window.stride[1], self.size[1], self.channels);
        let run_name = run.map_or("clipped".into(), |r| format!("{r}s{stride}"));
        let part = if share == channels { String::new() } else { format!("{share}of") };
        let kinds = elem_letters("", &sides.iter().map(|s| s.elem).collect::<Vec<_>>());
        let name = format!("{tag}{kinds}_{kh}x{kw}_{run_name}_w{width}_c{part}{channels}_v{lanes}");
        cx.module().micro_kernel(&name, |b| {
            let mut params = Vec::new();
            for (i, side) in sides.iter().enumerate() {
                params.push(b.pointer(&format!("p{i}"), side.elem, side.access));
            }
            let mut p = Pixel { shape: self, params, clipped: None, cells: Ok(kh * kw), number: None };
            let Some(run) = run else {
                p.clipped = Some((b.int("rows"), b.int("columns")));
                if counts {
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
        })
    }
}

fn chw(cx: &LowerCx, operand: Option<usize>) -> Result<(usize, usize, usize), Unsupported> {
    let ty = operand.map_or(&cx.result.ty, |i| &cx.operands[i].ty);
    ty.chw().ok_or_else(|| Unsupported(format!("{}: {ty} is no image", cx.name)))
}

/// The channels of a round.
#[derive(Clone, Copy)]
struct Share {
    channels: usize,
    lanes: u32,
}

struct Leaves {
    whole: Option<MicroKernelId>,
    clipped: Option<MicroKernelId>,
}

/// An output row inside a kernel.
struct Place<'a> {
    shape: &'a Pooling,
    sides: &'a [Side],
    image: &'a Expr,
    row: &'a Expr,
    /// The first channel of this round.
    channel: &'a Expr,
    /// Where the row's random numbers begin.
    units: Option<Expr>,
}

impl Place<'_> {
    /// The micro-kernel's arguments for the pixel (or the run that begins) at `column`.
    fn arguments(&self, column: &Expr, clipped: bool, counts: bool) -> Vec<Arg> {
        let Pooling { window, channels, size, output } = self.shape;
        let start = |i: usize, at: &Expr| at.clone() * window.stride[i] - window.pad[i];
        let (top, left) = (start(0, self.row), start(1, column));
        let (first_row, first_column) = (top.max(0), left.max(0));
        let pixel = (&(self.image * output[0] + self.row) * output[1] + column) * *channels + self.channel;
        let cell = (&(self.image * size[0] + &first_row) * size[1] + &first_column) * *channels + self.channel;
        let mut args: Vec<Arg> = (self.sides.iter())
            .map(|side| match side.kind {
                SideKind::Image => side.memory.at(&cell),
                SideKind::Output => side.memory.at(&pixel),
                SideKind::Random => {
                    let begin = self.units.as_ref().expect("random numbers were made for this row");
                    side.memory.at(begin + column.clone() * *channels)
                }
            })
            .collect();
        if clipped {
            let rows = (top + window.kernel[0]).min(size[0]) - first_row;
            let columns = (left + window.kernel[1]).min(size[1]) - first_column;
            let cells = &rows * &columns;
            args.extend([Arg::Int(rows), Arg::Int(columns)]);
            if counts {
                args.push(Arg::Int(cells));
            }
        }
        args
    }
}
