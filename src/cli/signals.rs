//! Signals. A server ends with the first SIGINT or SIGTERM once it has answered what it has, with the second at once.
//! During training the first SIGINT or SIGTERM finishes the step and saves, the second stops at once; SIGHUP
//! saves and goes on.

use ninc_runtime::train::Control;
#[cfg(unix)]
use std::sync::Arc;
#[cfg(unix)]
use std::sync::atomic::AtomicBool;

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
    (0..count).map(own).collect()
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
