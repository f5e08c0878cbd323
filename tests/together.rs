//! Broken arrays of one data set are named in one message, before anything is computed.

use crate::support::files::{archive, idx_bytes, mat_file, npy_bytes, write_mnist, zip_bytes};
use ninc_runtime::data::{Sets, load};
use ninc_runtime::spec::{DataSpec, Source};
use std::fs;
use std::path::Path;

/// The data are refused; every one of `says` has a line of its own.
fn refused(source: Source, path: &Path, input: &[usize], says: &[&str]) {
    let error = load(&DataSpec::of(source), Some(path), input).map(|_: Sets| ()).expect_err("broken");
    let lines: Vec<&str> = match error.message.split_once(" parts of the data cannot be read:\n") {
        Some((count, list)) => {
            assert_eq!(count, says.len().to_string(), "{error}");
            list.lines().collect()
        }
        None => vec![&error.message],
    };
    assert_eq!(lines.len(), says.len(), "{error}");
    lines.iter().zip(says).for_each(|(line, says)| assert!(line.contains(says), "`{says}`: {error}"));
    assert!(error.help.is_some() || says.len() == 1, "{error}");
}

#[test]
fn idx_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    write_mnist(root);
    let file = |name: &str| root.join(name);
    let bad = |says: &[&str]| refused(Source::Mnist, root, &[1, 2, 3], says);
    fs::write(file("train-images-idx3-ubyte"), idx_bytes(&[6, 2, 3], &[1; 35])).expect("written");
    bad(&["train-images-idx3-ubyte is damaged or cut short: 36 bytes were expected where it has 35"]);
    fs::write(file("train-labels-idx1-ubyte"), [0; 20]).expect("written");
    fs::write(file("t10k-images-idx3-ubyte"), [0x1f, 0x8b, 8, 0, 1]).expect("written");
    bad(&["train-images", "train-labels-idx1-ubyte is not an IDX file of bytes", "t10k-images-idx3-ubyte is damaged"]);
    fs::remove_file(file("t10k-labels-idx1-ubyte")).expect("removed");
    bad(&["train-images", "train-labels", "t10k-images", "lacks t10k-labels-idx1-ubyte(.gz)"]);
    // Two parts of which each has as many labels as another set's.
    write_mnist(root);
    fs::write(file("train-labels-idx1-ubyte"), idx_bytes(&[3], &[0; 3])).expect("written");
    fs::write(file("t10k-labels-idx1-ubyte"), idx_bytes(&[6], &[0; 6])).expect("written");
    bad(&["has 6 images, but", "has 3 images, but"]);
}

#[test]
fn cifar_in_folders_and_archives() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let record = |label: u8| [&[label][..], &[7; 3072]].concat();
    let names = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
    for name in names {
        fs::write(root.join(format!("{name}.bin")), record(1)).expect("written");
    }
    let bad = |path: &Path, says: &[&str]| refused(Source::Cifar10, path, &[3, 32, 32], says);
    fs::write(root.join("data_batch_2.bin"), &record(1)[1..]).expect("written");
    fs::remove_file(root.join("data_batch_4.bin")).expect("removed");
    fs::write(root.join("test_batch.bin"), [record(3), record(10)].concat()).expect("written");
    bad(root, &["data_batch_2.bin is damaged or cut short: 3072 bytes", "data_batch_4.bin", "label 10 of 10 classes"]);

    let member = |name: &str, bytes: Vec<u8>| (format!("cifar-10-batches-bin/{name}.bin"), bytes);
    let mut members: Vec<(String, Vec<u8>)> = names.map(|name| member(name, record(2))).into();
    (members[0].1, members[5].1) = (record(99), vec![1; 5]);
    let write = |members: &[(String, Vec<u8>)]| {
        let members: Vec<(&str, &[u8])> =
            members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        fs::write(root.join("c.tar"), archive(&members)).expect("written");
    };
    write(&members);
    bad(&root.join("c.tar"), &["label 99 of 10 classes", "test_batch.bin is damaged or cut short: 5 bytes"]);
    write(&members[2..5]);
    bad(
        &root.join("c.tar"),
        &["data_batch_1.bin, cifar-10-batches-bin/data_batch_2.bin, cifar-10-batches-bin/test_batch"],
    );
}

#[test]
fn mat_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let bad = |extra: bool, says: &[&str]| refused(Source::Svhn { extra }, root, &[3, 32, 32], says);
    let good = mat_file(&[1, 2]);
    fs::write(root.join("train_32x32.mat"), &good[..good.len() - 100]).expect("written");
    fs::write(root.join("test_32x32.mat"), &good[..60]).expect("written");
    bad(false, &["train_32x32.mat is damaged or cut short", "test_32x32.mat is damaged or cut short: 128 bytes"]);
    bad(true, &["train_32x32.mat", "holds no extra_32x32.mat", "test_32x32.mat"]);
    fs::write(root.join("train_32x32.mat"), &good).expect("written");
    fs::write(root.join("extra_32x32.mat"), mat_file(&[12])).expect("written");
    bad(true, &["extra_32x32.mat has the label 12", "test_32x32.mat"]);
}

#[test]
fn arrays_of_an_archive() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("d.npz");
    let x = npy_bytes("|u1", "(5, 1, 2, 2)", &[9; 20]);
    let y = npy_bytes("|u1", "(5,)", &[0, 1, 0, 1, 0]);
    let text = |text: &str| text.as_bytes().to_vec();
    let bad = |members: [Vec<u8>; 4], says: &[&str]| {
        let names = ["x.npy", "y.npy", "x_test.npy", "y_test.npy"];
        let members: Vec<(&str, Vec<u8>)> = names.into_iter().zip(members).collect();
        fs::write(&path, zip_bytes(&members)).expect("written");
        refused(Source::Npz, &path, &[1, 2, 2], says);
    };
    bad([x[..x.len() - 1].to_vec(), text("no array"), x.clone(), y.clone()], &["x.npy is not", "y.npy is not"]);
    bad([x.clone(), text(""), x.clone(), npy_bytes("|O", "(5,)", &[0; 40])], &["y.npy", "y_test.npy"]);
    let three = npy_bytes("|u1", "(3,)", &[0, 1, 0]);
    bad([x.clone(), three.clone(), x.clone(), three], &["d.npz: y", "d.npz: y_test"]);
    bad(
        [x.clone(), y.clone(), x[..30].to_vec(), y],
        &["x_test.npy is not a valid .npy array: its header is cut short"],
    );
}
