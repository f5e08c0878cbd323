//! Data readers: what they read, and what damaged or wrong files give.

use crate::support::files::{folder, idx_bytes, mat_file, matrix, npy_bytes, shared, write_mnist, zip_bytes};
use ninc_runtime::Tensor;
use ninc_runtime::data::{Pixels, digits, idx, load};
use ninc_runtime::npy;
use ninc_runtime::spec::{DataSpec, Resize, Source};
use std::fs;

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

#[test]
fn fashion_mnist_has_its_own_folder_and_names() {
    let folder = folder();
    let set = folder.path().join("fashion-mnist");
    fs::create_dir(&set).expect("made");
    write_mnist(&set);
    let sets = load(&DataSpec::of(Source::FashionMnist), Some(folder.path()), &[1, 2, 3]).expect("reads");
    assert_eq!((sets.train.len(), sets.test.len(), sets.names[9].as_str()), (6, 3, "ankle boot"));
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
