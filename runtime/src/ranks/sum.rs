//! Adding up what the ranks hold of a sum, by the tree.

use super::{Link, Pending, Ranks};
use crate::Result;
use crate::shares::{Waiting, nodes, of_rank};
use std::ops::Range;

/// Slices begin at multiples of this many bytes, a cache line.
const LINE: usize = 64;

/// What a rank holds of a value that is a sum over a batch: the sums of the nodes that its shares make.
#[derive(Clone, Debug, Default)]
pub struct Partial {
    /// Floats as bytes, for each node; all have the same length.
    pub nodes: Vec<Vec<u8>>,
    /// Bytes of the value.
    pub length: usize,
    /// Shares of the whole batch.
    pub shares: usize,
}

impl Ranks {
    /// Starts to add up what all ranks hold; all get the sum.
    pub fn sum(&self, partial: Partial) -> Pending<Vec<u8>> {
        let (own, count) = (slice(partial.length, self.rank, self.count).len(), self.count);
        let sent = partial.nodes.len() * (partial.length - own) + own * (count - 1);
        self.begin(sent, move |link| add_up(link, partial))
    }
}

/// The slice that a rank adds up.
fn slice(length: usize, rank: usize, ranks: usize) -> Range<usize> {
    let at = |rank: usize| (length * rank / ranks).next_multiple_of(LINE).min(length);
    at(rank)..if rank + 1 == ranks { length } else { at(rank + 1) }
}

fn add_up(link: &mut dyn Link, partial: Partial) -> Result<Vec<u8>> {
    let (rank, ranks, length) = (link.rank(), link.count(), partial.length);
    let mut sent = Vec::with_capacity(partial.nodes.len() * length);
    for to in 0..ranks {
        partial.nodes.iter().for_each(|node| sent.extend(&node[slice(length, to, ranks)]));
    }
    let own = slice(length, rank, ranks).len();
    let lengths: Vec<usize> = (0..ranks).map(|to| slice(length, to, ranks).len()).collect();
    let counts: Vec<usize> = lengths.iter().map(|length| length * partial.nodes.len()).collect();
    let held: Vec<_> = (0..ranks).map(|from| nodes(of_rank(partial.shares, from, ranks))).collect();
    let from: Vec<usize> = held.iter().map(|nodes| nodes.len() * own).collect();
    let received = link.all_to_all(sent, &counts, &from)?;
    let mut waiting = Waiting::default();
    let mut sums: Vec<Vec<u8>> = Vec::new();
    for (i, node) in held.iter().flatten().enumerate() {
        sums.push(received[i * own..][..own].to_vec());
        let merged = waiting.push(*node);
        merge(&mut sums, merged);
    }
    merge(&mut sums, waiting.end());
    link.all_gather(sums.pop().unwrap_or_default(), &lengths)
}

fn merge(sums: &mut Vec<Vec<u8>>, times: usize) {
    for _ in 0..times {
        if let (Some(right), Some(left)) = (sums.pop(), sums.last_mut()) {
            add(left, &right);
        }
    }
}

/// Adds floats to floats, in bytes.
pub(crate) fn add(sum: &mut [u8], part: &[u8]) {
    for (a, b) in sum.as_chunks_mut::<4>().0.iter_mut().zip(part.as_chunks::<4>().0) {
        *a = (f32::from_ne_bytes(*a) + f32::from_ne_bytes(*b)).to_ne_bytes();
    }
}
