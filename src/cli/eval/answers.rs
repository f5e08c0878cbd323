//! What an evaluation says of each class: how often it is found, how often an answer is right, what it is taken for.

use crate::cli::output::{grouped, table};
use ninc_runtime::classes::Classes;
use ninc_runtime::train::evaluate::Evaluation;
use serde_json::{Value, json};

/// The most classes whose confusion is printed: a row of them still fits a terminal.
const MATRIX: usize = 20;

/// Counts of a class.
struct Counts {
    /// Images of the class.
    images: u32,
    /// Answers that name it.
    answers: u32,
    /// Both.
    right: u32,
}

impl Counts {
    fn of(evaluation: &Evaluation, class: usize) -> Counts {
        let confusion = &evaluation.confusion;
        let answers = confusion.iter().map(|row| row[class]).sum();
        Counts { images: confusion[class].iter().sum(), answers, right: confusion[class][class] }
    }

    /// The part of the class's images that are found; `None` without images.
    fn recall(&self) -> Option<f64> {
        (self.images > 0).then(|| f64::from(self.right) / f64::from(self.images))
    }

    /// The part of the answers that are right; `None` without answers.
    fn precision(&self) -> Option<f64> {
        (self.answers > 0).then(|| f64::from(self.right) / f64::from(self.answers))
    }
}

/// A heading and a row for each class.
pub fn rows(evaluation: &Evaluation, classes: &Classes) -> Vec<Vec<String>> {
    let percent = |part: Option<f64>| part.map_or("-".into(), |part| format!("{:.2} %", part * 100.0));
    let mut rows = vec![["class", "images", "recall", "precision"].map(String::from).to_vec()];
    for class in 0..classes.outputs() {
        let counts = Counts::of(evaluation, class);
        let (recall, precision) = (percent(counts.recall()), percent(counts.precision()));
        rows.push(vec![classes.name(class), grouped(u64::from(counts.images)), recall, precision]);
    }
    rows
}

/// A row for each class, and the confusion of a few classes: a row for each class, a column for each answer.
pub fn text(evaluation: &Evaluation, classes: &Classes) -> String {
    let mut text = format!("\n{}", table(&rows(evaluation, classes)));
    if classes.outputs() <= MATRIX {
        let names = (0..classes.outputs()).map(|class| classes.name(class));
        let mut rows: Vec<Vec<String>> = vec![["taken for".to_string()].into_iter().chain(names).collect()];
        for (class, row) in evaluation.confusion.iter().enumerate() {
            let counts = row.iter().map(|&count| grouped(u64::from(count)));
            rows.push([classes.name(class)].into_iter().chain(counts).collect());
        }
        text += &format!("\n{}", table(&rows));
    }
    text
}

/// The same for programs, with the totals.
pub fn json(evaluation: &Evaluation, classes: &Classes, top: Option<usize>) -> Value {
    let each = (0..classes.outputs()).map(|class| {
        let counts = Counts::of(evaluation, class);
        json!({
            "name": classes.name(class), "images": counts.images,
            "recall": counts.recall(), "precision": counts.precision(),
        })
    });
    let mut value = json!(evaluation);
    value["classes"] = each.collect();
    value["confusion"] = json!(evaluation.confusion);
    if let Some(top) = top {
        value["top"] = json!({ "k": top, "accuracy": evaluation.top(top) });
    }
    value
}
