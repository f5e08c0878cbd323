//! A folder of pictures: one sub-folder a class. Pictures are read when they are needed.
//!
//! The layouts are those that torchvision's `ImageFolder`, Keras and Ultralytics document: `train` with `val` or `test`
//! or both, or the classes alone; what lies deeper in a class's folder belongs to the class.

mod walk;

use super::reading::Reading;
use super::split::{self, Order};
use super::{Dataset, Images, Pixels, Sets, files};
use crate::image::KINDS;
use crate::spec::Pictures;
use crate::{Error, Result};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use walk::{Entry, entries};

const TRAIN: &[&str] = &["train", "training"];
const VALID: &[&str] = &["val", "valid", "validation"];
const TEST: &[&str] = &["test", "testing"];

/// A folder that holds the folders of the classes.
struct Part {
    folder: PathBuf,
    classes: Vec<Entry>,
}

/// Reads what is in the folder; `input` is the network's input, to whose size pictures are brought as `how` says.
/// `valid` is cut off the training part. `former` splits and sorts as versions before did.
pub fn load(path: &Path, input: &[usize], how: Pictures, valid: Option<f64>, former: bool) -> Result<Sets> {
    files::exists(path)?;
    if !path.is_dir() {
        return Err(Error::new(format!("{} is not a folder of pictures", path.display())).with_help(
            "a set in one file is another source: for a network of another program `--source cifar10` says what it is",
        ));
    }
    let &[channels, height, width] = input else {
        return Err(Error::new(format!(
            "a folder of pictures needs an input [channels, height, width], not {input:?}"
        )));
    };
    if !matches!(channels, 1 | 3) {
        return Err(Error::new(format!("pictures have 1 or 3 channels, but the network's input has {channels}")));
    }
    let mut reading = Reading::default();
    let parts = layout(path, &mut reading)?;
    let names = class_names(&parts, former);
    let [train, val, test] = parts.each_ref().map(|part| {
        let classes = part.as_ref().map_or(&[][..], |part| &part.classes);
        let (paths, labels) = pictures(classes, &names, &mut reading)?;
        let images = Images { dims: [channels, height, width], pixels: Pixels::Files(paths, how) };
        Ok::<_, Error>(part.as_ref().map(|_| Dataset::new(images, labels)))
    });
    let root = parts[0].as_ref().map_or(path, |part| &part.folder);
    let order = if former { Order::Former } else { Order::Names(root) };
    let mut sets = assign([train?, val?, test?], &parts, order, reading);
    sets.names = names;
    if sets.train.is_empty() && sets.test.is_empty() {
        return Err(nothing(path, &sets.reading));
    }
    match valid {
        Some(valid) if sets.valid.is_some() => {
            Err(Error::new(format!("{} has a folder for validation already, beside `valid = {valid}`", path.display()))
                .with_help("leave `valid` out, or give the folder another name"))
        }
        Some(valid) => split::validation(&mut sets, valid, order).map(|()| sets),
        None => Ok(sets),
    }
}

/// The folders for training, validation and test; without them the folder itself is the one for training. What lies
/// beside them is left out.
fn layout(path: &Path, reading: &mut Reading) -> Result<[Option<Part>; 3]> {
    let mut all = entries(path)?;
    let mut found = Vec::new();
    for words in [TRAIN, VALID, TEST] {
        let named = |e: &&Entry| e.visible() && words.contains(&e.name.to_lowercase().as_str());
        let mut folders = Vec::new();
        for entry in all.iter().filter(named) {
            if holds_folders(&entry.path)? {
                folders.push(entry.path.clone());
            }
        }
        if let [first, second, ..] = folders.as_slice() {
            let message = format!("{} and {} are one part of the data", first.display(), second.display());
            return Err(Error::new(message).with_help("put them together, or take one of them away"));
        }
        found.push(folders.pop());
    }
    let folders = all.iter().filter(|e| e.visible()).count();
    // Beside the folders of other classes `test` is a class of that name.
    let parts = found.iter().flatten().count();
    if parts == 0 || (found[0].is_none() && parts < folders) {
        if let ([alone], true) = (&all.iter().filter(|e| e.visible()).collect::<Vec<_>>()[..], folders == 1)
            && holds_folders(&alone.path)?
        {
            let (outer, inner) = (path.display(), alone.path.display());
            return Err(Error::new(format!("{outer} has one sub-folder, which holds folders of its own"))
                .with_help(format!("if those are the classes, give {inner}")));
        }
        return Ok([Some(Part::of(path, all, reading)?), None, None]);
    }
    all.retain(|entry| !found.iter().flatten().any(|part| *part == entry.path));
    for entry in all {
        walk::skip(entry, "beside the folders of the parts", reading)?;
    }
    let mut parts = [None, None, None];
    for (part, folder) in parts.iter_mut().zip(found) {
        *part = folder.map(|folder| Part::of(&folder, entries(&folder)?, reading)).transpose()?;
    }
    Ok(parts)
}

/// Folders but no pictures?
fn holds_folders(folder: &Path) -> Result<bool> {
    let all = entries(folder)?;
    Ok(all.iter().any(Entry::visible) && !all.iter().any(Entry::is_picture))
}

impl Part {
    /// Classes are the sub-folders; files beside them are left out.
    fn of(folder: &Path, all: Vec<Entry>, reading: &mut Reading) -> Result<Part> {
        let mut classes: Vec<Entry> = Vec::new();
        for entry in all {
            match entry.visible() {
                true => classes.push(entry),
                false => walk::skip(entry, "beside the folders of the classes", reading)?,
            }
        }
        if classes.is_empty() {
            return Err(Error::new(format!("{} has no sub-folders", folder.display()))
                .with_help("put the pictures of each class into a sub-folder of its own"));
        }
        let mut names = BTreeSet::new();
        match classes.iter().find(|class| !names.insert(&class.name)) {
            Some(twice) => Err(Error::new(format!("{} has two folders named {}", folder.display(), twice.name))),
            None => Ok(Part { folder: folder.into(), classes }),
        }
    }
}

/// The classes of all parts together, in the order of [`by_number`].
fn class_names(parts: &[Option<Part>; 3], former: bool) -> Vec<String> {
    let all = parts.iter().flatten().flat_map(|part| &part.classes).map(|class| class.name.clone());
    let mut names: Vec<String> = all.collect::<BTreeSet<_>>().into_iter().collect();
    if !former {
        names.sort_by(|a, b| by_number(a, b));
    }
    names
}

/// The pictures of a part, class by class, with their labels.
fn pictures(classes: &[Entry], names: &[String], reading: &mut Reading) -> Result<(Vec<PathBuf>, Vec<u32>)> {
    let (mut paths, mut labels) = (Vec::new(), Vec::new());
    for (label, name) in (0..).zip(names) {
        if let Some(class) = classes.iter().find(|class| class.name == *name) {
            paths.extend(walk::pictures(&class.path, reading)?);
            labels.resize(paths.len(), label);
        }
    }
    Ok((paths, labels))
}

/// Says which part is which. Without a folder for tests the one for validation is; without either a fifth is cut off.
fn assign(
    [train, val, test]: [Option<Dataset>; 3],
    parts: &[Option<Part>; 3],
    order: Order,
    mut reading: Reading,
) -> Sets {
    let mut from = |what: &str, part: usize| {
        let folder = parts[part].as_ref().map(|part| part.folder.display().to_string());
        reading.parts.extend(folder.map(|folder| format!("{what}: {folder}")));
    };
    let empty = |like: &Dataset| like.part(vec![]);
    let (train, valid, test) = match (train, val, test) {
        (Some(all), None, None) => {
            let (train, test) = split::test_fifth(&all, order);
            from("all", 0);
            reading.parts.push(format!("test: a fifth {}", order.rule()));
            (train, None, test)
        }
        (train, val, Some(test)) => {
            (0..3).zip(["training", "validation", "test"]).for_each(|(part, what)| from(what, part));
            (train.unwrap_or_else(|| empty(&test)), val, test)
        }
        (train, Some(test), None) => {
            from("training", 0);
            from("test", 1);
            (train.unwrap_or_else(|| empty(&test)), None, test)
        }
        (None, None, None) => unreachable!("a folder without parts is one for training"),
    };
    Sets { train, valid, test, names: vec![], reading }
}

/// The pictures in a folder and in the folders in it, whatever they are of, in the order of their paths.
pub fn pictures_in(path: &Path) -> Result<(Vec<PathBuf>, Reading)> {
    let mut reading = Reading::default();
    let found = walk::pictures(path, &mut reading)?;
    if found.is_empty() {
        return Err(nothing(path, &reading));
    }
    Ok((found, reading))
}

/// A folder without pictures.
fn nothing(path: &Path, reading: &Reading) -> Error {
    let left_out = reading.left_out();
    let message = match reading.skipped.iter().max_by_key(|(_, skipped)| skipped.count) {
        None => format!("no pictures in {}", path.display()),
        Some((reason, skipped)) => format!(
            "no pictures in {}, but {left_out} other files, {} of them {reason} ({})",
            path.display(),
            skipped.count,
            skipped.first.display()
        ),
    };
    Error::new(message).with_help(format!("{KINDS} are read where the file's name has the usual ending"))
}

/// The order of names in which digits compare as numbers: `2` before `10`, `class9` before `class10`.
pub fn by_number(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    while let (Some(x), Some(y)) = (left.chars().next(), right.chars().next()) {
        let (m, n) = (digits(left), digits(right));
        let order = match m > 0 && n > 0 {
            // Without leading zeros the longer number is the larger one.
            true => {
                let (p, q) = (left[..m].trim_start_matches('0'), right[..n].trim_start_matches('0'));
                p.len().cmp(&q.len()).then_with(|| p.cmp(q))
            }
            false => x.cmp(&y),
        };
        if order != Ordering::Equal {
            return order;
        }
        let step = |c: char, digits: usize| if digits > 0 { digits } else { c.len_utf8() };
        (left, right) = (&left[step(x, m)..], &right[step(y, n)..]);
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// Digits that a text begins with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::by_number;

    #[test]
    fn digits_compare_as_numbers() {
        let mut names =
            ["10", "b", "9", "a10", "é2", "2", "a9b", "02", "a9", "a", "100000000000000000000000", "é10", "1"];
        names.sort_by(|a, b| by_number(a, b));
        let wanted = ["1", "02", "2", "9", "10", "100000000000000000000000", "a", "a9", "a9b", "a10", "b", "é2", "é10"];
        assert_eq!(names, wanted);
    }
}
