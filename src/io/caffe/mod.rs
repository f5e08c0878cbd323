//! Networks of Caffe: `.prototxt`, and the weights that lie beside them, `.caffemodel`.

mod colours;
mod input;
mod map;
mod net;
#[allow(missing_docs, clippy::all)]
mod proto;
mod read;
mod text;
mod weights;

pub use weights::{CaffeWeights, weights};

use super::Imported;
use super::error::ImportError;
use super::sheet::Style;
use net::Net;
use std::collections::BTreeMap;
use std::path::Path;

/// The key under which the preparation of a data layer stands among a file's texts.
pub const PREPARE: &str = "ninc.prepare";

/// The order of an image's colours in a network of Caffe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channels {
    /// Blue, green, red, as its tools read pictures: weights are turned, for pictures are red, green, blue here.
    #[default]
    Bgr,
    /// Red, green, blue: weights stay as they are.
    Rgb,
}

/// Translates the `.prototxt` at `path`, whose bytes these are; `open` are the sizes of an image, for files that leave
/// them open. Its tensors are only those that are no weights of the file: fixed numbers.
pub fn import(bytes: &[u8], path: &Path, open: Option<&[usize]>, channels: Channels) -> Result<Imported, ImportError> {
    let net = Net::of_text(bytes)?.for_use();
    let made = map::map(&net, &path.file_stem().unwrap_or_default().to_string_lossy(), open, channels)?;
    let metadata: BTreeMap<String, String> =
        made.input.prepare.into_iter().map(|list| (PREPARE.to_string(), list)).collect();
    let input = made.sheet.layers[0].dims.clone();
    Ok(Imported { written: made.sheet.write(Style::Named), input, metadata, notes: made.notes })
}
