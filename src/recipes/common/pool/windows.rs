//! The loops around a pooling window: which output pixels see a whole window and which a clipped one.

use super::pixel::{Cells, Pixel, Pixels, Share};
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Elem, Expr, Index, Memory, MicroKernelId};
use crate::lower::{LowerCx, LowerError, Stateless, code};
use crate::recipes::common::Window;
use crate::recipes::common::names::elem_letters;
use crate::recipes::common::partition::{KernelWithOperands, fill_micro_kernel, run};
use crate::recipes::common::random::{Units, UnitsOf};
use std::ops::Range;

/// A pooling with all its sizes.
#[derive(Clone, Debug)]
pub struct Pooling {
    /// Size, stride and padding.
    pub window: Window,
    /// Channels of image and output.
    pub channels: usize,
    /// Rows and columns of the image.
    pub size: [usize; 2],
    /// Rows and columns of the output.
    pub output: [usize; 2],
}

/// A pointer of the pixel's micro-kernel: into image-sized memory (at the window's first cell) or output-sized (at
/// the pixel).
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
    /// A pointer into an image, at the first cell of the window.
    pub fn image(memory: Memory, access: Access) -> Side {
        Side { memory, access, kind: SideKind::Image, elem: Elem::F32 }
    }

    /// A pointer into an output, at the pixel.
    pub fn output(memory: Memory, access: Access) -> Side {
        Side { memory, access, kind: SideKind::Output, elem: Elem::F32 }
    }

    /// Returns the pointer with another type of elements.
    pub fn of(self, elem: Elem) -> Side {
        Side { elem, ..self }
    }

    /// A pointer into a row of random numbers, at the pixel.
    pub fn random(units: &UnitsOf) -> Side {
        Side { memory: units.memory, access: Access::Read, kind: SideKind::Random, elem: Elem::F32 }
    }
}

impl Pooling {
    fn new(
        window: &Window,
        image: (usize, usize, usize),
        output: (usize, usize, usize),
    ) -> Result<Pooling, LowerError> {
        if window.dilation != [1, 1] {
            return Err(LowerError::Unsupported(format!("pooling with dilation {:?}", window.dilation)));
        }
        if (0..2).any(|i| window.pad[i] >= window.kernel[i]) {
            return Err(LowerError::Unsupported(format!(
                "pooling with pad {:?} for kernel {:?}",
                window.pad, window.kernel
            )));
        }
        let size = [image.1, image.2];
        Ok(Pooling { window: *window, channels: image.0, size, output: [output.1, output.2] })
    }

    /// Takes the sizes of a forward pooling: operand 0 is the image, the result the output.
    pub fn forward(cx: &LowerCx, window: &Window) -> Result<Pooling, LowerError> {
        let (image, output) = (chw(cx, Some(0))?, chw(cx, None)?);
        Pooling::new(window, image, output)
    }

    /// Takes the sizes of a gradient: the result is the image's gradient, operand `dy` the output's.
    pub fn gradient(cx: &LowerCx, window: &Window, dy: usize) -> Result<Pooling, LowerError> {
        let (image, output) = (chw(cx, None)?, chw(cx, Some(dy))?);
        Pooling::new(window, image, output)
    }

    /// Makes a pooling of one window over the whole image.
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

    /// Writes a kernel with an iteration per output row.
    pub fn forward_kernel(
        &self,
        cx: &mut LowerCx,
        d: &mut KernelWithOperands,
        what: &str,
        sides: &[Side],
        counts: bool,
        random: Option<&UnitsOf>,
        pixel: impl Fn(&mut MicroKernelBuilder, &Pixel, &Index, u32) + Stateless,
    ) {
        let (shares, share) = self.shares(cx, random);
        let micro_kernels = self.micro_kernels(cx, what, sides, counts, share, pixel);
        d.kernel.parallel("i", Expr::BATCH * (self.output[0] * shares), |k, iteration| {
            let (iteration, channel) = (iteration.div(shares), iteration.rem(shares) * share.channels);
            let (image, row) = (iteration.div(self.output[0]), iteration.rem(self.output[0]));
            self.row(k, &micro_kernels, sides, random, counts, &[image, row, channel]);
        });
    }

    /// Writes a kernel with an iteration per image; the last pointer is the gradient, which is set to zero first.
    pub fn gradient_kernel(
        &self,
        cx: &mut LowerCx,
        d: &mut KernelWithOperands,
        what: &str,
        sides: &[Side],
        counts: bool,
        random: Option<&UnitsOf>,
        pixel: impl Fn(&mut MicroKernelBuilder, &Pixel, &Index, u32) + Stateless,
    ) {
        let (shares, share) = self.shares(cx, random);
        let micro_kernels = self.micro_kernels(cx, what, sides, counts, share, pixel);
        let zero = self.zeros(cx, share, cx.elem(cx.result.buffer));
        let dx = d.result;
        d.kernel.parallel("image", Expr::BATCH * shares, |k, iteration| {
            let (image, channel) = (iteration.div(shares), iteration.rem(shares) * share.channels);
            k.call(zero, [dx.at(&image * self.image_len() + &channel)]);
            k.serial("oy", self.output[0], |k, row| {
                self.row(k, &micro_kernels, sides, random, counts, &[image.clone(), row, channel.clone()]);
            });
        });
    }

    /// Iterations that share a row or an image, the channels of each, and the lanes of its vectors. On a GPU every
    /// vector of channels is an iteration of its own, unless a row's random numbers are made for all channels together.
    fn shares(&self, cx: &LowerCx, random: Option<&UnitsOf>) -> (usize, Share) {
        let lanes = run(self.channels);
        match cx.target.is_gpu() && random.is_none() {
            true => (self.channels / lanes, Share { channels: lanes, lanes: lanes as u32 }),
            false => (1, Share { channels: self.channels, lanes: cx.target.lanes }),
        }
    }

    /// Sets `share` channels of an image of such elements to zero.
    fn zeros(&self, cx: &mut LowerCx, share: Share, elem: Elem) -> MicroKernelId {
        let (pixels, channels, Share { channels: share, lanes }) = (self.size[0] * self.size[1], self.channels, share);
        if share == channels {
            return fill_micro_kernel(cx, elem, lanes, self.image_len(), 0.0);
        }
        let name = format!("zeros_{pixels}x{share}_of{channels}_v{lanes}{}", elem_letters("_", &[elem]));
        let params = ([pixels, share, channels], lanes, elem);
        cx.micro_kernel(code(name, params, |&([pixels, share, channels], lanes, elem), b| {
            let y = b.pointer("y", elem, Access::Write);
            crate::recipes::common::partition::rows(b, pixels, |b, row| {
                b.elements(share, lanes, |b, at, lanes| {
                    let zero = b.f32(0.0, lanes);
                    b.store(y, row.at(at, channels), zero);
                });
            });
        }))
    }

    /// The work on one output row: pixels with clipped windows one by one, the run of whole ones in one call.
    fn row(
        &self,
        k: &mut KernelBuilder,
        micro_kernels: &MicroKernels,
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
    pub fn units_for(&self, cx: &mut LowerCx, d: &mut KernelWithOperands, key: Memory, stream: u32) -> UnitsOf {
        Units { key, stream, most: self.output_row() }.prepare(cx, &mut d.kernel)
    }

    fn micro_kernels(
        &self,
        cx: &mut LowerCx,
        what: &str,
        sides: &[Side],
        counts: bool,
        share: Share,
        pixel: impl Fn(&mut MicroKernelBuilder, &Pixel, &Index, u32) + Stateless,
    ) -> MicroKernels {
        let (rows, columns) = (self.whole(0), self.whole(1));
        let inner = !rows.is_empty() && !columns.is_empty();
        let all = rows == (0..self.output[0]) && columns == (0..self.output[1]);
        let cells = Cells {
            kernel: self.window.kernel,
            stride: self.window.stride[1],
            width: self.size[1],
            channels: self.channels,
        };
        let sides: Vec<_> = sides.iter().map(|s| (s.elem, s.access)).collect();
        let mut micro_kernel = |run: Option<usize>| {
            let pixels = Pixels { cells, sides: sides.clone(), share, run, counts: counts && run.is_none() };
            cx.micro_kernel(code(format!("{what}{pixels}"), pixels, move |pixels, b| pixels.write(b, pixel)))
        };
        let whole = inner.then(|| micro_kernel(Some(columns.len())));
        let clipped = (!all).then(|| micro_kernel(None));
        MicroKernels { whole, clipped }
    }
}

fn chw(cx: &LowerCx, operand: Option<usize>) -> Result<(usize, usize, usize), LowerError> {
    let ty = operand.map_or(&cx.result.ty, |i| &cx.operands[i].ty);
    ty.chw().ok_or_else(|| LowerError::Bug(format!("{}: {ty} is not an image", cx.name)))
}

struct MicroKernels {
    whole: Option<MicroKernelId>,
    clipped: Option<MicroKernelId>,
}

/// An output row inside a kernel.
struct Place<'a> {
    shape: &'a Pooling,
    sides: &'a [Side],
    image: &'a Expr,
    row: &'a Expr,
    /// The first channel of this iteration.
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
