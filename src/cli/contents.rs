//! What a model's data hold, in words: `train` says it before it begins, `check --data` without beginning.

use super::classes::own_files;
use super::options::GlobalOptions;
use super::output::{Done, counted, grouped, table};
use indicatif::{ProgressBar, ProgressStyle};
use ninc::front::source_name;
use ninc::model::Model;
use ninc_runtime::cache_folder;
use ninc_runtime::data::look::{self, Look};
use ninc_runtime::data::reading::{Reading, Skipped};
use ninc_runtime::data::{Dataset, Sets};
use ninc_runtime::image::disk::{self, Cache};
use ninc_runtime::image::kept;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

/// Lists the classes with their images in each part, where the parts come from, and what is left out; ends with a line
/// end.
pub fn text(model: &Model, path: Option<&Path>, sets: &Sets) -> String {
    let source = model.data.as_ref().map_or("", |data| source_name(&data.source));
    let place = path.map_or(source.to_string(), |path| format!("{} ({source})", path.display()));
    let parts = sets.parts();
    let classes = classes(sets, &parts);
    let count = |name: &str, set: &Dataset| format!("{} {name}", grouped(set.len() as u64));
    let sizes: Vec<String> = parts.iter().map(|(name, set)| count(name, set)).collect();
    let mut text = format!("data: {place}, {}, images: {}\n", counted(classes.len(), "class"), sizes.join(", "));
    // What comes with a built-in source is known.
    if own_files(model) {
        text += &per_class(&parts, &classes);
    }
    for part in &sets.reading.parts {
        text += &format!("{part}\n");
    }
    for (name, set) in &parts {
        let counts = set.counts();
        let none: Vec<&str> =
            classes.iter().filter(|(label, _)| !counts.contains_key(label)).map(|(_, name)| name.as_str()).collect();
        if !none.is_empty() && !set.is_empty() {
            text += &format!("without {name} images: {}\n", none.join(", "));
        }
    }
    if sets.reading.deeper > 0 {
        text += &format!("in folders within those of their classes: {}\n", counted(sets.reading.deeper, "image"));
    }
    text + &left_out(&sets.reading)
}

/// Writes a line for each reason for which files are left out.
pub fn left_out(reading: &Reading) -> String {
    let line = |(reason, skipped): (&String, &Skipped)| {
        let what = if skipped.count == 1 { "file" } else { "files, the first" };
        format!("left out: {} {what} {}, {reason}\n", skipped.count, skipped.first.display())
    };
    reading.skipped.iter().map(line).collect()
}

/// Lists labels with their names: all that the source names, or those that occur.
fn classes(sets: &Sets, parts: &[(&str, &Dataset)]) -> Vec<(u32, String)> {
    if !sets.names.is_empty() {
        return (0..).zip(sets.names.iter().cloned()).collect();
    }
    let mut labels: Vec<u32> = parts.iter().flat_map(|(_, set)| set.counts().into_keys()).collect();
    labels.sort_unstable();
    labels.dedup();
    labels.into_iter().map(|label| (label, label.to_string())).collect()
}

/// Makes a row for each class, with a column for each part.
fn per_class(parts: &[(&str, &Dataset)], classes: &[(u32, String)]) -> String {
    let heading = |name: &str| name.to_string();
    let mut rows = vec![[heading("class")].into_iter().chain(parts.iter().map(|(name, _)| heading(name))).collect()];
    let counts: Vec<BTreeMap<u32, usize>> = parts.iter().map(|(_, set)| set.counts()).collect();
    for (label, name) in classes {
        let cells = counts.iter().map(|counts| grouped(counts.get(label).copied().unwrap_or(0) as u64));
        rows.push([name.clone()].into_iter().chain(cells).collect());
    }
    table(&rows)
}

/// Where decoded pictures are kept between commands.
#[derive(clap::Args, Clone)]
pub struct DataCache {
    /// Decode all pictures anew, and keep none for later commands
    #[arg(long)]
    no_data_cache: bool,
}

impl DataCache {
    /// Has decoded pictures kept in the user's cache folder, unless told otherwise.
    pub fn open(&self) {
        let folder = cache_folder::private().filter(|_| !self.no_data_cache);
        kept::on_disk(folder.map(|folder| Cache::new(folder.join("pictures"), disk::BOUND)));
    }
}

/// Looks at all pictures; those that are broken end the command together.
pub fn look<'a>(parts: impl IntoIterator<Item = &'a Dataset>, how: Look, global: &GlobalOptions) -> Done {
    look_at(&look::files(parts), how, global)
}

/// Looks at these pictures. Where it decodes them there is a bar.
pub fn look_at(files: &[&Path], how: Look, global: &GlobalOptions) -> Done {
    let bar = (how == Look::Whole && std::io::stderr().is_terminal()).then(|| {
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} pictures decoded  {eta} left");
        ProgressBar::new(files.len() as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    });
    let seen = look::look(files, how, global.threads(), &|| bar.iter().for_each(|bar| bar.inc(1)));
    bar.iter().for_each(ProgressBar::finish_and_clear);
    Ok(seen?)
}
