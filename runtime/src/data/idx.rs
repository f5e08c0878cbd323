//! IDX files, gzipped or not: MNIST and data sets in its format.

use super::reading::Reading;
use super::together::Broken;
use super::{Dataset, Images, Pixels, Sets, files};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// A data set in four IDX files.
#[derive(Clone, Copy, Debug)]
pub struct Idx {
    /// Name of the data set in messages.
    pub name: &'static str,
    /// Sub-folders in which other programs keep the files.
    pub folders: &'static [&'static str],
    /// Names of the classes.
    pub names: &'static [&'static str],
}

impl Idx {
    /// Returns the names of the classes.
    pub fn class_names(&self) -> Vec<String> {
        self.names.iter().map(|name| name.to_string()).collect()
    }

    /// Does a folder hold the files? Those of different sets are told apart by the folder's name.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let others = [MNIST, FASHION].into_iter().filter(|set| set.name != self.name);
        let named = |set: &Idx, folder: &Path| set.folders.iter().any(|name| folder.ends_with(name));
        folder(path, self).is_some_and(|folder| !others.into_iter().any(|set| named(&set, &folder)))
    }
}

/// MNIST, handwritten digits.
pub const MNIST: Idx =
    Idx { name: "mnist", folders: &["mnist", "MNIST/raw"], names: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] };

/// Fashion-MNIST, ten kinds of clothes.
pub const FASHION: Idx = Idx {
    name: "fashion_mnist",
    folders: &["fashion-mnist", "fashion_mnist", "FashionMNIST/raw"],
    names: &["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"],
};

/// The most bytes of pixels that a file may hold: many times the largest known set.
const CAP: u64 = 4 << 30;

/// Reads a folder with the four IDX files, compressed or not.
pub fn load(path: &Path, set: Idx) -> Result<Sets> {
    files::exists(path)?;
    if !path.is_dir() {
        return Err(Error::new(format!("{} is not a folder", path.display()))
            .with_help("give the folder that holds train-images-idx3-ubyte(.gz) and the other three files"));
    }
    let folder = folder(path, &set).ok_or_else(|| {
        Error::new(format!("{} holds no train-images-idx3-ubyte(.gz): no {} here", path.display(), set.name))
            .with_help("the folder needs {train,t10k}-{images-idx3,labels-idx1}-ubyte, gzipped or not")
    })?;
    let mut broken = Broken::default();
    let (train, test) = (part(&folder, "train", &mut broken), part(&folder, "t10k", &mut broken));
    let (train, test) = broken.end(train.zip(test))?;
    if train.images.dims != test.images.dims {
        return Err(Error::new(format!(
            "training and test images in {} differ in size: {:?} and {:?}",
            folder.display(),
            train.images.dims,
            test.images.dims
        )));
    }
    Ok(Sets { train, valid: None, test, names: vec![], reading: Reading::default() })
}

fn folder(path: &Path, set: &Idx) -> Option<PathBuf> {
    let mut folders = vec![path.to_path_buf()];
    folders.extend(set.folders.iter().map(|f| path.join(f)));
    folders.into_iter().find(|f| member(f, "train-images", 3).is_some())
}

/// `train-images-idx3-ubyte`, with a dot in place of the second hyphen too, gzipped or not.
fn member(folder: &Path, stem: &str, rank: usize) -> Option<PathBuf> {
    let plain = format!("{stem}-idx{rank}-ubyte");
    let dotted = format!("{stem}.idx{rank}-ubyte");
    files::find(folder, &[&plain, &format!("{plain}.gz"), &dotted, &format!("{dotted}.gz")])
}

fn part(folder: &Path, prefix: &str, broken: &mut Broken) -> Option<Dataset> {
    let find = |stem: &str, rank| {
        member(folder, &format!("{prefix}-{stem}"), rank)
            .ok_or_else(|| Error::new(format!("{} lacks {prefix}-{stem}-idx{rank}-ubyte(.gz)", folder.display())))
    };
    let mut one = |stem, rank| broken.keep(find(stem, rank).and_then(|path| Ok((read(&path, rank)?, path))));
    let (images, labels) = (one("images", 3), one("labels", 1));
    let (((dims, pixels), images_path), ((counts, labels), labels_path)) = (images?, labels?);
    if dims[0] != counts[0] {
        return broken.keep(Err(Error::new(format!(
            "{} has {} images, but {} has {} labels",
            images_path.display(),
            dims[0],
            labels_path.display(),
            counts[0]
        ))));
    }
    let images = Images { dims: [1, dims[1], dims[2]], pixels: Pixels::Bytes(pixels) };
    Some(Dataset::new(images, labels.into_iter().map(u32::from).collect()))
}

/// One IDX file of bytes: dimensions and contents.
pub fn read(path: &Path, rank: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    let mut reader = files::unzipped(path)?;
    let magic = files::exactly(&mut reader, 4, path)?;
    if magic != [0, 0, 8, rank as u8] {
        return Err(Error::new(format!("{} is not an IDX file of bytes with {rank} dimensions", path.display()))
            .with_help(format!("it starts with {magic:02x?} instead of [00, 00, 08, {rank:02x}]")));
    }
    let mut dims = Vec::with_capacity(rank);
    for _ in 0..rank {
        let bytes = files::exactly(&mut reader, 4, path)?;
        dims.push(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize);
    }
    let total = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64)).filter(|&t| t <= CAP);
    let total = total.ok_or_else(|| Error::new(format!("{} claims the size {dims:?}: too large", path.display())))?;
    if total == 0 {
        return Err(Error::new(format!("{} is empty: its size is {dims:?}", path.display())));
    }
    let contents = files::exactly(&mut reader, total as usize, path)?;
    files::ends(&mut reader, path)?;
    Ok((dims, contents))
}
