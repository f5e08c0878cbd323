//! CIFAR-10 and CIFAR-100 in their binary versions: a folder, or the `.tar.gz` read in place.

use super::reading::Reading;
use super::together::Broken;
use super::{Dataset, Images, Pixels, Sets, files, tar};
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const PIXELS: usize = 3072;
/// No file of either set is larger.
const CAP: u64 = 1 << 28;

/// A variant of the CIFAR data sets: names of its files, and of its classes.
#[derive(Clone, Copy, Debug)]
pub struct Cifar {
    name: &'static str,
    folder: &'static str,
    archives: &'static [&'static str],
    train: &'static [&'static str],
    test: &'static str,
    /// Bytes before the pixels of a record; the last of them is the label (CIFAR-100 has the coarse label first).
    label_bytes: usize,
    names: &'static str,
}

/// CIFAR-10, 10 classes.
pub const CIFAR10: Cifar = Cifar {
    name: "cifar10",
    folder: "cifar-10-batches-bin",
    archives: &["cifar-10-binary.tar.gz", "cifar-10-binary.tar"],
    train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    test: "test_batch.bin",
    label_bytes: 1,
    names: "airplane automobile bird cat deer dog frog horse ship truck",
};

/// CIFAR-100, 100 fine classes.
pub const CIFAR100: Cifar = Cifar {
    name: "cifar100",
    folder: "cifar-100-binary",
    archives: &["cifar-100-binary.tar.gz", "cifar-100-binary.tar"],
    train: &["train.bin"],
    test: "test.bin",
    label_bytes: 2,
    names: "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can \
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin \
        elephant \
        flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man \
        maple_tree \
        motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain \
        plate \
        poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake \
        spider \
        squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip \
        turtle \
        wardrobe whale willow_tree wolf woman worm",
};

impl Cifar {
    /// Returns the names of the classes.
    pub fn class_names(&self) -> Vec<String> {
        self.names.split_whitespace().map(str::to_string).collect()
    }

    /// Is it the data set's folder, or its archive under its usual name?
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        if path.is_file() { self.archives.iter().any(|known| name == *known) } else { place(path, self).is_ok() }
    }
}

enum Place {
    Folder(PathBuf),
    Archive(PathBuf),
}

/// Reads a folder with the binary version's files, or its `.tar.gz` as it is.
pub fn load(path: &Path, set: &Cifar) -> Result<Sets> {
    files::exists(path)?;
    let place = place(path, set)?;
    let member = |name: &str| format!("{}/{name}", set.folder);
    let mut found = match &place {
        Place::Folder(_) => HashMap::new(),
        Place::Archive(archive) => {
            let wanted: Vec<String> = set.train.iter().chain([&set.test]).map(|name| member(name)).collect();
            tar::members(archive, &wanted, CAP).map_err(|error| match archive.extension() {
                Some(ending) if ending == "gz" || ending == "tar" => error,
                // A single file of the set, or something else.
                _ => error.with_help(format!(
                    "{} is the archive {}, or a folder with {} and {}, whose records have {} bytes",
                    set.name,
                    set.archives[0],
                    set.train[0],
                    set.test,
                    set.label_bytes + PIXELS
                )),
            })?
        }
    };
    let mut bytes = |name: &str| match &place {
        Place::Folder(folder) => files::read(&folder.join(name), CAP).map(|bytes| (folder.join(name), bytes)),
        Place::Archive(archive) => {
            let bytes = found.remove(&member(name)).expect("`members` gives all that it was asked for");
            Ok((archive.join(member(name)), bytes))
        }
    };
    let mut broken = Broken::default();
    let mut read = |names: &[&str]| {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for name in names {
            let one = bytes(name).and_then(|(file, bytes)| records(&file, &bytes, set, &mut pixels, &mut labels));
            broken.keep(one);
        }
        dataset(pixels, labels)
    };
    let sets = [read(set.train), read(&[set.test])];
    let [train, test] = broken.end(Some(sets))?;
    Ok(Sets { train, valid: None, test, names: vec![], reading: Reading::default() })
}

fn dataset(pixels: Vec<u8>, labels: Vec<u32>) -> Dataset {
    Dataset::new(Images { dims: [3, 32, 32], pixels: Pixels::Bytes(pixels) }, labels)
}

/// The archive, the folder itself, or a folder that holds either under its usual name.
fn place(path: &Path, set: &Cifar) -> Result<Place> {
    if path.is_file() {
        return Ok(Place::Archive(path.to_path_buf()));
    }
    for folder in [path.to_path_buf(), path.join(set.folder)] {
        if folder.join(set.test).is_file() {
            return Ok(Place::Folder(folder));
        }
    }
    match files::find(path, set.archives) {
        Some(archive) => Ok(Place::Archive(archive)),
        None => Err(Error::new(format!("{} holds no {}", path.display(), set.name)).with_help(format!(
            "give the folder {} (with {} and {}) or the archive {}",
            set.folder, set.train[0], set.test, set.archives[0]
        ))),
    }
}

fn records(path: &Path, bytes: &[u8], set: &Cifar, pixels: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<()> {
    let record = set.label_bytes + PIXELS;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        let detail = format!("{} bytes are not a whole number of records of {record}", bytes.len());
        return Err(files::cut(path, &detail));
    }
    let classes = set.names.split_whitespace().count();
    for (i, record) in bytes.chunks_exact(record).enumerate() {
        let label = record[set.label_bytes - 1];
        if usize::from(label) >= classes {
            return Err(Error::new(format!("record {i} of {} has label {label} of {classes} classes", path.display()))
                .with_help(format!("is this the binary version of {}?", set.name)));
        }
        labels.push(u32::from(label));
        pixels.extend_from_slice(&record[set.label_bytes..]);
    }
    Ok(())
}
