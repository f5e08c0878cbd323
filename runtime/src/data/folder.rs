//! A folder of pictures: one sub-folder a class. Pictures are read when they are needed.

use super::{Dataset, Images, Pixels, Sets, files, test_fifth};
use crate::spec::Pictures;
use crate::{Error, Result};
use std::cmp::Ordering;
use std::path::{Path, PathBuf};

const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "bmp"];
const TESTS: [&str; 3] = ["test", "val", "valid"];

/// `input` is the network's input: pictures are brought to its size. With sub-folders `train` and `test` (or `val`)
/// those are the parts; otherwise a seeded fifth is kept for testing. Classes are the sub-folders in the order
/// of [`by_number`].
pub fn load(path: &Path, input: &[usize], pictures: Pictures) -> Result<Sets> {
    files::exists(path)?;
    let &[channels, height, width] = input else {
        return Err(Error::new(format!(
            "a folder of pictures needs an input [channels, height, width], not {input:?}"
        )));
    };
    if !matches!(channels, 1 | 3) {
        return Err(Error::new(format!("pictures have 1 or 3 channels, but the network's input has {channels}")));
    }
    let dims = [channels, height, width];
    let tests = TESTS.iter().map(|t| path.join(t)).find(|t| t.is_dir());
    match (path.join("train").is_dir(), tests) {
        (true, Some(tests)) => {
            let names = classes(&path.join("train"))?;
            let found = classes(&tests)?;
            if let Some(extra) = found.iter().find(|n| !names.contains(n)) {
                return Err(Error::new(format!("class `{extra}` of {} has no training pictures", tests.display())));
            }
            let train = part(&path.join("train"), &names, dims, pictures)?;
            Ok(Sets { train, valid: None, test: part(&tests, &names, dims, pictures)?, names })
        }
        _ => {
            let names = classes(path)?;
            let (train, test) = test_fifth(&part(path, &names, dims, pictures)?);
            Ok(Sets { train, valid: None, test, names })
        }
    }
}

/// Entries of a folder by name, hidden ones left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::file("read the folder", folder, &e))? {
        let entry = entry.map_err(|e| Error::file("read the folder", folder, &e))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn classes(folder: &Path) -> Result<Vec<String>> {
    let name = |p: PathBuf| p.file_name().map(|n| n.to_string_lossy().into_owned());
    let mut names: Vec<String> = entries(folder)?.into_iter().filter(|p| p.is_dir()).filter_map(name).collect();
    names.sort_by(|a, b| by_number(a, b));
    if names.is_empty() {
        return Err(Error::new(format!("{} has no sub-folders", folder.display()))
            .with_help("put the pictures of each class into a sub-folder of its own"));
    }
    Ok(names)
}

fn part(folder: &Path, names: &[String], dims: [usize; 3], pictures: Pictures) -> Result<Dataset> {
    let (mut paths, mut labels) = (Vec::new(), Vec::new());
    for (label, name) in names.iter().enumerate() {
        let class = folder.join(name);
        if !class.is_dir() {
            continue;
        }
        for path in entries(&class)? {
            let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
            if ENDINGS.contains(&ending.as_str()) {
                paths.push(path);
                labels.push(label as u32);
            }
        }
    }
    if paths.is_empty() {
        return Err(Error::new(format!("no pictures (png, jpg, bmp) in the sub-folders of {}", folder.display())));
    }
    Ok(Dataset::new(Images { dims, pixels: Pixels::Files(paths, pictures) }, labels))
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
