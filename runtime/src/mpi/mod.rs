//! Ranks that are processes started by `mpirun` or `srun`, over MPI. A program that was started alone loads nothing.
//!
//! The crate `mpi` (rsmpi 0.8) binds one implementation, chosen when it is built, whose headers libclang reads: a
//! binary for each. The dozen functions that are needed are looked up here instead, so that one binary works with
//! what a machine has. MPI 5's standard ABI, which will make one family of the two, is not tried.

use crate::ranks::{Limit, Link, Ranks};
use crate::{Error, Result};
pub use library::Launcher;
use library::{Functions, Request};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod library;

/// How often a request is asked about before the thread gives way, and before it sleeps in between.
const SPINS: u32 = 200;
const YIELDS: u32 = 2000;
const SLEEP: Duration = Duration::from_micros(50);

/// This process among those that MPI started.
struct Mpi {
    functions: Functions,
    limit: Arc<Limit>,
    /// An exchange was given up: MPI may still write to its memory.
    broken: bool,
}

/// Joins the other processes; `None` where this one was started alone.
pub fn connect() -> Result<Option<Arc<Ranks>>> {
    let Some(launcher) = Launcher::found() else { return Ok(None) };
    let ranks = Ranks::start(move |limit| {
        let functions = Functions::init(launcher)?;
        if functions.count == 1 {
            functions.finalize();
            return Err(Error::new("several processes were started, but this one's MPI library knows no other")
                .with_help("the library is not that of this `mpirun`: name its file with NINC_MPI=/path/libmpi.so"));
        }
        Ok(Mpi { functions, limit, broken: false })
    });
    ranks.map(Some)
}

impl Mpi {
    /// Waits for a request.
    fn wait(&mut self, mut request: Box<Request>) -> Result<Vec<u8>> {
        let begin = Instant::now();
        let mut asked = 0;
        let failed = loop {
            match self.functions.test(&mut request) {
                Ok(true) => return Ok(std::mem::take(&mut request.received)),
                Ok(false) => {}
                Err(e) => break e,
            }
            asked += 1;
            if asked > YIELDS {
                if self.limit.passed(begin) {
                    let seconds = begin.elapsed().as_secs();
                    break Error::new(format!("the other ranks have not answered for {seconds} s: one has ended"));
                }
                std::thread::sleep(SLEEP);
            } else if asked > SPINS {
                std::thread::yield_now();
            }
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

    fn all_to_all(&mut self, sent: Vec<u8>, counts: &[usize], from: &[usize]) -> Result<Vec<u8>> {
        self.whole()?;
        let request = self.functions.all_to_all(sent, counts, from)?;
        self.wait(request)
    }

    fn all_gather(&mut self, own: Vec<u8>, counts: &[usize]) -> Result<Vec<u8>> {
        self.whole()?;
        let request = self.functions.all_gather(own, counts)?;
        self.wait(request)
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if self.broken || self.limit.abandoned() { self.functions.abort() } else { self.functions.finalize() }
    }
}
