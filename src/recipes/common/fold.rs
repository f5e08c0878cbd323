//! Weights combined with one number per output unit.

use crate::kernel::build::{KernelBuilder, MicroKernelBuilder};
use crate::kernel::ir::{Access, Elem, Val};
use crate::lower::{BufferId, LowerCx, Lowered, Params, Pure, Stateless, code};

/// `(w[O, …], a[O], b[O], …) -> w`: `function` at each weight with its output's numbers. The output is the innermost
/// dimension of weights in memory (see `Type::memory_order`), so a weight is rows of O numbers.
///
/// The function gets `params` first, and captures nothing.
pub fn per_output<P: Params, F>(cx: &mut LowerCx, what: &str, params: P, function: F) -> Lowered
where
    F: Fn(&P, &mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
{
    let outputs = cx.result.ty.dims[0];
    let rows = cx.result.ty.elements() / outputs;
    let (count, lanes) = (cx.operands.len(), cx.target.lanes);
    let params = (outputs, count, lanes, Pure::new(params, function));
    let spec = code(format!("{what}_{outputs}x{lanes}"), params, |&(outputs, count, lanes, ref function), b| {
        let (params, function) = function.parts();
        let from: Vec<_> = (0..count).map(|i| b.pointer(&format!("x{i}"), Elem::F32, Access::Read)).collect();
        let to = b.pointer("y", Elem::F32, Access::Write);
        b.elements(outputs, lanes, |b, index, lanes| {
            let values: Vec<Val> = from.iter().map(|&p| b.load(p, index.clone(), lanes)).collect();
            let value = function(params, b, &values, lanes);
            b.store(to, index, value);
        });
    });
    let micro_kernel = cx.micro_kernel(spec);
    let mut k = KernelBuilder::new(format!("{what}_{rows}x{outputs}"));
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
    cx.launch(what, k.finish(), &buffers);
    Ok(())
}
