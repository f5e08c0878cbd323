//! The table of classes of a command: the network's outputs, the names in its weights, the classes of its data.

use super::model_file::result;
use super::output::{self, Done};
use ninc::model::Model;
use ninc_runtime::classes::Classes;
use ninc_runtime::data::{Dataset, Sets, class_names};
use ninc_runtime::spec::Source;
use ninc_runtime::weights::Weights;
use std::path::Path;

/// Makes the table of a network with weights from `path`. Where these name no classes, a built-in source of the model
/// does.
pub fn of_weights(model: &Model, weights: &Weights, path: &Path) -> Done<Classes> {
    let (_, _, outputs) = result(model)?;
    let builtin = builtin(model);
    let names = if weights.classes.is_empty() { &builtin } else { &weights.classes };
    Ok(Classes::new(outputs, names, &path.display().to_string())?)
}

/// Returns the names of the classes of a model's source, where it is a built-in one and the network has an output for
/// each.
pub fn builtin(model: &Model) -> Vec<String> {
    let names = model.data.as_ref().map(|d| class_names(&d.source)).unwrap_or_default();
    let fits = result(model).is_ok_and(|(_, _, outputs)| outputs == names.len());
    if fits { names } else { vec![] }
}

/// Says which outputs a part of the data has no images of, and that outputs are taken in the order of the data's
/// classes where the weights do not name theirs.
pub fn note_absent(classes: &Classes, part: &str, set: &Dataset, data: &[String]) {
    if classes.names().is_empty() && !data.is_empty() {
        output::note(&format!(
            "note: the weights do not name their classes; the outputs are taken as {}",
            data.join(", ")
        ));
    }
    let absent = classes.without(set);
    if !absent.is_empty() && !classes.names().is_empty() {
        output::note(&format!("note: the {part} images hold none of {}", classes.few(&absent)));
    }
}

/// Refuses classes of the data without training images, unless the model allows them.
pub fn check_data(model: &Model, sets: &Sets) -> Done {
    match model.data.as_ref().is_some_and(|data| data.allow_empty) || sets.names.is_empty() {
        true => Ok(()),
        false => Ok(Classes::new(sets.names.len(), &sets.names, "the data")?.check_taught(&sets.train)?),
    }
}

/// Are the model's data the user's own files, whose parts `ninc` may have made?
pub fn own_files(model: &Model) -> bool {
    matches!(model.data.as_ref().map(|d| &d.source), Some(Source::Folder { .. } | Source::Npz))
}
