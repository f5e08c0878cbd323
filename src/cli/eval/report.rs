//! `ninc eval --report FILE.html`: what an evaluation found, as one page that needs nothing else.

use super::answers;
use super::maps::{self, Maps};
use crate::cli::output::{Done, counted};
use crate::cli::report::answers::{confusion, mistakes};
use crate::cli::report::page::Page;
use ninc_runtime::classes::Classes;
use ninc_runtime::data::Dataset;
use ninc_runtime::store::{System, checksum, write_atomically};
use ninc_runtime::train::evaluate::Evaluation;
use std::path::Path;

/// What was tested.
pub struct Tested<'a> {
    /// The network's name, and the model file's.
    pub name: &'a str,
    pub file: &'a Path,
    pub weights: &'a Path,
    /// Where the data come from; the part of them, in a word, and its images.
    pub data: String,
    pub part: &'a str,
    pub set: &'a Dataset,
    pub classes: &'a Classes,
    /// What came of it, and the number of scores that were asked for.
    pub evaluation: &'a Evaluation,
    pub top: Option<usize>,
    /// The views of each image, where they are more than one.
    pub views: Option<&'a str>,
    /// What ran it.
    pub machine: String,
}

/// Writes the page; `maps` are of networks that have maps of their classes.
pub fn write(path: &Path, tested: &Tested, maps: Option<&Maps>) -> Done {
    let (evaluation, classes) = (tested.evaluation, tested.classes);
    let names: Vec<String> = (0..classes.outputs()).map(|class| classes.name(class)).collect();
    let mut page = Page::new(&format!("{}: evaluation on the {} images", tested.name, tested.part));
    let percent = |part: f64| format!("{:.2} %", part * 100.0);
    let count = counted(evaluation.count, "image");
    let mut figures = vec![
        (percent(evaluation.accuracy), "accuracy".to_string()),
        (percent(1.0 - evaluation.accuracy), format!("error on {count}")),
    ];
    // Of five classes each is among the five best.
    if names.len() > 5 {
        figures.push((percent(evaluation.top5), "top 5 accuracy".into()));
    }
    figures.extend(tested.top.map(|k| (percent(evaluation.top(k)), format!("top {k} accuracy"))));
    figures.push((format!("{:.4}", evaluation.loss), "loss".into()));
    page.figures(&figures);
    page.section("Classes", "recall: the class's images that are found; precision: the answers that are right");
    page.table(&answers::rows(evaluation, classes), "classes");
    confusion(&mut page, &names, &evaluation.confusion);
    mistakes(&mut page, &names, evaluation, tested.set);
    if let Some(maps) = maps {
        maps::show(&mut page, maps);
    }
    page.section("What was tested", "");
    let row = |name: &str, value: String| vec![name.to_string(), value];
    let mut facts = vec![
        vec![String::new(); 2],
        row("model file", tested.file.display().to_string()),
        row("weights", tested.weights.display().to_string()),
        row("weights, CRC-32", checksum(tested.weights).unwrap_or_default()),
        row("data", format!("{}, {} part", tested.data, tested.part)),
        row("version", env!("CARGO_PKG_VERSION").into()),
        row("machine", tested.machine.clone()),
    ];
    facts.extend(tested.views.map(|views| row("views of each image", views.into())));
    page.table(&facts, "facts");
    Ok(write_atomically(path, page.finish().as_bytes(), &System)?)
}
