//! Repeats in a network's text: steps that follow each other and say the same, round after round.

use super::body::{Body, Entry, Step, What};
use super::definitions::{Block, stem};
use super::units::Unit;
use super::{LayerId, Sheet, identifier};
use std::collections::HashMap;
use std::ops::Range;

/// Most steps of a round.
const LONGEST: usize = 64;

/// How a network's text says that parts of it are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// It does not.
    Plain,
    /// By repeats that leave all names of weights as they are.
    Named,
    /// By repeats and blocks, which give names of their own.
    Free,
}

/// Says whether two steps are written the same.
type Same<'a> = dyn Fn(&Step, &Step) -> bool + 'a;

/// Rounds of a repeat.
struct Run {
    start: usize,
    steps: usize,
    rounds: usize,
}

impl Run {
    /// Steps that need not be written.
    fn saved(&self) -> usize {
        self.steps * (self.rounds - 1)
    }

    fn range(&self) -> Range<usize> {
        self.start..self.start + self.steps * self.rounds
    }
}

impl Sheet {
    /// Gives the network's text its shape, and the blocks that it calls.
    pub fn body(&self, style: Style) -> (Body, Vec<Block>) {
        let units = if style == Style::Plain { vec![] } else { self.units() };
        let blocks = if style == Style::Free { self.blocks(&units) } else { vec![] };
        let steps = self.steps(&blocks);
        let mut single = vec![false; self.layers.len()];
        let closed = units.iter().filter(|unit: &&Unit| unit.closed && unit.layers.len() == 1);
        closed.for_each(|unit| single[unit.layers.start] = self.layers[unit.layers.start].operands.len() == 1);
        let same = |a: &Step, b: &Step| match (&a.what, &b.what) {
            (&What::Layer(a), &What::Layer(b)) => single[a] && single[b] && self.layers[a].same(&self.layers[b]),
            (What::Call { block, call: a, .. }, What::Call { block: other, call: b, .. }) => {
                block == other && blocks[*block].parameters.iter().all(|p| p.values[*a] == p.values[*b])
            }
            _ => false,
        };
        let mut runs = self.runs(&steps, &same);
        if style == Style::Named {
            runs.retain(|run| self.keeps_names(&steps[run.range()], run.steps));
        }
        (self.entries(steps, &runs, style, &same), blocks)
    }

    /// Puts layers and calls of blocks in order.
    fn steps(&self, blocks: &[Block]) -> Vec<Step> {
        let mut calls: HashMap<LayerId, (usize, usize)> = HashMap::new();
        for (block, definition) in blocks.iter().enumerate() {
            calls.extend(definition.calls.iter().enumerate().map(|(call, layers)| (layers.start, (block, call))));
        }
        let mut steps = Vec::new();
        let mut id = 1;
        while id < self.layers.len() {
            match calls.get(&id) {
                Some(&(block, call)) => {
                    let layers = &blocks[block].calls[call];
                    steps.push(Step {
                        alias: self.prefix(layers),
                        what: What::Call { block, call, layers: layers.clone() },
                    });
                    id = layers.end;
                }
                None => {
                    steps.push(Step { alias: self.layers[id].name.clone(), what: What::Layer(id) });
                    id += 1;
                }
            }
        }
        steps
    }

    /// Finds what is worth a repeat: the longest first, no two of which overlap, in order.
    fn runs(&self, steps: &[Step], same: &Same) -> Vec<Run> {
        let mut found = Vec::new();
        for length in 1..=LONGEST.min(steps.len() / 2) {
            // How many steps from here on are the same as those a round later.
            let mut alike = 0;
            for start in (0..steps.len() - length).rev() {
                alike = if same(&steps[start], &steps[start + length]) { alike + 1 } else { 0 };
                let run = Run { start, steps: length, rounds: alike / length + 1 };
                if run.rounds > 1 && self.worth(&steps[run.range()], &run) {
                    found.push(run);
                }
            }
        }
        found.sort_by_key(|run| (std::cmp::Reverse(run.saved()), run.start));
        let mut runs: Vec<Run> = Vec::new();
        let mut taken = vec![false; steps.len()];
        for run in found {
            if !run.range().any(|at| taken[at]) {
                run.range().for_each(|at| taken[at] = true);
                runs.push(run);
            }
        }
        runs.sort_by_key(|run| run.start);
        runs
    }

    /// A round begins with weights, and two lines or a call need not be written.
    fn worth(&self, steps: &[Step], run: &Run) -> bool {
        let call = |step: &Step| matches!(step.what, What::Call { .. });
        let begins = match steps[0].what {
            What::Layer(id) => self.layers[id].weighted(),
            _ => true,
        };
        begins && (run.saved() > 1 || steps.iter().any(call))
    }

    /// Makes entries of steps, with those of a run in a repeat.
    fn entries(&self, steps: Vec<Step>, runs: &[Run], style: Style, same: &Same) -> Body {
        let mut entries = vec![Entry { step: Step { what: What::Layer(0), alias: None }, operands: vec![] }];
        let mut place: Vec<usize> = vec![0; self.layers.len()];
        let mut runs = runs.iter().peekable();
        let mut at = 0;
        while at < steps.len() {
            let step = match runs.next_if(|run| run.start == at) {
                Some(run) => {
                    at += run.range().len();
                    self.repeat(steps[run.range()].chunks(run.steps).map(<[Step]>::to_vec).collect(), style, same)
                }
                None => {
                    at += 1;
                    steps[at - 1].clone()
                }
            };
            let layers = step.layers();
            let operands = match step.what {
                What::Layer(id) => self.layers[id].operands.iter().map(|&o| place[o]).collect(),
                // One value flows in, that of the layer before.
                _ => vec![place[layers[0] - 1]],
            };
            place[layers[layers.len() - 1]] = entries.len();
            entries.push(Entry { step, operands });
        }
        let outputs = self.outputs.iter().map(|(_, id)| place[*id]).collect();
        Body { entries, outputs }
    }

    /// Do the names of all layers with weights count the rounds?
    fn keeps_names(&self, steps: &[Step], length: usize) -> bool {
        let rounds: Vec<&[Step]> = steps.chunks(length).collect();
        (0..length).all(|i| match steps[i].what {
            What::Layer(id) if self.layers[id].weighted() => counted(&rounds, i).is_some(),
            _ => true,
        })
    }

    /// Makes a repeat of its rounds, with names for it and in it, and with repeats within a round.
    fn repeat(&self, mut rounds: Vec<Vec<Step>>, style: Style, same: &Same) -> Step {
        let views: Vec<&[Step]> = rounds.iter().map(Vec::as_slice).collect();
        let (alias, inner) = match style {
            Style::Free => self.stage(&views),
            _ => (None, (0..views[0].len()).map(|i| counted(&views, i)).collect()),
        };
        let within = if style == Style::Free { self.runs(views[0], same) } else { vec![] };
        for round in &mut rounds {
            round.iter_mut().zip(&inner).for_each(|(step, own)| step.alias.clone_from(own));
            for run in within.iter().rev() {
                let mut parts: Vec<Vec<Step>> = round[run.range()].chunks(run.steps).map(<[Step]>::to_vec).collect();
                parts.iter_mut().flatten().for_each(|step| step.alias = None);
                round.splice(run.range(), [Step { what: What::Repeat(parts), alias: None }]);
            }
        }
        Step { what: What::Repeat(rounds), alias }
    }

    /// Names a repeat by what the names in all rounds begin with, and its steps by what follows.
    fn stage(&self, rounds: &[&[Step]]) -> (Option<String>, Vec<Option<String>>) {
        let named = |step: &Step| match step.what {
            What::Layer(id) => step.alias.clone().filter(|_| self.layers[id].weighted()),
            _ => step.alias.clone(),
        };
        let own: Vec<Vec<Option<String>>> = rounds.iter().map(|round| round.iter().map(named).collect()).collect();
        let stem_of =
            |round: &Vec<Option<String>>| stem(&round.iter().flatten().map(String::as_str).collect::<Vec<_>>());
        let nothing = || (None, vec![None; rounds[0].len()]);
        let Some(stems) = own.iter().map(stem_of).collect::<Option<Vec<String>>>() else { return nothing() };
        let all = stem(&stems.iter().map(String::as_str).collect::<Vec<_>>());
        let inside: Vec<LayerId> = rounds.iter().flat_map(|round| round.iter().flat_map(Step::layers)).collect();
        let others = self.layers.iter().enumerate().filter(|(id, _)| !inside.contains(id));
        let others: Vec<&str> = others.filter_map(|(_, layer)| layer.name.as_deref()).collect();
        let alone = |name: &String| !others.iter().any(|other| other.starts_with(name));
        let first = own[0].iter().flatten().next();
        let name = all.filter(alone).or_else(|| Some(&stems[0]).filter(|name| alone(name)).or(first).cloned());
        let rest = |round: usize, i: usize| identifier(own[round][i].as_deref()?.strip_prefix(&stems[round])?);
        let alias = |i: usize| {
            let first = rest(0, i)?;
            (1..rounds.len()).all(|round| rest(round, i).as_ref() == Some(&first)).then_some(first)
        };
        // A name within is followed by a number.
        let apart = |name: String| if name.ends_with(|c: char| c.is_ascii_digit()) { name + "_" } else { name };
        (name, (0..rounds[0].len()).map(|i| alias(i).map(apart)).collect())
    }
}

/// Returns the name that gives those of a step in all rounds with the number of the round.
fn counted(rounds: &[&[Step]], step: usize) -> Option<String> {
    let first = rounds[0][step].alias.as_deref()?.strip_suffix('1')?;
    let fits = |(i, round): (usize, &&[Step])| round[step].alias.as_deref() == Some(&format!("{first}{}", i + 1));
    (!first.is_empty() && rounds.iter().enumerate().all(fits)).then(|| first.to_string())
}
