//! A fixed team of threads. The caller is worker 0; the others wait for the next region: they poll for a short time,
//! then sleep.  A region is one piece of work done by all workers, with barriers inside it; a run of a plan is one
//! region, so that no launch pays for waking threads. Which worker does what depends on its number alone.  One of the
//! named places of `unsafe`: workers borrow the region's closure from the caller's stack, and threads are pinned to
//! cores through the C library.

use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
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
    /// Number of regions started so far; a new one starts when it changes.
    region: AtomicUsize,
    task: Mutex<Option<Borrowed>>,
    start: Parker,
    /// Workers (without the caller) that are not done with the region.
    busy: AtomicUsize,
    done: Parker,
    arrived: AtomicUsize,
    /// Barriers passed so far.
    phase: AtomicUsize,
    barrier: Parker,
    /// A worker panicked in this region.
    broken: AtomicBool,
    stop: AtomicBool,
}

/// One thread's view of a region.
pub struct Worker<'a> {
    shared: &'a Shared,
    index: usize,
}

/// A worker panicked: the region is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Worker<'_> {
    /// Returns its number; 0 is the caller.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns this worker's part of `0..count`.
    pub fn share(&self, count: usize) -> std::ops::Range<usize> {
        let (index, workers) = (self.index as u128, self.shared.count as u128);
        let at = |i: u128| (i * count as u128 / workers) as usize;
        at(index)..at(index + 1)
    }

    /// Waits for all workers; all writes before it are visible to all after it.
    pub fn barrier(&self) -> std::result::Result<(), Broken> {
        let s = self.shared;
        if s.count > 1 {
            let phase = s.phase.load(SeqCst);
            if s.arrived.fetch_add(1, SeqCst) + 1 == s.count {
                s.arrived.store(0, SeqCst);
                s.phase.store(phase.wrapping_add(1), SeqCst);
                s.barrier.wake();
            } else {
                s.barrier.wait(s.spins, || s.phase.load(SeqCst) != phase || s.broken.load(SeqCst));
            }
        }
        if s.broken.load(SeqCst) { Err(Broken) } else { Ok(()) }
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
            region: AtomicUsize::new(0),
            task: Mutex::new(None),
            start: Parker::default(),
            busy: AtomicUsize::new(0),
            done: Parker::default(),
            arrived: AtomicUsize::new(0),
            phase: AtomicUsize::new(0),
            barrier: Parker::default(),
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

    /// Runs `task` once on each thread and waits for all.
    pub fn run(&self, task: &(dyn Fn(&Worker) + Sync)) -> Result<()> {
        let cores = lock(&self.turn);
        let s = &*self.shared;
        s.broken.store(false, SeqCst);
        s.arrived.store(0, SeqCst);
        if s.count > 1 {
            // SAFETY: the lifetime ends when this function returns, which it does only after `busy` fell to 0, when no
            // worker uses the closure any more.
            #[allow(unsafe_code)]
            let borrowed =
                Borrowed(unsafe { std::mem::transmute::<*const (dyn Fn(&Worker) + Sync + '_), *const Task>(task) });
            *lock(&s.task) = Some(borrowed);
            s.busy.store(s.count - 1, SeqCst);
            s.region.fetch_add(1, SeqCst);
            s.start.wake();
        }
        // The caller is pinned in the region only: threads that it starts elsewhere must not inherit the pin.
        let free = cores.first().map(|&core| {
            let allowed = pin::allowed();
            pin::this_thread(&[core]);
            allowed
        });
        perform(s, 0, task);
        s.done.wait(s.spins, || s.busy.load(SeqCst) == 0);
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
        shared.barrier.wake();
    }
}

fn work(shared: &Shared, index: usize) {
    let mut seen = 0;
    loop {
        shared.start.wait(shared.spins, || shared.region.load(SeqCst) != seen || shared.stop.load(SeqCst));
        if shared.stop.load(SeqCst) {
            return;
        }
        seen = shared.region.load(SeqCst);
        let task = lock(&shared.task).expect("published before the region's number");
        // SAFETY: `Pool::run` waits for `busy` to fall to 0 before the closure's borrow ends.
        #[allow(unsafe_code)]
        perform(shared, index, unsafe { &*task.0 });
        if shared.busy.fetch_sub(1, SeqCst) == 1 {
            shared.done.wake();
        }
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
    fn regions_run_on_all_workers_with_barriers() {
        for count in [1, 2, 3, 7] {
            let pool = Pool::new(count).expect("threads");
            for _ in 0..50 {
                let sums: Vec<AtomicUsize> = (0..20).map(|_| AtomicUsize::new(0)).collect();
                pool.run(&|worker| {
                    for (i, sum) in sums.iter().enumerate() {
                        sum.fetch_add(worker.share(100).len(), SeqCst);
                        worker.barrier().expect("nobody panics");
                        assert_eq!(sums[i].load(SeqCst), 100);
                    }
                })
                .expect("nobody panics");
            }
        }
    }

    #[test]
    fn a_panic_ends_the_region_and_the_pool_lives_on() {
        let pool = Pool::new(3).expect("threads");
        let result = pool.run(&|worker| {
            assert!(worker.index() != 1, "on purpose");
            while worker.barrier().is_ok() {}
        });
        assert!(result.is_err());
        let ran = AtomicUsize::new(0);
        pool.run(&|_| {
            ran.fetch_add(1, SeqCst);
        })
        .expect("a new region");
        assert_eq!(ran.into_inner(), 3);
    }
}
