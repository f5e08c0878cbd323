//! Weights combined with one number per output unit.

use crate::kernel::build::{KernelBuilder, LeafBuilder};
use crate::kernel::ir::{Access, Elem, Val};
use crate::kernel::site::{Lowered, Site, Slot};

/// `(w[O, …], a[O], b[O], …) -> w`: `function` at each weight with its output's numbers. The output is the innermost
/// dimension of weights in memory (see `Type::memory_order`), so a weight is rows of O numbers.
pub fn per_output(
    site: &mut Site,
    tag: &str,
    mut function: impl FnMut(&mut LeafBuilder, &[Val], u32) -> Val,
) -> Lowered {
    let outputs = site.result.ty.dims[0];
    let rows = site.result.ty.elements() / outputs;
    let (count, lanes) = (site.operands.len(), site.target.lanes);
    let leaf = site.module().leaf(&format!("{tag}_{outputs}x{lanes}"), |b| {
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
        k.call(leaf, args);
    });
    let mut slots: Vec<Slot> = site.operands.iter().map(|o| o.slot).collect();
    slots.push(site.result.slot);
    site.launch(k.finish(), &slots);
    Ok(())
}
