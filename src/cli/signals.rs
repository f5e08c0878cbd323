//! Signals during training: the first SIGINT or SIGTERM finishes the step and saves, the second stops at once; SIGHUP
//! saves and goes on.

use ninc_runtime::train::Control;

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

#[cfg(not(unix))]
pub fn listen() -> Control {
    Control::default()
}
