//! A value that threads use one after the other, and that no copy of the process waits for.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// A value with the number of the thread that uses it ([`this_thread`]), or 0 while it is free.
pub struct Turns<T> {
    value: Mutex<T>,
    user: AtomicU64,
    /// The process that made it.
    made_in: u32,
}

/// Why it will be nobody's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// This thread uses it already.
    Here,
    /// A thread uses it that this copy of the process does not have.
    Elsewhere,
}

/// How often a copy of the process looks whether the thread that uses the value is one of its own.
const LOOKS: u32 = 1000;

impl<T> Turns<T> {
    pub fn new(value: T) -> Turns<T> {
        Turns { value: Mutex::new(value), user: AtomicU64::new(0), made_in: std::process::id() }
    }

    /// Works on the value when it is this thread's turn.
    pub fn take<R>(&self, work: impl FnOnce(&mut T) -> R) -> Result<R, Busy> {
        let mut value = self.wait()?;
        self.user.store(this_thread(), Ordering::SeqCst);
        let done = work(&mut value);
        self.user.store(0, Ordering::SeqCst);
        Ok(done)
    }

    fn wait(&self) -> Result<MutexGuard<'_, T>, Busy> {
        let me = this_thread();
        let mut looks = 0;
        loop {
            match self.value.try_lock() {
                Ok(value) => return Ok(value),
                Err(TryLockError::Poisoned(value)) => return Ok(value.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            let user = self.user.load(Ordering::SeqCst);
            if user == me {
                return Err(Busy::Here);
            }
            if self.made_in == process(me) {
                return Ok(self.value.lock().unwrap_or_else(PoisonError::into_inner));
            }
            // A thread of this copy may have it, and say so in a moment.
            looks = if process(user) == process(me) { 0 } else { looks + 1 };
            if looks > LOOKS {
                return Err(Busy::Elsewhere);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A number of this thread, with its process in the upper half.
fn this_thread() -> u64 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local!(static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed));
    u64::from(std::process::id()) << 32 | u64::from(NUMBER.with(|number| *number))
}

fn process(thread: u64) -> u32 {
    (thread >> 32) as u32
}
