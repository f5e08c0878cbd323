//! How training goes: a bar on a terminal, a line per epoch elsewhere. On stderr, so that results stay alone on stdout.

use super::output;
use indicatif::{ProgressBar, ProgressStyle};
use ninc_runtime::train::Watch;
use ninc_runtime::train::job::Progress;
use ninc_runtime::train::log::Line;
use std::io::IsTerminal;
use std::time::Instant;

pub struct Shown {
    bar: Option<ProgressBar>,
    /// Epoch lines as JSON on stdout too.
    json: bool,
    verbose: bool,
    /// Start of the epoch and its images, for the speed.
    since: Instant,
    images: usize,
    rate: f64,
    /// The first step is done.
    started: bool,
}

impl Shown {
    pub fn new(json: bool, verbose: bool) -> Shown {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} steps  {msg}  {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Shown { bar, json, verbose, since: Instant::now(), images: 0, rate: 0.0, started: false }
    }

    fn speed(&self) -> f64 {
        self.images as f64 / self.since.elapsed().as_secs_f64().max(1e-9)
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Shown {
    fn step(&mut self, progress: &Progress) {
        match self.started {
            true => self.images += progress.images,
            // What came before the first step, and filling the caches in it, is not what the others take.
            false => (self.started, self.since) = (true, Instant::now()),
        }
        self.rate = progress.rate;
        if let Some(bar) = &self.bar {
            if bar.length() != Some(progress.total_steps) {
                bar.set_length(progress.total_steps);
                // Where a resumed run goes on, so that the time left is right.
                bar.set_position(progress.step);
                bar.reset_eta();
            }
            bar.set_position(progress.step);
            bar.set_message(format!(
                "loss {:.4}  accuracy {:.2} %  {:.0} images/s",
                progress.loss,
                progress.accuracy * 100.0,
                self.speed()
            ));
        } else if self.verbose {
            self.say(&format!("step {}/{}  loss {:.4}", progress.step, progress.total_steps, progress.step_loss));
        }
    }

    fn epoch(&mut self, line: &Line) {
        self.say(&format!("{}  {:.0} images/s", epoch(line), self.speed()));
        if self.json {
            // A closed stdout must not end the training.
            let _ = output::json(line);
        }
        (self.since, self.images) = (Instant::now(), 0);
    }

    fn note(&mut self, text: &str) {
        self.say(&format!("note: {text}"));
    }
}

/// Writes an epoch's numbers in words.
pub fn epoch(line: &Line) -> String {
    let mut text =
        format!("epoch {:<5.4} loss {:.4}  accuracy {:.2} %", line.epoch.to_string(), line.loss, line.accuracy * 100.0);
    if let (Some(loss), Some(accuracy)) = (line.valid_loss, line.valid_accuracy) {
        text += &format!("  valid loss {loss:.4}  accuracy {:.2} %", accuracy * 100.0);
    }
    if let (Some(loss), Some(error)) = (line.test_loss, line.test_error) {
        text += &format!("  test loss {loss:.4}  error {:.2} %", error * 100.0);
    }
    text + &format!("  rate {:.4}", line.rate)
}
