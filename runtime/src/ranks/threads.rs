//! Ranks that are threads of one process, which exchange through memory: for tests, and for measuring what exchanges
//! cost beside the network.

use super::{Link, Memory};
use crate::{Error, Result};
use std::sync::{Arc, Barrier, Mutex, PoisonError};

/// Where ranks leave what they send: from each to each.
struct Board {
    letters: Vec<Mutex<Vec<Vec<u8>>>>,
    barrier: Barrier,
}

/// One of several threads.
pub struct Thread {
    rank: usize,
    board: Arc<Board>,
}

/// Makes the ends for this many threads.
pub fn links(ranks: usize) -> Vec<Thread> {
    let letters = (0..ranks).map(|_| Mutex::default()).collect();
    let board = Arc::new(Board { letters, barrier: Barrier::new(ranks) });
    (0..ranks).map(|rank| Thread { rank, board: board.clone() }).collect()
}

impl Thread {
    /// Leaves the letters for all ranks, and copies those for this one.
    fn exchange(&self, letters: Vec<Vec<u8>>, from: &[usize], received: &mut [u8]) -> Result<()> {
        let of = |rank: usize| self.board.letters[rank].lock().unwrap_or_else(PoisonError::into_inner);
        *of(self.rank) = letters;
        self.board.barrier.wait();
        let mut rest = received;
        for (rank, length) in from.iter().enumerate() {
            let letters = of(rank);
            if letters[self.rank].len() != *length {
                let sent = letters[self.rank].len();
                return Err(Error::new(format!("rank {rank} sent {sent} bytes in place of {length}")));
            }
            let (letter, others) = rest.split_at_mut(*length);
            letter.copy_from_slice(&letters[self.rank]);
            rest = others;
        }
        self.board.barrier.wait();
        Ok(())
    }
}

impl Link for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.board.letters.len()
    }

    fn all_to_all(&mut self, mut memory: Memory, counts: &[usize], from: &[usize]) -> Result<Memory> {
        let mut rest = &memory.sent[..];
        let mut letters = Vec::new();
        for count in counts {
            let (letter, others) = rest.split_at(*count);
            letters.push(letter.to_vec());
            rest = others;
        }
        self.exchange(letters, from, &mut memory.received)?;
        Ok(memory)
    }

    fn all_gather(&mut self, mut memory: Memory, counts: &[usize]) -> Result<Memory> {
        let own = memory.sent[..counts[self.rank]].to_vec();
        self.exchange(vec![own; self.count()], counts, &mut memory.received)?;
        Ok(memory)
    }
}
