//! The search for a file's layers: by name, by order within a kind, and normalisations by what stands before them.

use super::{Layer, MatchError, Matching, Placed};
use crate::graph::{Graph, NodeId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is matched so far.
struct Search {
    file: Vec<Layer>,
    net: Vec<Placed>,
    /// The values from which each value is computed.
    sources: HashMap<NodeId, BTreeSet<NodeId>>,
    /// The file's layer for each of the network's.
    of: Vec<Option<usize>>,
}

/// Matches the layers.
pub fn run(file: Vec<Layer>, net: Vec<Placed>, graph: &Graph, said: &BTreeSet<String>) -> Result<Matching, MatchError> {
    let norm = file.iter().find(|layer| layer.is_norm());
    if let Some(norm) = norm.filter(|_| net.iter().all(|placed| !placed.layer.is_norm())) {
        return Err(MatchError::Folded(norm.name.clone()));
    }
    let (of, sources) = (vec![None; net.len()], sources(graph));
    let mut search = Search { file, net, sources, of };
    search.by_name(said)?;
    search.by_order(false)?;
    search.norms()?;
    search.by_order(true)?;
    search.finish()
}

fn sources(graph: &Graph) -> HashMap<NodeId, BTreeSet<NodeId>> {
    let mut sources: HashMap<NodeId, BTreeSet<NodeId>> = HashMap::new();
    for id in graph.order() {
        let mut all = BTreeSet::new();
        for &operand in graph.operands(id).iter().filter(|&&operand| graph.ty(operand).batched) {
            all.insert(operand);
            all.extend(sources.get(&operand).into_iter().flatten());
        }
        sources.insert(id, all);
    }
    sources
}

impl Search {
    fn taken(&self, file: usize) -> bool {
        self.of.contains(&Some(file))
    }

    /// Matches the layers that are said to be each other's.
    fn by_name(&mut self, said: &BTreeSet<String>) -> Result<(), MatchError> {
        for name in said {
            let Some(at) = self.net.iter().position(|placed| placed.layer.name == *name) else { continue };
            let Some(file) = self.file.iter().position(|layer| layer.name == *name) else { continue };
            if self.file[file].parts != self.net[at].layer.parts {
                return Err(MatchError::Others {
                    net: name.clone(),
                    wants: self.net[at].layer.tensors(),
                    file: name.clone(),
                    has: self.file[file].tensors(),
                });
            }
            self.of[at] = Some(file);
        }
        Ok(())
    }

    /// Matches what is left of either normalisations or other layers, kind by kind.
    fn by_order(&mut self, norms: bool) -> Result<(), MatchError> {
        let mut kinds: BTreeMap<&BTreeMap<String, Vec<usize>>, Vec<usize>> = BTreeMap::new();
        for (at, placed) in self.net.iter().enumerate() {
            if self.of[at].is_none() && placed.layer.is_norm() == norms && placed.before.is_none() {
                kinds.entry(&placed.layer.parts).or_default().push(at);
            }
        }
        let kinds: Vec<Vec<usize>> = kinds.into_values().collect();
        for net in kinds {
            let parts = &self.net[net[0]].layer.parts;
            let free = |at: &usize| self.file[*at].parts == *parts && !self.taken(*at) && !self.stray(*at);
            let file: Vec<usize> = (0..self.file.len()).filter(free).collect();
            if file.is_empty() {
                continue;
            }
            if file.len() != net.len() {
                return Err(MatchError::Count {
                    kind: self.file[file[0]].tensors(),
                    file: file.iter().map(|&at| self.file[at].name.clone()).collect(),
                    net: net.iter().map(|&at| self.net[at].layer.name.clone()).collect(),
                });
            }
            let (file, net) = (self.in_order(file), self.along(net));
            self.side_by_side(&net, &file)?;
            net.iter().zip(file).for_each(|(&at, file)| self.of[at] = Some(file));
        }
        Ok(())
    }

    /// Is it a normalisation behind a layer that the network does not have?
    fn stray(&self, norm: usize) -> bool {
        self.front(norm).is_some_and(|front| !self.taken(front))
    }

    /// The layer whose values the normalisation seems to take: that before it, if it makes as many channels.
    fn front(&self, norm: usize) -> Option<usize> {
        let (front, channels) = (norm.checked_sub(1)?, self.file[norm].parts.get("running_mean")?);
        let made = self.file[front].parts.get("weight").filter(|weight| weight.len() > 1)?;
        (made.first() == channels.first()).then_some(front)
    }

    /// The file's layers as they are computed: those of short branches before the block's others.
    fn in_order(&self, mut layers: Vec<usize>) -> Vec<usize> {
        let key = |&at: &usize| match self.file[at].short() {
            Some(block) => {
                let first = self.file.iter().position(|layer| layer.name.starts_with(block)).unwrap_or(at);
                (first, 0, at)
            }
            None => (at, 1, at),
        };
        layers.sort_by_key(key);
        layers
    }

    /// Is the value computed from the other, or the same?
    fn comes_from(&self, value: NodeId, source: NodeId) -> bool {
        value == source || self.sources[&value].contains(&source)
    }

    /// Does the second layer read what the first makes?
    fn follows(&self, [a, b]: [&Placed; 2]) -> bool {
        match a.makes == b.makes {
            true => a.step < b.step,
            false => self.comes_from(b.reads, a.makes),
        }
    }

    /// Does the second layer read what comes from the first one's operand?
    fn later(&self, [a, b]: [&Placed; 2]) -> bool {
        self.follows([a, b]) || (a.reads != b.reads && a.step == 0 && self.comes_from(b.reads, a.reads))
    }

    /// The network's layers, each behind those whose operands come first.
    fn along(&self, mut layers: Vec<usize>) -> Vec<usize> {
        let earlier = |at: usize| layers.iter().filter(|&&a| self.later([&self.net[a], &self.net[at]])).count();
        let ranks: HashMap<usize, usize> = layers.iter().map(|&at| (at, earlier(at))).collect();
        layers.sort_by_key(|at| ranks[at]);
        layers
    }

    /// Refuses layers that do not follow each other, unless the file's names say which lies on the short branch.
    fn side_by_side(&self, net: &[usize], file: &[usize]) -> Result<(), MatchError> {
        for (j, &b) in net.iter().enumerate() {
            for (i, &a) in net[..j].iter().enumerate() {
                let pair = [&self.net[a], &self.net[b]];
                let named = self.file[file[i]].short().is_some() && self.file[file[j]].short().is_none();
                let certain = self.follows(pair) || (named && self.later(pair));
                if !certain {
                    let [a, b] = pair.map(|placed| placed.layer.name.clone());
                    return Err(MatchError::Branches(a, b));
                }
            }
        }
        Ok(())
    }

    /// Matches normalisations with those behind the layers that are matched.
    fn norms(&mut self) -> Result<(), MatchError> {
        for at in 0..self.net.len() {
            let Some(before) = self.net[at].before.filter(|_| self.of[at].is_none()) else { continue };
            let Some(front) = self.of[before] else { continue };
            let next = self.file.get(front + 1);
            let fits = next.is_some_and(|next| next.parts == self.net[at].layer.parts) && !self.taken(front + 1);
            if !fits {
                return Err(MatchError::Norm {
                    norm: self.net[at].layer.name.clone(),
                    net: self.net[before].layer.name.clone(),
                    file: self.file[front].name.clone(),
                    follows: next.map_or("nothing".into(), |next| format!("`{}` ({})", next.name, next.tensors())),
                });
            }
            self.of[at] = Some(front + 1);
        }
        Ok(())
    }

    fn finish(self) -> Result<Matching, MatchError> {
        let net_of = |file: usize| self.of.iter().position(|of| *of == Some(file)).map(|at| &self.net[at].layer);
        let left: Vec<usize> = (0..self.file.len()).filter(|&file| !self.taken(file)).collect();
        let lacking = || (0..self.net.len()).filter(|&at| self.of[at].is_none()).map(|at| &self.net[at].layer);
        for &file in &left {
            let own = &self.file[file];
            let like = |net: &&Layer| net.parts.get("weight") == own.parts.get("weight") && !own.is_norm();
            if let Some(net) = lacking().filter(|net| !net.is_norm()).find(like) {
                return Err(MatchError::Others {
                    net: net.name.clone(),
                    wants: net.tensors(),
                    file: own.name.clone(),
                    has: own.tensors(),
                });
            }
            if let Some((front, net)) = self.front(file).and_then(|front| Some((front, net_of(front)?))) {
                return Err(MatchError::NoNorm {
                    norm: own.name.clone(),
                    file: self.file[front].name.clone(),
                    net: net.name.clone(),
                });
            }
        }
        let pair = |(at, of): (usize, &Option<usize>)| Some((self.file[(*of)?].clone(), self.net[at].layer.clone()));
        let pairs: Vec<(Layer, Layer)> = self.of.iter().enumerate().filter_map(pair).collect();
        match pairs.is_empty() {
            true => Err(MatchError::Nothing),
            false => Ok(Matching {
                pairs,
                lacking: lacking().cloned().collect(),
                left: left.into_iter().map(|file| self.file[file].clone()).collect(),
            }),
        }
    }
}
