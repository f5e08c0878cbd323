//! The gradient of a convolution's input: a convolution of dy with each filter turned by half a turn, inputs and
//! outputs exchanged.

use super::batches::{Batches, BiasedEpilogue};
use super::pays;
use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Elem, Index, Kernel, Param, Ty};
use crate::lower::{BufferId, LowerCx, Packing, ProgramBuilder, code};
use crate::recipes::common::Epilogue;
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::loops::piece;
use crate::recipes::common::winograd::mirrored;
use crate::recipes::cpu::tiles::turned as diagonal;
use std::fmt::{self, Display};

/// Writes the launches `(w, dy) -> dx` for the convolution `g` if this algorithm is wanted and applies.
pub fn grad_input(cx: &mut LowerCx, g: Geometry, [w, dy]: [BufferId; 2], epilogue: Epilogue) -> bool {
    let Some(back) = mirrored(&g).filter(|g| pays(cx.target, g)) else { return false };
    let Some(batches) = Batches::new(cx, back) else { return false };
    let turned = turned(cx, w, &g);
    let weights = batches.form.weights(cx, turned);
    let mut kernel = KernelBuilder::new(format!("winograd_grad_input{}{}", batches.name(), epilogue.name()));
    let panels = kernel.buffer("w", Elem::F32, Access::Read);
    let source = kernel.buffer("dy", Elem::F32, Access::Read);
    let target = kernel.buffer("dx", Elem::F32, Access::Write);
    batches.kernel(cx, &mut kernel, [source, panels, target], &BiasedEpilogue { bias: None, epilogue });
    let kernel = kernel.finish();
    let result = cx.result.buffer;
    cx.launch(batches.form.method(), kernel, &[weights, dy, result]);
    true
}

/// Weights of the convolution that gives the gradient of the input of `g`: each filter turned by half a turn, inputs
/// and outputs exchanged.
pub fn turned(cx: &mut LowerCx, weights: BufferId, g: &Geometry) -> BufferId {
    let taps = g.window.kernel[0] * g.window.kernel[1];
    let wide = cx.target.lanes == Ty::ROW;
    cx.packed(weights, Turned { taps, inputs: g.channels, outputs: g.outputs, wide })
}

/// `[taps][inputs][outputs]` as `[taps, the last first][outputs][inputs]`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Turned {
    taps: usize,
    inputs: usize,
    outputs: usize,
    /// By vectors of 16 lanes.
    wide: bool,
}

impl Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("turned")
    }
}

impl Packing for Turned {
    fn layout(&self) -> (Elem, usize) {
        (Elem::F32, self.taps * self.inputs * self.outputs)
    }

    fn kernel(&self, builder: &mut ProgramBuilder) -> Kernel {
        let &Turned { taps, inputs, outputs, wide } = self;
        let (size, blocks) = (inputs * outputs, outputs.div_ceil(ROW));
        let mut kernel = KernelBuilder::new(format!("turned_{taps}x{inputs}x{outputs}"));
        let from = kernel.buffer("w", Elem::F32, Access::Read);
        let to = kernel.buffer("turned", Elem::F32, Access::Write);
        kernel.parallel("t", taps * blocks, |k, t| {
            let (tap, block) = (t.div(blocks), t.rem(blocks));
            let last = &tap * -1 + (taps - 1);
            piece(k, &block, outputs, ROW, |k, rows| {
                let name = format!("turn_{inputs}x{rows}of{outputs}{}", if wide { "_v16" } else { "" });
                let micro_kernel =
                    builder.micro_kernel(code(name, ([inputs, outputs, rows], wide), |&(sizes, wide), b| match wide {
                        true => in_blocks(b, sizes),
                        false => one_by_one(b, sizes),
                    }));
                let (w, t) =
                    (from.at(&tap * size + &block * ROW), to.at(last.clone() * size + &block * (ROW * inputs)));
                k.call(micro_kernel, [w, t]);
            });
        });
        kernel.finish()
    }
}

/// Rows of a result that an iteration makes.
const ROW: usize = Ty::ROW as usize;

/// `rows` rows of a tap's result, one element after the other: `(w, turned)`.
fn one_by_one(b: &mut MicroKernelBuilder, [inputs, outputs, rows]: [usize; 3]) {
    let (w, t) = operands(b);
    b.repeat("o", rows, &[], |b, o, _| {
        b.repeat("i", inputs, &[], |b, i, _| {
            let at = |first, second| Index::default().plus(o, first).plus(i, second);
            let value = b.load(w, at(1, outputs as i64), 1);
            b.store(t, at(inputs as i64, 1), value);
            vec![]
        });
        vec![]
    });
}

/// The same in blocks of 16 inputs.
fn in_blocks(b: &mut MicroKernelBuilder, [inputs, outputs, rows]: [usize; 3]) {
    let (w, t) = operands(b);
    let block = |b: &mut MicroKernelBuilder, [from, to]: [Index; 2], count: usize| {
        let lines = (0..ROW).map(|r| match r < count {
            true => b.load_partial(w, from.clone().offset((r * outputs) as i64), Ty::ROW, rows as u32),
            false => b.f32(0.0, Ty::ROW),
        });
        let lines = lines.collect();
        for (c, column) in diagonal(b, lines).into_iter().enumerate().take(rows) {
            b.store_partial(t, to.clone().offset((c * inputs) as i64), column, count as u32);
        }
    };
    let (full, rest) = (inputs / ROW, inputs % ROW);
    if full > 0 {
        b.repeat("i", full, &[], |b, i, _| {
            let at = |step: usize| Index::default().plus(i, step as i64);
            block(b, [at(ROW * outputs), at(ROW)], ROW);
            vec![]
        });
    }
    if rest > 0 {
        block(b, [Index::from(full * ROW * outputs), Index::from(full * ROW)], rest);
    }
}

fn operands(b: &mut MicroKernelBuilder) -> (Param, Param) {
    (b.pointer("w", Elem::F32, Access::Read), b.pointer("turned", Elem::F32, Access::Write))
}
