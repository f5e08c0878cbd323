//! Values side by side.

use super::super::axes::axis_of;
use super::super::read::Node;
use super::view::View;
use super::{Map, Mapped};
use crate::io::sheet::Args;

impl Map<'_> {
    /// Translates Concat.
    pub(super) fn concat(&mut self, node: &Node) -> Mapped {
        let parts: Vec<View> = (0..node.inputs.len()).map(|i| self.view(node, i)).collect::<Mapped<_>>()?;
        let first = parts.first().ok_or("it has no operands")?.clone();
        let axis = axis_of(node, 1, first.shape.len())?;
        if axis == 0 {
            return Err("it joins images to a larger batch".into());
        }
        let others =
            |v: &View| v.shape.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, d)| *d).collect::<Vec<_>>();
        if parts.iter().any(|part| part.shape.len() != first.shape.len() || others(part) != others(&first)) {
            return Err("its operands do not fit each other".into());
        }
        if let [one] = &parts[..] {
            return Ok(one.clone());
        }
        // The axis first in memory, whatever comes before it in the tensor.
        let rank = first.shape.len();
        let order: Vec<usize> = [0, axis].into_iter().chain((1..rank).filter(|&a| a != axis)).collect();
        let mut layers = Vec::new();
        let (mut channels, mut rest) = (0, vec![]);
        for part in &parts {
            let turned = part.transposed(&order).ok_or("its axes are wrong")?;
            let (layer, dims) = self.image(&turned)?;
            channels += dims[0];
            rest = dims[1..].to_vec();
            layers.push(layer);
        }
        let name = super::names::of_node(self.net, node, "concat");
        let layer = self.weighted(name, "concat", Args::default(), layers, [&[channels], &rest[..]].concat(), vec![]);
        let shape: Vec<usize> = order.iter().map(|&a| if a == axis { channels } else { first.shape[a] }).collect();
        let back: Vec<usize> = (0..rank).filter_map(|a| order.iter().position(|&o| o == a)).collect();
        Ok(View::plain(layer, &shape).transposed(&back).ok_or("its axes are wrong")?)
    }
}
