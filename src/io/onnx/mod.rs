//! ONNX files, both ways.

mod axes;
pub mod error;
mod fold;
mod map;
#[allow(missing_docs, clippy::all)]
mod proto;
mod read;
mod write;

pub use write::{Export, OPSETS, export};

use super::Imported;
use super::sheet::Style;
use error::ImportError;
use read::Net;
use std::path::Path;

/// Translates the ONNX file at `path`, whose bytes these are. Values that lie beside it are read from its folder;
/// `open` are the sizes of an image, for files that leave them open.
pub fn import(bytes: Vec<u8>, path: &Path, open: Option<&[usize]>) -> Result<Imported, ImportError> {
    let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let mut net = Net::read(bytes, folder)?;
    net.sort()?;
    let ours = map::ours(&net);
    let sheet = map::map(&net, &path.file_stem().unwrap_or_default().to_string_lossy(), open)?;
    let metadata = std::mem::take(&mut net.metadata);
    drop(net);
    let input = sheet.layers.first().map(|layer| layer.dims.clone()).unwrap_or_default();
    Ok(Imported { written: sheet.write(if ours { Style::Plain } else { Style::Free }), input, metadata, notes: vec![] })
}
