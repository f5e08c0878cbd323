//! Adding up what the ranks hold of a sum, by the tree.

use super::rooms::Rooms;
use super::{Link, Memory, Pending, Ranks};
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
        let mut letters = self.rooms.take(nodes.len() * length);
        let mut rest = &mut letters[..];
        for to in 0..self.count {
            let part = slice(length, to, self.count);
            for node in nodes {
                let (letter, others) = rest.split_at_mut(part.len());
                copy(node, part.start, letter);
                rest = others;
            }
        }
        let sum = Sum { nodes: nodes.len(), length, shares };
        let own = slice(length, self.rank, self.count).len();
        let sent = nodes.len() * (length - own) + own * (self.count - 1);
        let rooms = self.rooms.clone();
        self.begin(sent, move |link| add_up(link, &sum, letters, &rooms))
    }

    /// Takes the memory of a sum that has been read.
    pub fn done(&self, sum: Vec<u8>) {
        self.rooms.give(sum);
    }
}

/// Copies what lies from `start` on in these pieces, one behind the other.
fn copy(pieces: &[&[u8]], start: usize, mut to: &mut [u8]) {
    let mut skipped = start;
    for piece in pieces {
        let from = &piece[skipped.min(piece.len())..];
        skipped -= piece.len() - from.len();
        let (filled, rest) = to.split_at_mut(from.len().min(to.len()));
        filled.copy_from_slice(&from[..filled.len()]);
        to = rest;
    }
}

/// The slice that a rank adds up.
fn slice(length: usize, rank: usize, ranks: usize) -> Range<usize> {
    let at = |rank: usize| (length * rank / ranks).next_multiple_of(LINE).min(length);
    at(rank)..if rank + 1 == ranks { length } else { at(rank + 1) }
}

/// `sent` holds for each rank its slice of each node.
fn add_up(link: &mut dyn Link, sum: &Sum, sent: Vec<u8>, rooms: &Rooms) -> Result<Vec<u8>> {
    let (rank, ranks) = (link.rank(), link.count());
    let lengths: Vec<usize> = (0..ranks).map(|to| slice(sum.length, to, ranks).len()).collect();
    let counts: Vec<usize> = lengths.iter().map(|length| length * sum.nodes).collect();
    let held: Vec<_> = (0..ranks).map(|from| nodes(of_rank(sum.shares, from, ranks))).collect();
    let own = lengths[rank];
    let from: Vec<usize> = held.iter().map(|nodes| nodes.len() * own).collect();
    let memory = Memory { sent, received: rooms.take(from.iter().sum()) };
    let Memory { sent, mut received } = link.all_to_all(memory, &counts, &from)?;
    rooms.give(sent);
    let mut waiting = Waiting::default();
    // Sums stay where the left one lay: the last one is at the front.
    let mut sums: Vec<&mut [u8]> = Vec::new();
    for (node, value) in held.iter().flatten().zip(received.chunks_exact_mut(own.max(1))) {
        sums.push(value);
        let merged = waiting.push(*node);
        merge(&mut sums, merged);
    }
    merge(&mut sums, waiting.end());
    let memory = Memory { sent: received, received: rooms.take(sum.length) };
    let Memory { sent, received } = link.all_gather(memory, &lengths)?;
    rooms.give(sent);
    Ok(received)
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
