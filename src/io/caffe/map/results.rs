//! What a network gives: what nothing reads any more, and in place of a loss what it is taken of.

use super::{Map, Value, View};
use crate::io::caffe::net::Layer;
use crate::io::error::{ImportError, Refusal};
use crate::io::sheet::{Args, identifier};
use std::collections::BTreeSet;

/// A result of a layer.
type Place = (usize, usize);

impl Map<'_> {
    /// Names the results, or lists what kept them from being made.
    pub(super) fn results(&mut self) -> Result<(), ImportError> {
        let loss = self.loss();
        let mut places = self.ends();
        let head = loss.and_then(|i| Some((i, self.links[i].first().copied().flatten()?)));
        // A file may have the probabilities beside the loss.
        let head = head.filter(|(_, place)| places.is_empty() || !self.used(*place));
        places.extend(head.map(|(_, place)| place));
        let refused = self.refusals(&places);
        if !refused.is_empty() {
            return Err(ImportError::Refused(refused));
        }
        let several = places.len() > 1;
        for place in places {
            let Some(Value::At(view)) = self.values[place.0].get(place.1).cloned() else { continue };
            let view = match head {
                Some((loss, of)) if of == place => self.of_loss(loss, &view),
                _ => view,
            };
            let top = identifier(&self.net.layers[place.0].it.top[place.1]).unwrap_or_else(|| "result".into());
            let taken = self.sheet.outputs.iter().any(|(name, _)| *name == top);
            let name = if several && taken { format!("{top}_{}", place.0) } else { top };
            let layer = self.flat(&view);
            self.sheet.outputs.push((name, layer));
        }
        match self.sheet.outputs.is_empty() {
            true => Err(ImportError::Ports("it has no results".into())),
            false => Ok(()),
        }
    }

    /// Finds the loss that counts most; of several that count the same the last, which is the deepest.
    fn loss(&mut self) -> Option<usize> {
        let weight = |layer: &Layer| layer.it.loss_weight.first().copied().unwrap_or(1.0);
        let losses: Vec<usize> = (0..self.net.layers.len()).filter(|&i| self.net.layers[i].is_loss()).collect();
        let most = losses.iter().copied().max_by(|&a, &b| weight(self.it(a)).total_cmp(&weight(self.it(b))))?;
        let of = |i: &usize| self.it(*i).it.bottom.first();
        let others = losses.iter().filter(|i| of(i) != of(&most)).map(|&i| format!("`{}`", self.it(i).label()));
        let others: BTreeSet<String> = others.collect();
        if !others.is_empty() {
            let list = others.into_iter().collect::<Vec<_>>().join(", ");
            let main = self.it(most).label();
            self.notes.push(format!("the result is that of the loss `{main}`; what leads to {list} alone is left out"));
        }
        Some(most)
    }

    /// Does a layer that is kept read this result?
    fn used(&self, place: Place) -> bool {
        let reads = |j: &usize| {
            let layer = self.it(*j);
            !layer.is_loss() && !layer.is_measure() && self.links[*j].contains(&Some(place))
        };
        self.readers[place.0].iter().any(reads)
    }

    /// Lists results that nothing reads, but measures.
    fn ends(&self) -> Vec<Place> {
        let mut ends = Vec::new();
        for (i, layer) in self.net.layers.iter().enumerate() {
            if layer.is_source() || layer.is_loss() || layer.is_measure() {
                continue;
            }
            for k in 0..layer.it.top.len() {
                let place = (i, k);
                let given = !matches!(self.values[i].get(k), Some(Value::Label) | None);
                let silent = |j: &usize| {
                    let reader = self.it(*j);
                    (reader.is_loss() || reader.kind() == "Silence") && self.links[*j].contains(&Some(place))
                };
                if given && !self.used(place) && !self.readers[i].iter().any(silent) {
                    ends.push(place);
                }
            }
        }
        ends
    }

    /// Adds what a loss computes of its first operand before it compares.
    fn of_loss(&mut self, loss: usize, x: &View) -> View {
        match self.it(loss).kind() {
            "SoftmaxWithLoss" => self.softmax(Some("probabilities".into()), x),
            "SigmoidCrossEntropyLoss" => {
                let dims = self.sheet.layers[x.layer].dims.clone();
                let layer = self.add(Some("probabilities".into()), "sigmoid", Args::default(), vec![x.layer], dims);
                View { layer, shape: x.shape.clone() }
            }
            _ => x.clone(),
        }
    }

    /// Returns a result's layer under Caffe's shape; what a pool made of a whole map stays a list of numbers.
    fn flat(&mut self, x: &View) -> usize {
        match (&self.sheet.layers[x.layer].dims[..], &x.shape[..]) {
            ([a], [b, rest @ ..]) if a == b && rest.iter().all(|d| *d == 1) => x.layer,
            (_, shape) if shape.len() == 1 || shape.len() == 3 => self.sheet.shaped(x.layer, shape),
            _ => x.layer,
        }
    }

    /// Lists the layers that keep these results from being made, in the file's order.
    fn refusals(&self, places: &[Place]) -> Vec<Refusal> {
        let mut open: Vec<usize> = places.iter().map(|place| place.0).collect();
        let mut seen: BTreeSet<usize> = BTreeSet::new();
        while let Some(i) = open.pop() {
            if seen.insert(i) {
                open.extend(self.links[i].iter().flatten().map(|place| place.0));
            }
        }
        let told = |i: usize| {
            let layer = self.it(i);
            let reason = self.reasons.get(&i)?.clone();
            Some(Refusal { node: layer.label(), operator: layer.kind().into(), reason })
        };
        seen.into_iter().filter_map(told).collect()
    }
}
