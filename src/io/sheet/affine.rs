//! Factors and shifts of channels: one factor for all is a layer `scale`; others go into the product before them where
//! nothing else uses it, else they are a convolution of one pixel whose groups are the channels.

use super::{Arg, Args, Layer, LayerId, Sheet};
use ninc_runtime::Tensor;
use std::collections::BTreeMap;

impl Sheet {
    /// Takes all layers `affine` out.
    pub(super) fn affines(&mut self) {
        let mut uses = self.uses();
        let mut at = 1;
        while at < self.layers.len() {
            if self.layers[at].function != "affine" {
                at += 1;
                continue;
            }
            let before = self.layers[at].operands[0];
            let (scale, shift) = (self.number(at, "scale"), self.number(at, "shift"));
            if let Some(factor) = self.one_factor(at, &scale, &shift) {
                let layer = &mut self.layers[at];
                (layer.function, layer.params) = ("scale", BTreeMap::new());
                layer.args = Args::default().with("factor", Arg::Float(factor));
                at += 1;
                continue;
            }
            let nothing = scale.iter().all(|v| *v == 1.0) && shift.iter().all(|v| *v == 0.0);
            if nothing || (uses[before] == 1 && self.absorb(before, &scale, &shift)) {
                self.instead(at, before);
                uses = self.uses();
            } else {
                self.separate(at, &scale, &shift);
                uses = self.uses();
            }
            at += 1;
        }
    }

    /// The factor of a layer that multiplies by one number and does nothing else, unless a layer behind it takes it in.
    fn one_factor(&self, at: LayerId, scale: &[f32], shift: &[f32]) -> Option<f32> {
        let &factor = scale.first()?;
        let alone = factor != 1.0 && scale.iter().all(|v| *v == factor) && shift.iter().all(|v| *v == 0.0);
        let joins = |layer: &Layer| layer.function == "affine" && layer.operands.contains(&at);
        (alone && factor.is_finite() && !self.layers.iter().any(joins)).then_some(factor)
    }

    fn number(&self, at: LayerId, name: &str) -> Vec<f32> {
        self.layers[at].params.get(name).map(|t| t.data.clone()).unwrap_or_default()
    }

    /// Makes users of a layer use another.
    fn instead(&mut self, at: LayerId, other: LayerId) {
        for layer in &mut self.layers {
            layer.operands.iter_mut().filter(|o| **o == at).for_each(|o| *o = other);
        }
        self.outputs.iter_mut().filter(|(_, id)| *id == at).for_each(|(_, id)| *id = other);
        let (name, coding) = (self.layers[at].name.take(), self.layers[at].bytes.coding);
        let kept = &mut self.layers[other].bytes.coding;
        *kept = coding.or(*kept);
        let free = self.layers[other].name.is_none();
        if free && other != 0 {
            self.layers[other].name = name;
        }
        // What nothing uses any more uses nothing.
        self.layers[at].operands.clear();
    }

    /// Puts factors and shifts into a layer with weights, if it has room for them.
    fn absorb(&mut self, at: LayerId, scale: &[f32], shift: &[f32]) -> bool {
        let layer = &mut self.layers[at];
        let product = ["conv", "cccp", "linear", "batch_norm", "affine"].contains(&layer.function);
        // A layer whose weights lie in another file has none here.
        let known = layer.params.contains_key(if layer.function == "affine" { "scale" } else { "weight" });
        if !product || !known || layer.args.get("frozen").is_some() || layer.dims[0] != scale.len() {
            return false;
        }
        let affine = layer.function == "affine";
        let norm = layer.function == "batch_norm";
        let factors = if affine { "scale" } else { "weight" };
        let zero = Tensor { dims: vec![scale.len()], data: vec![0.0; scale.len()] };
        if let Some(weights) = layer.params.get_mut(factors) {
            let each = weights.data.len() / scale.len();
            weights.data.iter_mut().enumerate().for_each(|(i, w)| *w *= scale[i / each]);
        }
        let wanted = shift.iter().any(|v| *v != 0.0);
        let shifts = if affine { "shift" } else { "bias" };
        if wanted && !affine && !norm && !layer.params.contains_key("bias") {
            layer.args.0.retain(|(name, _)| *name != "bias");
        }
        if wanted || layer.params.contains_key(shifts) {
            let own = layer.params.entry(shifts).or_insert(zero);
            own.data.iter_mut().zip(scale.iter().zip(shift)).for_each(|(b, (f, s))| *b = *b * f + s);
        }
        true
    }

    /// Makes a convolution of a layer `affine`.
    fn separate(&mut self, at: LayerId, scale: &[f32], shift: &[f32]) {
        let count = scale.len();
        let image = self.layers[at].dims.len() == 3;
        let mut args = Args::default().with("channels", Arg::Int(count)).with("kernel", Arg::Int(1));
        args = args.unless("groups", Arg::Int(count), Arg::Int(1));
        let mut params = BTreeMap::new();
        params.insert("weight", Tensor { dims: vec![count, 1, 1, 1], data: scale.to_vec() });
        match shift.iter().all(|v| *v == 0.0) {
            true => args = args.with("bias", Arg::Bool(false)),
            false => drop(params.insert("bias", Tensor { dims: vec![count], data: shift.to_vec() })),
        }
        // They are constants of the file, which no training there changed.
        args = args.with("frozen", Arg::Bool(true));
        let Layer { operands, name, dims, bytes, .. } = self.layers[at].clone();
        if image {
            self.layers[at] = Layer { function: "conv", args, operands, name, params, dims, bytes, ..Layer::default() };
            return;
        }
        // Features become an image of one pixel: three layers where one was.
        self.insert(at, 2);
        let pixel = vec![count, 1, 1];
        let shape = Args::default().with("shape", Arg::Ints(pixel.clone()));
        let plain =
            |function, args, operand, dims| Layer { function, args, operands: vec![operand], dims, ..Layer::default() };
        self.layers[at] = plain("reshape", shape, operands[0], pixel.clone());
        self.layers[at + 1] =
            Layer { function: "conv", args, operands: vec![at], name, params, dims: pixel, ..Layer::default() };
        self.layers[at + 2] = Layer { bytes, ..plain("flatten", Args::default(), at + 1, dims) };
    }

    /// Makes room for this number of layers before the one at `at`; what read that one reads the last of them.
    fn insert(&mut self, at: LayerId, count: usize) {
        let filler = self.layers[at].clone();
        self.layers.splice(at..at, std::iter::repeat_n(filler, count));
        let moved = |id: &mut LayerId| *id += if *id >= at { count } else { 0 };
        for layer in &mut self.layers[at + count + 1..] {
            layer.operands.iter_mut().for_each(moved);
        }
        self.outputs.iter_mut().for_each(|(_, id)| moved(id));
    }
}
