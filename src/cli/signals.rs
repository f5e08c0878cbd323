//! Signals. A server ends with the first SIGINT or SIGTERM once it has answered what it has, with the second at once.
//! During training the first SIGINT or SIGTERM finishes the step and saves, the second stops at once; SIGHUP
//! saves and goes on. Commands that listen say so before they open anything ([`begin`]).

use ninc_runtime::train::Control;
#[cfg(unix)]
use std::sync::Arc;
#[cfg(unix)]
use std::sync::atomic::{AtomicBool, Ordering};

/// Does nothing of this program listen to signals yet?
#[cfg(unix)]
static UNHEARD: AtomicBool = AtomicBool::new(true);

/// Takes the place of the first handler of this process; until something listens, signals do what they did. Drivers of
/// devices bring handlers (LLVM's, which remove its files). These call what was there before them, and would end the
/// program where that was nothing.
#[cfg(unix)]
pub fn begin() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::flag;
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        // Without a handler it is as it was.
        let _ = match ignored(signal) {
            true => flag::register(signal, Arc::<AtomicBool>::default()),
            false => flag::register_conditional_default(signal, &UNHEARD),
        };
    }
}

#[cfg(not(unix))]
pub fn begin() {}

/// Was this process started deaf to the signal, as by `nohup`?
#[cfg(unix)]
fn ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the present one to the place that it is given, and zeros are an
    // action too, should it fail.
    #[allow(unsafe_code)]
    let action = unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Listens for one training.
pub fn listen() -> Control {
    listen_for(1).pop().unwrap_or_default()
}

/// Listens for trainings that are made beside each other: what stops one stops all, and each saves.
#[cfg(unix)]
pub fn listen_for(count: usize) -> Vec<Control> {
    use signal_hook::consts::SIGHUP;
    use signal_hook::flag;
    let control = Control::default();
    // A handler that cannot be installed leaves the system's own, which ends the program; the last checkpoint is there.
    let _ = second_ends(&control.stop);
    let own = |_| {
        let save = Arc::default();
        let _ = flag::register(SIGHUP, Arc::clone(&save));
        Control { save, ..control.clone() }
    };
    let controls = (0..count).map(own).collect();
    UNHEARD.store(false, Ordering::SeqCst);
    controls
}

/// Sets the flag on the first SIGINT or SIGTERM, and ends the program on the second.
#[cfg(unix)]
fn second_ends(stopped: &Arc<AtomicBool>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    let both = [SIGINT, SIGTERM].map(|signal| {
        // In this order: the second signal finds the flag set by the first.
        let ends = flag::register_conditional_shutdown(signal, 130, stopped.clone());
        flag::register(signal, stopped.clone()).and(ends)
    });
    both.into_iter().try_for_each(|done| done.map(|_| ()))
}

/// Calls `stop` on the first SIGINT or SIGTERM; the second ends the program.
#[cfg(unix)]
pub fn on_stop(stop: impl Fn() + Send + 'static) -> ninc_runtime::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    let failed = |e: std::io::Error| ninc_runtime::Error::new(format!("cannot listen for signals: {e}"));
    second_ends(&Arc::default()).map_err(failed)?;
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let listen = move || signals.forever().for_each(|_| stop());
    std::thread::Builder::new().name("signals".into()).spawn(listen).map_err(failed)?;
    UNHEARD.store(false, Ordering::SeqCst);
    Ok(())
}

#[cfg(not(unix))]
pub fn on_stop(_stop: impl Fn() + Send + 'static) -> ninc_runtime::Result<()> {
    Ok(())
}

/// Lets a file that grows beyond the limit of its size (`ulimit -f`) be an error of its write, as any other, instead of
/// the end of the program.
#[cfg(unix)]
pub fn limit_is_an_error() {
    // What says that the signal came is not looked at: the write says it too.
    let _ = signal_hook::flag::register(signal_hook::consts::signal::SIGXFSZ, Arc::default());
}

#[cfg(not(unix))]
pub fn limit_is_an_error() {}

#[cfg(not(unix))]
pub fn listen_for(count: usize) -> Vec<Control> {
    let control = Control::default();
    (0..count).map(|_| Control { save: Default::default(), ..control.clone() }).collect()
}
