//! Softmax, whose axis means another thing since operator set 13.

use super::super::axes::axis_of;
use super::super::read::Node;
use super::view::{View, product};
use super::{Map, Mapped};
use crate::io::sheet::Args;

impl Map<'_> {
    /// Translates Softmax and LogSoftmax.
    pub(super) fn softmax(&mut self, node: &Node) -> Mapped {
        let x = self.view(node, 0)?;
        let rank = x.shape.len();
        let flattens = self.net.opset < 13;
        let first = axis_of(node, if flattens { 1 } else { -1 }, rank)?;
        if first == 0 {
            return Err("it is taken over the batch".into());
        }
        let axes: Vec<usize> = if flattens { (first..rank).collect() } else { vec![first] };
        let function = if node.op == "Softmax" { "softmax" } else { "log_softmax" };
        match x.run(&axes) {
            Some([1, run, rest]) => self.over_first(node, function, &x, (run, rest)),
            _ => {
                // Channels first: the axes, then all others.
                let others = (1..rank).filter(|axis| !axes.contains(axis));
                let order: Vec<usize> = [0].into_iter().chain(axes.iter().copied()).chain(others).collect();
                let turned = x.transposed(&order).ok_or("its axes are wrong")?;
                let turned = self.ordered(&turned)?;
                let run = product(&axes.iter().map(|&axis| x.shape[axis]).collect::<Vec<_>>());
                let made = self.over_first(node, function, &turned, (run, x.elements() / run))?;
                let back: Vec<usize> = (0..rank).filter_map(|axis| order.iter().position(|&o| o == axis)).collect();
                Ok(made.transposed(&back).ok_or("its axes are wrong")?)
            }
        }
    }

    fn over_first(&mut self, node: &Node, function: &'static str, x: &View, (run, rest): (usize, usize)) -> Mapped {
        let dims = self.dims_with(x.layer, run, rest);
        let operand = self.shaped(x.layer, &dims);
        let layer = self.layer(node, function, Args::default(), operand, dims);
        Ok(x.of(layer))
    }
}
