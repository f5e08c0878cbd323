//! The sums of a value that wait for others in the tree of `shares`, and the additions, which threads share.

use crate::Result;
use crate::buffer::Buffer;
use crate::ranks::add;
use crate::shares::{Node, Waiting};
use crate::threads::Pool;

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

/// Additions of sums of one value.
pub(super) enum Addition<'a> {
    /// Takes values to the right of those that wait.
    Push {
        /// Places of the sums that wait, and of those that are made.
        places: Vec<&'a mut [u8]>,
        /// Sums that wait.
        depth: usize,
        /// Each value, and how often the last sum is then added to the one before it.
        values: Vec<(&'a [u8], usize)>,
    },
    /// `to = parts[n] + … (parts[1] + parts[0])`.
    End { to: &'a mut [u8], parts: Vec<&'a [u8]> },
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

    /// Takes the values of the next shares to the right, from this one on; what is to be added is put among the `work`.
    pub fn push<'a>(&'a mut self, share: usize, values: Vec<&'a [u8]>, work: &mut Vec<Addition<'a>>) -> Result<()> {
        let depth = self.depth();
        let length = values.first().map_or(0, |value| value.len());
        // Places that sums are put in: the last value of all may be added where it lies.
        let mut used = depth;
        let mut pushed = Vec::new();
        for (i, value) in values.into_iter().enumerate() {
            let merged = self.waiting.push(Node { level: 0, number: share + i });
            if merged > 0 {
                used = used.max(self.depth() + merged - 1);
            }
            pushed.push((value, merged));
        }
        used = used.max(self.depth());
        if self.values.iter().any(|value| value.len() != length) {
            self.values.clear();
        }
        while self.values.len() < used {
            self.values.push(Buffer::zeroed(length)?);
        }
        let places = self.values[..used].iter_mut().map(Buffer::bytes_mut).collect();
        work.push(Addition::Push { places, depth, values: pushed });
        Ok(())
    }

    /// Adds up all that waits, after the last node.
    pub fn end<'a>(&'a self, to: &'a mut [u8], work: &mut Vec<Addition<'a>>) {
        let parts = self.values[..self.depth()].iter().rev().map(|value| value.bytes()).collect();
        work.push(Addition::End { to, parts });
    }
}

impl<'a> Addition<'a> {
    /// Bytes of a value.
    fn len(&self) -> usize {
        match self {
            Addition::Push { places, .. } => places.first().map_or(0, |place| place.len()),
            Addition::End { to, .. } => to.len(),
        }
    }

    /// Cuts it into pieces.
    fn pieces(self) -> Vec<Addition<'a>> {
        match self {
            Addition::Push { places, depth, values } => {
                let count = places.first().map_or(0, |place| place.len().div_ceil(PIECE));
                let mut places: Vec<_> = places.into_iter().map(|place| place.chunks_mut(PIECE)).collect();
                let mut values: Vec<_> = values.into_iter().map(|(value, m)| (value.chunks(PIECE), m)).collect();
                let piece = |_| Addition::Push {
                    places: places.iter_mut().filter_map(Iterator::next).collect(),
                    depth,
                    values: values.iter_mut().filter_map(|(value, m)| Some((value.next()?, *m))).collect(),
                };
                (0..count).map(piece).collect()
            }
            Addition::End { to, parts } => {
                let pieces = to.chunks_mut(PIECE).enumerate();
                let piece = |(i, to): (usize, &'a mut [u8])| {
                    let parts = parts.iter().map(|part| &part[i * PIECE..][..to.len()]).collect();
                    Addition::End { to, parts }
                };
                pieces.map(piece).collect()
            }
        }
    }

    fn carry_out(&mut self) {
        match self {
            Addition::Push { places, depth, values } => {
                // Sums that do not lie in their places are values.
                let mut sums: Vec<Option<&[u8]>> = vec![None; *depth];
                for (value, merged) in values {
                    sums.push(Some(value));
                    for _ in 0..*merged {
                        let right = sums.pop().flatten();
                        let at = sums.len() - 1;
                        let (lower, upper) = places.split_at_mut(at + 1);
                        if let Some(left) = sums[at].take() {
                            lower[at].copy_from_slice(left);
                        }
                        add(lower[at], right.unwrap_or_else(|| &upper[0][..]));
                    }
                }
                for (place, sum) in places.iter_mut().zip(sums) {
                    if let Some(sum) = sum {
                        place.copy_from_slice(sum);
                    }
                }
            }
            Addition::End { to, parts } => {
                let Some((first, others)) = parts.split_first() else { return };
                to.copy_from_slice(first);
                others.iter().for_each(|part| add(to, part));
            }
        }
    }
}

/// Makes the additions, by several threads if they are many. Each element has its own order, which threads do not
/// change.
pub(super) fn carry_out(threads: &Pool, work: Vec<Addition>) -> Result<()> {
    let bytes: usize = work.iter().map(Addition::len).sum();
    let mut pieces = work.into_iter().flat_map(Addition::pieces);
    if threads.count() == 1 || bytes < LARGE {
        pieces.for_each(|mut piece| piece.carry_out());
        return Ok(());
    }
    let each = bytes.div_ceil(threads.count());
    let mut parts: Vec<Vec<Addition>> = Vec::new();
    for _ in 0..threads.count() {
        let (mut part, mut taken) = (Vec::new(), 0);
        while taken < each
            && let Some(piece) = pieces.next()
        {
            taken += piece.len();
            part.push(piece);
        }
        parts.push(part);
    }
    threads.each(parts, &|part| part.iter_mut().for_each(Addition::carry_out))
}
