//! Processes that share each batch of a training (ranks): what they exchange, and in which order it is added up.
//!
//! A rank computes a run of the batch's shares (`shares`) and adds up the complete subtrees that it holds. What is left
//! goes to the owners of slices: each rank has a part of every sum, gets everybody's partial sums of it, adds them by
//! the tree, and gives the result to all. So the bits are those of one process, and a rank sends about as much as in a
//! ring. All exchanges of a rank run one after the other on a thread of their own, beside its computation.

use crate::{Error, Result};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

mod rooms;
mod sum;
pub mod threads;

use rooms::Rooms;
pub(crate) use sum::{add, merge};

/// Connects this rank with the others. Calls are made by one thread, in the same order on all ranks.
pub trait Link {
    /// Returns this rank's number, from 0.
    fn rank(&self) -> usize;
    /// Returns how many ranks there are.
    fn count(&self) -> usize;
    /// Sends each rank its part of what is sent, whose lengths are `counts`, and receives what they send to this one,
    /// of the lengths `from`.
    fn all_to_all(&mut self, memory: Memory, counts: &[usize], from: &[usize]) -> Result<Memory>;
    /// Sends all ranks the beginning of what is sent, and receives what each sends, of the lengths `counts`.
    fn all_gather(&mut self, memory: Memory, counts: &[usize]) -> Result<Memory>;
}

/// What an exchange sends, and where it puts what it receives. It owns both: one that is given up leaves them to those
/// who may still write to them.
#[derive(Debug, Default)]
pub struct Memory {
    /// At least as long as what is sent.
    pub sent: Vec<u8>,
    /// As long as what comes, before and after.
    pub received: Vec<u8>,
}

type Job = Box<dyn FnOnce(&mut dyn Link) + Send>;

/// This process among others: its exchanges run on a thread of their own.
pub struct Ranks {
    rank: usize,
    count: usize,
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    terms: Arc<Terms>,
    /// What this rank wants all to know after the next step, and what all said after the last.
    raised: AtomicU32,
    heard: AtomicU32,
    traffic: Arc<Traffic>,
    rooms: Arc<Rooms>,
}

/// What computation asks of the exchanges beside it.
#[derive(Debug, Default)]
pub struct Terms {
    /// Milliseconds that an exchange may take; 0 at first, without a limit, because others may be slow.
    limit: AtomicU64,
    abandoned: AtomicBool,
    awaited: AtomicBool,
}

impl Terms {
    /// Has this rank given up the others?
    pub fn abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    /// Does computation wait for an exchange? Else it needs the processor more than they do.
    pub fn awaited(&self) -> bool {
        self.awaited.load(Ordering::SeqCst)
    }

    /// Has an exchange that began then taken too long?
    pub fn passed(&self, begin: Instant) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        self.abandoned() || limit > 0 && begin.elapsed() > Duration::from_millis(limit)
    }
}

/// What exchanges cost so far.
#[derive(Debug, Default)]
struct Traffic {
    bytes: AtomicU64,
    /// Nanoseconds of exchanges, and of those that somebody waited for them.
    busy: AtomicU64,
    waited: AtomicU64,
}

/// What exchanges cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Bytes that this rank sent.
    pub bytes: u64,
    /// Time that exchanges took.
    pub busy: Duration,
    /// Time for which computation waited for them.
    pub waited: Duration,
}

/// The result of an exchange under way.
pub struct Pending<T> {
    result: Receiver<Result<T>>,
    traffic: Arc<Traffic>,
    terms: Arc<Terms>,
    /// Makes the exchanges.
    thread: Option<Thread>,
}

impl<T> Pending<T> {
    /// Waits for it.
    pub fn wait(self) -> Result<T> {
        if let Ok(result) = self.result.try_recv() {
            return result;
        }
        let begin = Instant::now();
        self.terms.awaited.store(true, Ordering::SeqCst);
        self.thread.iter().for_each(Thread::unpark);
        let result = self.result.recv();
        self.terms.awaited.store(false, Ordering::SeqCst);
        self.traffic.waited.fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result.unwrap_or_else(|_| Err(Error::new("the thread that talks to the other ranks has died")))
    }
}

impl Ranks {
    /// Starts the thread that exchanges; `connect` runs on it.
    pub fn start<L: Link + 'static>(
        connect: impl FnOnce(Arc<Terms>) -> Result<L> + Send + 'static,
    ) -> Result<Arc<Ranks>> {
        let terms = Arc::new(Terms::default());
        let given = terms.clone();
        let (jobs, queue) = channel::<Job>();
        let (ready, connected) = channel();
        let work = move || {
            let mut link = match connect(given) {
                Ok(link) => link,
                Err(e) => return drop(ready.send(Err(e))),
            };
            let _ = ready.send(Ok((link.rank(), link.count())));
            queue.into_iter().for_each(|job| job(&mut link));
        };
        let thread = std::thread::Builder::new().name("ranks".into()).spawn(work);
        let thread = thread.map_err(|e| Error::new(format!("cannot start a thread for the other ranks: {e}")))?;
        let gone = |_| Error::new("the thread that talks to the other ranks has died");
        let (rank, count) = connected.recv().map_err(gone)??;
        Ok(Arc::new(Ranks {
            rank,
            count,
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
            terms,
            raised: AtomicU32::new(0),
            heard: AtomicU32::new(0),
            traffic: Arc::default(),
            rooms: Arc::default(),
        }))
    }

    /// Returns this rank's number, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns how many ranks there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Starts an exchange behind those under way; all ranks start the same ones in the same order.
    fn begin<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&mut dyn Link) -> Result<T> + Send + 'static,
    ) -> Pending<T> {
        let (sender, result) = channel();
        let traffic = self.traffic.clone();
        traffic.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let times = traffic.clone();
        let job: Job = Box::new(move |link| {
            let begin = Instant::now();
            let done = work(link);
            times.busy.fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
            // Who does not wait any more does not care.
            let _ = sender.send(done);
        });
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the thread is gone the job is dropped, and with it what the waiting would hear from.
        let _ = jobs.as_ref().map(|jobs| jobs.send(job));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = thread.as_ref().map(|thread| thread.thread().clone());
        Pending { result, traffic, terms: self.terms.clone(), thread }
    }

    /// Starts to gather what each rank gives, whose lengths all ranks know.
    pub fn gather(&self, own: Vec<u8>, counts: Vec<usize>) -> Pending<Vec<u8>> {
        self.begin(own.len() * (self.count - 1), move |link| {
            let received = vec![0; counts.iter().sum()];
            Ok(link.all_gather(Memory { sent: own, received }, &counts)?.received)
        })
    }

    /// Returns what each rank says, whatever its length.
    pub fn tell(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let length = (own.len() as u64).to_le_bytes().to_vec();
        let lengths = self.gather(length, vec![8; self.count]).wait()?;
        let lengths: Vec<usize> =
            lengths.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes) as usize).collect();
        let all = self.gather(own.to_vec(), lengths.clone()).wait()?;
        let mut rest = &all[..];
        let mut said = Vec::new();
        for length in lengths {
            let (one, others) = rest.split_at(length);
            said.push(one.to_vec());
            rest = others;
        }
        Ok(said)
    }

    /// Returns what rank 0 gives; what others give is dropped.
    pub fn from_first(&self, own: Vec<u8>) -> Result<Vec<u8>> {
        let said = self.tell(if self.rank == 0 { &own } else { &[] })?;
        Ok(said.into_iter().next().unwrap_or_default())
    }

    /// Returns the numbers that rank 0 gives, in place of these.
    pub fn numbers_of_first(&self, own: &[f32]) -> Result<Vec<f32>> {
        let bytes = self.from_first(own.iter().flat_map(|number| number.to_ne_bytes()).collect())?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect())
    }

    /// Gives up exchanges that take longer than this from now on; 0 sets no limit.
    pub fn limit(&self, time: Duration) {
        self.terms.limit.store(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// Gives up what is under way: leaving ends all ranks.
    pub fn abandon(&self) {
        self.terms.abandoned.store(true, Ordering::SeqCst);
    }

    /// Lets all ranks hear these flags after the next step.
    pub fn raise(&self, flags: u32) {
        self.raised.fetch_or(flags, Ordering::SeqCst);
    }

    /// Returns the flags that ranks have raised before the last step began.
    pub fn heard(&self) -> u32 {
        self.heard.load(Ordering::SeqCst)
    }

    /// Takes what this rank has raised.
    pub(crate) fn take_raised(&self) -> u32 {
        self.raised.swap(0, Ordering::SeqCst)
    }

    /// Notes what all have raised.
    pub(crate) fn hear(&self, flags: u32) {
        self.heard.store(flags, Ordering::SeqCst);
    }

    /// Returns what exchanges cost since the start.
    pub fn cost(&self) -> Cost {
        let time = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        let Traffic { bytes, busy, waited } = &*self.traffic;
        Cost { bytes: bytes.load(Ordering::Relaxed), busy: time(busy), waited: time(waited) }
    }
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.count)
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        // The thread ends once nobody can give it work.
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}
