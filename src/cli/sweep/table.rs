//! A sweep's table: mean, deviation and best of each combination, as rows, CSV and Markdown.

use super::data::Data;
use super::vary::Combination;
use super::{Run, Sweep};
use crate::cli::output::cell;
use ninc_runtime::data::files;
use ninc_runtime::store::{System, write_atomically};
use ninc_runtime::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Bytes of a result's file at most.
const CAP: u64 = 1 << 20;

/// What came of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Steps made.
    pub steps: u64,
    /// Images tested.
    pub count: usize,
    /// Mean loss on them.
    pub test_loss: f64,
    /// Fraction of wrong answers.
    pub test_error: f64,
    /// The epoch that did best on the validation part, whose weights were tested.
    pub best_epoch: Option<u64>,
    /// The data; versions before did not write them down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("result.json")
}

impl Done {
    /// Writes it beside the training's files.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string(self).map_err(|e| Error::new(format!("a result cannot be written: {e}")))?;
        write_atomically(&path(folder), (text + "\n").as_bytes(), &System)
    }

    /// Reads it; `None` if the training has not ended.
    pub fn read(folder: &Path) -> Result<Option<Done>> {
        let path = path(folder);
        if !path.exists() {
            return Ok(None);
        }
        let read = serde_json::from_slice(&files::read(&path, CAP)?);
        read.map(Some).map_err(|e| {
            Error::new(format!("{} cannot be read: {e}", path.display())).with_help("remove it: its training goes on")
        })
    }
}

/// A combination with what came of its trainings.
pub struct Row<'a> {
    /// The combination.
    pub combination: &'a Combination,
    /// Its trainings, by seed.
    pub runs: Vec<(&'a Run, Option<Done>)>,
}

/// Mean, sample deviation (`None` of fewer than two) and least of numbers; `None` of none.
pub fn summary(values: &[f64]) -> Option<(f64, Option<f64>, f64)> {
    let least = values.iter().copied().reduce(f64::min)?;
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    Some((mean, (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()), least))
}

impl Row<'_> {
    /// The numbers of the trainings that have ended.
    pub fn numbers(&self, number: impl Fn(&Done) -> f64) -> Vec<f64> {
        self.runs.iter().filter_map(|(_, done)| done.as_ref().map(&number)).collect()
    }

    /// Mean, deviation and least test error, as fractions.
    pub fn error(&self) -> Option<(f64, Option<f64>, f64)> {
        summary(&self.numbers(|done| done.test_error))
    }
}

/// Reads all results.
pub fn rows(sweep: &Sweep) -> Result<Vec<Row<'_>>> {
    let row = |(index, combination)| {
        let own = sweep.runs.iter().filter(|run| run.combination == index);
        let runs = own.map(|run| Ok((run, Done::read(&run.folder)?))).collect::<Result<_>>()?;
        Ok(Row { combination, runs })
    };
    sweep.combinations.iter().enumerate().map(row).collect()
}

/// The columns that say what a row is of.
fn heading(sweep: &Sweep) -> Vec<String> {
    let file = sweep.names_files().then(|| "file".to_string());
    file.into_iter().chain(sweep.combinations.iter().take(1).flat_map(|c| c.set.iter().map(|s| s.0.clone()))).collect()
}

fn key(sweep: &Sweep, combination: &Combination) -> Vec<String> {
    let file = sweep.names_files().then(|| combination.file.display().to_string());
    file.into_iter().chain(combination.set.iter().map(|(_, value)| value.clone())).collect()
}

/// The table for people: errors in percent.
pub fn text(sweep: &Sweep, rows: &[Row]) -> Vec<Vec<String>> {
    let numbers = ["trainings", "mean error, %", "deviation", "best", "mean loss"].map(String::from);
    let mut all = vec![[heading(sweep), numbers.to_vec()].concat()];
    for row in rows {
        let (ended, wanted) = (row.numbers(|_| 1.0).len(), row.runs.len());
        let count = if ended == wanted { ended.to_string() } else { format!("{ended} of {wanted}") };
        let percent = |value: Option<f64>| value.map_or("-".into(), |v| format!("{:.2}", v * 100.0));
        let error = row.error();
        let loss = summary(&row.numbers(|done| done.test_loss)).map_or("-".into(), |(mean, ..)| format!("{mean:.4}"));
        let numbers =
            [count, percent(error.map(|e| e.0)), percent(error.and_then(|e| e.1)), percent(error.map(|e| e.2)), loss];
        all.push([key(sweep, row.combination), numbers.to_vec()].concat());
    }
    all
}

/// The table for programs: fractions, and nothing where there is none (RFC 4180).
pub fn csv(sweep: &Sweep, rows: &[Row]) -> String {
    let numbers = ["trainings", "error_mean", "error_deviation", "error_best", "loss_mean", "loss_deviation"];
    let mut all = vec![[heading(sweep), numbers.map(String::from).to_vec()].concat()];
    for row in rows {
        let number = |value: Option<f64>| value.map(|v| format!("{v:.6}")).unwrap_or_default();
        let (error, loss) = (row.error(), summary(&row.numbers(|done| done.test_loss)));
        let numbers = [
            row.numbers(|_| 1.0).len().to_string(),
            number(error.map(|e| e.0)),
            number(error.and_then(|e| e.1)),
            number(error.map(|e| e.2)),
            number(loss.map(|l| l.0)),
            number(loss.and_then(|l| l.1)),
        ];
        all.push([key(sweep, row.combination), numbers.to_vec()].concat());
    }
    all.iter().map(|row| row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",") + "\n").collect()
}

/// The table for people as Markdown.
pub fn markdown(rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let cells = |row: &Vec<String>| line(row.iter().map(|cell| cell.replace('|', "\\|")).collect());
    let under = rows.first().map(|row| line(vec!["---".into(); row.len()])).unwrap_or_default();
    let (first, rest) = rows.split_at(rows.len().min(1));
    first.iter().map(cells).collect::<String>() + &under + &rest.iter().map(cells).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::summary;

    /// statistics.stdev([2, 4, 4, 4, 5, 5, 7, 9]) of Python is 2.138089935299395.
    #[test]
    fn deviations_are_those_of_a_sample() {
        let (mean, deviation, least) = summary(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).expect("numbers");
        assert_eq!((mean, least), (5.0, 2.0));
        assert!((deviation.expect("more than one") - 2.138089935299395).abs() < 1e-12);
        assert_eq!((summary(&[3.0]), summary(&[])), (Some((3.0, None, 3.0)), None));
    }
}
