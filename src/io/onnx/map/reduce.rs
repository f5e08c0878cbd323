//! Means and maxima over axes: pools over whole maps, maxima over channels.

use super::super::axes::axes;
use super::super::read::Node;
use super::view::View;
use super::{Map, Mapped, tensor};
use crate::io::sheet::{Arg, Args};

impl Map<'_> {
    /// Translates ReduceMean, ReduceSum, ReduceMax and ReduceMin.
    pub(super) fn reduce(&mut self, node: &Node) -> Mapped {
        let x = self.view(node, 0)?;
        let given = self.ints(node, 1, "axes")?.unwrap_or_default();
        if given.is_empty() && node.int("noop_with_empty_axes").unwrap_or(0) != 0 {
            return Ok(x);
        }
        let axes = axes(&given, x.shape.len())?;
        let axes = if axes.is_empty() { (0..x.shape.len()).collect() } else { axes };
        if axes.contains(&0) {
            return Err("it reduces the batch".into());
        }
        let kept = node.int("keepdims").unwrap_or(1) != 0;
        match node.op.as_str() {
            "ReduceMean" => self.reduced(Some(node), &x, &axes, "mean", kept),
            "ReduceMax" => self.reduced(Some(node), &x, &axes, "max", kept),
            "ReduceMin" => {
                let minus = self.scaled(&x, -1.0, 0.0)?;
                let most = self.reduced(Some(node), &minus, &axes, "max", kept)?;
                self.scaled(&most, -1.0, 0.0)
            }
            _ => {
                let mean = self.reduced(Some(node), &x, &axes, "mean", kept)?;
                self.scaled(&mean, x.elements() as f32 / mean.elements() as f32, 0.0)
            }
        }
    }

    /// Adds a mean or maximum over axes, one after the other where they do not lie together.
    pub(super) fn reduced(&mut self, node: Option<&Node>, x: &View, axes: &[usize], kind: &str, kept: bool) -> Mapped {
        let Some([before, run, after]) = x.run(axes) else {
            let mut whole = x.clone();
            for &axis in axes {
                whole = self.reduced(None, &whole, &[axis], kind, true)?;
            }
            return Ok(whole.without(whole.layer, axes, kept));
        };
        if run == 1 {
            return Ok(x.without(x.layer, axes, kept));
        }
        let name = node.and_then(|node| super::names::of_node(self.net, node, "global_avg_pool"));
        let features = self.sheet.layers[x.layer].dims.len() == 1;
        let layer = if after == 1 && kind == "max" && features {
            let args = Args::default().with("pieces", Arg::Int(run));
            self.weighted(name, "maxout", args, vec![x.layer], vec![before], vec![])
        } else if after == 1 {
            let dims = self.image_with(x.layer, before, run);
            let operand = self.shaped(x.layer, &dims);
            let function = if kind == "max" { "global_max_pool" } else { "global_avg_pool" };
            self.weighted(name, function, Args::default(), vec![operand], vec![before], vec![])
        } else {
            let dims = self.image_with(x.layer, before * run, after);
            let operand = self.shaped(x.layer, &dims);
            if kind == "max" {
                let args = Args::default().with("pieces", Arg::Int(run));
                self.weighted(name, "maxout", args, vec![operand], vec![before, dims[1], dims[2]], vec![])
            } else {
                let weights = tensor(&[before, run, 1, 1], vec![1.0 / run as f32; before * run]);
                self.fixed(operand, [1, 1], before, weights)
            }
        };
        Ok(x.without(layer, axes, kept))
    }
}
