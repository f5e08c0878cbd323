//! Units of a network: the shortest runs of layers into which one value flows and out of which one flows.

use super::{Arg, Layer, LayerId, Sheet};
use std::ops::Range;

/// Activations without weights.
const ACTIVATIONS: [&str; 9] = ["relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "gelu", "silu", "clip"];
/// Layers with weights.
const WEIGHTED: [&str; 8] = ["conv", "cccp", "mlpconv", "linear", "local_conv", "drop_connect", "batch_norm", "prelu"];

/// A run of layers between two values that everything behind them comes from.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its layers.
    pub layers: Range<LayerId>,
    /// Whether nobody may read its layers but through its last: none but the last layer of a network is a result.
    pub closed: bool,
}

impl Layer {
    /// Does it hold weights that training changes?
    pub fn weighted(&self) -> bool {
        WEIGHTED.contains(&self.function)
    }

    /// Is it an activation without weights?
    pub fn activates(&self) -> bool {
        ACTIVATIONS.contains(&self.function)
    }

    /// Compares what the text says of two layers, values of arguments aside that a block can take as parameters.
    pub fn alike(&self, other: &Layer) -> bool {
        let (args, others) = (&self.args.0, &other.args.0);
        let same = |((name, value), (other, beside)): (&(&str, Arg), &(&str, Arg))| {
            name == other && (value == beside || [(name, value), (other, beside)].iter().all(|(n, v)| passes(n, v)))
        };
        self.function == other.function && args.len() == others.len() && args.iter().zip(others).all(same)
    }

    /// Compares all that the text says of two layers but their names.
    pub fn same(&self, other: &Layer) -> bool {
        self.function == other.function && self.args == other.args
    }
}

/// Can a block take this argument of a layer as a parameter?
fn passes(name: &str, value: &Arg) -> bool {
    let setting = ["init", "rate", "bias_rate", "decay", "bias_decay", "frozen"].contains(&name);
    !setting && !matches!(value, Arg::Word(_) | Arg::Call(_))
}

impl Sheet {
    /// Divides the network into its units.
    pub fn units(&self) -> Vec<Unit> {
        let mut last = vec![0; self.layers.len()];
        for (id, layer) in self.layers.iter().enumerate() {
            layer.operands.iter().for_each(|&o| last[o] = id);
        }
        let end = self.layers.len() - 1;
        let inner = |id: &LayerId| *id != end || self.outputs.len() > 1;
        let results: Vec<LayerId> = self.outputs.iter().map(|(_, id)| *id).filter(inner).collect();
        let mut units = Vec::new();
        let (mut start, mut reach) = (1, last[0]);
        for at in 1..=end {
            if reach <= at {
                let layers = start..at + 1;
                let closed = !results.iter().any(|id| layers.contains(id));
                units.push(Unit { layers, closed });
                start = at + 1;
            }
            reach = reach.max(last[at]);
        }
        units
    }

    /// Compares two runs of layers, each behind the layer before it: the same layers, joined alike.
    pub fn joined_alike(
        &self,
        one: &Range<LayerId>,
        other: &Range<LayerId>,
        equal: fn(&Layer, &Layer) -> bool,
    ) -> bool {
        let place = |run: &Range<LayerId>, operand: LayerId| operand + 1 - run.start;
        let same = |(a, b): (LayerId, LayerId)| {
            let (a, b) = (&self.layers[a], &self.layers[b]);
            let places = |layer: &Layer, run| layer.operands.iter().map(|&o| place(run, o)).collect::<Vec<_>>();
            equal(a, b) && places(a, one) == places(b, other)
        };
        one.len() == other.len() && one.clone().zip(other.clone()).all(same)
    }
}
