//! How many files the system lets the program have open: each connection is one.

use crate::cli::output;

/// Files beside those of connections: the listener, standard streams, what threads wake each other by, and a few
/// connections that are told that there are too many.
#[cfg(unix)]
const OTHERS: u64 = 32;

/// Returns how many of these connections there may be; raises this process's limit as far as it may, and says so where
/// that is not enough.
#[cfg(unix)]
pub fn connections(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let needed = wanted as u64 + OTHERS;
    let enough = |now: Option<u64>| now.is_none_or(|now| now >= needed);
    if enough(limit.current) {
        return wanted;
    }
    let raised = limit.maximum.map_or(needed, |most| most.min(needed));
    // Where it is refused the limit is as it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
    let now = getrlimit(Resource::Nofile).current;
    if enough(now) {
        return wanted;
    }
    let files = now.unwrap_or(needed);
    let count = files.saturating_sub(OTHERS).max(1) as usize;
    output::note(&format!(
        "note: the system allows {files} open files, so there are {} at most, not {wanted}; `ulimit -n` sets it",
        output::counted(count, "connection")
    ));
    count
}

#[cfg(not(unix))]
pub fn connections(wanted: usize) -> usize {
    wanted
}
