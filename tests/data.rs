//! Data readers, weights and checkpoints: round trips, and what damaged or wrong files give.

use crate::support::training::compile;
use ninc_runtime::checkpoint::{Checkpoint, Identity};
use ninc_runtime::data::cache;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::data::preparer::Preparer;
use ninc_runtime::data::{Dataset, Images, Pixels, digits, idx, load, tar};
use ninc_runtime::init::{Init, Parameter};
use ninc_runtime::npy;
use ninc_runtime::philox::Stream;
use ninc_runtime::plan::DType;
use ninc_runtime::spec::{DataSpec, Prepare, Resize, Source};
use ninc_runtime::store::{Disk, Store, System};
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Tensor};
use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder for temporary files")
}

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is missing", path.display());
    }
    path.exists().then_some(path)
}

/// An IDX file of bytes.
pub fn idx_bytes(dims: &[u32], contents: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend(contents);
    bytes
}

pub fn write_mnist(folder: &Path) {
    for (part, count) in [("train", 6u32), ("t10k", 3)] {
        let pixels: Vec<u8> = (0..count * 6).map(|v| v as u8).collect();
        let labels: Vec<u8> = (0..count).map(|v| (v % 10) as u8).collect();
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), idx_bytes(&[count, 2, 3], &pixels))
            .expect("written");
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), idx_bytes(&[count], &labels)).expect("written");
    }
}

#[test]
fn idx_files_are_read_and_every_cut_is_noticed() {
    let folder = folder();
    write_mnist(folder.path());
    let sets = load(&DataSpec::of(Source::Mnist), Some(folder.path()), &[1, 2, 3]).expect("reads");
    assert_eq!((sets.train.len(), sets.test.len(), sets.train.images.dims), (6, 3, [1, 2, 3]));
    let mut image = [0.0; 6];
    sets.train.copy(1, &mut image).expect("in memory");
    assert_eq!(image, [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);

    let path = folder.path().join("train-images-idx3-ubyte");
    let whole = fs::read(&path).expect("there");
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).expect("written");
        let error = idx::read(&path, 3).expect_err("cut");
        assert!(error.message.contains("train-images"), "{error}");
    }
    let longer = [&whole[..], &[0]].concat();
    fs::write(&path, longer).expect("written");
    assert!(idx::read(&path, 3).expect_err("too long").message.contains("more bytes"));
    // A header that claims 2^96 pixels takes no memory.
    fs::write(&path, idx_bytes(&[u32::MAX; 3], &[])).expect("written");
    assert!(idx::read(&path, 3).expect_err("huge").message.contains("too large"));
}

#[test]
fn missing_data_says_where_it_was_looked_for() {
    let folder = folder();
    for source in [Source::Mnist, Source::Cifar10, Source::Cifar100, Source::Svhn { extra: false }] {
        let error = load(&DataSpec::of(source.clone()), Some(folder.path()), &[3, 32, 32]).expect_err("empty folder");
        assert!(error.message.contains(&folder.path().display().to_string()) && error.help.is_some(), "{error}");
        let error = load(&DataSpec::of(source), None, &[3, 32, 32]).expect_err("no path");
        assert!(error.help.expect("a way out").contains("--data"));
    }
}

/// A tar archive with these members, as GNU tar writes it.
pub fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    members.iter().for_each(|(name, contents)| member(&mut bytes, b'0', name, contents));
    bytes.extend([0; 1024]);
    bytes
}

/// A header of this kind and what lies behind it.
fn member(bytes: &mut Vec<u8>, kind: u8, name: &str, contents: &[u8]) {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar  \0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes.extend(header);
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

/// A line of a PAX extension: its own length, counted with its digits, then the key and the value.
fn pax(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let digits = (1..4).find(|d| (rest.len() + d).to_string().len() == *d).expect("short");
    format!("{}{rest}", rest.len() + digits)
}

#[test]
fn long_names_in_archives_are_read() {
    let folder = folder();
    let path = folder.path().join("long.tar");
    let [gnu, posix] = ["g", "p"].map(|letter| format!("./{}/data.bin", letter.repeat(120)));
    let mut bytes = Vec::new();
    member(&mut bytes, b'L', "././@LongLink", format!("{gnu}\0").as_bytes());
    member(&mut bytes, b'0', "cut name", b"one");
    member(&mut bytes, b'x', "PaxHeaders/data.bin", (pax("mtime", "1.5") + &pax("path", &posix)).as_bytes());
    member(&mut bytes, b'0', "cut name", b"two");
    member(&mut bytes, b'0', "short", b"three");
    fs::write(&path, [&bytes[..], &[0; 1024]].concat()).expect("written");
    let wanted = [gnu[2..].to_string(), posix[2..].to_string(), "short".to_string()];
    let found = tar::members(&path, &wanted, 10).expect("all are there");
    let contents = wanted.map(|name| String::from_utf8_lossy(&found[&name]).into_owned());
    assert_eq!(contents, ["one", "two", "three"]);
    // A name that is itself too long to be one.
    let mut bytes = Vec::new();
    member(&mut bytes, b'L', "././@LongLink", &vec![b'a'; 1 << 17]);
    fs::write(&path, &bytes).expect("written");
    let error = tar::members(&path, &["a".into()], 10).expect_err("too long");
    assert!(error.message.contains("131072 bytes of a member's name"), "{error}");
}

#[test]
fn members_that_are_no_plain_files_are_refused() {
    let folder = folder();
    let path = folder.path().join("odd.tar");
    let check = |bytes: &[u8], says: &str| {
        fs::write(&path, [bytes, &[0; 1024]].concat()).expect("written");
        let error = tar::members(&path, &["a".into()], 10).expect_err("not a plain file");
        assert!(error.message.contains(&format!("is {says}, not a plain file")) && error.help.is_some(), "{error}");
    };
    for (kind, says) in [(b'1', "a link"), (b'2', "a link"), (b'S', "sparse"), (b'5', "a folder"), (b'6', "a device")] {
        let mut bytes = Vec::new();
        member(&mut bytes, kind, "a", b"");
        check(&bytes, says);
    }
    let mut bytes = Vec::new();
    let sparse = pax("GNU.sparse.major", "1") + &pax("path", "a");
    member(&mut bytes, b'x', "PaxHeaders/a", sparse.as_bytes());
    member(&mut bytes, b'0', "GNUSparseFile.0/a", b"0\n");
    check(&bytes, "sparse");
    // Among the others they do no harm.
    let mut bytes = Vec::new();
    member(&mut bytes, b'2', "b", b"");
    member(&mut bytes, b'0', "a", b"here");
    fs::write(&path, [&bytes[..], &[0; 1024]].concat()).expect("written");
    assert_eq!(tar::members(&path, &["a".into()], 10).expect("there")["a"], b"here");
}

#[test]
fn cifar_reads_from_an_archive_in_place() {
    let folder = folder();
    let path = folder.path().join("cifar-10-binary.tar");
    let record = |label: u8| [&[label][..], &[label.wrapping_mul(10); 3072]].concat();
    let batches: Vec<(String, Vec<u8>)> =
        (1..6).map(|i| (format!("cifar-10-batches-bin/data_batch_{i}.bin"), record(i))).collect();
    let mut members: Vec<(&str, &[u8])> = vec![("cifar-10-batches-bin/readme.html", b"hello")];
    members.extend(batches.iter().map(|(n, b)| (n.as_str(), b.as_slice())));
    let test = record(9);
    members.push(("cifar-10-batches-bin/test_batch.bin", &test));
    let whole = archive(&members);
    fs::write(&path, &whole).expect("written");
    let sets = load(&DataSpec::of(Source::Cifar10), Some(folder.path()), &[3, 32, 32]).expect("reads");
    assert_eq!((sets.train.len(), sets.test.len(), sets.names[3].as_str()), (5, 1, "cat"));
    assert_eq!((0..5).map(|i| sets.train.label(i)).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);

    // Up to the last byte of the last member: what pads it may be missing.
    for cut in (0..whole.len() - 1024 - 511).step_by(211) {
        fs::write(&path, &whole[..cut]).expect("written");
        load(&DataSpec::of(Source::Cifar10), Some(&path), &[3, 32, 32]).expect_err("cut");
    }
    // A name that leads out of the folder is just another name.
    fs::write(&path, archive(&[("../../etc/passwd", b"x")])).expect("written");
    let error = tar::members(&path, &["a".into()], 10).expect_err("not there");
    assert!(error.message.contains("no member a"), "{error}");
    let bad = record(77);
    let members: Vec<(&str, &[u8])> = members.iter().map(|(n, _)| (*n, bad.as_slice())).collect();
    fs::write(&path, archive(&members)).expect("written");
    let error = load(&DataSpec::of(Source::Cifar10), Some(&path), &[3, 32, 32]).expect_err("label 77");
    assert!(error.message.contains("label 77"), "{error}");
}

#[test]
fn cifar100_takes_the_fine_labels() {
    let folder = folder();
    let set = folder.path().join("cifar-100-binary");
    fs::create_dir(&set).expect("made");
    let record = |coarse: u8, fine: u8| [&[coarse, fine][..], &[fine; 3072]].concat();
    fs::write(set.join("train.bin"), [record(3, 99), record(4, 0), record(5, 42)].concat()).expect("written");
    fs::write(set.join("test.bin"), record(19, 23)).expect("written");
    let sets = load(&DataSpec::of(Source::Cifar100), Some(folder.path()), &[3, 32, 32]).expect("reads");
    assert_eq!((0..3).map(|i| sets.train.label(i)).collect::<Vec<_>>(), [99, 0, 42]);
    assert_eq!(
        (sets.test.label(0), sets.names.len(), sets.names[99].as_str(), sets.names[0].as_str()),
        (23, 100, "worm", "apple")
    );
    let mut image = vec![0.0; 3072];
    sets.train.copy(2, &mut image).expect("in memory");
    assert!(image.iter().all(|&v| v == 42.0));
    fs::write(set.join("test.bin"), record(1, 100)).expect("written");
    let error = load(&DataSpec::of(Source::Cifar100), Some(&set), &[3, 32, 32]).expect_err("label 100");
    assert!(error.message.contains("label 100 of 100 classes"), "{error}");
    fs::write(set.join("test.bin"), &record(1, 1)[1..]).expect("written");
    load(&DataSpec::of(Source::Cifar100), Some(&set), &[3, 32, 32]).expect_err("a byte is missing");
}

#[test]
fn fashion_mnist_has_its_own_folder_and_names() {
    let folder = folder();
    let set = folder.path().join("fashion-mnist");
    fs::create_dir(&set).expect("made");
    write_mnist(&set);
    let sets = load(&DataSpec::of(Source::FashionMnist), Some(folder.path()), &[1, 2, 3]).expect("reads");
    assert_eq!((sets.train.len(), sets.test.len(), sets.names[9].as_str()), (6, 3, "ankle boot"));
}

/// A data element of a MAT file: type, length, contents, padding to 8 bytes.
fn element(kind: u32, contents: &[u8]) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), (contents.len() as u32).to_le_bytes()].concat();
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// A matrix of bytes as MATLAB 5 stores it (class 9: uint8).
fn matrix(name: &str, dims: &[u32], contents: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|d| d.to_le_bytes()).collect();
    let flags = [9u32.to_le_bytes(), [0; 4]].concat();
    element(14, &[element(6, &flags), element(5, &dims), element(1, name.as_bytes()), element(2, contents)].concat())
}

pub fn mat_file(labels: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b' '; 116];
    bytes[..19].copy_from_slice(b"MATLAB 5.0 MAT-file");
    bytes.extend([0; 8]);
    bytes.extend([0x00, 0x01, b'I', b'M']);
    // Column-major [row, column, channel, image]: each pixel says where it is.
    let pixel = |i: usize| ((i % 32) * 2 + (i / 32 % 32) * 3 + (i / 1024 % 3) * 5 + i / 3072) as u8;
    let pixels: Vec<u8> = (0..3072 * labels.len()).map(pixel).collect();
    bytes.extend(matrix("X", &[32, 32, 3, labels.len() as u32], &pixels));
    bytes.extend(matrix("y", &[labels.len() as u32, 1], labels));
    bytes
}

#[test]
fn svhn_is_turned_and_its_zero_is_a_zero() {
    let folder = folder();
    let write = |name: &str, labels: &[u8]| fs::write(folder.path().join(name), mat_file(labels)).expect("written");
    write("train_32x32.mat", &[1, 10, 9]);
    write("test_32x32.mat", &[5]);
    write("extra_32x32.mat", &[7, 8]);
    let read = |extra| load(&DataSpec::of(Source::Svhn { extra }), Some(folder.path()), &[3, 32, 32]);
    let sets = read(false).expect("reads");
    assert_eq!((0..3).map(|i| sets.train.label(i)).collect::<Vec<_>>(), [1, 0, 9]);
    let mut image = vec![0.0; 3072];
    sets.train.copy(2, &mut image).expect("in memory");
    // [channel][row][column]
    let at = |c: usize, row: usize, column: usize| image[(c * 32 + row) * 32 + column];
    assert_eq!((at(0, 0, 0), at(1, 4, 7), at(2, 31, 30)), (2.0, 8.0 + 21.0 + 5.0 + 2.0, 62.0 + 90.0 + 10.0 + 2.0));
    assert_eq!(read(true).expect("reads").train.len(), 5);
    write("train_32x32.mat", &[1, 11, 9]);
    assert!(read(false).expect_err("label 11").message.contains("label 11"));
    // Sizes are looked at before anything of that size is read.
    let long = [&mat_file(&[1])[..128], &matrix(&"n".repeat(5000), &[1, 1], &[1])].concat();
    fs::write(folder.path().join("train_32x32.mat"), long).expect("written");
    assert!(read(false).expect_err("a long name").message.contains("5000 bytes where there are at most 4096"));
    let large = [&mat_file(&[1])[..128], &matrix("X", &[1 << 30, 5], &[1])].concat();
    fs::write(folder.path().join("train_32x32.mat"), large).expect("written");
    assert!(read(false).expect_err("5 GiB").message.contains("is too large"));
    let whole = mat_file(&[1, 2]);
    for cut in (0..whole.len() - 8).step_by(97) {
        fs::write(folder.path().join("train_32x32.mat"), &whole[..cut]).expect("written");
        read(false).expect_err("cut");
    }
}

/// A zip archive without compression, as `numpy.savez` writes it.
pub fn zip_bytes(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut index) = (Vec::new(), Vec::new());
    for (name, contents) in members {
        let offset = bytes.len() as u32;
        let (size, sum) = ((contents.len() as u32).to_le_bytes(), crc(contents).to_le_bytes());
        let shared =
            [&[20, 0, 0, 0, 0, 0, 0, 0, 33, 0][..], &sum, &size, &size, &(name.len() as u16).to_le_bytes(), &[0, 0]];
        let shared = shared.concat();
        bytes.extend([b"PK\x03\x04", &shared[..], name.as_bytes(), contents].concat());
        let place = [&[0; 10][..], &offset.to_le_bytes()].concat();
        index.extend([b"PK\x01\x02\x14\x00", &shared[..], &place, name.as_bytes()].concat());
    }
    let (count, start) = ((members.len() as u16).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    let size = (index.len() as u32).to_le_bytes();
    bytes.extend(index);
    bytes.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &size, &start, &[0, 0]].concat());
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, &b| {
        (0..8).fold(sum ^ u32::from(b), |s, _| if s & 1 == 1 { s >> 1 ^ 0xEDB8_8320 } else { s >> 1 })
    })
}

/// An `.npy` array of bytes.
pub fn npy_bytes(descr: &str, shape: &str, contents: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), contents].concat()
}

#[test]
fn npz_archives() {
    let folder = folder();
    let path = folder.path().join("d.npz");
    let read = |members: &[(&str, Vec<u8>)]| {
        fs::write(&path, zip_bytes(members)).expect("written");
        load(&DataSpec::of(Source::Npz), Some(&path), &[1, 2, 2])
    };
    let x = || ("x.npy", npy_bytes("|u1", "(5, 1, 2, 2)", &(0..20).collect::<Vec<u8>>()));
    let y = || ("y.npy", npy_bytes("<i8", "(5,)", &[0i64, 1, 2, 1, 0].map(i64::to_le_bytes).concat()));
    let sets = read(&[x(), y()]).expect("reads");
    assert_eq!((sets.train.len(), sets.test.len()), (4, 1));
    let floats: Vec<u8> = (0..8).flat_map(|v| (v as f32 * 0.5).to_le_bytes()).collect();
    let tests =
        [("x_test.npy", npy_bytes("<f4", "(2, 1, 2, 2)", &floats)), ("y_test.npy", npy_bytes("|u1", "(2,)", &[1, 2]))];
    let sets = read(&[x(), y(), tests[0].clone(), tests[1].clone()]).expect("reads");
    assert_eq!((sets.train.len(), sets.test.len()), (5, 2));
    let mut image = [0.0; 4];
    sets.test.copy(1, &mut image).expect("in memory");
    assert_eq!(image, [2.0, 2.5, 3.0, 3.5]);

    let fails = |members: &[(&str, Vec<u8>)], what: &str| {
        let error = read(members).expect_err(what);
        assert!(error.message.contains(what), "{error}");
    };
    fails(&[x()], "lacks the arrays x and y");
    fails(&[x(), y(), tests[0].clone()], "only one of x_test");
    fails(&[x(), ("y.npy", npy_bytes("<i8", "(4,)", &[0; 32]))], "shape [4]");
    fails(&[x(), ("y.npy", npy_bytes("<i8", "(5,)", &[(-1i64).to_le_bytes(); 5].concat()))], "labels start at 0");
    fails(&[x(), ("y.npy", npy_bytes("<f4", "(5,)", &[0.5f32.to_le_bytes(); 5].concat()))], "numbers of classes");
    fails(&[("x.npy", npy_bytes("|u1", "(99999999999, 1, 2, 2)", &[0; 4])), y()], "do not fill");
    fails(&[("x.npy", npy_bytes("|O", "(5,)", &[0; 4])), y()], "`|O`");

    let whole = zip_bytes(&[x(), y()]);
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).expect("written");
        load(&DataSpec::of(Source::Npz), Some(&path), &[1, 2, 2]).expect_err("cut");
    }
}

#[test]
fn folders_of_pictures() {
    let folder = folder();
    for (class, level) in [("dark", 10u8), ("light", 200)] {
        fs::create_dir(folder.path().join(class)).expect("made");
        for i in 0..5 {
            let picture = image::GrayImage::from_pixel(7, 5, image::Luma([level + i]));
            picture.save(folder.path().join(class).join(format!("{i}.png"))).expect("saved");
        }
    }
    for resize in [Resize::Stretch, Resize::Crop] {
        let sets = load(&DataSpec::of(Source::Folder { resize }), Some(folder.path()), &[3, 4, 4]).expect("reads");
        assert_eq!(
            (sets.train.len(), sets.test.len(), sets.names.clone()),
            (8, 2, vec!["dark".into(), "light".into()])
        );
        for item in 0..8 {
            let mut pixels = [0.0; 48];
            sets.train.copy(item, &mut pixels).expect("decodes");
            let range = if sets.train.label(item) == 0 { 10.0..15.0 } else { 200.0..205.0 };
            assert!(pixels.iter().all(|p| range.contains(p)), "{pixels:?}");
        }
    }
    fs::write(folder.path().join("dark/0.png"), b"no picture").expect("written");
    let sets =
        load(&DataSpec::of(Source::Folder { resize: Resize::Crop }), Some(folder.path()), &[3, 4, 4]).expect("reads");
    let row =
        [&sets.train, &sets.test].into_iter().find_map(|s| (0..s.len()).find_map(|i| s.copy(i, &mut [0.0; 48]).err()));
    assert!(row.expect("one is damaged").message.contains("0.png"));
}

#[test]
fn splits_are_whole_and_seeded() {
    let mut with = DataSpec::of(Source::Digits);
    with.valid = Some(0.1);
    let sets = load(&with, None, &[1, 8, 8]).expect("embedded");
    let valid = sets.valid.expect("asked for");
    assert_eq!((sets.train.len(), valid.len(), sets.test.len()), (1293, 144, 360));
    let mut all: Vec<u32> = [&sets.train, &valid, &sets.test].iter().flat_map(|s| s.rows.iter().copied()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..1797).collect::<Vec<u32>>());
    with.valid = Some(5000.0);
    assert!(load(&with, None, &[1, 8, 8]).expect_err("too many").message.contains("valid"));
}

#[test]
fn data_that_does_not_fit_the_network() {
    let set = digits::load().expect("embedded").train;
    set.check("training", &[1, 8, 8], 10).expect("fits");
    set.check("training", &[64], 10).expect("fits flat");
    assert!(set.check("training", &[3, 32, 32], 10).expect_err("size").message.contains("[3, 32, 32]"));
    assert!(set.check("training", &[1, 8, 8], 9).expect_err("label").message.contains("label 9"));
}

fn random_set(count: usize, dims: [usize; 3]) -> Dataset {
    let mut random = Stream::new(3, 0, 0);
    let floats = (0..count * dims.iter().product::<usize>()).map(|i| random.normal() * 3.0 + (i % 5) as f32).collect();
    Dataset::new(Images { dims, pixels: Pixels::Floats(floats) }, vec![0; count])
}

#[test]
fn preparation_does_what_it_says_and_comes_back() {
    let set = random_set(200, [2, 3, 3]);
    let steps = [
        Prepare::Scale { factor: 0.5 },
        Prepare::MeanStd { mean: None, std: None },
        Prepare::Gcn { scale: 55.0 },
        Prepare::Zca { epsilon: 0.1 },
        Prepare::Lcn,
    ];
    let fit = |count: usize| {
        let preparation = Preparation::fit(&steps[..count], &set, &compile).expect("fits");
        let prepared = Preparer::new(&preparation, DType::F32, &compile).and_then(|p| p.all(&set)).expect("in memory");
        (preparation, prepared)
    };
    let (_, means) = fit(2);
    let (mut sum, mut squares, mut image) = (0.0, 0.0, [0.0; 18]);
    for item in 0..200 {
        means.copy(item, &mut image).expect("in memory");
        sum += image[..9].iter().map(|&v| f64::from(v)).sum::<f64>();
        squares += image[..9].iter().map(|&v| f64::from(v * v)).sum::<f64>();
    }
    assert!((sum / 1800.0).abs() < 1e-5 && (squares / 1800.0 - 1.0).abs() < 1e-5);

    fit(3).1.copy(7, &mut image).expect("in memory");
    let norm = image.iter().map(|&v| f64::from(v * v)).sum::<f64>().sqrt();
    assert!((norm - 55.0).abs() < 1e-3 && image.iter().sum::<f32>().abs() < 1e-3);

    let (all, together) = fit(5);
    let folder = folder();
    let path = folder.path().join("w.safetensors");
    let weights = Weights { preparation: Some(all.clone()), classes: vec!["a\"b".into()], ..Weights::default() };
    weights.write(&path, &System).expect("written");
    assert_eq!(Weights::read(&path).expect("reads"), weights);
    let preparer = Preparer::new(&all, DType::F32, &compile).expect("compiles");
    let one = preparer.apply(set.values(9..10).expect("in memory")).expect("a run");
    let mut other = vec![0.0; 18];
    together.copy(9, &mut other).expect("in memory");
    assert_eq!(one, other, "alone and among others");
}

/// Weights that are read beside other work are those that are read alone, and so is every error.
#[test]
fn weights_read_beside_a_compilation_are_verified_all_the_same() {
    let set = random_set(20, [2, 2, 2]);
    let preparation = Preparation::fit(&[Prepare::MeanStd { mean: None, std: None }], &set, &compile).expect("fits");
    let tensors = [("conv.weight".to_string(), Tensor { dims: vec![2, 1], data: vec![1.0, 2.0] })].into();
    let weights = Weights { preparation: Some(preparation), tensors, ..Weights::default() };
    let folder = folder();
    let path = folder.path().join("w.safetensors");
    weights.write(&path, &System).expect("written");
    let whole = fs::read(&path).expect("there");
    let beside = || Weights::read_beside(&path, |form, _| form.cloned());
    let form = weights.preparation.as_ref().map(|p| p.form().clone());
    assert_eq!(beside(), Ok((weights.clone(), form.clone())));
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        for damaged in [&flipped[..], &whole[..at]] {
            fs::write(&path, damaged).expect("written");
            let error = Weights::read(&path).expect_err("damaged");
            assert_eq!(beside(), Err(error), "byte {at}");
        }
    }
    // Files from elsewhere have no checksums, and those of other sizes than they say are read first.
    let tensor = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).expect("fits");
    let text = [("prepare", "[]"), ("image", "[1, 2, 3]")].map(|(key, text)| (key.to_string(), text.to_string()));
    let foreign = safetensors::serialize([("w", tensor)], Some(text.into())).expect("valid");
    fs::write(&path, foreign).expect("written");
    let (read, form) = beside().expect("reads");
    assert_eq!((read.preparation.map(|p| p.form().clone()), read.tensors.len()), (form, 1));
}

#[test]
fn a_whitening_is_kept_and_never_trusted_when_damaged() {
    let set = random_set(300, [1, 4, 4]);
    let steps = [Prepare::Gcn { scale: 55.0 }, Prepare::Zca { epsilon: 0.1 }];
    let folder = folder();
    let fit = |set: &Dataset, steps: &[Prepare]| {
        cache::fit(steps, set, Some(&folder.path().join("ninc")), &System, &compile).expect("fits")
    };
    let (first, found) = fit(&set, &steps);
    assert!(!found);
    assert_eq!(fit(&set, &steps), (first.clone(), true));
    // Other data, other settings: another fit.
    assert!(!fit(&random_set(299, [1, 4, 4]), &steps).1);
    assert!(!fit(&set, &[steps[0].clone(), Prepare::Zca { epsilon: 0.2 }]).1);
    let files: Vec<PathBuf> =
        fs::read_dir(folder.path().join("ninc")).expect("there").map(|e| e.expect("an entry").path()).collect();
    assert_eq!(files.len(), 3);
    for file in &files {
        let whole = fs::read(file).expect("there");
        let mut random = Stream::new(9, 0, 0);
        for _ in 0..200 {
            let mut bytes = whole.clone();
            let at = random.below(bytes.len() as u32) as usize;
            bytes[at] ^= 1 << random.below(8);
            if at % 3 == 0 {
                bytes.truncate(at);
            }
            assert!(Store::from_bytes(&bytes, file, true).is_err());
        }
        fs::write(file, &whole[..whole.len() - 1]).expect("written");
    }
    assert_eq!(fit(&set, &steps), (first.clone(), false));
    assert_eq!(fit(&set, &steps), (first, true));
}

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

#[test]
fn real_mnist_and_cifar() {
    let Some(data) = shared("data") else { return };
    let sets = load(&DataSpec::of(Source::Mnist), Some(&data), &[1, 28, 28]).expect("reads");
    assert_eq!((sets.train.len(), sets.test.len()), (60_000, 10_000));
    assert_eq!((sets.train.label(0), sets.test.label(0)), (5, 7));
    let sets = load(&DataSpec::of(Source::Cifar10), Some(&data), &[3, 32, 32]).expect("reads");
    assert_eq!((sets.train.len(), sets.test.len()), (50_000, 10_000));
    let Pixels::Bytes(bytes) = &sets.train.images.pixels else { panic!("bytes") };
    let mean = bytes.chunks_exact(3072).map(|i| i[..1024].iter().map(|&b| f64::from(b)).sum::<f64>()).sum::<f64>();
    assert!((mean / (50_000.0 * 1024.0 * 255.0) - 0.49140).abs() < 1e-5);
}

#[test]
fn npy_files_on_disk() {
    let folder = folder();
    let path = folder.path().join("t.npy");
    let tensor = Tensor::new(&[2, 1, 2], vec![1.0, -2.0, 3.5, f32::INFINITY]).expect("fits");
    fs::write(&path, npy::to_bytes(&tensor)).expect("written");
    assert_eq!(npy::read(&path).expect("reads"), tensor);
}

#[cfg(target_os = "linux")]
#[test]
fn a_cache_is_private_unless_others_may_write_to_it() {
    use ninc_runtime::cache_folder::{is_private, make};
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("deep/er");
    make(&folder).expect("made");
    assert_eq!(fs::metadata(&folder).expect("there").permissions().mode() & 0o777, 0o700);
    for (mode, private) in [(0o755, true), (0o775, false), (0o702, false), (0o700, true)] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("set");
        assert_eq!(is_private(&folder), private, "{mode:o}");
    }
    // A link may lead to where others write.
    symlink(&folder, place.path().join("link")).expect("made");
    assert!(!is_private(&place.path().join("link")) && !is_private(&place.path().join("missing")));
}
