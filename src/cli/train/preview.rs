//! `ninc train --preview FILE.png`: the images of the first batch as the network would get them, with their labels.
//! Nothing is trained.

use crate::cli::output::{self, Done};
use crate::cli::sheet::{self, HEIGHT, Sheet, WIDTH, bytes, shortened};
use ninc_runtime::data::Values;
use ninc_runtime::data::batches::Batch;
use ninc_runtime::train::Job;
use std::path::Path;

/// Images that are shown at most.
const MOST: usize = 64;
/// Pixels of a side of a shown image, at least; small ones are enlarged by a whole number.
const SIDE: usize = 96;
/// Between images, and around all of them.
const GAP: usize = 8;
/// Pixels of the whole picture: fewer images are shown where they are large.
const AREA: usize = 1 << 25;
/// Its width at most, where an image is not wider.
const WIDEST: usize = 4096;

/// Writes the first batch of a training as a picture, and says its labels in words.
pub fn preview(path: &Path, job: &Job, outputs: usize, name: &dyn Fn(usize) -> String) -> Done {
    sheet::check_name("--preview", path)?;
    let source = job.source(outputs)?;
    let [channels, height, width] = source.set.images.dims;
    let mut batch = source.once()?.next().transpose()?.unwrap_or_else(|| Batch::new(Values::Floats(vec![]), vec![]));
    let mut values = std::mem::replace(&mut batch.images, Values::Floats(vec![])).into_floats();
    let exact = job.preparation.undo(&mut values);
    let size = channels * height * width;
    let scale = SIDE.div_ceil(width.max(height)).max(1);
    let cell = [width * scale + GAP, height * scale + GAP + HEIGHT + 2];
    let most = MOST.min(AREA / (cell[0] * cell[1])).max(1);
    let labels: Vec<String> = (0..batch.labels.len().min(most)).map(|i| label(&batch, i, name)).collect();
    let columns = ((labels.len() as f64).sqrt().ceil() as usize).clamp(1, (WIDEST / cell[0]).max(1));
    let mut sheet = Sheet::new(columns * cell[0] + GAP, labels.len().div_ceil(columns) * cell[1] + GAP);
    for (i, (image, label)) in values.chunks_exact(size.max(1)).zip(&labels).enumerate() {
        let bytes = bytes(image, exact);
        let (left, top) = (GAP + i % columns * cell[0], GAP + i / columns * cell[1]);
        for y in 0..height * scale {
            for x in 0..width * scale {
                let at = y / scale * width + x / scale;
                let plane = |c: usize| bytes[if channels == 3 { c } else { 0 } * height * width + at];
                sheet.set(left + x, top + y, [plane(0), plane(1), plane(2)]);
            }
        }
        let letters = (width * scale).div_euclid(WIDTH);
        sheet.write(&shortened(label, letters), left, top + height * scale + 2);
    }
    sheet.save(path)?;
    say(path, (batch.labels.len(), columns), &labels, exact)
}

/// The class of an image, and what was mixed in.
fn label(batch: &Batch, image: usize, name: &dyn Fn(usize) -> String) -> String {
    let class = |label: i32| name(usize::try_from(label).unwrap_or(0));
    let (own, share) = (class(batch.labels[image]), batch.share());
    match batch.partners()[image] {
        _ if share == 1.0 => own,
        other => format!("{:.0}% {own}, {}", share * 100.0, class(other)),
    }
}

fn say(path: &Path, (count, columns): (usize, usize), labels: &[String], exact: bool) -> Done {
    if !exact {
        output::note(
            "note: the preparation has no way back to colours: each image is shown from its least to its \
                      largest value",
        );
    }
    let some = if count > labels.len() { format!("the first {} of ", labels.len()) } else { String::new() };
    let rows: Vec<String> = labels.chunks(columns).map(|row| row.join(" | ")).collect();
    output::print(&format!(
        "{}: {some}{} of the first batch, as the network gets them; nothing was trained\n{}\n",
        path.display(),
        output::counted(count, "image"),
        rows.join("\n")
    ))
}
