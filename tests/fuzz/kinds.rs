//! The kinds of files, and what reads them.

use super::mutate;
use image::{ImageDecoder, ImageReader, Limits};
use ninc::front;
use ninc::io::Imported;
use ninc::io::caffe::{self, Channels};
use ninc::io::onnx;
use ninc::io::torch;
use ninc_runtime::checkpoint::{Checkpoint, Origin};
use ninc_runtime::data::look::Look;
use ninc_runtime::data::{self, cifar, idx, mat, tar};
use ninc_runtime::image as picture;
use ninc_runtime::npy;
use ninc_runtime::spec::{DataSpec, Pictures, Resize, Source};
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Result};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// A kind of file.
pub struct Kind {
    pub name: &'static str,
    /// Reads bytes as the commands would; the folder is for files, the number to vary how they are read.
    pub read: fn(&[u8], &Path, u64) -> Result<()>,
    /// Bytes of what the header declares, decoded; at least those that are there.
    pub decoded: fn(&[u8]) -> usize,
    /// Puts right checksums in.
    pub mend: fn(&mut [u8]),
}

const fn pictures(name: &'static str, mend: fn(&mut [u8])) -> Kind {
    Kind { name, read: a_picture, decoded: picture_size, mend }
}

const fn other(name: &'static str, read: fn(&[u8], &Path, u64) -> Result<()>, mend: fn(&mut [u8])) -> Kind {
    Kind { name, read, decoded: |bytes| bytes.len(), mend }
}

/// All of them.
pub const KINDS: [Kind; 19] = [
    pictures("png", mutate::png),
    pictures("jpeg", mutate::nothing),
    pictures("gif", mutate::nothing),
    pictures("webp", mutate::nothing),
    pictures("bmp", mutate::nothing),
    pictures("tiff", mutate::nothing),
    pictures("qoi", mutate::nothing),
    other("npy", |bytes, place, _| npy::read(&file(bytes, place, "input.npy")).map(|_| ()), mutate::nothing),
    other("npz", an_archive, mutate::zip),
    other("idx", an_idx, mutate::nothing),
    other("cifar", a_cifar, mutate::nothing),
    other("mat", |bytes, place, _| mat::read(&file(bytes, place, "input.mat")).map(|_| ()), mutate::nothing),
    other("safetensors", weights, mutate::store),
    other("checkpoint", a_checkpoint, mutate::store),
    other("tar", a_tar, mutate::tar),
    other("onnx", a_network, mutate::nothing),
    other("prototxt", a_text, mutate::nothing),
    other("caffemodel", |bytes, _, _| caffe_weights(bytes), mutate::nothing),
    other("torch", |bytes, _, _| torch::read(bytes).map(|_| ()).map_err(|e| Error::new(e.to_string())), mutate::zip),
];

fn file(bytes: &[u8], place: &Path, name: &str) -> PathBuf {
    let path = place.join(name);
    fs::write(&path, bytes).expect("written");
    path
}

fn a_picture(bytes: &[u8], place: &Path, number: u64) -> Result<()> {
    let path = file(bytes, place, "input");
    // What training looks at before its first step must be no less robust.
    let _ = picture::look(&path, [Look::Heads, Look::Contents][number as usize / 2 % 2]);
    let (dims, resize) = [([3, 8, 8], Resize::Stretch), ([1, 6, 5], Resize::Crop)][number as usize % 2];
    let read = picture::picture(&path, dims, &Pictures { resize, ..Pictures::default() })?;
    assert_eq!(read.len(), dims.iter().product::<usize>());
    Ok(())
}

/// What the decoder's own look at the header says.
fn picture_size(bytes: &[u8]) -> usize {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().expect("memory");
    let decoder = reader.into_decoder().and_then(|mut decoder| {
        decoder.set_limits(Limits::no_limits())?;
        Ok(decoder.total_bytes())
    });
    decoder.unwrap_or(0) as usize
}

fn an_archive(bytes: &[u8], place: &Path, _: u64) -> Result<()> {
    let sets = data::load(&DataSpec::of(Source::Npz), Some(&file(bytes, place, "input.npz")), &[1, 2, 2])?;
    sets.train.check("training", &[1, 2, 2], 3)
}

fn an_idx(bytes: &[u8], place: &Path, number: u64) -> Result<()> {
    idx::read(&file(bytes, place, "input"), 1 + number as usize % 3).map(|_| ())
}

fn a_cifar(bytes: &[u8], place: &Path, _: u64) -> Result<()> {
    let place = place.join("cifar");
    if !place.is_dir() {
        fs::create_dir(&place).expect("made");
        fs::write(place.join("train.bin"), [1; 3074]).expect("written");
    }
    fs::write(place.join("test.bin"), bytes).expect("written");
    cifar::load(&place, &cifar::CIFAR100).map(|_| ())
}

fn weights(bytes: &[u8], place: &Path, _: u64) -> Result<()> {
    Weights::read(&file(bytes, place, "input.safetensors")).map(|_| ())
}

fn a_checkpoint(bytes: &[u8], place: &Path, _: u64) -> Result<()> {
    let path = file(bytes, place, "input.checkpoint");
    let origin = Origin::read(&path);
    let checkpoint = Checkpoint::read(&path)?;
    assert!(origin.is_ok_and(|origin| origin.of(&checkpoint)), "the head says what the whole says");
    Ok(())
}

fn a_network(bytes: &[u8], place: &Path, _: u64) -> Result<()> {
    let values = place.join("external.bin");
    if !values.exists() {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx/external.bin"), values).expect("copied");
    }
    let imported =
        onnx::import(bytes.to_vec(), &place.join("net.onnx"), None).map_err(|e| Error::new(e.to_string()))?;
    a_model(&imported)
}

fn a_text(bytes: &[u8], place: &Path, _: u64) -> Result<()> {
    let imported = caffe::import(bytes, &place.join("net.prototxt"), None, Channels::Bgr);
    a_model(&imported.map_err(|e| Error::new(e.to_string()))?)
}

fn caffe_weights(bytes: &[u8]) -> Result<()> {
    caffe::weights(bytes.to_vec(), Channels::Bgr).map(|_| ()).map_err(|e| Error::new(e.to_string()))
}

/// What a network of another program became must be a text, and may be a model.
fn a_model(imported: &Imported) -> Result<()> {
    let text = front::format(&imported.written.text).expect("a text of the language");
    match front::load(&text, "net", &[]) {
        (Some(_), _) => Ok(()),
        (None, wrong) => Err(Error::new(format!("{wrong:?}"))),
    }
}

fn a_tar(bytes: &[u8], place: &Path, _: u64) -> Result<()> {
    let wanted = ["a/first.bin".to_string(), "a/second.bin".into()];
    let found = tar::members(&file(bytes, place, "input.tar"), &wanted, 1 << 28)?;
    assert_eq!(found.len(), 2);
    Ok(())
}
