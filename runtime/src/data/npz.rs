//! `.npz` archives: `x` [N, C, H, W] and `y` (labels), `x_test` and `y_test` if there are.

use super::range;
use super::reading::Reading;
use super::split::{self, Order};
use super::together::Broken;
use super::{Dataset, Images, Pixels, Sets, Values, files, labels};
use crate::finite::first_broken;
use crate::npy::{self, Array};
use crate::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zip::ZipArchive;

/// The most bytes of one array, and the most by which an array may be larger than its packed form: beyond that it is a
/// decompression bomb and not data.
const CAP: u64 = 16 << 30;
const RATIO: u64 = 1100;

/// Reads the arrays.
pub fn load(path: &Path, order: Order) -> Result<Sets> {
    files::exists(path)?;
    let mut archive = ZipArchive::new(files::open(path)?).map_err(|e| {
        Error::new(format!("{} is not an .npz archive: {e}", path.display())).with_help("write it with `numpy.savez`")
    })?;
    let [x, y, x_test, y_test] = ["x", "y", "x_test", "y_test"].map(|name| member(&mut archive, path, name));
    let names: Vec<String> = archive.file_names().flatten().map(|n| n.into_owned()).collect();
    let lacks = || {
        Error::new(format!("{} lacks the arrays x and y: it has {}", path.display(), names.join(", ")))
            .with_help("write it with `numpy.savez(FILE, x=images, y=labels)`")
    };
    let half = || Error::new(format!("{} has only one of x_test and y_test", path.display()));
    let mut broken = Broken::default();
    let all = match (broken.keep(x), broken.keep(y)) {
        (Some(Some(x)), Some(Some(y))) => broken.keep(dataset(path, ("x", x), ("y", y))),
        (Some(_), Some(_)) => broken.keep(Err(lacks())),
        _ => None,
    };
    let apart = match (broken.keep(x_test), broken.keep(y_test)) {
        (Some(Some(x)), Some(Some(y))) => broken.keep(dataset(path, ("x_test", x), ("y_test", y))),
        (Some(None), Some(None)) | (None, _) | (_, None) => None,
        _ => broken.keep(Err(half())),
    };
    let all = broken.end(all)?;
    let mut reading = Reading::default();
    let (train, test) = match apart {
        Some(test) if all.images.dims != test.images.dims => {
            return Err(Error::new(format!("x and x_test in {} differ in the size of their images", path.display())));
        }
        Some(test) => alike(path, all, test)?,
        None => {
            reading = Reading::cut(order);
            split::test_fifth(&all, order)
        }
    };
    Ok(Sets { train, valid: None, test, names: vec![], reading })
}

/// Brings both parts to numbers of one type and meaning, as every command reads arrays for weights: bytes are divided
/// where the numbers of the training part run from 0 to 1, and other numbers must look like those.
fn alike(path: &Path, train: Dataset, test: Dataset) -> Result<(Dataset, Dataset)> {
    let (learned, found) = (train.range(), test.range());
    let bytes = |set: &Dataset| matches!(set.images.pixels, Pixels::Bytes(_));
    let divisor = match learned.divisor().filter(|_| bytes(&test)) {
        Some(divisor) => divisor,
        None if let Some(help) = found.unlike(learned) => {
            let error = format!("in {} x holds numbers from {learned}, but x_test from {found}", path.display());
            return Err(Error::new(error).with_help(help));
        }
        None => 1.0,
    };
    Ok(match (bytes(&train), bytes(&test)) {
        (true, false) => (floats(train, 1.0), test),
        (false, true) => (train, floats(test, divisor)),
        _ => (train, test),
    })
}

/// The same images as floats, bytes divided.
fn floats(set: Dataset, divisor: f32) -> Dataset {
    let Pixels::Bytes(bytes) = &set.images.pixels else { return set };
    let pixels = Pixels::Floats(bytes.iter().map(|&v| f32::from(v) / divisor).collect());
    Dataset { images: Arc::new(Images { dims: set.images.dims, pixels }), ..set }
}

fn member(archive: &mut ZipArchive<File>, path: &Path, name: &str) -> Result<Option<Array>> {
    let file = format!("{name}.npy");
    let Some(index) = archive.index_for_name(&file) else {
        return Ok(None);
    };
    let at: PathBuf = path.join(&file);
    let entry = archive.by_index(index).map_err(|e| files::cut(path, &format!("{file}: {e}")))?;
    let (size, packed) = (entry.size(), entry.compressed_size());
    if size > CAP || size > packed.saturating_mul(RATIO).saturating_add(4096) {
        return Err(Error::new(format!("{} claims {size} bytes, packed into {packed}: too large", at.display())));
    }
    let mut bytes = Vec::new();
    entry.take(size + 1).read_to_end(&mut bytes).map_err(|e| files::broken(&at, &e))?;
    npy::parse(bytes, &at).map(Some)
}

fn dataset(path: &Path, (x_name, x): (&str, Array), (y_name, y): (&str, Array)) -> Result<Dataset> {
    let wrong = |detail: String| Error::new(format!("{}: {detail}", path.display()));
    // Without a channel they are grey, without height and width flat.
    let (count, [channels, height, width]) = match x.dims[..] {
        [n, c, h, w] => (n, [c, h, w]),
        [n, h, w] => (n, [1, h, w]),
        [n, size] => (n, [1, 1, size]),
        _ => return Err(wrong(format!("{x_name} has the shape {:?} instead of [N, C, H, W]", x.dims))),
    };
    if count == 0 || channels * height * width == 0 || u32::try_from(count).is_err() {
        return Err(wrong(format!("{x_name} has the shape {:?}: no images to train on", x.dims)));
    }
    let labels = labels::read(y_name, &y, count).map_err(|e| Error { message: wrong(e.message).message, ..e })?;
    let pixels = match range::numbers(x) {
        Values::Bytes(bytes) => Pixels::Bytes(bytes),
        Values::Floats(floats) => Pixels::Floats(floats),
    };
    let place = format!("`{x_name}` in {}", path.display());
    if let Pixels::Floats(values) = &pixels
        && let Some((at, what)) = first_broken(values)
    {
        let image = at / (channels * height * width);
        return Err(Error::new(format!("image {image} of {place} has a value that is {what}"))
            .with_help("leave it out, or put a number there: `x[~numpy.isfinite(x)] = 0`"));
    }
    let set = Dataset::new(Images { dims: [channels, height, width], pixels }, labels);
    Ok(Dataset { place: place.into(), ..set })
}
