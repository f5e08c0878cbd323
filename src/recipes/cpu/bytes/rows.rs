//! Copies of an image's rows with bytes for 0 around them, widened where products read more than bytes.

use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Arg, Elem, Expr, Index, Memory, MicroKernelId, Param};
use crate::lower::{LowerCx, code};

/// The two micro-kernels that fill a row of the copy: one of the image, one beyond it.
#[derive(Clone, Copy)]
pub struct Rows {
    copy: MicroKernelId,
    fill: MicroKernelId,
    /// Elements of a row of the image.
    inner: usize,
}

impl Rows {
    /// Rows of `inner` elements behind `side` of them, `pitch` in all: `[side, inner, pitch]`, from memory of one type
    /// to memory of another.
    pub fn new(cx: &mut LowerCx, sizes: [usize; 3], zero: usize, elems: [Elem; 2]) -> Rows {
        let lanes = cx.target.lanes;
        let [side, inner, pitch] = sizes;
        let kind = format!("{}_{}", elems[0], elems[1]);
        let name = format!("{kind}_row_{side}_{inner}_of{pitch}_z{zero}_v{lanes}");
        let copy = cx.micro_kernel(code(name, (sizes, zero, elems, lanes), |&(sizes, zero, elems, lanes), b| {
            let [side, inner, pitch] = sizes;
            let to = b.pointer("to", elems[1], Access::Write);
            let from = b.pointer("from", elems[0], Access::Read);
            fill(b, to, 0..side, zero, lanes);
            b.elements(inner, lanes, |b, at, lanes| {
                let value = b.load(from, at.clone(), lanes);
                b.store(to, at.offset(side as i64), value);
            });
            fill(b, to, side + inner..pitch, zero, lanes);
        }));
        let name = format!("{}_zeros_{pitch}_z{zero}_v{lanes}", elems[1]);
        let fill = cx.micro_kernel(code(name, (pitch, zero, elems[1], lanes), |&(pitch, zero, elem, lanes), b| {
            let to = b.pointer("to", elem, Access::Write);
            fill(b, to, 0..pitch, zero, lanes);
        }));
        Rows { copy, fill, inner }
    }

    /// Writes row `y` of image `n`, of `height` rows, to `to`.
    pub fn row(self, k: &mut KernelBuilder, image: Memory, (n, height): (&Expr, usize), y: &Expr, to: Arg) {
        let inside = Expr::from(-1).lt(y) * y.lt(height);
        let source = image.at((n * height + y) * self.inner);
        k.either(inside, |k| k.call(self.copy, [to.clone(), source]), |k| k.call(self.fill, [to.clone()]));
    }
}

fn fill(b: &mut MicroKernelBuilder, to: Param, places: std::ops::Range<usize>, zero: usize, lanes: u32) {
    b.elements(places.len(), lanes, |b, at: Index, lanes| {
        let value = b.i32(zero as i32, lanes);
        b.store(to, at.offset(places.start as i64), value);
    });
}
