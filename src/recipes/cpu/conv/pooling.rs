//! A pooling at the end of a chain: reads the image of the chain's last result from scratch memory.

use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Expr, Index, Memory, MicroKernelId, Op, Unary};
use crate::lower::{LowerCx, code};
use crate::recipes::common::{Reduction, Window};

/// A pooling of a chain's last result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pooling {
    /// Maximum or mean.
    pub kind: Reduction,
    /// Size, stride and padding.
    pub window: Window,
    /// Channels of image and result.
    pub channels: usize,
    /// Rows and columns before and after.
    pub image: [usize; 2],
    /// Rows and columns of the result.
    pub out: [usize; 2],
}

impl Pooling {
    /// Returns a part of the kernel's name.
    pub fn name(&self) -> String {
        let (w, o) = (&self.window, self.out);
        let kind = if self.kind == Reduction::Max { "max" } else { "average" };
        let [k, s, p] = [w.kernel, w.stride, w.pad].map(|v| format!("{}x{}", v[0], v[1]));
        format!("_{kind}{k}s{s}p{p}_{}x{}", o[0], o[1])
    }

    /// One pixel of the result: `(from, to, rows, columns)`, the window already clipped to the image.
    pub fn micro_kernel(&self, cx: &mut LowerCx) -> MicroKernelId {
        let (lanes, c, width) = (cx.target.lanes, self.channels, self.image[1]);
        let kind = self.kind;
        let name = format!("pool_{}_{c}of{width}v{lanes}", if kind == Reduction::Max { "max" } else { "average" });
        cx.micro_kernel(code(name, (kind, [c, width], lanes), |&(kind, [c, width], lanes), b| {
            let from = b.pointer("from", Elem::F32, Access::Read);
            let to = b.pointer("to", Elem::F32, Access::Write);
            let (rows, columns) = (b.int("rows"), b.int("columns"));
            b.elements(c, lanes, |b, at, lanes| {
                let start = b.f32(if kind == Reduction::Max { f32::NEG_INFINITY } else { 0.0 }, lanes);
                let total = b.repeat("y", rows, &[start], |b, y, acc| {
                    b.repeat("x", columns, acc, |b, x, acc| {
                        let place = at.clone().plus(y, (width * c) as i64).plus(x, c as i64);
                        let value = b.load(from, place, lanes);
                        vec![if kind == Reduction::Max { b.max(value, acc[0]) } else { b.add(value, acc[0]) }]
                    })
                });
                let mut result = total[0];
                if kind == Reduction::Average {
                    let [rows, columns] = [rows, columns].map(|v| {
                        let int = b.op(Op::IndexI32 { index: Index::from(v), lanes });
                        b.unary(Unary::ToFloat, int)
                    });
                    let cells = b.mul(rows, columns);
                    result = b.div(result, cells);
                }
                b.store(to, at, result);
            });
        }))
    }

    /// All windows of the image in `from`, to image `n` of `to`.
    pub fn image(&self, k: &mut KernelBuilder, micro_kernel: MicroKernelId, from: Memory, to: Memory, n: &Expr) {
        let ([oh, ow], c) = (self.out, self.channels);
        k.serial("py", oh, |k, y| {
            let (top, rows) = self.clip(0, &y);
            k.serial("px", ow, |k, x| {
                let (left, columns) = self.clip(1, &x);
                let source = from.at((&top * self.image[1] + &left) * c);
                let target = to.at(((n * oh + &y) * ow + &x) * c);
                k.call(micro_kernel, [source, target, Arg::Int(rows), Arg::Int(columns)]);
            });
        });
    }

    /// First cell and number of cells of window `i` in dimension `d`.
    fn clip(&self, d: usize, i: &Expr) -> (Expr, Expr) {
        let w = &self.window;
        let begin = i * w.stride[d] + -(w.pad[d] as i64);
        let end = (&begin + w.kernel[d]).min(self.image[d]);
        let begin = begin.max(0);
        (begin.clone(), end + begin * -1)
    }
}
