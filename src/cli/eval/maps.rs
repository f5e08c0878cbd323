//! Where the network sees the classes in some images that it took for what they are, and in its worst mistakes.

use super::report::Tested;
use crate::cli::options::GlobalOptions;
use crate::cli::output::Done;
use crate::cli::programs::use_weights;
use crate::cli::report::page::Page;
use crate::cli::report::picture::data_url;
use crate::cli::run::maps::{channels, drawing, mean, of_classes};
use crate::cli::sheet::bytes;
use ninc::model::Model;
use ninc_runtime::data::batches::Source;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::data::{Pixels, Values};
use ninc_runtime::train::step_inputs;
use ninc_runtime::train::views::Views;
use ninc_runtime::weights::Weights;

/// Images of each kind that are shown at most.
const MOST: usize = 12;

/// The sheets of a page: right answers and mistakes, each with its text.
pub struct Maps {
    right: Vec<(String, String)>,
    wrong: Vec<(String, String)>,
}

/// Draws class maps of some images of an evaluation, the means of these views; `None` for a network that has none.
pub fn draw(
    global: &GlobalOptions,
    model: &Model,
    (weights, preparation): (&Weights, &Preparation),
    views: Views,
    tested: &Tested,
) -> Done<Option<Maps>> {
    let mut model = model.clone();
    let Some(value) = of_classes(&mut model) else { return Ok(None) };
    let views = views.all();
    let (evaluation, set) = (tested.evaluation, tested.set);
    let name = |class: usize| tested.classes.name(class);
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    // What is shown of each item: the classes whose maps are drawn, and words.
    let right = evaluation.right.iter().enumerate().filter_map(|(class, right)| right.map(|right| (class, right)));
    let right = right.take(MOST).map(|(class, (item, sure))| {
        (item, vec![class], format!("{} ({}): {}", name(class), percent(sure), set.called(item)))
    });
    let right: Vec<_> = right.collect();
    let wrong = evaluation.mistakes.iter().take(MOST).map(|mistake| {
        let (label, answer) = (name(mistake.label), name(mistake.answer));
        let text = format!("{label}, taken for {answer} ({}): {}", percent(mistake.sure), set.called(mistake.item));
        (mistake.item, vec![mistake.label, mistake.answer], text)
    });
    let all: Vec<(usize, Vec<usize>, String)> = right.iter().cloned().chain(wrong).collect();
    let some = set.items(&all.iter().map(|one| one.0).collect::<Vec<_>>());
    let mut program =
        global.silent().inference_of(&model, Some(preparation), set.images.dtype(), std::slice::from_ref(&value))?;
    use_weights(&mut program, weights, tested.weights)?;
    let input = step_inputs::image(program.engine.inputs())?.name.clone();
    let exact = !matches!(set.images.pixels, Pixels::Floats(_));
    let (mut sheets, mut image) = (Vec::new(), vec![0.0; set.images.size()]);
    for batch in Source::plain(&some, None, MOST)?.once()? {
        let batch = batch?;
        let mut values = Vec::new();
        for view in &views {
            let seen = view.of(batch.images.feed(), set.images.dims);
            let feed = seen.as_ref().map_or(batch.images.feed(), Values::feed);
            values.push(program.engine.run(batch.labels.len(), &[(&input, feed)], &[&value])?.swap_remove(0));
        }
        let Some(value) = mean(&views.iter().zip(&values).collect::<Vec<_>>(), set.images.dims) else {
            return Ok(None);
        };
        for i in 0..batch.labels.len() {
            let (_, which, text) = &all[sheets.len()];
            some.copy(sheets.len(), &mut image)?;
            let maps = channels(&value, i, which, name);
            let sheet = drawing::sheet(&bytes(&image, exact), set.images.dims, &maps);
            sheets.push((data_url(&sheet.png()?), text.clone()));
        }
    }
    let wrong = sheets.split_off(right.len());
    Ok(Some(Maps { right: sheets, wrong }))
}

/// Adds what was drawn to a page.
pub fn show(page: &mut Page, maps: &Maps) {
    let all = [
        (
            "Maps of right answers",
            "where the network sees the class, in the first image of each class that it knows",
            &maps.right,
        ),
        ("Maps of the worst mistakes", "where it sees the image's class, and the one that it took it for", &maps.wrong),
    ];
    for (title, remark, sheets) in all.into_iter().filter(|(.., sheets)| !sheets.is_empty()) {
        page.section(title, remark);
        page.sheets(sheets);
    }
}
