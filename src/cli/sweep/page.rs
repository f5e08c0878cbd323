//! A sweep as one page that needs nothing else: its table, and the curves of all trainings on common axes.

use super::table::{self, Row};
use super::{Run, Sweep};
use crate::cli::output;
use crate::cli::report::chart::{Chart, LOOKS, Series};
use crate::cli::report::page::Page;
use ninc_runtime::train::job::log_path;
use ninc_runtime::train::log::{self, Line};

/// Draws the page; the same results give the same bytes.
pub fn page(sweep: &Sweep, rows: &[Row]) -> String {
    let mut page = Page::new(&format!("Sweep of {}", sweep.title()));
    let ended = rows.iter().map(|row| row.numbers(|_| 1.0).len()).sum::<usize>();
    let mut figures = vec![(format!("{ended} of {}", sweep.runs.len()), "trainings have ended".to_string())];
    let order = best_first(rows);
    if let Some((row, error)) = order.first().and_then(|&i| Some((&rows[i], rows[i].error()?.0))) {
        let label = row.combination.label(sweep.names_files());
        figures.push((format!("{:.2} %", error * 100.0), format!("least mean test error: {label}")));
    }
    page.figures(&figures);
    let mut looks = vec![None; rows.len()];
    // The order of the table, as far as there are looks for the best.
    let mut drawn: Vec<usize> = order.into_iter().take(LOOKS).collect();
    drawn.sort_unstable();
    drawn.iter().enumerate().for_each(|(look, &row)| looks[row] = Some(look));
    page.section("Table", "test error of the weights that each training keeps; deviation of a sample");
    page.keys(&table::text(sweep, rows), &looks);
    curves(&mut page, rows, &looks);
    page.section("Trainings", "");
    page.table(&trainings(sweep, rows), "classes");
    page.section("What it was begun with", "");
    let facts = sweep.plan.given.iter().map(|(name, value)| vec![name.clone(), value.clone()]);
    page.table(&[vec![vec![String::new(); 2]], facts.collect()].concat(), "facts");
    page.finish()
}

/// The rows that have results, those of the least mean error first; of equal ones the first.
fn best_first(rows: &[Row]) -> Vec<usize> {
    let mut order: Vec<(f64, usize)> =
        rows.iter().enumerate().filter_map(|(i, row)| Some((row.error()?.0, i))).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    order.into_iter().map(|(_, row)| row).collect()
}

/// Draws the curves of trainings that have ended. One whose log is gone or damaged has its row all the same.
fn curves(page: &mut Page, rows: &[Row], looks: &[Option<usize>]) {
    let mut logs: Vec<(usize, &Run, Vec<Line>)> = Vec::new();
    for (row, look) in rows.iter().zip(looks) {
        for (run, _) in row.runs.iter().filter(|(_, done)| done.is_some()) {
            let lines = match log::read(&log_path(&run.folder, &run.model)) {
                Ok(lines) => lines,
                Err(error) => {
                    output::note(&format!("note: {} has no curves in the report: {error}", run.label));
                    continue;
                }
            };
            let epochs = lines.into_iter().filter(|line| line.event == "epoch");
            logs.extend(look.map(|look| (look, *run, epochs.collect())));
        }
    }
    let all = |value: &dyn Fn(&Line) -> Option<f64>| -> Vec<Series> {
        let one = |(look, run, lines): &(usize, &Run, Vec<Line>)| Series {
            name: run.label.clone(),
            look: *look,
            points: lines.iter().filter_map(|line| Some((line.epoch, value(line)?))).collect(),
        };
        logs.iter().map(one).collect()
    };
    let test = all(&|line| line.test_error.map(|error| error * 100.0));
    let training = all(&|line| Some((1.0 - line.accuracy) * 100.0));
    let loss = all(&|line| Some(line.loss));
    // Test and training can be compared by eye.
    let errors = test.iter().chain(&training).flat_map(|one| one.points.iter().map(|p| p.1));
    let range = errors
        .fold(None, |range: Option<(f64, f64)>, v| Some(range.map_or((v, v), |(low, high)| (low.min(v), high.max(v)))));
    let range = range.filter(|(low, high)| high > low);
    let of = |title| Chart { range, ..Chart::new(title) };
    let few = rows.iter().filter(|row| row.error().is_some()).count().saturating_sub(LOOKS);
    let less = if few > 0 { format!("; the best {LOOKS} combinations") } else { String::new() };
    page.section("Curves", &format!("by epoch, a line for each training, in the look of its row{less}"));
    page.charts(&[
        of("test error, %").draw(&test),
        of("training error, %").draw(&training),
        Chart::new("training loss").draw(&loss),
    ]);
    if test.iter().all(|one| one.points.is_empty()) {
        page.text("The test part was measured at the end only: --test-every N measures it by epoch.");
    }
}

/// A row for each training.
fn trainings(sweep: &Sweep, rows: &[Row]) -> Vec<Vec<String>> {
    let mut all = vec![["training", "steps", "error, %", "loss", "best epoch", "folder"].map(String::from).to_vec()];
    for (run, done) in rows.iter().flat_map(|row| &row.runs) {
        let number = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let done = done.as_ref();
        let folder = run.folder.strip_prefix(&sweep.folder).unwrap_or(&run.folder);
        all.push(vec![
            run.label.clone(),
            number(done.map(|d| d.steps.to_string())),
            number(done.map(|d| format!("{:.2}", d.test_error * 100.0))),
            number(done.map(|d| format!("{:.4}", d.test_loss))),
            number(done.and_then(|d| d.best_epoch).map(|epoch| epoch.to_string())),
            folder.display().to_string(),
        ]);
    }
    all
}
