//! Files that are given as weights and are something else: known by their first bytes, with the way to safetensors.

use crate::Error;
use std::io::Cursor;
use std::path::Path;
use zip::ZipArchive;

/// What a file is, and what to do with it.
struct Kind {
    what: &'static str,
    help: &'static str,
}

const TORCH: &str = "save its tensors as safetensors: `python3 -c \"import torch; from safetensors.torch import \
    save_file; d = torch.load('FILE', map_location='cpu', weights_only=True); save_file({k: v.contiguous() for k, v in \
    d.items()}, 'FILE.safetensors')\"` (of a training's checkpoint, its `state_dict` or `model`)";
const KERAS: &str = "Keras itself converts it, in Python (of `.weights.h5`, build the model and `load_weights`):\n\
    import keras, numpy; from safetensors.numpy import save_file; model = keras.saving.load_model('FILE'); names = \
    dict(kernel='weight', gamma='weight', alpha='weight', beta='bias', moving_mean='running_mean', \
    moving_variance='running_var'); axes = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}\n\
    turned = lambda l, v: v.reshape(-1) if v.ndim == 3 else v.reshape(*v.shape[:2], 1, -1).transpose(axes[4]) if \
    'Depthwise' in type(l).__name__ and v.ndim == 4 else v.transpose(axes[v.ndim])\n\
    save_file({l.name + '.' + names.get(v.name, v.name): numpy.ascontiguousarray(turned(l, numpy.array(v))) for l in \
    model.layers for v in l.weights}, 'FILE.safetensors')\n\
    rows of a Dense behind a Flatten stay in the order of row, column, channel, where `flatten` has channel, row, \
    column: such networks come in as ONNX";
const NUMPY: &str = "save its arrays as safetensors: `python3 -c \"import numpy; from safetensors.numpy import \
    save_file; save_file({k: numpy.ascontiguousarray(v) for k, v in numpy.load('FILE').items()}, \
    'FILE.safetensors')\"`";
const ONNX: &str = "`ninc import NAME.onnx -o NAME.nin` makes a model file and weights of it; its tensors alone would \
    mean nothing, for exporters fold batch normalisation into them";
const AGAIN: &str = "get the file itself again: the download gave a page, perhaps because it asks for a login";

/// The error for a file that is not a safetensors file, where its first bytes or its name tell what it is.
pub fn recognise(path: &Path, bytes: &[u8]) -> Option<Error> {
    let kind = archive(bytes).or_else(|| by_start(bytes)).or_else(|| by_ending(path, bytes))?;
    let error = Error::new(format!("{} is {}, not a safetensors file", path.display(), kind.what));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Some(error.with_help(kind.help.replace("FILE", &name)))
}

/// Tells what a Zip archive is by what is in it.
fn archive(bytes: &[u8]) -> Option<Kind> {
    if !bytes.starts_with(b"PK\x03\x04") {
        return None;
    }
    let names: Vec<String> = match ZipArchive::new(Cursor::new(bytes)) {
        Ok(archive) => archive.file_names().flatten().map(|name| name.into_owned()).collect(),
        Err(_) => return Some(Kind { what: "a zip archive that is damaged or cut short", help: "get the file again" }),
    };
    let any = |ending: &str| names.iter().any(|name| name.ends_with(ending));
    Some(match () {
        () if any("data.pkl") => Kind { what: "a PyTorch file (a zip archive with a pickle)", help: TORCH },
        () if any("model.weights.h5") => Kind { what: "a Keras model (a zip archive with an HDF5 file)", help: KERAS },
        () if any(".npy") => Kind { what: "an .npz archive of NumPy arrays", help: NUMPY },
        () => Kind { what: "a zip archive", help: "unpack it, and give the .safetensors file in it" },
    })
}

fn by_start(bytes: &[u8]) -> Option<Kind> {
    let text = bytes.trim_ascii_start();
    let begins = |start: &[u8]| text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start));
    Some(match bytes {
        [] => Kind { what: "an empty file", help: "get the file again" },
        // Pickle protocols 2 to 5; PyTorch's old format is protocol 2.
        [0x80, 2..=5, ..] => Kind { what: "a pickle, as PyTorch wrote it before version 1.6", help: TORCH },
        [0x89, b'H', b'D', b'F', ..] => Kind { what: "an HDF5 file (.h5), as Keras writes it", help: KERAS },
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Kind { what: "a NumPy array (.npy)", help: NUMPY },
        [b'G', b'G', b'U', b'F', ..] => {
            Kind { what: "a GGUF file", help: "take the weights in their form before the conversion to GGUF" }
        }
        [0x1f, 0x8b, ..] => Kind { what: "compressed with gzip", help: "unpack it first: `gunzip FILE`" },
        _ if begins(b"<!doctype html") || begins(b"<html") => Kind { what: "a web page (HTML)", help: AGAIN },
        _ if begins(b"version https://git-lfs") => Kind {
            what: "a Git LFS pointer, which stands for a file that was not fetched",
            help: "fetch the file in its repository: `git lfs pull`",
        },
        _ => return None,
    })
}

/// Tells what a file is by its name, or by the first fields of a protocol buffer, which does not say what it is.
fn by_ending(path: &Path, bytes: &[u8]) -> Option<Kind> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let onnx = Kind { what: "an ONNX model", help: ONNX };
    match (ending.as_str(), bytes) {
        ("onnx", _) => Some(onnx),
        ("pth" | "pt" | "pkl" | "pickle", _) => Some(Kind { what: "a damaged PyTorch file or pickle", help: TORCH }),
        ("h5" | "hdf5" | "keras", _) => Some(Kind { what: "a damaged Keras file", help: KERAS }),
        // The version of ONNX's format, then the exporter's name, or the graph.
        (_, [0x08, 1..=20, 0x12 | 0x3a, ..]) => Some(onnx),
        ("nin", _) => {
            Some(Kind { what: "a model file", help: "the weights are the .safetensors file that `ninc train` writes" })
        }
        _ => None,
    }
}
