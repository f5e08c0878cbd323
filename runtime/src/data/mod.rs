//! Data sets: images and labels from files or from the binary itself, checked while they are read.

pub mod augment;
pub mod balance;
pub mod batches;
pub mod cache;
pub mod channel_order;
pub mod checksum;
pub mod cifar;
pub mod digits;
pub mod files;
mod fill;
pub mod folder;
pub mod idx;
pub mod labels;
pub mod layout;
pub mod look;
pub mod mat;
pub mod mixup;
mod moments;
pub mod npz;
pub mod prepare;
pub mod preparer;
pub mod range;
pub mod reading;
pub mod split;
pub mod svhn;
pub mod tar;
mod together;
pub mod zca;

use crate::classes::Classes;
use crate::philox::Stream;
use crate::plan::DType;
use crate::spec::{DataSpec, Pictures, Source};
use crate::{Error, Feed, Result};
use reading::Reading;
use split::Order;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a stream of random numbers is for: its upper 8 bits of word `a`, so that no two purposes share a stream.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Initial parameters.
    Init = 1,
    /// The order of images in an epoch.
    Shuffle = 2,
    /// The split into training and validation.
    Split = 3,
    /// Random changes of images.
    Augment = 4,
    /// Pairs of images that are mixed, and their weights.
    Mixup = 5,
    /// The images of each class in balanced epochs.
    Balance = 6,
    /// Random changes of pictures before they are prepared.
    Pictures = 7,
    /// The images that are mirrored in their first epoch.
    Flip = 8,
}

/// The stream of a purpose, an epoch (or 24 bits of a name) and an item.
pub fn stream(seed: u64, purpose: Purpose, major: u32, minor: u32) -> Stream {
    Stream::new(seed, (purpose as u32) << 24 | (major & 0x00ff_ffff), minor)
}

/// Pixels of all images, one after the other, each `[channels, height, width]`.
#[derive(Debug)]
pub enum Pixels {
    /// Values 0 to 255.
    Bytes(Vec<u8>),
    /// Values as they are.
    Floats(Vec<f32>),
    /// Pictures that are read when they are needed, so that memory stays small however many there are.
    Files(Vec<PathBuf>, Pictures),
}

/// Values of some images, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 0 to 255.
    Bytes(Vec<u8>),
    /// Any numbers.
    Floats(Vec<f32>),
}

impl Values {
    /// Lends them to a program.
    pub fn feed(&self) -> Feed<'_> {
        match self {
            Values::Bytes(bytes) => Feed::U8(bytes),
            Values::Floats(floats) => Feed::F32(floats),
        }
    }

    /// Puts them behind `before` zeros and fills up with zeros to `total` numbers.
    pub(crate) fn among(self, before: usize, total: usize) -> Values {
        fn widened<T: Copy + Default>(own: Vec<T>, before: usize, total: usize) -> Vec<T> {
            if own.len() == total {
                return own;
            }
            let mut all = vec![T::default(); total];
            all[before..][..own.len()].copy_from_slice(&own);
            all
        }
        match self {
            Values::Bytes(bytes) => Values::Bytes(widened(bytes, before, total)),
            Values::Floats(floats) => Values::Floats(widened(floats, before, total)),
        }
    }

    /// Converts all to floats.
    pub fn into_floats(self) -> Vec<f32> {
        match self {
            Values::Bytes(bytes) => bytes.into_iter().map(f32::from).collect(),
            Values::Floats(floats) => floats,
        }
    }
}

/// Images of one size.
#[derive(Debug)]
pub struct Images {
    /// `[channels, height, width]`.
    pub dims: [usize; 3],
    /// All values, `[count, channels, height, width]`.
    pub pixels: Pixels,
}

impl Images {
    /// Returns the number of values of an image.
    pub fn size(&self) -> usize {
        self.dims.iter().product()
    }

    /// Returns the number of images.
    pub fn count(&self) -> usize {
        match &self.pixels {
            Pixels::Bytes(bytes) => bytes.len() / self.size().max(1),
            Pixels::Floats(floats) => floats.len() / self.size().max(1),
            Pixels::Files(files, _) => files.len(),
        }
    }

    /// Returns what a value is: a byte, or a float.
    pub fn dtype(&self) -> DType {
        match self.pixels {
            Pixels::Bytes(_) | Pixels::Files(..) => DType::U8,
            Pixels::Floats(_) => DType::F32,
        }
    }
}

/// A part of the images with their labels: a view, cheap to clone and to send to another thread.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The pixels, shared by all parts of a split.
    pub images: Arc<Images>,
    /// A label for each image of `images`.
    pub labels: Arc<Vec<u32>>,
    /// The images that belong to this part.
    pub rows: Arc<Vec<u32>>,
    /// What messages call all the images.
    pub place: Arc<str>,
    /// The part that this one was prepared from, whose images messages name.
    pub origin: Option<Arc<Dataset>>,
}

impl Dataset {
    /// Makes a data set of all images, with a label for each.
    pub fn new(images: Images, labels: Vec<u32>) -> Dataset {
        let rows = (0..labels.len() as u32).collect();
        Dataset {
            images: Arc::new(images),
            labels: Arc::new(labels),
            rows: Arc::new(rows),
            place: "the data".into(),
            origin: None,
        }
    }

    /// Names an item as the user can find it: a picture's file, or its number (from 0) in an array.
    pub fn called(&self, item: usize) -> String {
        match (&self.origin, &self.images.pixels) {
            (Some(origin), _) => origin.called(item),
            (None, Pixels::Files(files, _)) => files[self.rows[item] as usize].display().to_string(),
            (None, _) => format!("image {} of {}", self.rows[item], self.place),
        }
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Is it without items?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the class of an item.
    pub fn label(&self, item: usize) -> u32 {
        self.labels[self.rows[item] as usize]
    }

    /// Counts the items of each class.
    pub fn counts(&self) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        (0..self.len()).for_each(|item| *counts.entry(self.label(item)).or_default() += 1);
        counts
    }

    /// Returns this part with the label `to[l]` for each label l. The error is a label that `to` has nothing for.
    pub fn relabelled(&self, to: &[Option<u32>]) -> std::result::Result<Dataset, u32> {
        let mut labels = vec![u32::MAX; self.labels.len()];
        for &row in self.rows.iter() {
            let label = self.labels[row as usize];
            labels[row as usize] = to.get(label as usize).copied().flatten().ok_or(label)?;
        }
        Ok(Dataset { labels: Arc::new(labels), ..self.clone() })
    }

    /// Returns these items alone, in this order.
    pub fn items(&self, items: &[usize]) -> Dataset {
        self.part(items.iter().map(|&item| self.rows[item]).collect())
    }

    /// Returns other rows of these images.
    fn part(&self, rows: Vec<u32>) -> Dataset {
        Dataset { rows: Arc::new(rows), ..self.clone() }
    }

    /// Cuts off `count` items chosen by a seed: `(the rest, the cut)`. Both stay in the order of the file.
    pub fn split(&self, seed: u64, count: usize) -> (Dataset, Dataset) {
        let mut rows = self.rows.to_vec();
        stream(seed, Purpose::Split, 0, 0).shuffle(&mut rows);
        let mut cut = rows.split_off(rows.len() - count.min(rows.len()));
        rows.sort_unstable();
        cut.sort_unstable();
        (self.part(rows), self.part(cut))
    }

    /// Checks that the part fits a network with this input and number of classes. Called before the first step.
    pub fn check(&self, part: &str, input: &[usize], classes: usize) -> Result<()> {
        if self.is_empty() {
            return Err(Error::new(format!("the {part} part of the data has no images")));
        }
        let dims = self.images.dims;
        if input != dims && input != [self.images.size()] {
            let image = <[usize; 3]>::try_from(input).unwrap_or([1, 1, input.iter().product()]);
            let error = format!("the images of the data are {dims:?}, but the network's input is {input:?}");
            return Err(Error::new(error).with_help(layout::help(&[&[self.len()][..], &dims].concat(), image)));
        }
        self.check_labels(part, classes)
    }

    /// Checks that a network with this number of classes can have the labels.
    pub fn check_labels(&self, part: &str, classes: usize) -> Result<()> {
        let beyond = self.rows.iter().find(|&&row| self.labels[row as usize] as usize >= classes);
        beyond.map_or(Ok(()), |&row| Err(labels::out_of_range(row, part, &self.labels, classes)))
    }
}

/// What a source gives.
#[derive(Clone, Debug)]
pub struct Sets {
    /// What the network learns from.
    pub train: Dataset,
    /// What training is watched with.
    pub valid: Option<Dataset>,
    /// What the trained network is measured with.
    pub test: Dataset,
    /// Names of the classes, where the source knows them.
    pub names: Vec<String>,
    /// How the source was read.
    pub reading: Reading,
}

impl Sets {
    /// Gives the labels of all parts the meaning of a network's outputs.
    pub fn relabel(&mut self, classes: &Classes) -> Result<()> {
        for set in [Some(&mut self.train), self.valid.as_mut(), Some(&mut self.test)].into_iter().flatten() {
            *set = classes.relabel(set, &self.names)?;
        }
        self.names = classes.names().to_vec();
        Ok(())
    }

    /// Returns the parts that there are, with what messages call them.
    pub fn parts(&self) -> Vec<(&'static str, &Dataset)> {
        let valid = self.valid.as_ref().map(|set| ("validation", set));
        [Some(("training", &self.train)), valid, Some(("test", &self.test))].into_iter().flatten().collect()
    }

    /// Is the test part cut off from the images that the training part is of?
    pub fn is_split(&self) -> bool {
        Arc::ptr_eq(&self.train.images, &self.test.images)
    }

    /// Returns all images, where the parts are of the same ones.
    pub fn all(&self) -> Option<Dataset> {
        let all = || (0..self.train.labels.len() as u32).collect();
        self.is_split().then(|| self.train.part(all()))
    }
}

/// Names of a source's classes, where they are the same for all its data.
pub fn class_names(source: &Source) -> Vec<String> {
    match source {
        Source::Digits | Source::Svhn { .. } => (0..10).map(|d| d.to_string()).collect(),
        Source::Mnist => idx::MNIST.class_names(),
        Source::FashionMnist => idx::FASHION.class_names(),
        Source::Cifar10 => cifar::CIFAR10.class_names(),
        Source::Cifar100 => cifar::CIFAR100.class_names(),
        Source::Folder { .. } | Source::Npz => vec![],
    }
}

/// Recognises known data sets by the names of their files. A folder may hold several sets; the list is empty for
/// anything else, such as a folder of pictures.
pub fn recognise(path: &Path) -> Vec<Source> {
    let npz = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"));
    let known = [
        (npz && path.is_file(), Source::Npz),
        (cifar::CIFAR10.is_at(path), Source::Cifar10),
        (cifar::CIFAR100.is_at(path), Source::Cifar100),
        (svhn::is_at(path), Source::Svhn { extra: false }),
        (idx::MNIST.is_at(path), Source::Mnist),
        (idx::FASHION.is_at(path), Source::FashionMnist),
    ];
    known.into_iter().filter_map(|(there, source)| there.then_some(source)).collect()
}

/// Seed of the splits of sources that come in one piece. Fixed, because a split that moved with the training's seed
/// would let weights be tested on images they were trained on.
const SPLIT_SEED: u64 = 20_131_216;

/// Reads a source. `path` is the file or folder to read (already resolved); `input` the network's input, to which the
/// pictures of a folder are brought.
pub fn load(spec: &DataSpec, path: Option<&Path>, input: &[usize]) -> Result<Sets> {
    load_split(spec, path, input, false)
}

/// Like [`load`]; `former` splits the data as former versions did, for trainings that they began.
pub fn load_split(spec: &DataSpec, path: Option<&Path>, input: &[usize], former: bool) -> Result<Sets> {
    let order = if former { Order::Former } else { Order::Index };
    let need = |name: &str, what: &str| {
        path.ok_or_else(|| {
            Error::new(format!("the source `{name}` needs a path"))
                .with_help(format!("give {what} with `--data PATH` or as `source = {name}(\"PATH\")`"))
        })
    };
    let mut sets = match &spec.source {
        Source::Digits => match path {
            None => digits::load()?,
            Some(path) => {
                let message = format!("{} would not be read: `source = digits` is part of ninc", path.display());
                let help = "leave `--data` out, or give the model another source, such as `source = folder`";
                return Err(Error::new(message).with_help(help));
            }
        },
        Source::Mnist => idx::load(need("mnist", "the folder with the IDX files")?, idx::MNIST)?,
        Source::FashionMnist => {
            let debian = Path::new("/usr/share/datasets/fashion-mnist");
            let path = path.or(debian.is_dir().then_some(debian));
            let path = path.map_or_else(|| need("fashion_mnist", "the folder with the IDX files"), Ok)?;
            idx::load(path, idx::FASHION)?
        }
        Source::Cifar10 => {
            cifar::load(need("cifar10", "the folder or .tar.gz of the binary version")?, &cifar::CIFAR10)?
        }
        Source::Cifar100 => {
            cifar::load(need("cifar100", "the folder or .tar.gz of the binary version")?, &cifar::CIFAR100)?
        }
        Source::Svhn { extra } => svhn::load(need("svhn", "the folder with train_32x32.mat")?, *extra)?,
        Source::Folder { .. } => {
            return folder::load(
                need("folder", "a folder with one sub-folder a class")?,
                input,
                spec.pictures(),
                spec.valid,
                former,
            );
        }
        Source::Npz => npz::load(need("npz", "an .npz file with the arrays x and y")?, order)?,
    };
    if sets.names.is_empty() {
        sets.names = class_names(&spec.source);
    }
    match spec.valid {
        Some(valid) if sets.valid.is_some() => {
            Err(Error::new(format!("the data have a part for validation already, beside `valid = {valid}`"))
                .with_help("leave `valid` out"))
        }
        Some(valid) => split::validation(&mut sets, valid, order).map(|()| sets),
        None => Ok(sets),
    }
}
