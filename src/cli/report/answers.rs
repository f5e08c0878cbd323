//! What a network answered: which class it takes for which, and its worst mistakes.

use super::page::{self, Page};
use super::picture;
use ninc_runtime::data::Dataset;
use ninc_runtime::train::evaluate::Evaluation;
use std::path::Path;

/// Pairs of classes that are named below the matrix.
const PAIRS: usize = 5;

/// `counts[label][answer]` as a picture, and the pairs that are confused most in words.
pub fn confusion(page: &mut Page, names: &[String], counts: &[Vec<u32>]) {
    page.section("Confusion", "a row for each class, a column for each answer; right ones blue, wrong ones orange");
    match names.len() <= page::LARGEST_MATRIX {
        true => page.matrix(names, counts),
        false => {
            let (url, size) = picture::matrix(counts);
            page.picture(&url, "confusion matrix", size, "matrix");
        }
    }
    let mut confused: Vec<(u32, usize, usize)> = Vec::new();
    for (label, row) in counts.iter().enumerate() {
        confused.extend(row.iter().enumerate().filter(|(a, n)| *a != label && **n > 0).map(|(a, n)| (*n, label, a)));
    }
    confused.sort_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let pair =
        |(n, label, answer): &(u32, usize, usize)| format!("{} taken for {} ({n})", names[*label], names[*answer]);
    let most: Vec<String> = confused.iter().take(PAIRS).map(pair).collect();
    if !most.is_empty() {
        page.text(&format!("Most often: {}.", most.join(", ")));
    }
}

/// The pictures whose class was held least likely, with what they were taken for.
pub fn mistakes(page: &mut Page, names: &[String], test: &Evaluation, set: &Dataset) {
    let mistakes = test.mistakes.iter().filter_map(|mistake| {
        let url = picture::image(set, mistake.item)?;
        let (label, answer, sure) = (&names[mistake.label], &names[mistake.answer], mistake.sure * 100.0);
        let called = set.called(mistake.item);
        let file = Path::new(&called).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or(called);
        Some((url, format!("{label}, taken for {answer} ({sure:.0}\u{a0}%): {file}")))
    });
    let pictures: Vec<(String, String)> = mistakes.collect();
    if !pictures.is_empty() {
        page.section("Worst mistakes", "the images whose class was held least likely, with the answer's probability");
        page.gallery(&pictures);
    }
}
