//! Adding up what the ranks hold of a sum, by the tree.

use super::{Link, Pending, Ranks};
use crate::Result;
use crate::shares::{Waiting, nodes, of_rank};
use std::ops::Range;

/// Slices begin at multiples of this many bytes, a cache line.
const LINE: usize = 64;

/// A sum over a batch that ranks add up.
struct Sum {
    /// Nodes of the tree that this rank holds.
    nodes: usize,
    /// Bytes of the value.
    length: usize,
    /// Shares of the whole batch.
    shares: usize,
}

impl Ranks {
    /// Starts to add up what all ranks hold of a value of `length` bytes, a sum over a batch with this many shares; all
    /// get the sum. Of each node that its shares make this rank gives the floats, as bytes, in pieces that follow each
    /// other.
    pub fn sum(&self, nodes: &[Vec<&[u8]>], length: usize, shares: usize) -> Pending<Vec<u8>> {
        let mut letters = Vec::with_capacity(nodes.len() * length);
        for to in 0..self.count {
            let part = slice(length, to, self.count);
            nodes.iter().for_each(|node| copy(node, part.clone(), &mut letters));
        }
        let sum = Sum { nodes: nodes.len(), length, shares };
        let own = slice(length, self.rank, self.count).len();
        let sent = nodes.len() * (length - own) + own * (self.count - 1);
        self.begin(sent, move |link| add_up(link, &sum, letters))
    }
}

/// Appends a part of what these pieces are together.
fn copy(pieces: &[&[u8]], part: Range<usize>, to: &mut Vec<u8>) {
    let mut begin = 0;
    for piece in pieces {
        let at = |place: usize| place.clamp(begin, begin + piece.len()) - begin;
        to.extend(&piece[at(part.start)..at(part.end)]);
        begin += piece.len();
    }
}

/// The slice that a rank adds up.
fn slice(length: usize, rank: usize, ranks: usize) -> Range<usize> {
    let at = |rank: usize| (length * rank / ranks).next_multiple_of(LINE).min(length);
    at(rank)..if rank + 1 == ranks { length } else { at(rank + 1) }
}

/// `sent` holds for each rank its slice of each node.
fn add_up(link: &mut dyn Link, sum: &Sum, sent: Vec<u8>) -> Result<Vec<u8>> {
    let (rank, ranks) = (link.rank(), link.count());
    let lengths: Vec<usize> = (0..ranks).map(|to| slice(sum.length, to, ranks).len()).collect();
    let counts: Vec<usize> = lengths.iter().map(|length| length * sum.nodes).collect();
    let held: Vec<_> = (0..ranks).map(|from| nodes(of_rank(sum.shares, from, ranks))).collect();
    let own = lengths[rank];
    let from: Vec<usize> = held.iter().map(|nodes| nodes.len() * own).collect();
    let mut received = link.all_to_all(sent, &counts, &from)?;
    let mut waiting = Waiting::default();
    // Sums stay where the left one lay: the last one is at the front.
    let mut sums: Vec<&mut [u8]> = Vec::new();
    for (node, value) in held.iter().flatten().zip(received.chunks_exact_mut(own.max(1))) {
        sums.push(value);
        let merged = waiting.push(*node);
        merge(&mut sums, merged);
    }
    merge(&mut sums, waiting.end());
    received.truncate(own);
    link.all_gather(received, &lengths)
}

/// Adds the last sum to the one before it, this often.
pub(crate) fn merge<S: AsRef<[u8]> + AsMut<[u8]>>(sums: &mut Vec<S>, times: usize) {
    for _ in 0..times {
        if let (Some(right), Some(left)) = (sums.pop(), sums.last_mut()) {
            add(left.as_mut(), right.as_ref());
        }
    }
}

/// Adds floats to floats, in bytes.
pub(crate) fn add(sum: &mut [u8], part: &[u8]) {
    for (a, b) in sum.as_chunks_mut::<4>().0.iter_mut().zip(part.as_chunks::<4>().0) {
        *a = (f32::from_ne_bytes(*a) + f32::from_ne_bytes(*b)).to_ne_bytes();
    }
}
