//! Weights combined with one number per output unit.

use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Elem, Val};
use crate::lower::{BufferId, LowerCx, Lowered};

/// `(w[O, …], a[O], b[O], …) -> w`: `function` at each weight with its output's numbers. The output is the innermost
/// dimension of weights in memory (see `Type::memory_order`), so a weight is rows of O numbers.
pub fn per_output(
    cx: &mut LowerCx,
    tag: &str,
    mut function: impl FnMut(&mut MicroKernelBuilder, &[Val], u32) -> Val,
) -> Lowered {
    let outputs = cx.result.ty.dims[0];
    let rows = cx.result.ty.elements() / outputs;
    let (count, lanes) = (cx.operands.len(), cx.target.lanes);
    let micro_kernel = cx.module().micro_kernel(&format!("{tag}_{outputs}x{lanes}"), |b| {
        let from: Vec<_> = (0..count).map(|i| b.pointer(&format!("x{i}"), Elem::F32, Access::Read)).collect();
        let to = b.pointer("y", Elem::F32, Access::Write);
        b.elements(outputs, lanes, |b, index, lanes| {
            let values: Vec<Val> = from.iter().map(|&p| b.load(p, index.clone(), lanes)).collect();
            let value = function(b, &values, lanes);
            b.store(to, index, value);
        });
    });
    let mut k = KernelBuilder::new(format!("{tag}_{rows}x{outputs}"));
    let from: Vec<_> = (0..count).map(|i| k.buffer(&format!("x{i}"), Elem::F32, Access::Read)).collect();
    let to = k.buffer("y", Elem::F32, Access::Write);
    k.parallel("row", rows, |k, row| {
        let start = row * outputs;
        let mut args = vec![from[0].at(&start)];
        args.extend(from[1..].iter().map(|m| m.at(0)));
        args.push(to.at(&start));
        k.call(micro_kernel, args);
    });
    let mut buffers: Vec<BufferId> = cx.operands.iter().map(|o| o.buffer).collect();
    buffers.push(cx.result.buffer);
    cx.launch(k.finish(), &buffers);
    Ok(())
}
