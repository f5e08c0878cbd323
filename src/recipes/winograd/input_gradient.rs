//! The gradient of a convolution's input: a convolution of dy with each filter turned by half a turn, inputs and outputs exchanged.

use super::batches::{Batches, Epilogue};
use super::pays;
use crate::kernel::build::KernelBuilder;
use crate::kernel::ir::{Access, Elem};
use crate::lower::{BufferId, LowerCx};
use crate::recipes::conv::Geometry;
use crate::recipes::{Finish, Window};

/// The geometry of that convolution; `None` where its window would be no unstrided one within the padding.
pub fn mirrored(g: &Geometry) -> Option<Geometry> {
    let w = g.window;
    let pad = [0, 1].map(|d| w.kernel[d].checked_sub(w.pad[d] + 1));
    let [Some(down), Some(across)] = pad else { return None };
    let plain = w.stride == [1, 1] && w.dilation == [1, 1] && g.groups == 1;
    plain.then_some(Geometry {
        channels: g.outputs,
        image: g.out,
        outputs: g.channels,
        out: g.image,
        window: Window { pad: [down, across], ..w },
        groups: 1,
    })
}

/// Writes the launches `(w, dy) -> dx` for the convolution `g` if this algorithm is wanted and applies.
pub fn grad_input(cx: &mut LowerCx, g: Geometry, [w, dy]: [BufferId; 2], finish: Finish) -> bool {
    let Some(back) = mirrored(&g).filter(|g| pays(cx.target, g)) else { return false };
    let Some(batches) = Batches::new(cx, back) else { return false };
    let turned = turned(cx, w, &g);
    let weights = batches.form.weights(cx, turned);
    let mut kernel = KernelBuilder::new(format!("winograd_grad_input{}{}", batches.name(), finish.name()));
    let panels = kernel.buffer("w", Elem::F32, Access::Read);
    let source = kernel.buffer("dy", Elem::F32, Access::Read);
    let target = kernel.buffer("dx", Elem::F32, Access::Write);
    batches.kernel(cx, &mut kernel, [source, panels, target], &Epilogue { bias: None, finish });
    let kernel = kernel.finish();
    let result = cx.result.buffer;
    cx.launch(kernel, &[weights, dy, result]);
    true
}

/// `[taps][inputs][outputs]` as `[taps, the last first][outputs][inputs]`.
fn turned(cx: &mut LowerCx, weights: BufferId, g: &Geometry) -> BufferId {
    let taps = g.window.kernel[0] * g.window.kernel[1];
    let (inputs, outputs) = (g.channels, g.outputs);
    let size = inputs * outputs;
    cx.prepared(weights, "turned", Elem::F32, taps * size, |cx| {
        let mut kernel = KernelBuilder::new(format!("turned_{taps}x{inputs}x{outputs}"));
        let from = kernel.buffer("w", Elem::F32, Access::Read);
        let to = kernel.buffer("turned", Elem::F32, Access::Write);
        let micro_kernel = cx.module().micro_kernel(&format!("turn_{inputs}x{outputs}"), |b| {
            let w = b.pointer("w", Elem::F32, Access::Read);
            let t = b.pointer("turned", Elem::F32, Access::Write);
            b.repeat("o", outputs, &[], |b, o, _| {
                b.repeat("i", inputs, &[], |b, i, _| {
                    let at = |first, second| crate::kernel::ir::Index::default().plus(o, first).plus(i, second);
                    let value = b.load(w, at(1, outputs as i64), 1);
                    b.store(t, at(inputs as i64, 1), value);
                    vec![]
                });
                vec![]
            });
        });
        kernel.parallel("tap", taps, |k, tap| {
            let last = &tap * -1 + (taps - 1);
            k.call(micro_kernel, [from.at(&tap * size), to.at(last * size)]);
        });
        kernel.finish()
    })
}
