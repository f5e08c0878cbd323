//! Signals. During training the first SIGINT or SIGTERM finishes the step and saves, the second stops at once; SIGHUP
//! saves and goes on.

use ninc_runtime::train::Control;
#[cfg(unix)]
use std::sync::Arc;

#[cfg(unix)]
pub fn listen() -> Control {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::flag;
    let control = Control::default();
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second signal finds the flag set by the first. A handler that cannot be installed leaves
        // the system's own, which ends the program; the last checkpoint is there.
        let _ = flag::register_conditional_shutdown(signal, 130, control.stop.clone());
        let _ = flag::register(signal, control.stop.clone());
    }
    let _ = flag::register(SIGHUP, control.save.clone());
    control
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
pub fn listen() -> Control {
    Control::default()
}
