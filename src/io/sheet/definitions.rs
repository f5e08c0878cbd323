//! Blocks of a network's text: units of several branches that stand in it more than once, with what differs between
//! them as parameters.

use super::body::Body;
use super::units::Unit;
use super::{Arg, Layer, LayerId, Sheet, identifier};
use std::ops::Range;

/// Fewest layers of a block, and most parameters.
const FEWEST: usize = 3;
const MOST: usize = 8;
/// The value that flows into a block.
pub const VALUE: &str = "x";

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its name.
    pub name: String,
    /// The layers of each of its calls.
    pub calls: Vec<Range<LayerId>>,
    /// Its parameters behind the value that flows in.
    pub parameters: Vec<Parameter>,
    /// Its steps.
    pub body: Body,
}

/// A number that differs between the calls of a block.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// The arguments that it is, each by the layer's place and its name there.
    pub arguments: Vec<(usize, &'static str)>,
    /// Its value in each call.
    pub values: Vec<Arg>,
}

/// Runs of units that become calls of one block.
type Runs = Vec<Range<usize>>;

/// Returns the first parts, between `_`, that all of these names begin with.
pub fn stem(names: &[&str]) -> Option<String> {
    let parts: Vec<Vec<&str>> = names.iter().map(|name| name.split('_').collect()).collect();
    let first = parts.first()?;
    let shared = (0..first.len()).take_while(|&i| parts.iter().all(|p| p.get(i) == Some(&first[i]))).count();
    (shared > 0 && !first[0].is_empty()).then(|| first[..shared].join("_"))
}

impl Sheet {
    /// Finds the blocks of a network whose units these are.
    pub fn blocks(&self, units: &[Unit]) -> Vec<Block> {
        let mut sets: Vec<Runs> = Vec::new();
        for (at, unit) in units.iter().enumerate().filter(|(_, u)| u.closed && self.branches(u)) {
            let like = |runs: &&mut Runs| self.joined_alike(&units[runs[0].start].layers, &unit.layers, Layer::alike);
            match sets.iter_mut().find(like) {
                Some(runs) => runs.push(at..at + 1),
                None => sets.push(std::iter::once(at..at + 1).collect()),
            }
        }
        sets.retain(|runs| runs.len() > 1);
        let mut free: Vec<bool> = units.iter().map(|unit| unit.closed && unit.layers.len() == 1).collect();
        // The activation behind a sum is part of it; what leads to a fork as well, where all have it.
        for forward in [true, false] {
            sets.iter_mut().for_each(|runs| self.widen(units, runs, &mut free, forward));
        }
        let mut blocks: Vec<Block> = Vec::new();
        for runs in &sets {
            let ids = |run: &Range<usize>| units[run.start].layers.start..units[run.end - 1].layers.end;
            let calls: Vec<Range<LayerId>> = runs.iter().map(ids).collect();
            let parameters = self.parameters(&calls);
            if calls[0].len() < FEWEST || parameters.len() > MOST {
                continue;
            }
            let kind = self.kind(&calls[0]);
            let count = blocks.iter().filter(|b| b.name.trim_end_matches(|c: char| c.is_ascii_digit()) == kind).count();
            let name = if count == 0 { kind.to_string() } else { format!("{kind}{}", count + 1) };
            let mut body = Body::of_unit(self, &calls[0]);
            for (place, entry) in body.entries.iter_mut().skip(1).enumerate() {
                entry.step.alias = self.alias(&calls, place).filter(|own| parameters.iter().all(|p| p.name != *own));
            }
            blocks.push(Block { name, calls, parameters, body });
        }
        blocks
    }

    /// Is it more than a step of a pipeline?
    fn branches(&self, unit: &Unit) -> bool {
        unit.layers.len() > 1 || self.layers[unit.layers.start].operands.len() > 1
    }

    /// Takes the layers behind or before all runs in, as long as they are alike.
    fn widen(&self, units: &[Unit], runs: &mut Runs, free: &mut [bool], forward: bool) {
        loop {
            let beside = |run: &Range<usize>| if forward { Some(run.end) } else { run.start.checked_sub(1) };
            let next: Vec<usize> = runs.iter().filter_map(beside).filter(|&at| free.get(at) == Some(&true)).collect();
            let layer = |at: usize| &self.layers[units[at].layers.start];
            let fits = |at: usize| {
                let part = layer(at).activates() || (layer(at).weighted() && !forward);
                part && layer(at).alike(layer(next[0]))
            };
            if next.len() < runs.len() || !next.iter().all(|&at| fits(at)) {
                return;
            }
            for (run, at) in runs.iter_mut().zip(next) {
                free[at] = false;
                *run = run.start.min(at)..run.end.max(at + 1);
            }
        }
    }

    /// Finds what differs between calls.
    fn parameters(&self, calls: &[Range<LayerId>]) -> Vec<Parameter> {
        let mut parameters: Vec<Parameter> = Vec::new();
        for place in 0..calls[0].len() {
            let of = |call: &Range<LayerId>, i: usize| self.layers[call.start + place].args.0[i].clone();
            for i in 0..self.layers[calls[0].start + place].args.0.len() {
                let argument = of(&calls[0], i).0;
                let values: Vec<Arg> = calls.iter().map(|call| of(call, i).1).collect();
                if values.iter().all(|value| *value == values[0]) {
                    continue;
                }
                match parameters.iter_mut().find(|p| p.values == values) {
                    Some(known) => known.arguments.push((place, argument)),
                    None => {
                        let arguments = vec![(place, argument)];
                        parameters.push(Parameter { name: argument.to_string(), arguments, values });
                    }
                }
            }
        }
        let names: Vec<String> = parameters.iter().map(|p| p.name.clone()).collect();
        for (i, parameter) in parameters.iter_mut().enumerate() {
            let (place, argument) = parameter.arguments[0];
            let before = names[..i].iter().filter(|name| **name == argument).count();
            if names.iter().filter(|name| **name == argument).count() > 1 {
                let own = self.alias(calls, place).map(|own| format!("{own}_{argument}"));
                parameter.name = own.unwrap_or_else(|| format!("{argument}_{}", before + 1));
            }
        }
        parameters
    }

    /// Returns the first part of the names of a call's layers, which the file gives.
    pub fn prefix(&self, call: &Range<LayerId>) -> Option<String> {
        let weighted = call.clone().map(|id| &self.layers[id]).filter(|layer| layer.weighted());
        stem(&weighted.filter_map(|layer| layer.name.as_deref()).collect::<Vec<_>>())
    }

    /// Returns the name of a layer within its call, where all calls have the same.
    fn alias(&self, calls: &[Range<LayerId>], place: usize) -> Option<String> {
        let own = |call: &Range<LayerId>| {
            let layer = &self.layers[call.start + place];
            let rest = layer.name.as_deref().filter(|_| layer.weighted())?.strip_prefix(&self.prefix(call)?)?;
            identifier(rest)
        };
        let first = own(&calls[0])?;
        (first != VALUE && calls.iter().all(|call| own(call).as_deref() == Some(&first))).then_some(first)
    }

    /// Says what a block is by how its branches meet.
    fn kind(&self, call: &Range<LayerId>) -> &'static str {
        let last = call.clone().rev().map(|id| &self.layers[id]).find(|layer| layer.operands.len() > 1);
        let strided = call.clone().any(|id| self.layers[id].args.get("stride").is_some());
        match last.map(|layer| layer.function) {
            Some("add") if strided => "residual_down",
            Some("add") => "residual",
            Some("concat") => "branches",
            Some("mul") => "gated",
            _ => "unit",
        }
    }
}
