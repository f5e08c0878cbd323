//! Work in rounds: each is cut into pieces, which whoever is free takes, and the next begins when the last piece is
//! done. Nobody waits for a thread that has none. A piece belongs to a worker, who takes it first, so that the same
//! thread finds in its cache what it made in the round before; others take it from the far end of what is left. Who
//! runs a piece changes nothing of its result, as nothing else does: the pieces are independent.

use super::{Error, Pool, Result, Shared, Worker, lock};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

/// Is called with the number of a round that is done.
type After<'a> = &'a (dyn Fn(usize) + Sync);
/// Is called with a worker, a round and some of its iterations.
type Work<'a> = &'a (dyn Fn(usize, usize, Range<usize>) + Sync);

impl Pool {
    /// Runs `work(worker, round, iterations)` so that each of the `lengths[round]` iterations of a round is done once,
    /// and all of them before the next round begins. A worker's part is cut into at most `pieces`: a thread
    /// that loses its core keeps one from the others. `after(round)` is called when a round is done, by one thread.
    pub fn rounds(&self, lengths: &[usize], pieces: usize, work: Work, after: After) -> Result<()> {
        if self.count() == 1 {
            return self.run(&|worker| {
                for (round, &length) in lengths.iter().enumerate() {
                    if length > 0 {
                        work(worker.index(), round, 0..length);
                    }
                    after(round);
                }
            });
        }
        let board = Board::new(self.count(), lengths, pieces.clamp(1, 1000), after)?;
        self.run(&|worker| board.play(worker, work))
    }

    /// Runs `work` once on each of the items.
    pub fn each<T: Send>(&self, items: Vec<T>, work: &(dyn Fn(&mut T) + Sync)) -> Result<()> {
        // Each is taken once, so the locks are never contended.
        let items: Vec<Mutex<T>> = items.into_iter().map(Mutex::new).collect();
        let some = |_: usize, _: usize, some: Range<usize>| items[some].iter().for_each(|item| work(&mut lock(item)));
        self.rounds(&[items.len()], 1, &some, &|_| ())
    }
}

/// What is left of a worker's part of a round, in one number, so that nobody takes a piece of another round than it
/// means: the round, the pieces taken from the front, and those taken from the back.
#[derive(Default)]
#[repr(align(128))]
struct Part(AtomicU64);

impl Part {
    fn set(&self, round: usize) {
        self.0.store((round as u64) << 32, SeqCst);
    }

    /// Takes one of `pieces`.
    fn take(&self, round: usize, pieces: usize, front: bool) -> Option<usize> {
        let taken = |part: u64| ((part >> 16 & 0xffff) as usize, (part & 0xffff) as usize);
        let one = |part: u64| {
            let (first, last) = taken(part);
            (part >> 32 == round as u64 && first + last < pieces).then_some(part + if front { 1 << 16 } else { 1 })
        };
        let (first, last) = taken(self.0.fetch_update(SeqCst, SeqCst, one).ok()?);
        Some(if front { first } else { pieces - 1 - last })
    }
}

struct Board<'a> {
    lengths: &'a [usize],
    /// Pieces of a worker's part, at most.
    pieces: usize,
    after: After<'a>,
    /// The round that is done now.
    now: AtomicUsize,
    /// Pieces of it that are not finished.
    left: AtomicUsize,
    parts: Vec<Part>,
}

impl Board<'_> {
    fn new<'a>(workers: usize, lengths: &'a [usize], pieces: usize, after: After<'a>) -> Result<Board<'a>> {
        if u32::try_from(lengths.len()).is_err() {
            return Err(Error::new(format!("a plan of {} launches", lengths.len())));
        }
        let parts = (0..workers).map(|_| Part::default()).collect();
        let board = Board { lengths, pieces, after, now: AtomicUsize::new(0), left: AtomicUsize::new(0), parts };
        board.begin(0);
        Ok(board)
    }

    /// The iterations of a round that a worker takes first.
    fn share(&self, round: usize, owner: usize) -> Range<usize> {
        let at = |i: usize| (i as u128 * self.lengths[round] as u128 / self.parts.len() as u128) as usize;
        at(owner)..at(owner + 1)
    }

    /// How many pieces these iterations are cut into, and how many iterations a piece has.
    fn pieces(&self, share: &Range<usize>) -> (usize, usize) {
        let size = share.len().div_ceil(self.pieces).max(1);
        (share.len().div_ceil(size), size)
    }

    /// Begins a round, or the next that has something to do.
    fn begin(&self, mut round: usize) {
        while self.lengths.get(round) == Some(&0) {
            (self.after)(round);
            round += 1;
        }
        if round < self.lengths.len() {
            let pieces = (0..self.parts.len()).map(|owner| self.pieces(&self.share(round, owner)).0).sum();
            self.left.store(pieces, SeqCst);
            self.parts.iter().for_each(|part| part.set(round));
        }
        self.now.store(round, SeqCst);
    }

    /// Does what there is to do in all rounds.
    fn play(&self, worker: &Worker, work: Work) {
        let shared: &Shared = worker.shared;
        loop {
            let round = self.now.load(SeqCst);
            if round == self.lengths.len() || shared.broken.load(SeqCst) {
                return;
            }
            for distance in 0..shared.count {
                let owner = (worker.index + distance) % shared.count;
                let share = self.share(round, owner);
                let (pieces, size) = self.pieces(&share);
                while let Some(piece) = self.parts[owner].take(round, pieces, distance == 0) {
                    let first = share.start + piece * size;
                    work(worker.index, round, first..share.end.min(first + size));
                    if self.left.fetch_sub(1, SeqCst) == 1 {
                        (self.after)(round);
                        self.begin(round + 1);
                        shared.round.wake();
                    }
                }
            }
            let over = || self.now.load(SeqCst) != round || shared.broken.load(SeqCst);
            shared.round.wait(shared.spins, over);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each round finds all that the rounds before it made, whoever came.
    #[test]
    fn rounds_follow_each_other_whole() {
        let lengths = [5, 0, 1, 100, 3, 0, 64, 0];
        for count in [1, 2, 3, 7, 64] {
            let pool = Pool::new(count).expect("threads");
            for _ in 0..20 {
                let done: Vec<AtomicUsize> = lengths.iter().map(|_| AtomicUsize::new(0)).collect();
                let ended = AtomicUsize::new(0);
                let work = |worker: usize, round: usize, part: Range<usize>| {
                    assert!(worker < count && !part.is_empty() && part.end <= lengths[round]);
                    assert!(done[..round].iter().zip(lengths).all(|(done, length)| done.load(SeqCst) == length));
                    done[round].fetch_add(part.len(), SeqCst);
                };
                let after = |round: usize| assert_eq!(ended.fetch_add(1, SeqCst), round);
                pool.rounds(&lengths, 4, &work, &after).expect("nobody panics");
                let done: Vec<usize> = done.into_iter().map(AtomicUsize::into_inner).collect();
                assert_eq!(done, lengths);
                assert_eq!(ended.into_inner(), lengths.len());
            }
        }
    }

    /// A worker that keeps a piece for long does not keep others from the rest of its part.
    #[test]
    fn a_slow_workers_part_is_done_by_others() {
        let pool = Pool::new(2).expect("threads");
        let (others, came) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |worker: usize, _: usize, part: Range<usize>| {
            came.fetch_or(1 << worker, SeqCst);
            if worker == 1 && others.load(SeqCst) < 7 {
                // Ends only when the other one has done everything else.
                while others.load(SeqCst) < 7 {
                    std::thread::yield_now();
                }
                return;
            }
            // Waits for the second worker to take a piece, as it always does in the end.
            while came.load(SeqCst) != 3 {
                std::thread::yield_now();
            }
            others.fetch_add(part.len(), SeqCst);
        };
        pool.rounds(&[8], 4, &work, &|_| ()).expect("nobody panics");
        assert_eq!(others.into_inner(), 7);
    }
}
