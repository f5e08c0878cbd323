//! Which images an epoch has, and in which order: each once, or as many of each class. A function of the seed and the
//! epoch alone, so that a training goes on in the middle of an epoch.

use super::{Dataset, Purpose, stream};
use crate::spec::{ClassWeights, Recipe};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// An image of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The item of the data set.
    pub item: u32,
    /// How often the epoch had it before: each time it is changed at random anew.
    pub again: u32,
}

/// Lists all items once, or as many of each class; in an order drawn anew for each epoch if `shuffle`.
pub fn order(set: &Dataset, seed: u64, epoch: u32, balance: bool, shuffle: bool) -> Vec<Drawn> {
    let mut items = if balance { balanced(set, seed, epoch) } else { (0..set.len() as u32).collect() };
    if shuffle {
        stream(seed, Purpose::Shuffle, epoch, 0).shuffle(&mut items);
    }
    let mut seen = vec![0; set.len()];
    let draw = |item: u32| {
        let again = seen[item as usize];
        seen[item as usize] += 1;
        Drawn { item, again }
    };
    items.into_iter().map(draw).collect()
}

/// Draws as many items as the data set has, the same number of each class but for one item. Of k classes and n items
/// the first e epochs hold ⌊(e·n + c)/k⌋ of class c, for c from 0: these sum up to e·n. Each class goes through its
/// items in an order drawn anew for each round, from one epoch on into the next, so none is passed over for long.
fn balanced(set: &Dataset, seed: u64, epoch: u32) -> Vec<u32> {
    let mut classes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    (0..set.len()).for_each(|item| classes.entry(set.label(item)).or_default().push(item as u32));
    let (count, all) = (classes.len() as u64, set.len() as u64);
    let mut drawn = Vec::with_capacity(set.len());
    for (c, (&label, items)) in (0u64..).zip(&classes) {
        let until = |epochs: u64| (epochs * all + c) / count;
        let (mut at, end) = (until(u64::from(epoch)), until(u64::from(epoch) + 1));
        let each = items.len() as u64;
        while at < end {
            let mut round = items.clone();
            stream(seed, Purpose::Balance, (at / each) as u32, label).shuffle(&mut round);
            let (from, some) = ((at % each) as usize, (end - at).min(each - at % each));
            drawn.extend_from_slice(&round[from..from + some as usize]);
            at += some;
        }
    }
    drawn
}

/// Returns what the loss of an image is multiplied by, for each output of a network; empty where the recipe does not
/// say. `balanced` is n/(k·m) for a class with m of n images in k classes, whose mean over the images is 1; an output
/// without images has 1, which nothing uses.
pub fn class_weights(recipe: &Recipe, set: &Dataset, outputs: usize) -> Result<Vec<f64>> {
    let balanced = || {
        let counts = set.counts();
        let weight = |images: &usize| set.len() as f64 / (counts.len() * images) as f64;
        (0..outputs).map(|label| counts.get(&(label as u32)).map_or(1.0, weight)).collect()
    };
    match &recipe.class_weights {
        None => Ok(vec![]),
        Some(ClassWeights::Balanced) => Ok(balanced()),
        Some(ClassWeights::Each(weights)) if weights.len() == outputs => Ok(weights.clone()),
        Some(ClassWeights::Each(weights)) => {
            let given = weights.len();
            Err(Error::new(format!("`class_weights` has {given} numbers, but the network has {outputs} outputs"))
                .with_help("give one for each output, in their order, or write `class_weights = balanced`"))
        }
    }
}
