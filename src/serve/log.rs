//! A line for each request on stderr, written by a thread of its own: whoever reads them slowly holds up nobody.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that wait at most; others are left out, and counted.
const LINES: usize = 1024;
/// How long the end of a server waits for lines to be written.
const END: Duration = Duration::from_millis(500);

/// Where lines go.
pub struct Log {
    lines: SyncSender<String>,
    lost: AtomicUsize,
}

/// Tells when all lines are written.
pub struct Written(Receiver<()>);

impl Log {
    /// Starts the thread that writes. It is not waited for longer than the end allows.
    pub fn start() -> std::io::Result<(Log, Written)> {
        let (lines, waiting) = sync_channel::<String>(LINES);
        let (done, written) = sync_channel(1);
        std::thread::Builder::new().name("log".into()).spawn(move || {
            for line in waiting {
                // Where stderr is closed there is nobody to tell.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            let _ = done.send(());
        })?;
        Ok((Log { lines, lost: AtomicUsize::new(0) }, Written(written)))
    }

    /// Writes a line, or leaves it out where too many wait.
    pub fn say(&self, line: String) {
        let lost = self.lost.swap(0, Relaxed);
        let line = if lost == 0 { line } else { format!("({lost} lines were left out)\n{line}") };
        if self.lines.try_send(line).is_err() {
            self.lost.fetch_add(lost + 1, Relaxed);
        }
    }
}

impl Written {
    /// Waits for the lines, once the log is gone, but not for a reader that is stuck.
    pub fn wait(self) {
        let _ = self.0.recv_timeout(END);
    }
}
