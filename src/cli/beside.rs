//! Processes of one training on the same machine: which processors are whose.

use std::fs;

/// How the launchers tell how many processes there are on this machine.
const LOCAL: [&str; 3] = ["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"];

/// How they tell each its number there.
const NUMBER: [&str; 3] = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];

/// Returns how many threads this process has by default, of `allowed` processors: all where the launcher has bound it
/// to some, else its part of them.
pub fn processors(allowed: usize) -> usize {
    let number = |name: &&str| std::env::var(name).ok()?.parse::<usize>().ok();
    let local = LOCAL.iter().find_map(number).unwrap_or(1).max(1);
    match fs::read_to_string("/sys/devices/system/cpu/online").ok().and_then(|text| counted(text.trim())) {
        Some(online) if allowed < online => allowed,
        _ => (allowed / local).max(1),
    }
}

/// Returns the number of this process among those on this machine, from 0.
pub fn number() -> usize {
    NUMBER.iter().find_map(|name| std::env::var(name).ok()?.parse().ok()).unwrap_or(0)
}

/// Counts the numbers of a list like `0-3,8`.
fn counted(list: &str) -> Option<usize> {
    let part = |part: &str| match part.split_once('-') {
        Some((first, last)) => (last.parse::<usize>().ok()? + 1).checked_sub(first.parse().ok()?),
        None => part.parse::<usize>().ok().map(|_| 1),
    };
    list.split(',').map(part).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn processors_in_a_list() {
        assert_eq!(["0", "0-3", "0-3,8,10-11"].map(super::counted), [Some(1), Some(4), Some(7)]);
        assert_eq!(super::counted("x"), None);
    }
}
