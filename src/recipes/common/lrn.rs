//! Local response normalisation across channels.
//!
//! With `s_i = k + alpha/size · Σ x_j²` over the neighbourhood of channel i: `y_i = x_i · s_i^-beta`, and
//! `dx_i = dy_i · s_i^-beta - 2·alpha·beta/size · x_i · Σ dy_j · x_j · s_j^-beta / s_j` over all j whose
//! neighbourhood holds i. Rows of terms lie in scratch memory with zeros on both sides, so that no neighbourhood is a
//! special case.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Elem, Index, Memory, MicroKernelId, Param, Val};
use crate::lower::{Constant, LowerCx, LowerError, Lowered, code};
use crate::recipes::common::math;
use crate::recipes::common::partition::{KernelWithOperands, Partition};

/// The constants of a local response normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lrn {
    /// Channels in the neighbourhood: `(size - 1)/2` before, `size/2` after.
    pub size: usize,
    /// Factor of the sum of squares, divided by `size`, as Caffe and PyTorch do.
    pub alpha: Constant,
    /// The exponent.
    pub beta: Constant,
    /// Added to the sum of squares.
    pub k: Constant,
}

impl Lrn {
    /// Makes it, with constants rounded to float32.
    pub fn new(size: usize, alpha: f64, beta: f64, k: f64) -> Lrn {
        let [alpha, beta, k] = [alpha, beta, k].map(|v| Constant::from(v as f32));
        Lrn { size, alpha, beta, k }
    }

    fn name(&self) -> String {
        format!("{}_{}_{}_{}", self.size, self.alpha, self.beta, self.k)
    }

    /// Neighbours before and after.
    fn reach(&self) -> (usize, usize) {
        ((self.size - 1) / 2, self.size / 2)
    }
}

/// Terms of a sum that are written out; more are a loop.
const UNROLLED: usize = 32;

/// The lrn of one row of channels.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    lrn: Lrn,
    channels: usize,
    lanes: u32,
}

impl Row {
    fn new(cx: &LowerCx, lrn: &Lrn) -> Result<Row, LowerError> {
        let ty = &cx.result.ty;
        match ty.chw() {
            Some((channels, _, _)) if lrn.size > 0 && channels > 0 => {
                Ok(Row { lrn: *lrn, channels, lanes: cx.target.lanes })
            }
            _ => Err(LowerError::Bug(format!("{}: lrn over {} channels of {ty}", cx.name, lrn.size))),
        }
    }

    /// Neighbours before and after a channel: there are none beyond the first and the last, however large the size.
    fn reach(&self) -> (usize, usize) {
        let (before, after) = self.lrn.reach();
        (before.min(self.channels - 1), after.min(self.channels - 1))
    }

    /// Channels of a neighbourhood.
    fn terms(&self) -> usize {
        let (before, after) = self.reach();
        before + 1 + after
    }

    /// Elements of a padded row.
    fn padded(&self) -> usize {
        self.channels + self.terms() - 1
    }

    /// Where the gradient's terms begin in scratch memory: squares, padded; ratios dy·x·s^-beta/s, padded; powers
    /// s^-beta.
    fn parts(&self) -> [usize; 3] {
        [0, self.padded(), 2 * self.padded()]
    }

    /// Zeros around the padded row that begins at element `base`.
    fn pad(&self, b: &mut MicroKernelBuilder, scratch: Param, base: usize, before: usize) {
        let zero = b.f32(0.0, 1);
        for i in (0..before).chain(before + self.channels..self.padded()) {
            b.store(scratch, base + i, zero);
        }
    }

    /// The sum of a neighbourhood's consecutive terms from element `base + at` on.
    fn sum(&self, b: &mut MicroKernelBuilder, scratch: Param, base: usize, at: &Index, lanes: u32) -> Val {
        let place = |j: usize| at.clone().offset((base + j) as i64);
        let mut sum = b.load(scratch, place(0), lanes);
        let unrolled = self.terms().min(UNROLLED);
        for j in 1..unrolled {
            let term = b.load(scratch, place(j), lanes);
            sum = b.add(sum, term);
        }
        if unrolled < self.terms() {
            let sums = b.repeat("j", self.terms() - unrolled, &[sum], |b, j, sums| {
                let term = b.load(scratch, place(unrolled).plus(j, 1), lanes);
                vec![b.add(sums[0], term)]
            });
            sum = sums[0];
        }
        sum
    }

    /// Squares of `x` into the padded row at element 0.
    fn squares(&self, b: &mut MicroKernelBuilder, x: Param, scratch: Param) {
        let (before, _) = self.reach();
        self.pad(b, scratch, 0, before);
        b.elements(self.channels, self.lanes, |b, at, lanes| {
            let value = b.load(x, at.clone(), lanes);
            let square = b.mul(value, value);
            b.store(scratch, at.offset(before as i64), square);
        });
    }

    /// `s` at the channels `at`, from the squares.
    fn scale(&self, b: &mut MicroKernelBuilder, scratch: Param, at: &Index, lanes: u32) -> Val {
        let sum = self.sum(b, scratch, 0, at, lanes);
        let (factor, k) = (b.f32(self.lrn.alpha.get() / self.lrn.size as f32, lanes), b.f32(self.lrn.k.get(), lanes));
        b.fma(sum, factor, k)
    }

    fn kernel(&self, cx: &mut LowerCx, tag: &str, scratch: usize, micro_kernel: MicroKernelId) -> Lowered {
        let channels = self.channels;
        let split = Partition::of(cx.target, &cx.result.ty, channels);
        let mut d = KernelWithOperands::new(cx, tag, Access::Write);
        let memory = d.kernel.scratch("terms", Elem::F32, scratch);
        let mut rows: Vec<Memory> = d.operands.clone();
        rows.push(d.result);
        split.run(&mut d.kernel, |k, piece| {
            k.serial("row", piece.count, |k, row| {
                let at = (&piece.position + row) * channels;
                let mut args: Vec<_> = rows.iter().map(|m| m.at(&at)).collect();
                args.push(memory.at(0));
                k.call(micro_kernel, args);
            });
        });
        d.launch(cx);
        Ok(())
    }
}

/// `x -> x · (k + alpha/size · Σ_j x_j²)^-beta`
pub fn forward(cx: &mut LowerCx, lrn: &Lrn) -> Lowered {
    let row = Row::new(cx, lrn)?;
    let name = format!("lrn_{}_c{}_v{}", lrn.name(), row.channels, row.lanes);
    let micro_kernel = cx.micro_kernel(code(name, row, |row, b| {
        let x = b.pointer("x", Elem::F32, Access::Read);
        let y = b.pointer("y", Elem::F32, Access::Write);
        let scratch = b.pointer("scratch", Elem::F32, Access::ReadWrite);
        row.squares(b, x, scratch);
        b.elements(row.channels, row.lanes, |b, at, lanes| {
            let s = row.scale(b, scratch, &at, lanes);
            let factor = math::pow(b, s, -row.lrn.beta.get());
            let value = b.load(x, at.clone(), lanes);
            let product = b.mul(value, factor);
            b.store(y, at, product);
        });
    }));
    row.kernel(cx, "lrn", row.padded(), micro_kernel)
}

/// `(x, dy) -> dx`
pub fn grad(cx: &mut LowerCx, lrn: &Lrn) -> Lowered {
    let row = Row::new(cx, lrn)?;
    let name = format!("lrn_grad_{}_c{}_v{}", lrn.name(), row.channels, row.lanes);
    let micro_kernel = cx.micro_kernel(code(name, row, |row, b| {
        let [_, ratios, powers] = row.parts();
        let x = b.pointer("x", Elem::F32, Access::Read);
        let dy = b.pointer("dy", Elem::F32, Access::Read);
        let dx = b.pointer("dx", Elem::F32, Access::Write);
        let scratch = b.pointer("scratch", Elem::F32, Access::ReadWrite);
        // The channels whose neighbourhood holds i lie the other way round.
        let (_, after) = row.reach();
        row.squares(b, x, scratch);
        row.pad(b, scratch, ratios, after);
        b.elements(row.channels, row.lanes, |b, at, lanes| {
            let s = row.scale(b, scratch, &at, lanes);
            let power = math::pow(b, s, -row.lrn.beta.get());
            b.store(scratch, at.clone().offset(powers as i64), power);
            let (x, dy) = (b.load(x, at.clone(), lanes), b.load(dy, at.clone(), lanes));
            let product = b.mul(x, dy);
            let product = b.mul(product, power);
            let ratio = b.div(product, s);
            b.store(scratch, at.offset((ratios + after) as i64), ratio);
        });
        b.elements(row.channels, row.lanes, |b, at, lanes| {
            let sum = row.sum(b, scratch, ratios, &at, lanes);
            let power = b.load(scratch, at.clone().offset(powers as i64), lanes);
            let (x, dy) = (b.load(x, at.clone(), lanes), b.load(dy, at.clone(), lanes));
            let factor = b.f32(-2.0 * row.lrn.alpha.get() * row.lrn.beta.get() / row.lrn.size as f32, lanes);
            let scaled = b.mul(x, factor);
            let direct = b.mul(dy, power);
            let value = b.fma(scaled, sum, direct);
            b.store(dx, at, value);
        });
    }));
    let [_, _, powers] = row.parts();
    row.kernel(cx, "lrn_grad", powers + row.channels, micro_kernel)
}
