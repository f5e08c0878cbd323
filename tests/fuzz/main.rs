//! Damaged files of every kind that is read: whatever their bytes are, a reader gives data or an error, soon, and takes
//! no more memory than what the header declares explains.
//!
//! ```text
//! cargo test --test fuzz                                2,000 inputs of each kind, always the same
//! NINC_FUZZ=1000000 cargo test … -- png mat             as many of these kinds, each within 2 s of processor time
//! NINC_FUZZ_ONE=4711 cargo test … -- png                one input, which stays as `input` in the current folder
//! ```
//!
//! Input `n` of a kind is a function of `n` alone, so that a number is all that a report needs. `NINC_FUZZ_FROM` is the
//! first number. Build with `CARGO_PROFILE_DEV_OPT_LEVEL=2` for long runs, and set `TMPDIR` to a folder in memory.

mod kinds;
mod memory;
mod mutate;
mod seeds;

use kinds::{KINDS, Kind};
use ninc_runtime::Error;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Memory beyond three times the decoded size.
const SPARE: usize = 64 << 20;
/// Processor time that an input may take.
const LIMIT: Duration = Duration::from_secs(2);
/// Without an answer for so long, an input never ends.
const NEVER: u32 = 60;

/// Where the last panic was, and what it said.
static PANIC: Mutex<String> = Mutex::new(String::new());
/// The input at work, for the thread that watches.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// What became of a kind's inputs.
#[derive(Default)]
struct Report {
    read: u64,
    refused: u64,
    slowest: Duration,
    memory: usize,
    /// By fault: how many inputs, and the first of them.
    faults: BTreeMap<String, (u64, u64)>,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn main() {
    let by_hand = number("NINC_FUZZ");
    let count = by_hand.unwrap_or(2000);
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen = |kind: &&Kind| words.is_empty() || words.iter().any(|word| word == kind.name);
    std::panic::set_hook(Box::new(|about| {
        *PANIC.lock().expect("nobody panics with it") = about.to_string().replace('\n', " ");
    }));
    if by_hand.is_some() {
        std::thread::spawn(watch);
    }
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let mut faults = 0;
    for kind in KINDS.iter().filter(chosen) {
        let seeds = seeds::of(kind.name);
        if let Some(number) = number("NINC_FUZZ_ONE") {
            let input = mutate::input(kind, &seeds, number);
            std::fs::write("input", &input).expect("written");
            let result = (kind.read)(&input, place.path(), number);
            println!("{} {number}: {} bytes, {result:?}", kind.name, input.len());
            continue;
        }
        let from = number("NINC_FUZZ_FROM").unwrap_or(0);
        let report = fuzz(kind, &seeds, from..from + count, place.path(), by_hand.is_some());
        let Report { read, refused, memory, slowest, .. } = &report;
        println!(
            "{:11} {} inputs: {read} read, {refused} refused; at most {} MiB{}",
            kind.name,
            read + refused,
            memory >> 20,
            if by_hand.is_some() { format!(", {} ms", slowest.as_millis()) } else { String::new() }
        );
        for (fault, (inputs, first)) in &report.faults {
            println!("    {inputs} inputs, the first is {first}: {fault}");
        }
        faults += report.faults.len();
        // Else the seeds or the damage are of no use.
        assert!(count < 1000 || (*read * 200 > count && *refused * 20 > count), "{}: {read} {refused}", kind.name);
    }
    std::process::exit(if faults > 0 { 1 } else { 0 });
}

fn fuzz(kind: &Kind, seeds: &[Vec<u8>], numbers: std::ops::Range<u64>, place: &Path, timed: bool) -> Report {
    let mut report = Report::default();
    for number in numbers {
        NUMBER.store(number, Ordering::Relaxed);
        let input = mutate::input(kind, seeds, number);
        let begin = memory::start();
        let clock = timed.then(memory::processor_time);
        let result = catch_unwind(AssertUnwindSafe(|| (kind.read)(&input, place, number)));
        let peak = memory::most_since(begin);
        let spent = clock.map_or(Duration::ZERO, |begun| memory::processor_time() - begun);
        report.slowest = report.slowest.max(spent);
        report.memory = report.memory.max(peak);
        let fault = match &result {
            Err(_) => Some(PANIC.lock().expect("nobody panics with it").clone()),
            _ if spent > LIMIT => Some("slow".to_string()),
            _ if peak > SPARE + 3 * input.len() && peak > SPARE + 3 * (kind.decoded)(&input) => {
                Some("memory".to_string())
            }
            Ok(Ok(())) => None,
            Ok(Err(Error { message, .. })) => message.is_empty().then(|| "an error without words".to_string()),
        };
        *if matches!(result, Ok(Ok(()))) { &mut report.read } else { &mut report.refused } += 1;
        if let Some(fault) = fault {
            if timed {
                eprintln!("{} {number}: {fault} ({} MiB, {} ms)", kind.name, peak >> 20, spent.as_millis());
            }
            report.faults.entry(fault).or_insert((0, number)).0 += 1;
        }
    }
    report
}

/// Ends the process where an input does not come to an end.
fn watch() {
    let (mut last, mut same) = (0, 0);
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = NUMBER.load(Ordering::Relaxed);
        same = if now == last { same + 1 } else { 0 };
        last = now;
        if same > NEVER {
            eprintln!("input {now} does not come to an end");
            std::process::abort();
        }
    }
}
