//! Ranks that are processes started by `mpirun` or `srun`, over MPI. A program that was started alone loads nothing.
//!
//! The crate `mpi` (rsmpi 0.8) binds one implementation, chosen when it is built, whose headers libclang reads: a
//! binary for each. The dozen functions that are needed are looked up here instead, so that one binary works with
//! what a machine has. MPI 5's standard ABI, which will make one family of the two, is not tried.

use crate::ranks::{Link, Memory, Ranks, Terms};
use crate::{Error, Result};
pub use library::Launcher;
use library::{Functions, Request};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod library;

/// How often a request is asked about at once where computation waits for it.
const SPINS: u32 = 200;
/// The same where computation goes on, which needs the processor.
const SPINS_BESIDE: u32 = 10;
/// How often the thread then gives way in between, where computation waits, before it sleeps in between.
const YIELDS: u32 = 2000;
/// How long it sleeps at least and at most: longer the longer it has waited, some per cent of that.
const SLEEP: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(1);

/// This process among those that MPI started.
struct Mpi {
    functions: Functions,
    terms: Arc<Terms>,
    /// An exchange was given up: MPI may still write to its memory.
    broken: bool,
}

/// Joins the other processes; `None` where this one was started alone.
pub fn connect() -> Result<Option<Arc<Ranks>>> {
    let Some(launcher) = Launcher::found() else { return Ok(None) };
    let ranks = Ranks::start(move |terms| {
        let functions = Functions::init(launcher)?;
        if functions.count == 1 {
            functions.finalize();
            return Err(Error::new("several processes were started, but this one's MPI library knows no other")
                .with_help("the library is not that of this `mpirun`: name its file with NINC_MPI=/path/libmpi.so"));
        }
        Ok(Mpi { functions, terms, broken: false })
    });
    ranks.map(Some)
}

impl Mpi {
    /// Waits for a request.
    fn wait(&mut self, mut request: Box<Request>) -> Result<Memory> {
        let begin = Instant::now();
        let (mut asked, mut yields) = (0, 0);
        let failed = loop {
            match self.functions.test(&mut request) {
                Ok(true) => return Ok(request.memory),
                Ok(false) => {}
                Err(e) => break e,
            }
            asked += 1;
            let awaited = self.terms.awaited();
            if asked <= if awaited { SPINS } else { SPINS_BESIDE } {
                continue;
            }
            if awaited && yields < YIELDS {
                yields += 1;
                std::thread::yield_now();
                continue;
            }
            if self.terms.passed(begin) {
                let seconds = begin.elapsed().as_secs();
                break Error::new(format!("the other ranks have not answered for {seconds} s: one has ended"));
            }
            // Computation that comes to wait wakes it.
            std::thread::park_timeout((begin.elapsed() / 16).clamp(SLEEP, LONGEST));
        };
        self.broken = true;
        // Its memory stays: MPI may still use it.
        std::mem::forget(request);
        Err(failed)
    }

    fn whole(&self) -> Result<()> {
        if self.broken { Err(Error::new("the other ranks are out of reach")) } else { Ok(()) }
    }
}

impl Link for Mpi {
    fn rank(&self) -> usize {
        self.functions.rank
    }

    fn count(&self) -> usize {
        self.functions.count
    }

    fn all_to_all(&mut self, memory: Memory, counts: &[usize], from: &[usize]) -> Result<Memory> {
        self.whole()?;
        let request = self.functions.all_to_all(memory, counts, from)?;
        self.wait(request)
    }

    fn all_gather(&mut self, memory: Memory, counts: &[usize]) -> Result<Memory> {
        self.whole()?;
        let request = self.functions.all_gather(memory, counts)?;
        self.wait(request)
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if self.broken || self.terms.abandoned() { self.functions.abort() } else { self.functions.finalize() }
    }
}
