//! The gradient of a convolution's input: a convolution of dy with each filter turned by half a turn, inputs and
//! outputs exchanged.

use super::batches::{Batches, BiasedEpilogue};
use super::pays;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem, Index, Kernel};
use crate::lower::{BufferId, LowerCx, Packing, ProgramBuilder, code};
use crate::recipes::common::Epilogue;
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::winograd::mirrored;
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
    cx.packed(weights, Turned { taps, inputs: g.channels, outputs: g.outputs })
}

/// `[taps][inputs][outputs]` as `[taps, the last first][outputs][inputs]`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Turned {
    taps: usize,
    inputs: usize,
    outputs: usize,
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
        let &Turned { taps, inputs, outputs } = self;
        let size = inputs * outputs;
        let mut kernel = KernelBuilder::new(format!("turned_{taps}x{inputs}x{outputs}"));
        let from = kernel.buffer("w", Elem::F32, Access::Read);
        let to = kernel.buffer("turned", Elem::F32, Access::Write);
        let name = format!("turn_{inputs}x{outputs}");
        let micro_kernel = builder.micro_kernel(code(name, [inputs, outputs], |&[inputs, outputs], b| {
            let w = b.pointer("w", Elem::F32, Access::Read);
            let t = b.pointer("turned", Elem::F32, Access::Write);
            b.repeat("o", outputs, &[], |b, o, _| {
                b.repeat("i", inputs, &[], |b, i, _| {
                    let at = |first, second| Index::default().plus(o, first).plus(i, second);
                    let value = b.load(w, at(1, outputs as i64), 1);
                    b.store(t, at(inputs as i64, 1), value);
                    vec![]
                });
                vec![]
            });
        }));
        kernel.parallel("tap", taps, |k, tap| {
            let last = &tap * -1 + (taps - 1);
            k.call(micro_kernel, [from.at(&tap * size), to.at(last * size)]);
        });
        kernel.finish()
    }
}
