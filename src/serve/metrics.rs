//! What was counted, as Prometheus reads it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Ends of the ranges of seconds, and of images of a batch.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const IMAGES: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// How often numbers fell into ranges.
struct Histogram {
    ends: &'static [f64],
    /// Of each range, and of what lies beyond.
    counts: Vec<AtomicU64>,
    /// In millionths.
    sum: AtomicU64,
}

impl Histogram {
    fn new(ends: &'static [f64]) -> Histogram {
        let counts = (0..=ends.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { ends, counts, sum: AtomicU64::new(0) }
    }

    fn add(&self, value: f64) {
        self.counts[self.ends.iter().position(|&end| value <= end).unwrap_or(self.ends.len())].fetch_add(1, Relaxed);
        self.sum.fetch_add((value * 1e6).round() as u64, Relaxed);
    }

    fn write(&self, name: &str, help: &str, text: &mut String) {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut count = 0;
        for (i, own) in self.counts.iter().enumerate() {
            count += own.load(Relaxed);
            let end = self.ends.get(i).map_or("+Inf".into(), f64::to_string);
            let _ = writeln!(text, "{name}_bucket{{le=\"{end}\"}} {count}");
        }
        let sum = self.sum.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "{name}_sum {sum}\n{name}_count {count}");
    }
}

/// Numbers about a server since its start.
pub struct Metrics {
    /// Answers by path and status.
    answers: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Of `POST /classify`, from its head to its answer.
    seconds: Histogram,
    batches: Histogram,
    /// Requests that are being received or answered.
    pub answering: AtomicUsize,
    /// Connections that are open.
    pub connections: AtomicUsize,
    /// Connections that were refused because too many were open.
    pub refused: AtomicU64,
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics {
            answers: Mutex::default(),
            seconds: Histogram::new(&SECONDS),
            batches: Histogram::new(&IMAGES),
            answering: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Counts an answer.
    pub fn answer(&self, path: &'static str, status: u16, took: Duration) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry((path, status)).or_default() += 1;
        if path == "/classify" {
            self.seconds.add(took.as_secs_f64());
        }
    }

    /// Counts a run of the network.
    pub fn batch(&self, images: usize) {
        self.batches.add(images as f64);
    }

    /// Returns the number of all answers.
    pub fn answers(&self) -> u64 {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Returns the answers of `POST /classify`: all, and those with results.
    pub fn classified(&self) -> (u64, u64) {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |status: Option<u16>| {
            let own = |(path, own): &(&str, u16)| *path == "/classify" && status.is_none_or(|status| status == *own);
            answers.iter().filter(|(key, _)| own(key)).map(|(_, count)| count).sum()
        };
        (of(None), of(Some(200)))
    }

    /// Writes all of it; `waiting` are the requests that wait now,
    /// `bodies` the bytes of all bodies in memory.
    pub fn text(&self, waiting: usize, bodies: usize) -> String {
        let mut text = String::from(
            "# HELP ninc_requests_total Answers by path and status.\n# TYPE ninc_requests_total counter\n",
        );
        for ((path, status), count) in self.answers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(text, "ninc_requests_total{{path=\"{path}\",status=\"{status}\"}} {count}");
        }
        self.seconds.write("ninc_request_seconds", "Time from a request for classes to its answer.", &mut text);
        self.batches.write("ninc_batch_images", "Images of a run of the network.", &mut text);
        let mut one = |name: &str, help: &str, kind: &str, value: u64| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        one("ninc_queue_requests", "Requests that wait.", "gauge", waiting as u64);
        one("ninc_body_bytes", "Bytes of requests that are in memory.", "gauge", bodies as u64);
        one("ninc_connections", "Connections that are open.", "gauge", self.connections.load(Relaxed) as u64);
        let refused = self.refused.load(Relaxed);
        one("ninc_connections_refused_total", "Connections beyond the most that may be open.", "counter", refused);
        text
    }
}
