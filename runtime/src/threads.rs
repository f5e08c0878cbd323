//! A fixed team of threads. The caller is worker 0; the others wait for the next region: they poll for a short time,
//! then sleep. A region is work that is done by whoever comes before it is finished (the caller always), so that nobody
//! waits for a thread that the system lets wait; a run of a plan is one region, in rounds (`rounds.rs`), so that no
//! launch pays for waking threads. One of the named places of `unsafe`: workers borrow the region's closure from the
//! caller's stack, and threads are pinned to cores through the C library.

use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How often a waiting thread polls before it yields (`SPINS`), and how often it yields before it sleeps (`YIELDS`).
const SPINS: usize = 4000;
const YIELDS: usize = 50;

/// Sleepers wait here; a condition is made true before `wake`.
#[derive(Default)]
struct Parker {
    sleepers: AtomicUsize,
    mutex: Mutex<()>,
    condvar: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the mutexes here guard is never left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Parker {
    /// Returns when `ready` holds. `spins` is 0 where there are more threads than cores.
    fn wait(&self, spins: usize, ready: impl Fn() -> bool) {
        for _ in 0..spins {
            if ready() {
                return;
            }
            std::hint::spin_loop();
        }
        for _ in 0..YIELDS {
            if ready() {
                return;
            }
            std::thread::yield_now();
        }
        let mut guard = lock(&self.mutex);
        // Either `wake` sees this, or the test below sees what was set before `wake`.
        self.sleepers.fetch_add(1, SeqCst);
        while !ready() {
            guard = self.condvar.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }

    fn wake(&self) {
        if self.sleepers.load(SeqCst) > 0 {
            let _guard = lock(&self.mutex);
            self.condvar.notify_all();
        }
    }
}

mod rounds;

type Task = dyn Fn(&Worker) + Sync;

/// The region's closure. Valid from its publication until all workers are done with it.
#[derive(Clone, Copy)]
struct Borrowed(*const Task);

// SAFETY: the closure is `Sync`, and `Pool::run` keeps it alive until the last worker has returned from it.
#[allow(unsafe_code)]
unsafe impl Send for Borrowed {}

struct Shared {
    count: usize,
    spins: usize,
    /// The door of the region.
    door: AtomicU64,
    task: Mutex<Option<Borrowed>>,
    start: Parker,
    done: Parker,
    /// Where workers wait for a round.
    round: Parker,
    /// A worker panicked in this region.
    broken: AtomicBool,
    stop: AtomicBool,
}

/// Who may come into a region, in one number, so that a late worker cannot come into another one than it saw: above 32
/// bits the region's number, then whether it is open, then how many workers (without the caller) are inside.
struct Door(u64);

const OPEN: u64 = 1 << 31;

impl Door {
    fn number(&self) -> u64 {
        self.0 >> 32
    }

    fn inside(&self) -> u64 {
        self.0 & (OPEN - 1)
    }

    /// Opens the next region.
    fn next(&self) -> u64 {
        (self.number() + 1) << 32 | OPEN
    }

    /// May a worker come in that was in region `last` before?
    fn lets_in(&self, last: u64) -> bool {
        self.0 & OPEN != 0 && self.number() != last
    }
}

impl Shared {
    fn door(&self) -> Door {
        Door(self.door.load(SeqCst))
    }

    /// Comes into the region, if it is open and another one than `last`. Returns whether it did, and the region's
    /// number.
    fn enter(&self, last: u64) -> (bool, u64) {
        let one_more = |door: u64| Door(door).lets_in(last).then_some(door + 1);
        match self.door.fetch_update(SeqCst, SeqCst, one_more) {
            Ok(door) => (true, Door(door).number()),
            Err(door) => (false, Door(door).number()),
        }
    }

    fn leave(&self) {
        if Door(self.door.fetch_sub(1, SeqCst)).inside() == 1 {
            self.done.wake();
        }
    }
}

/// One thread's view of a region.
pub struct Worker<'a> {
    shared: &'a Shared,
    index: usize,
}

impl Worker<'_> {
    /// Returns its number; 0 is the caller.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// Keeps this thread, and those that it will start, on `count` of the cores that it may run on, without the first
/// `before`, which other teams of threads use. Nothing happens on a machine with fewer than `before + count` cores.
pub fn keep_to(before: usize, count: usize) {
    if let Some(cores) = pin::allowed().get(before..before + count) {
        pin::this_thread(cores);
    }
}

/// A team of threads.
pub struct Pool {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
    /// One region at a time; cores to pin to, where there is one for each worker.
    turn: Mutex<Vec<usize>>,
}

impl Pool {
    /// Makes a team of `count` threads, the caller included. Where there are enough cores each gets one of its own.
    pub fn new(count: usize) -> Result<Pool> {
        if !(1..=1024).contains(&count) {
            return Err(Error::new(format!("{count} threads")).with_help("1 to 1024 are possible"));
        }
        let cores = pin::allowed();
        let available = if cores.is_empty() { available() } else { cores.len() };
        let shared = Arc::new(Shared {
            count,
            spins: if count <= available { SPINS } else { 0 },
            door: AtomicU64::new(0),
            task: Mutex::new(None),
            start: Parker::default(),
            done: Parker::default(),
            round: Parker::default(),
            broken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        // A single thread is better off where the system puts it.
        let pinned = if count > 1 && count <= cores.len() { cores[..count].to_vec() } else { Vec::new() };
        let mut pool = Pool { shared, handles: Vec::new(), turn: Mutex::new(pinned.clone()) };
        for index in 1..count {
            let (shared, core) = (pool.shared.clone(), pinned.get(index).copied());
            let spawned = std::thread::Builder::new().name(format!("worker {index}")).spawn(move || {
                if let Some(core) = core {
                    pin::this_thread(&[core]);
                }
                work(&shared, index);
            });
            // Dropping the pool ends those that were started.
            pool.handles.push(spawned.map_err(|e| Error::new(format!("cannot start a thread: {e}")))?);
        }
        Ok(pool)
    }

    /// Returns the number of threads, the caller included.
    pub fn count(&self) -> usize {
        self.shared.count
    }

    /// Runs `task` on this thread, and once on each of the others that comes before this one is done with it.
    pub fn run(&self, task: &(dyn Fn(&Worker) + Sync)) -> Result<()> {
        let cores = lock(&self.turn);
        let s = &*self.shared;
        s.broken.store(false, SeqCst);
        if s.count > 1 {
            // SAFETY: the lifetime ends when this function returns, which it does only when the door is closed and
            // nobody is inside: no worker uses the closure any more.
            #[allow(unsafe_code)]
            let borrowed =
                Borrowed(unsafe { std::mem::transmute::<*const (dyn Fn(&Worker) + Sync + '_), *const Task>(task) });
            *lock(&s.task) = Some(borrowed);
            s.door.store(s.door().next(), SeqCst);
            s.start.wake();
        }
        // The caller is pinned in the region only: threads that it starts elsewhere must not inherit the pin.
        let free = cores.first().map(|&core| {
            let allowed = pin::allowed();
            pin::this_thread(&[core]);
            allowed
        });
        perform(s, 0, task);
        s.door.fetch_and(!OPEN, SeqCst);
        s.done.wait(s.spins, || s.door().inside() == 0);
        if let Some(allowed) = free {
            pin::this_thread(&allowed);
        }
        match s.broken.load(SeqCst) {
            true => Err(Error::new("a worker thread failed; the results of this run are lost")),
            false => Ok(()),
        }
    }
}

fn perform(shared: &Shared, index: usize, task: &(dyn Fn(&Worker) + Sync)) {
    if catch_unwind(AssertUnwindSafe(|| task(&Worker { shared, index }))).is_err() {
        shared.broken.store(true, SeqCst);
        shared.round.wake();
    }
}

fn work(shared: &Shared, index: usize) {
    let mut last = 0;
    loop {
        shared.start.wait(shared.spins, || shared.door().number() != last || shared.stop.load(SeqCst));
        if shared.stop.load(SeqCst) {
            return;
        }
        let (inside, number) = shared.enter(last);
        last = number;
        if !inside {
            // Too late for this one: polls for the next.
            continue;
        }
        let task = lock(&shared.task).expect("published before the door opens");
        // SAFETY: this worker is inside, and `Pool::run` waits for it before the closure's borrow ends.
        #[allow(unsafe_code)]
        perform(shared, index, unsafe { &*task.0 });
        shared.leave();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.shared.start.wake();
        for handle in self.handles.drain(..) {
            // A worker catches the panics of tasks, and has none of its own.
            let _ = handle.join();
        }
    }
}

/// Returns the number of cores that the system says are there.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

#[cfg(target_os = "linux")]
mod pin {
    /// Returns the numbers of the cores that this thread may run on.
    #[allow(unsafe_code)]
    pub fn allowed() -> Vec<usize> {
        // SAFETY: an all-zero set is a valid one, and the call gets its address and size.
        let (set, result) = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let result = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
            (set, result)
        };
        if result != 0 {
            return Vec::new();
        }
        // SAFETY: the numbers are below the size of the set.
        (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect()
    }

    /// Keeps this thread on these cores; without effect where the system refuses.
    #[allow(unsafe_code)]
    pub fn this_thread(cores: &[usize]) {
        // SAFETY: as above; the numbers come from `allowed`.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            cores.iter().for_each(|&core| libc::CPU_SET(core, &mut set));
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod pin {
    pub fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub fn this_thread(_cores: &[usize]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_and_those_who_come_are_in_a_region_once() {
        for count in [1, 2, 3, 7] {
            let pool = Pool::new(count).expect("threads");
            for _ in 0..50 {
                let came: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                let come = |worker: &Worker| came[worker.index()].fetch_add(1, SeqCst);
                pool.run(&|worker| {
                    come(worker);
                    // The caller waits for all: each of them comes where it has the time.
                    while worker.index() == 0 && came.iter().any(|n| n.load(SeqCst) == 0) {
                        std::thread::yield_now();
                    }
                })
                .expect("nobody panics");
                assert!(came.into_iter().all(|n| n.into_inner() == 1));
            }
        }
    }

    #[test]
    fn a_panic_ends_the_region_and_the_pool_lives_on() {
        let pool = Pool::new(3).expect("threads");
        let at = AtomicUsize::new(0);
        let result = pool.rounds(
            &[1, 3, 1],
            1,
            &|_, round, _| {
                at.fetch_max(round, SeqCst);
                assert!(round == 0, "on purpose");
            },
            &|_| (),
        );
        assert!(result.is_err());
        assert_eq!(at.into_inner(), 1, "no round follows");
        let ran = AtomicUsize::new(0);
        let count = |_: usize, _: usize, part: std::ops::Range<usize>| {
            ran.fetch_add(part.len(), SeqCst);
        };
        pool.rounds(&[100], 4, &count, &|_| ()).expect("a new region");
        assert_eq!(ran.into_inner(), 100);
    }
}
