//! How a source was read: what the parts are, and what was left out. People see it before a training.

use super::split::Order;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What happened while a source was read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Where each part comes from, or how it was cut off, as people read it.
    pub parts: Vec<String>,
    /// Pictures that lie deeper than in the folder of their class.
    pub deeper: usize,
    /// Files that are not used, by the reason.
    pub skipped: BTreeMap<String, Skipped>,
}

/// Files that one reason leaves out.
#[derive(Clone, Debug, PartialEq)]
pub struct Skipped {
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub first: PathBuf,
}

impl Reading {
    /// How data in one piece are split: a fifth is kept for testing.
    pub fn cut(order: Order) -> Reading {
        Reading { parts: vec![format!("test: a fifth {}", order.rule())], ..Reading::default() }
    }

    /// Leaves a file out.
    pub fn skip(&mut self, reason: &str, path: PathBuf) {
        match self.skipped.get_mut(reason) {
            Some(skipped) => skipped.count += 1,
            None => {
                self.skipped.insert(reason.into(), Skipped { count: 1, first: path });
            }
        }
    }

    /// Counts the files that are not used.
    pub fn left_out(&self) -> usize {
        self.skipped.values().map(|skipped| skipped.count).sum()
    }
}
