//! Weights of other programs.

use super::{BESIDE, ForeignOptions, failure, has_weights, is, is_archive, is_caffe_weights, read};
use crate::cli::output::{self, Done};
use ninc::io::caffe::{self, CaffeWeights, Channels};
use ninc::io::torch::{self, StateDict, TorchError};
use ninc_runtime::Error;
use ninc_runtime::data::files;
use ninc_runtime::foreign::recognise;
use ninc_runtime::store;
use ninc_runtime::weights::{Weights, few};
use std::path::Path;

/// Reads weights in any form that is known: ours, another program's safetensors, a whole network, or those of PyTorch
/// and Caffe.
pub fn any_weights(path: &Path, options: &ForeignOptions) -> Done<Weights> {
    if is_caffe_weights(path) {
        return Ok(Weights { tensors: of_caffe(path, options.order())?.tensors, ..Weights::default() });
    }
    if is(path) {
        return weights(path, options);
    }
    match of_torch(path)? {
        Some(StateDict { tensors, others, .. }) => Ok(Weights { tensors, others, ..Weights::default() }),
        None => Ok(Weights::read(path)?),
    }
}

/// Reads weights of Caffe, and says which were turned.
fn of_caffe(path: &Path, order: Channels) -> Done<CaffeWeights> {
    let bytes = files::read(path, store::CAP)?;
    let read = caffe::weights(bytes, order).map_err(|e| failure(path, e))?;
    if !read.turned.is_empty() {
        let names: Vec<&str> = read.turned.iter().map(String::as_str).collect();
        output::note_once(&format!(
            "note: weights of {} that read colours are turned from Caffe's blue, green, red to red, green, blue: {}",
            path.display(),
            few(&names)
        ));
    }
    Ok(read)
}

/// Reads a file of PyTorch; `None` where it is something else.
pub fn of_torch(path: &Path) -> Done<Option<StateDict>> {
    if !is_archive(path) {
        return Ok(None);
    }
    let bytes = files::read(path, store::CAP)?;
    if !torch::is_torch(&bytes) {
        return Ok(None);
    }
    let error = |e: TorchError| {
        let known = recognise(path, &bytes).unwrap_or_else(|| Error::new(path.display().to_string()));
        let help = match e {
            // What reads tensors by name reads no more than we do.
            TorchError::Contents(_) => {
                Some("`torch.save(net.state_dict(), 'NAME.pth')` writes its tensors by name".into())
            }
            _ => known.help,
        };
        Error { message: format!("{}, and its tensors cannot be read: {e}", known.message), help }
    };
    Ok(Some(torch::read(&bytes).map_err(error)?))
}

/// Returns the weights of a network of another program.
fn weights(path: &Path, options: &ForeignOptions) -> Done<Weights> {
    if !has_weights(path) {
        let error = Error::new(format!("{} is a network of Caffe without its weights", path.display()));
        return Err(error.with_help(BESIDE).into());
    }
    let foreign = read(path, options, None)?;
    let (tensors, classes, formats) = (foreign.tensors.clone(), foreign.classes.clone(), foreign.formats.clone());
    Ok(Weights { tensors, classes, formats, ..Weights::default() })
}
