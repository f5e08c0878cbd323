//! Weights and checkpoints: round trips, and what damaged or wrong files give.

use crate::support::files::folder;
use ninc_runtime::checkpoint::{Checkpoint, Identity};
use ninc_runtime::init::{Init, Parameter};
use ninc_runtime::store::{Disk, Store, System};
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Tensor};
use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::path::Path;

pub fn checkpoint(step: u64) -> Checkpoint {
    let identity = Identity {
        version: "1".into(),
        network: "n".into(),
        data: "d".into(),
        pipeline: "p".into(),
        recipe: "r".into(),
        seed: 1,
        batch: 2,
    };
    let tensor = |scale: f32| Tensor::new(&[2, 3], (0..6).map(|i| i as f32 * scale).collect()).expect("fits");
    let tensors = [("a.weight", 0.1), ("b.velocity", step as f32)].map(|(n, s)| (n.to_string(), tensor(s)));
    let cursor = ninc_runtime::train::state::Cursor { step, ..Default::default() };
    let (origin, tensors) = (String::new(), tensors.into());
    Checkpoint { identity, origin, compiled_for: None, classes: None, cursor, tensors }
}

#[test]
fn every_flipped_or_missing_byte_of_a_checkpoint_is_found() {
    let folder = folder();
    let path = folder.path().join("c.checkpoint");
    checkpoint(5).write(&path, &System).expect("written");
    assert_eq!(Checkpoint::read(&path).expect("reads"), checkpoint(5));
    let whole = fs::read(&path).expect("there");
    // Any reader of the format takes the file.
    safetensors::SafeTensors::deserialize(&whole).expect("plain safetensors");
    for at in 0..whole.len() {
        Store::from_bytes(&whole[..at], &path, true).expect_err("cut");
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            let read = Store::from_bytes(&flipped, &path, true);
            assert!(read.is_err(), "bit {bit} of byte {at} flipped unseen");
        }
    }
}

#[test]
fn equal_contents_make_equal_files() {
    let bytes = |c: Checkpoint| {
        let folder = folder();
        c.write(&folder.path().join("c"), &System).expect("written");
        fs::read(folder.path().join("c")).expect("there")
    };
    assert_eq!(bytes(checkpoint(5)), bytes(checkpoint(5)));
    assert_ne!(bytes(checkpoint(5)), bytes(checkpoint(6)));
}

/// Fails at the k-th operation and at all later ones.
struct Failing {
    left: Cell<usize>,
}

impl Failing {
    fn go(&self) -> io::Result<()> {
        match self.left.get() {
            0 => Err(io::Error::from(io::ErrorKind::StorageFull)),
            n => {
                self.left.set(n - 1);
                Ok(())
            }
        }
    }
}

impl Disk for Failing {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.go().and_then(|()| System.create(path))
    }
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if self.go().is_err() {
            // A disk that fills up takes a part.
            System.write(file, &bytes[..bytes.len() / 2])?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        System.write(file, bytes)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        self.go().and_then(|()| System.sync(file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.go().and_then(|()| System.rename(from, to))
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.go().and_then(|()| System.sync_folder(folder))
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.go().and_then(|()| System.link(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.go().and_then(|()| System.remove(path))
    }
}

#[test]
fn a_save_that_fails_anywhere_leaves_the_old_or_the_new_checkpoint() {
    let folder = folder();
    let path = folder.path().join("c.checkpoint");
    checkpoint(1).write(&path, &System).expect("written");
    let mut failures = 0;
    for k in 0.. {
        let done: Result<(), Error> = checkpoint(2).write(&path, &Failing { left: Cell::new(k) });
        let there = Checkpoint::read(&path).expect("whole").cursor.step;
        match done {
            Ok(()) => {
                assert_eq!(there, 2);
                break;
            }
            Err(e) => {
                failures += 1;
                assert!(e.message.contains("c.checkpoint"), "{e}");
                // Only the sync of the folder comes after the rename.
                assert!(there == 1 || k == 4, "{there} after {k} operations");
            }
        }
    }
    assert_eq!(failures, 5);
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1, "no temporary files stay");
}

#[test]
fn a_changed_run_does_not_resume() {
    let saved = checkpoint(3);
    let path = Path::new("c.checkpoint");
    saved.check(&saved.identity, path).expect("the same");
    let changes: [(&str, fn(&mut Identity)); 6] = [
        ("network", |i| i.network = "other".into()),
        ("data", |i| i.data = "other".into()),
        ("seed", |i| i.seed = 9),
        ("batch", |i| i.batch = 9),
        ("version", |i| i.version = "9".into()),
        ("recipe", |i| i.recipe = "other".into()),
    ];
    for (word, change) in changes {
        let mut now = saved.identity.clone();
        change(&mut now);
        let error = saved.check(&now, path).expect_err(word);
        assert!(error.message.contains(word), "{error}");
    }
}

#[test]
fn weights_of_another_network() {
    let parameter =
        |name: &str, dims: &[usize]| Parameter { name: name.into(), dims: dims.to_vec(), init: Init::He, state: false };
    let tensors = [("conv1.weights".to_string(), Tensor::zeros(&[2, 2])), ("fc.bias".to_string(), Tensor::zeros(&[3]))];
    let weights = Weights { tensors: tensors.into(), ..Weights::default() };
    let path = Path::new("w.safetensors");
    let error =
        weights.check(&[parameter("conv1.weight", &[2, 2]), parameter("fc.bias", &[3])], path).expect_err("names");
    assert!(error.message.contains("missing: `conv1.weight`") && error.help.expect("hint").contains("conv1.weights"));
    let error =
        weights.check(&[parameter("conv1.weights", &[2, 2]), parameter("fc.bias", &[4])], path).expect_err("shape");
    assert!(error.message.contains("[3]") && error.message.contains("[4]"), "{error}");
}
