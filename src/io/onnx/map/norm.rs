//! Normalisations.

use super::super::read::Node;
use super::view::View;
use super::{Map, Mapped, names, tensor};
use crate::io::sheet::{Arg, Args};

impl Map<'_> {
    /// Translates BatchNormalization with the statistics that it was trained to.
    pub(super) fn batch_norm(&mut self, node: &Node) -> Mapped {
        let x = self.view(node, 0)?;
        let parts: Vec<_> = (1..5).map(|i| self.needed_constant(node, i)).collect::<Mapped<_>>()?;
        if node.int("training_mode").unwrap_or(0) != 0 {
            return Err(
                "it normalises by the statistics of each batch (training_mode = 1): export for inference".into()
            );
        }
        if node.int("spatial") == Some(0) {
            return Err("it normalises each position by itself (spatial = 0)".into());
        }
        let (layer, dims) = self.image(&x)?;
        let count = dims[0];
        if parts.iter().any(|part| part.len() != count) {
            return Err(format!("its statistics do not fit {count} channels").into());
        }
        let mut args = Args::default();
        args = args.unless("epsilon", Arg::Float(node.float("epsilon").unwrap_or(1e-5)), Arg::Float(1e-5));
        // What a new batch adds to the running statistics, where ONNX says what it leaves.
        let left = f64::from(node.float("momentum").unwrap_or(0.9));
        let added = (((1.0 - left) * 1e6).round() / 1e6) as f32;
        args = args.unless("momentum", Arg::Float(added.clamp(0.0, 1.0)), Arg::Float(0.1));
        let names = ["weight", "bias", "running_mean", "running_var"];
        let params = names.iter().zip(&parts).map(|(name, part)| (*name, tensor(&[count], part.as_floats())));
        let name = names::of_weights(self.net, node, node.input(1));
        let params = params.collect();
        let layer = self.weighted(name, "batch_norm", args, vec![layer], dims, params);
        Ok(x_plain(&x, layer))
    }

    /// Translates LRN.
    pub(super) fn lrn(&mut self, node: &Node) -> Mapped {
        let x = self.view(node, 0)?;
        let size = node.int("size").and_then(|v| usize::try_from(v).ok()).filter(|v| *v > 0);
        let size = size.ok_or("its size is not given")?;
        let number = |name: &str, default: f32| node.float(name).unwrap_or(default);
        self.lrn_layer(Some(node), &x, size, [number("alpha", 1e-4), number("beta", 0.75), number("bias", 1.0)])
    }

    /// Adds a local response normalisation whose extra channel of an even size is behind.
    pub(super) fn lrn_layer(&mut self, node: Option<&Node>, x: &View, size: usize, numbers: [f32; 3]) -> Mapped {
        let (layer, dims) = self.image(x)?;
        let args = Args::lrn(size, numbers);
        let name = node.and_then(|node| names::of_node(self.net, node, "lrn"));
        let layer = self.weighted(name, "lrn", args, vec![layer], dims, vec![]);
        Ok(x_plain(x, layer))
    }
}

/// A view of a layer that lies in the tensor's order.
pub fn x_plain(x: &View, layer: usize) -> View {
    View::plain(layer, &x.shape)
}
