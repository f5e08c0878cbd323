//! `ninc train --find-rate`: the loss over a rising rate, as a curve and as a suggestion. No training is touched.

use super::{Args, Ready};
use crate::cli::output::{self, Done, Failure, usage};
use crate::cli::progress::Shown;
use crate::cli::report::chart::{Chart, Series};
use crate::cli::report::page::Page;
use crate::cli::signals;
use ninc_runtime::Error;
use ninc_runtime::spec::Length;
use ninc_runtime::store::{System, write_atomically};
use ninc_runtime::train::rate_finder::{self, Point, Suggestion, Unknown};
use ninc_runtime::train::schedule::total_steps;
use serde_json::json;
use std::sync::atomic::Ordering;

/// What `--find-rate` takes: `LOW,HIGH`.
pub fn rates(text: &str) -> Result<[f64; 2], String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[low, high]) if low > 0.0 && high > low && high.is_finite() => Ok([low, high]),
        _ => Err("expected two rates, a small and a large one: 1e-5,10".into()),
    }
}

/// Searches, writes the curve and prints the suggestion.
pub fn find(args: &Args, ready: &mut Ready, [low, high]: [f64; 2]) -> Done {
    let job = ready.job;
    let options = &args.options;
    let asked = options.epochs.map(Length::Epochs).or(options.steps.map(Length::Steps));
    let per_epoch = job.sets.train.len().div_ceil(job.recipe.batch * job.recipe.accumulate) as u64;
    let steps = asked.map_or(per_epoch, |length| total_steps(length, per_epoch));
    let mut shown = Shown::new(false, ready.global.verbose);
    let control = signals::listen();
    let points = rate_finder::find(job, ready.trainer, steps, (low, high), &mut shown, &control);
    shown.finish();
    let points = points?;
    if points.is_empty() {
        return Err(Error::new(format!("the loss of the first step, at the rate {low}, is not finite"))
            .with_help("look at the data's preparation with --preview")
            .into());
    }
    // Fewer steps are those of a loss that broke, or of a user who broke it off.
    let whole = points.len() as u64 == steps || control.stop.load(Ordering::Relaxed);
    let found = rate_finder::suggest(&points, whole);
    std::fs::create_dir_all(&args.out).map_err(|e| Error::file("make the folder", &args.out, &e))?;
    let place = |ending: &str| args.out.join(format!("{}.rates.{ending}", job.name));
    let rows = points.iter().map(|p| format!("{:e},{:.6},{:.6}\n", p.rate, p.loss, p.smoothed));
    let text: String = ["rate,loss,smoothed\n".to_string()].into_iter().chain(rows).collect();
    write_atomically(&place("csv"), text.as_bytes(), &System)?;
    write_atomically(&place("html"), page(&job.name, &points, found.ok()).as_bytes(), &System)?;
    output::note(&format!("curve: {}, {}", place("csv").display(), place("html").display()));
    let last = points.last().map_or(low, |p| p.rate);
    if args.json {
        let found = found.ok();
        output::json(&json!({
            "event": "rate", "rate": found.map(|f| f.rate), "least": found.map(|f| f.least),
            "steepest": found.map(|f| f.steepest), "steps": points.len(), "low": low, "high": last,
        }))?;
    } else if let Ok(found) = found {
        output::line(&words(&points, found))?;
    }
    found.map(|_| ()).map_err(|why| nothing(why, low, last))
}

/// The error where no rate is suggested, with its reason.
fn nothing(why: Unknown, low: f64, last: f64) -> Failure {
    let (message, help) = match why {
        Unknown::Rising => (
            format!("the loss falls nowhere between the rates {low:.2e} and {last:.2e}, where the search ended"),
            "more steps (`--steps N`), other rates (`--find-rate=LOW,HIGH`), or another start of the weights",
        ),
        Unknown::TooLow => (
            format!("the loss is least at the end of the range, {last:.2e}: larger rates may be better"),
            "search up to a larger rate: `--find-rate=LOW,HIGH`",
        ),
        Unknown::TooHigh => (
            format!("the loss is least at less than ten times {low:.2e}: smaller rates may be better"),
            "search from a smaller rate on: `--find-rate=LOW,HIGH`",
        ),
    };
    usage(format!("{message}; none is suggested"), help)
}

/// The suggestion, and how it is found.
fn words(points: &[Point], found: Suggestion) -> String {
    let last = points.last().map_or(0.0, |p| p.rate);
    format!(
        "suggested rate {:.2e}: a tenth of {:.2e}, where the smoothed loss is least; it falls most steeply at {:.2e}, \
         and was followed to {last:.2e} in {}",
        found.rate,
        found.least,
        found.steepest,
        output::counted(points.len(), "step")
    )
}

fn page(name: &str, points: &[Point], found: Option<Suggestion>) -> String {
    let mut page = Page::new(&format!("{name}: loss by learning rate"));
    if let Some(found) = found {
        page.figures(&[
            (format!("{:.2e}", found.rate), "suggested: a tenth of the next".into()),
            (format!("{:.2e}", found.least), "least smoothed loss".into()),
            (format!("{:.2e}", found.steepest), "steepest fall of the smoothed loss".into()),
        ]);
    }
    let of = |name: &str, look: usize, value: fn(&Point) -> f64| Series {
        name: name.into(),
        look,
        points: points.iter().map(|p| (p.rate.log10(), value(p))).collect(),
    };
    // What breaks at the end would flatten all that is before.
    let least = points.iter().map(|p| p.smoothed).fold(f64::INFINITY, f64::min);
    let most = points.first().map_or(least, |p| p.loss.max(p.smoothed)) * 1.2;
    let shown = |series: Series| Series {
        points: series.points.into_iter().map(|(x, y)| (x, y.clamp(least * 0.9, most))).collect(),
        ..series
    };
    let chart = Chart { by: "rate", powers: true, ..Chart::new("loss") };
    let mut series = vec![shown(of("each step", 5, |p| p.loss)), shown(of("smoothed", 0, |p| p.smoothed))];
    if let Some(found) = found {
        let at = found.rate.log10();
        series.push(Series { name: "suggested".into(), look: 1, points: vec![(at, least * 0.9), (at, most)] });
    }
    page.section(
        "Curve",
        "the rate rises by a constant factor from step to step; values beyond the chart lie on its edge",
    );
    page.charts(&[chart.draw(&series)]);
    page.finish()
}
