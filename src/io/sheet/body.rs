//! The shape of a network's text: steps in the order of their statements, some of them calls of blocks and repeats.

use super::{LayerId, Sheet};
use std::ops::Range;

/// A step of a pipeline.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it is.
    pub what: What,
    /// The name that `as` gives it.
    pub alias: Option<String>,
}

/// What a step is.
#[derive(Clone, Debug)]
pub enum What {
    /// A layer; in the body of a block its place among those of each call.
    Layer(LayerId),
    /// A call of a block with the layers that it stands for.
    Call {
        /// The block, by its place among all.
        block: usize,
        /// The call, by its place among the block's.
        call: usize,
        /// Its layers, in the order of the block's.
        layers: Range<LayerId>,
    },
    /// Rounds of a repeat, all with the same steps.
    Repeat(Vec<Vec<Step>>),
}

/// A step with the values that flow in.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The step.
    pub step: Step,
    /// Entries of the same body.
    pub operands: Vec<usize>,
}

/// The steps of a network or a block. The first is what flows in.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// Operands before users.
    pub entries: Vec<Entry>,
    /// The results.
    pub outputs: Vec<usize>,
}

impl Step {
    /// Returns the layers that it stands for, in order.
    pub fn layers(&self) -> Vec<LayerId> {
        match &self.what {
            What::Layer(id) => vec![*id],
            What::Call { layers, .. } => layers.clone().collect(),
            What::Repeat(rounds) => rounds.iter().flatten().flat_map(Step::layers).collect(),
        }
    }
}

impl Body {
    /// Puts a unit's layers in a body of their own, each under its place and without a name; the first entry is the
    /// value in front of them.
    pub fn of_unit(sheet: &Sheet, layers: &Range<LayerId>) -> Body {
        let entry = |place: LayerId, operands| Entry { step: Step { what: What::Layer(place), alias: None }, operands };
        let operands = |id: LayerId| sheet.layers[id].operands.iter().map(|&o| o + 1 - layers.start).collect();
        let own = layers.clone().enumerate().map(|(place, id)| entry(place, operands(id)));
        let entries: Vec<Entry> = std::iter::once(entry(0, vec![])).chain(own).collect();
        Body { outputs: vec![entries.len() - 1], entries }
    }

    /// Marks the entries that end a statement: those with several users, results beside others, and operands of entries
    /// with several operands.
    fn ends(&self) -> Vec<bool> {
        let mut uses = vec![0; self.entries.len()];
        let operands = self.entries.iter().flat_map(|entry| &entry.operands);
        operands.chain(&self.outputs).for_each(|&at| uses[at] += 1);
        let mut ends: Vec<bool> = uses.iter().map(|&uses| uses != 1).collect();
        let joins = self.entries.iter().filter(|entry| entry.operands.len() > 1);
        joins.flat_map(|entry| &entry.operands).chain(&self.outputs).for_each(|&at| ends[at] = true);
        ends[0] = true;
        ends
    }

    /// Puts the entries of each statement together, statements in the order of what they need, the next of a chain as
    /// soon as possible.
    pub fn statements(&self) -> Vec<Vec<usize>> {
        let ends = self.ends();
        let mut all = Vec::new();
        for end in (1..self.entries.len()).filter(|&at| ends[at]) {
            let mut chain = vec![end];
            let mut at = end;
            while let [operand] = self.entries[at].operands[..] {
                if ends[operand] {
                    break;
                }
                chain.push(operand);
                at = operand;
            }
            chain.reverse();
            all.push(chain);
        }
        all
    }
}
