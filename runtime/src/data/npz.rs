//! `.npz` archives: as data `x` [N, C, H, W] and `y` (labels), `x_test` and `y_test`, `x_valid` and `y_valid` if there
//! are; or any arrays by name.

use super::range;
use super::reading::Reading;
use super::split::{self, Order};
use super::together::Broken;
use super::{Dataset, Images, Pixels, Sets, Values, files, labels};
use crate::finite::first_broken;
use crate::npy::{self, Array};
use crate::{Error, Result, Tensor};
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
    let mut archive = open(path)?;
    let mut broken = Broken::default();
    let parts = ["", "_valid", "_test"].map(|part| pair(&mut archive, path, part, &mut broken));
    let names: Vec<String> = archive.file_names().flatten().map(|n| n.into_owned()).collect();
    let [all, valid, test] = parts;
    let all = broken.end(Some(all))?.ok_or_else(|| {
        Error::new(format!("{} lacks the arrays x and y: it has {}", path.display(), names.join(", ")))
            .with_help("write it with `numpy.savez(FILE, x=images, y=labels)`")
    })?;
    for (part, set) in [("valid", &valid), ("test", &test)] {
        if set.as_ref().is_some_and(|set| set.images.dims != all.images.dims) {
            let message = format!("x and x_{part} in {} differ in the size of their images", path.display());
            return Err(Error::new(message));
        }
    }
    let (all, [valid, test]) = alike(all, [valid, test])?;
    let mut reading = Reading::default();
    // As of folders: a part for validation alone is the one that is tested.
    let (train, valid, test) = match (valid, test) {
        (valid, Some(test)) => (all, valid, test),
        (Some(test), None) => (all, None, test),
        (None, None) => {
            reading = Reading::cut(order);
            let (train, test) = split::test_fifth(&all, order);
            (train, None, test)
        }
    };
    Ok(Sets { train, valid, test, names: vec![], reading })
}

/// Reads all arrays, in the file's order, as float32.
pub fn arrays(path: &Path) -> Result<Vec<(String, Tensor)>> {
    files::exists(path)?;
    let mut archive = open(path)?;
    let names: Vec<String> = archive.file_names().flatten().map(|name| name.into_owned()).collect();
    let one = |name: String| {
        let stem = name.strip_suffix(".npy").map(str::to_string);
        let stem = stem.ok_or_else(|| Error::new(format!("{} in {} is not an array", name, path.display())))?;
        let array = member(&mut archive, path, &stem)?;
        let array = array.ok_or_else(|| files::cut(path, &format!("{name} cannot be found")))?;
        Ok((stem, Tensor::new(&array.dims, array.floats())?))
    };
    names.into_iter().map(one).collect()
}

fn open(path: &Path) -> Result<ZipArchive<File>> {
    ZipArchive::new(files::open(path)?).map_err(|e| {
        Error::new(format!("{} is not an .npz archive: {e}", path.display())).with_help("write it with `numpy.savez`")
    })
}

/// Reads images and labels of a part, `x` and `y` with this behind them; `None` where there are none, or where they are
/// broken, which is kept.
fn pair(archive: &mut ZipArchive<File>, path: &Path, part: &str, broken: &mut Broken) -> Option<Dataset> {
    let [x_name, y_name] = ["x", "y"].map(|array| format!("{array}{part}"));
    let (x, y) = (broken.keep(member(archive, path, &x_name)), broken.keep(member(archive, path, &y_name)));
    match (x?, y?) {
        (Some(x), Some(y)) => broken.keep(dataset(path, (&x_name, x), (&y_name, y))),
        (None, None) => None,
        _ if part.is_empty() => None,
        _ => broken.keep(Err(Error::new(format!("{} has only one of {x_name} and {y_name}", path.display())))),
    }
}

/// Brings other parts to numbers of the type and meaning of the training part, as every command reads arrays for
/// weights: bytes are divided where the numbers of the training part run from 0 to 1, and other numbers must look like
/// those.
fn alike<const N: usize>(train: Dataset, others: [Option<Dataset>; N]) -> Result<(Dataset, [Option<Dataset>; N])> {
    let learned = train.range();
    let bytes = |set: &Dataset| matches!(set.images.pixels, Pixels::Bytes(_));
    for set in others.iter().flatten().filter(|set| learned.divisor().is_none() || !bytes(set)) {
        let found = set.range();
        if let Some(help) = found.unlike(learned) {
            return Err(
                Error::new(format!("{} holds numbers from {found}, but x from {learned}", set.place)).with_help(help)
            );
        }
    }
    if others.iter().flatten().all(|set| bytes(set) == bytes(&train)) {
        return Ok((train, others));
    }
    let divisor = learned.divisor().unwrap_or(1.0);
    Ok((floats(train, 1.0), others.map(|set| set.map(|set| floats(set, divisor)))))
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
