//! The sums of a value that wait for others in the tree of `shares`, and the additions, which threads share.

use crate::Result;
use crate::buffer::Buffer;
use crate::ranks::add;
use crate::shares::{Node, Waiting};
use crate::threads::Pool;
use std::sync::{Mutex, PoisonError};

/// Bytes that are added at a time: all that takes part fits the first cache.
const PIECE: usize = 4 << 10;
/// Bytes of results from which on threads share the additions.
const LARGE: usize = 256 << 10;

/// Sums of a value that wait.
#[derive(Default)]
pub(super) struct Tree {
    waiting: Waiting,
    /// Their values; those beyond the waiting ones are room.
    values: Vec<Buffer>,
}

/// `to = (to +) (parts[n] + … (parts[1] + parts[0]))`.
pub(super) struct Addition<'a> {
    to: &'a mut [u8],
    /// Whether what is there is added to.
    onto: bool,
    parts: Vec<&'a [u8]>,
}

impl Tree {
    /// Forgets all sums.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Returns how many sums wait.
    pub fn depth(&self) -> usize {
        self.waiting.nodes().len()
    }

    /// Returns the value of a sum that waits.
    pub fn bytes(&self, i: usize) -> &[u8] {
        self.values[i].bytes()
    }

    /// Takes the next node to the right; what is to be added is put among the `work`.
    pub fn push<'a>(&'a mut self, node: Node, value: &'a [u8], work: &mut Vec<Addition<'a>>) -> Result<()> {
        let depth = self.depth();
        let merged = self.waiting.push(node);
        if merged == 0 {
            if self.values.get(depth).is_none_or(|there| there.len() != value.len()) {
                self.values.truncate(depth);
                self.values.push(Buffer::zeroed(value.len())?);
            }
            work.push(Addition { to: self.values[depth].bytes_mut(), onto: false, parts: vec![value] });
            return Ok(());
        }
        let (lower, upper) = self.values[..depth].split_at_mut(depth - merged + 1);
        let parts = [value].into_iter().chain(upper.iter().rev().map(|upper| upper.bytes())).collect();
        let to = lower[depth - merged].bytes_mut();
        work.push(Addition { to, onto: true, parts });
        Ok(())
    }

    /// Adds up all that waits, after the last node.
    pub fn end<'a>(&'a self, to: &'a mut [u8], work: &mut Vec<Addition<'a>>) {
        let parts = self.values[..self.depth()].iter().rev().map(|value| value.bytes()).collect();
        work.push(Addition { to, onto: false, parts });
    }
}

impl<'a> Addition<'a> {
    /// Cuts it into pieces.
    fn pieces(self) -> impl Iterator<Item = Addition<'a>> {
        let Addition { to, onto, parts } = self;
        to.chunks_mut(PIECE).enumerate().map(move |(i, to)| {
            let parts = parts.iter().map(|part| &part[i * PIECE..][..to.len()]).collect();
            Addition { to, onto, parts }
        })
    }

    fn carry_out(&mut self) {
        let mut room = [0; PIECE];
        let sum = &mut room[..self.to.len()];
        match &self.parts[..] {
            [] => {}
            [part] if self.onto => add(self.to, part),
            [part] => self.to.copy_from_slice(part),
            [first, others @ ..] => {
                sum.copy_from_slice(first);
                others.iter().for_each(|part| add(sum, part));
                if self.onto { add(self.to, sum) } else { self.to.copy_from_slice(sum) }
            }
        }
    }
}

/// Makes the additions, by several threads if they are many. Each element has its own order, which threads do not
/// change.
pub(super) fn carry_out(threads: &Pool, work: Vec<Addition>) -> Result<()> {
    let bytes: usize = work.iter().map(|addition| addition.to.len()).sum();
    let mut pieces = work.into_iter().flat_map(Addition::pieces);
    if threads.count() == 1 || bytes < LARGE {
        pieces.for_each(|mut piece| piece.carry_out());
        return Ok(());
    }
    // Each worker takes the part with its number; the locks are never contended.
    let each = bytes.div_ceil(threads.count());
    let mut parts: Vec<Mutex<Vec<Addition>>> = Vec::new();
    for _ in 0..threads.count() {
        let (mut part, mut taken) = (Vec::new(), 0);
        while taken < each
            && let Some(piece) = pieces.next()
        {
            taken += piece.to.len();
            part.push(piece);
        }
        parts.push(Mutex::new(part));
    }
    threads.run(&|worker| {
        let mut part = parts[worker.index()].lock().unwrap_or_else(PoisonError::into_inner);
        part.iter_mut().for_each(Addition::carry_out);
    })
}
