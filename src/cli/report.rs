//! `NAME.report.html`: what came of a training, as one page that needs nothing else.
//!
//! Everything is in the page: styles, curves as SVG, pictures as data URLs. It asks no server for anything, runs no
//! script, and shows names from files as text, whatever they hold.

use super::inspect;
use super::output::{Done, counted, grouped};
use chart::Chart;
use ninc::model::Model;
use ninc_runtime::spec::Recipe;
use ninc_runtime::store::{System, checksum, write_atomically};
use ninc_runtime::train::evaluate::Evaluation;
use ninc_runtime::train::job::log_path;
use ninc_runtime::train::log::{self, Line};
use ninc_runtime::train::{Job, Outcome};
use ninc_runtime::weights::Weights;
use ninc_runtime::words::escape;
use std::path::PathBuf;

pub mod answers;
pub mod chart;
pub mod page;
pub mod picture;

/// What the page tells besides what the training's files say.
pub struct Session<'a> {
    pub model: &'a Model,
    /// The model file's text and name.
    pub text: String,
    pub file: String,
    pub job: &'a Job<'a>,
    pub outcome: &'a Outcome,
    pub test: &'a Evaluation,
    /// Seconds of this session; a training that was resumed took longer.
    pub seconds: f64,
    /// What ran it.
    pub machine: String,
}

/// Writes the page beside the weights and says where.
pub fn write(session: &Session) -> Done<PathBuf> {
    let (job, outcome) = (session.job, session.outcome);
    let weights = Weights::read(&outcome.weights)?;
    let lines = log::read(&log_path(&job.folder, &job.name))?;
    let epochs: Vec<Line> = lines.iter().filter(|l| l.event == "epoch").cloned().collect();
    let mut page = page::Page::new(&format!("{}: training report", job.name));
    summary(&mut page, session, &epochs);
    curves(&mut page, &epochs, &lines);
    answers(&mut page, session);
    if let Some(filters) = picture::filters(&job.parameters, &weights, job.sets.test.images.dims) {
        page.section(
            "First layer",
            &format!("{} of <code>{}</code>", counted(filters.count, "filter"), escape(&filters.name)),
        );
        page.picture(&filters.url, "filters of the first layer", filters.width, "filters");
    }
    page.section("Network", "");
    page.table(&inspect::cells(session.model), "numbers");
    page.section("Recipe", "");
    page.table(&recipe(&job.recipe, session), "facts");
    page.details(&format!("The model file {}", session.file), &session.text);
    let path = job.folder.join(format!("{}.report.html", job.name));
    write_atomically(&path, page.finish().as_bytes(), &System)?;
    Ok(path)
}

fn percent(part: f64) -> String {
    format!("{:.2} %", part * 100.0)
}

fn summary(page: &mut page::Page, session: &Session, epochs: &[Line]) {
    let (test, outcome) = (session.test, session.outcome);
    let done = epochs.last().map_or(0.0, |line| line.epoch);
    let mut steps = format!("steps, {done} epoch{}", if done == 1.0 { "" } else { "s" });
    if outcome.early {
        steps += ", stopped early";
    }
    if let Some(best) = outcome.best {
        steps += &format!("; weights of epoch {best}");
    }
    let numbers = [
        (percent(test.accuracy), "test accuracy".to_string()),
        (percent(1.0 - test.accuracy), format!("error on {}", counted(test.count, "image"))),
        (format!("{:.4}", test.loss), "test loss".into()),
        (grouped(outcome.steps), steps),
    ];
    page.figures(&numbers);
}

fn curves(page: &mut page::Page, epochs: &[Line], lines: &[Line]) {
    // A training within one epoch has a curve only where its steps were logged.
    let shown: Vec<&Line> = match epochs.len() {
        0 | 1 => lines.iter().filter(|l| l.event == "step").chain(epochs).collect(),
        _ => epochs.iter().collect(),
    };
    if shown.is_empty() {
        return;
    }
    let series = |name: &str, value: &dyn Fn(&Line) -> Option<f64>| chart::Series {
        name: name.into(),
        look: ["training", "validation", "test"].iter().position(|part| *part == name).unwrap_or(0),
        points: shown.iter().filter_map(|l| Some((l.epoch, value(l)?))).collect(),
    };
    page.section("Curves", "by epoch");
    let loss = [
        series("training", &|l| Some(l.loss)),
        series("validation", &|l| l.valid_loss),
        series("test", &|l| l.test_loss),
    ];
    let error = [
        series("training", &|l| Some((1.0 - l.accuracy) * 100.0)),
        series("validation", &|l| l.valid_accuracy.map(|v| (1.0 - v) * 100.0)),
        series("test", &|l| l.test_error.map(|v| v * 100.0)),
    ];
    let rate = [series("rate", &|l| Some(l.rate))];
    page.charts(&[
        Chart::new("loss").draw(&loss),
        Chart::new("error, %").draw(&error),
        Chart::new("learning rate").draw(&rate),
    ]);
}

/// Accuracy of each class, confusion, worst mistakes.
fn answers(page: &mut page::Page, session: &Session) {
    let (test, job) = (session.test, session.job);
    let name = |class: usize| job.sets.names.get(class).cloned().unwrap_or_else(|| class.to_string());
    let names: Vec<String> = (0..test.confusion.len()).map(name).collect();
    page.section("Classes", "accuracy on the test images");
    let counts = test.confusion.iter().enumerate();
    page.bars(counts.map(|(class, row)| (names[class].as_str(), row[class], row.iter().sum())));
    answers::confusion(page, &names, &test.confusion);
    answers::mistakes(page, &names, test, &job.sets.test);
}

fn recipe(recipe: &Recipe, session: &Session) -> Vec<Vec<String>> {
    let (job, outcome) = (session.job, session.outcome);
    let mut rows = vec![vec!["".to_string(), "".to_string()]];
    let mut row = |name: &str, value: String| rows.push(vec![name.to_string(), value]);
    // The recipe's own names and values, whatever they are.
    if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(recipe) {
        for (name, value) in fields.iter().filter(|(_, v)| !v.is_null()) {
            row(name, plain(value));
        }
    }
    let list = |value: serde_json::Result<serde_json::Value>| value.map(|v| plain(&v)).unwrap_or_default();
    row("source", session.model.data.as_ref().map(|d| list(serde_json::to_value(&d.source))).unwrap_or_default());
    row("prepare", list(serde_json::to_value(job.preparation.spec())));
    row("augment", list(serde_json::to_value(&job.augment)));
    let valid = job.sets.valid.as_ref().map_or(0, |v| v.len());
    row("images", format!("{} to train, {valid} to validate, {} to test", job.sets.train.len(), job.sets.test.len()));
    row("training data, CRC-32", outcome.data.clone());
    row("network, FNV-1a", job.network.clone());
    row("weights, CRC-32", checksum(&outcome.weights).unwrap_or_default());
    row("version", job.version.clone());
    row("machine", session.machine.clone());
    row("seconds, this session", format!("{:.1}", session.seconds));
    rows
}

/// Writes JSON for readers: no quotes, no braces where there is one thing.
fn plain(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let inside = |value: &Value| match value {
                Value::Object(fields) if fields.values().all(Value::is_null) => String::new(),
                Value::Object(fields) => {
                    let some = fields.iter().filter(|(_, v)| !v.is_null());
                    format!("({})", some.map(|(k, v)| format!("{k} = {}", plain(v))).collect::<Vec<_>>().join(", "))
                }
                other => format!(" {}", plain(other)),
            };
            fields.iter().map(|(name, value)| format!("{name}{}", inside(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
