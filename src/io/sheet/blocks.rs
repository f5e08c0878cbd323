//! Chains of a convolution and 1x1 convolutions, each with its activation, put together as `mlpconv`.

use super::{Arg, Args, Bytes, Layer, LayerId, Sheet, WEIGHT};
use std::collections::BTreeMap;

/// Suffixes of an `mlpconv`'s tensors.
const WEIGHTS: [&str; 10] = [
    "conv.weight",
    "cccp1.weight",
    "cccp2.weight",
    "cccp3.weight",
    "cccp4.weight",
    "cccp5.weight",
    "cccp6.weight",
    "cccp7.weight",
    "cccp8.weight",
    "cccp9.weight",
];
const BIASES: [&str; 10] = [
    "conv.bias",
    "cccp1.bias",
    "cccp2.bias",
    "cccp3.bias",
    "cccp4.bias",
    "cccp5.bias",
    "cccp6.bias",
    "cccp7.bias",
    "cccp8.bias",
    "cccp9.bias",
];
/// Activations that an `mlpconv` has, without arguments.
const ACTIVATIONS: [&str; 6] = ["relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh"];

/// A product of a chain with the activation behind it.
struct Stage {
    product: LayerId,
    activation: Option<LayerId>,
}

impl Sheet {
    /// Puts chains together: those that a file says are one, and with `join` those of a
    /// larger window that it does not.
    pub(super) fn chains(&mut self, join: bool) {
        let uses = self.uses();
        let mut after: Vec<Option<LayerId>> = vec![None; self.layers.len()];
        for (id, layer) in self.layers.iter().enumerate() {
            if let [operand] = layer.operands[..] {
                after[operand] = Some(id);
            }
        }
        let next = |id: LayerId| after[id].filter(|_| uses[id] == 1);
        for id in 0..self.layers.len() {
            if self.layers[id].function != "conv" && self.layers[id].function != "cccp" {
                continue;
            }
            let mut stages = self.stages(id, next);
            let named = if join { None } else { self.named_as_one(&stages) };
            match named {
                Some(count) => stages.truncate(count),
                None if join => stages.truncate(self.alike(&stages)),
                None => continue,
            }
            if stages.is_empty() || (named.is_none() && stages.len() < 2) {
                continue;
            }
            let end = self.end(&stages);
            let joined = self.joined(&stages);
            // The last layer of the chain becomes the whole; those before are dropped as nothing uses them.
            self.layers[end] = joined;
        }
    }

    fn end(&self, stages: &[Stage]) -> LayerId {
        stages.last().map_or(0, |s| s.activation.unwrap_or(s.product))
    }

    /// Collects products that follow each other from `first` on.
    fn stages(&self, first: LayerId, next: impl Fn(LayerId) -> Option<LayerId>) -> Vec<Stage> {
        let mut stages = Vec::new();
        let mut at = Some(first);
        while let Some(product) = at.filter(|_| stages.len() < WEIGHTS.len()) {
            let plain = |id: &LayerId| {
                let layer = &self.layers[*id];
                ACTIVATIONS.contains(&layer.function) && layer.args.0.is_empty() && layer.name.is_none()
            };
            let follower = next(product);
            let activation = follower.filter(plain);
            stages.push(Stage { product, activation });
            let behind = activation.map_or(follower, &next);
            at = behind.filter(|&id| self.layers[id].function == "cccp");
        }
        stages
    }

    /// Returns how many stages a file says are one.
    fn named_as_one(&self, stages: &[Stage]) -> Option<usize> {
        let block = |stage: &Stage| self.layers[stage.product].block.as_ref();
        let own = block(stages.first()?)?;
        let count = stages.iter().take_while(|stage| block(stage) == Some(own)).count();
        Some(self.uniform(&stages[..count])).filter(|n| *n == count)
    }

    /// Returns how many stages are of one kind: the same activation between them, biases on all or none.
    fn uniform(&self, stages: &[Stage]) -> usize {
        let word = |stage: &Stage| stage.activation.map(|a| self.layers[a].function);
        let bias = |stage: &Stage| self.layers[stage.product].params.contains_key("bias");
        let Some(first) = stages.first() else { return 0 };
        let mut count = 1;
        while let Some(stage) = stages.get(count) {
            let before = word(&stages[count - 1]);
            if before != word(first) || bias(stage) != bias(first) {
                break;
            }
            count += 1;
        }
        count
    }

    /// Like [`Sheet::uniform`], for a larger window and an activation behind each.
    fn alike(&self, stages: &[Stage]) -> usize {
        let Some(first) = stages.first() else { return 0 };
        let acts = stages.iter().take_while(|s| s.activation.is_some()).count();
        match self.layers[first.product].function {
            "conv" if acts > 0 => {
                let word = |s: &Stage| s.activation.map(|a| self.layers[a].function);
                let same = stages[..acts].iter().take_while(|s| word(s) == word(first)).count();
                self.uniform(&stages[..same])
            }
            _ => 0,
        }
    }

    fn joined(&self, stages: &[Stage]) -> Layer {
        let first = &self.layers[stages[0].product];
        let word = |stage: &Stage| stage.activation.map_or("none", |a| self.layers[a].function);
        let channels = stages.iter().map(|s| self.layers[s.product].dims[0]).collect();
        let (inner, last) = (word(&stages[0]), word(&stages[stages.len() - 1]));
        let kernel = first.args.get("kernel").cloned().unwrap_or(Arg::Int(1));
        let mut args = Args::default().with("kernel", kernel);
        for (name, value) in first.args.0.iter().filter(|(name, _)| !["channels", "kernel"].contains(name)) {
            args = args.with(name, value.clone());
        }
        args = args.with("channels", Arg::Ints(channels));
        if stages.len() > 1 {
            args = args.unless("activation", Arg::Word(inner), Arg::Word("relu"));
        }
        args = args.unless("last_activation", Arg::Word(last), Arg::Word("relu"));
        let mut params = BTreeMap::new();
        let mut bytes = Bytes { coding: self.layers[self.end(stages)].bytes.coding, ..Bytes::default() };
        for (i, stage) in stages.iter().enumerate() {
            let stated = self.layers[stage.product].bytes.products.get(WEIGHT);
            bytes.products.extend(stated.map(|stated| (WEIGHTS[i], stated.clone())));
            let own = &self.layers[stage.product].params;
            own.get("weight").into_iter().for_each(|t| drop(params.insert(WEIGHTS[i], t.clone())));
            own.get("bias").into_iter().for_each(|t| drop(params.insert(BIASES[i], t.clone())));
        }
        let name = first.block.clone().or_else(|| first.name.clone());
        let dims = self.layers[self.end(stages)].dims.clone();
        let operands = first.operands.clone();
        Layer { function: "mlpconv", args, operands, name, block: None, params, dims, bytes }
    }
}
