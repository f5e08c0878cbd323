//! A file of another program is tested on data of every source: the same answers as a model file with that source.

use super::export::{load, random_weights};
use crate::cli::Place;
use crate::support::files::{archive, idx_bytes, mat_file, npy_bytes, zip_bytes};
use ninc_runtime::store::System;
use std::fs;

/// Writes a network as a model file with data of a source, and as a file of ONNX that says nothing of any.
fn networks(place: &Place, source: &str, [c, h, w]: [usize; 3], classes: usize) {
    let network = format!(
        "network net {{ input image: [{c}, {h}, {w}]  image |> flatten |> linear(features = {classes}) |> softmax }}\n"
    );
    random_weights(&load(&network)).0.write(&place.path("net.safetensors"), &System).expect("written");
    fs::write(place.path("net.nin"), &network).expect("written");
    place.good(&["export", "net.nin", "-o", "net.onnx", "--overwrite"]);
    fs::write(place.path("net.nin"), format!("{network}data {{ source = {source}  prepare = [scale] }}\n"))
        .expect("written");
}

/// Evaluates both. `more` are options of the ONNX file alone.
fn same(place: &Place, data: &[&str], more: &[&str]) {
    let right = place.good(&[&["eval", "net.nin", "--json"], data].concat());
    let found = place.good(&[&["eval", "net.onnx", "--json", "--prepare", "[scale(1/255)]"], data, more].concat());
    assert_eq!(found, right, "{data:?} {more:?}");
}

/// Records of CIFAR's binary versions: labels, then 3,072 pixels.
fn records(labels: usize, count: usize) -> Vec<u8> {
    let record = |i: usize| -> Vec<u8> {
        let label = (0..labels).map(|at| if at + 1 == labels { i as u8 % 10 } else { 0 });
        label.chain((0..3072).map(|at| (at * (i + 3) % 251) as u8)).collect()
    };
    (0..count).flat_map(record).collect()
}

#[test]
fn sets_of_colour_pictures() {
    let place = Place::new();
    let bytes = records(1, 3);
    let parts = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
    let names = parts.map(|part| format!("cifar-10-batches-bin/{part}.bin"));
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &bytes[..])).collect();
    fs::write(place.path("cifar-10-binary.tar"), archive(&members)).expect("written");
    fs::write(place.path("renamed.tar"), archive(&members)).expect("written");
    networks(&place, "cifar10", [3, 32, 32], 10);
    same(&place, &["--data", "cifar-10-binary.tar"], &[]);
    same(&place, &["--data", "renamed.tar"], &["--source", "cifar10"]);
    let eval = ["eval", "net.onnx", "--prepare", "none", "--data"];
    place.bad_or_said(1, &[&eval[..], &["renamed.tar"]].concat(), "`--source cifar10` says what it is");
    // A file of the set by itself, and its name does not say what it is.
    fs::write(place.path("batch.bin"), &bytes).expect("written");
    let says = [
        "batch.bin is not a tar archive",
        "a folder with data_batch_1.bin and test_batch.bin, whose records have 3073",
    ];
    for says in says {
        place.bad_or_said(1, &[&eval[..], &["batch.bin", "--source", "cifar10"]].concat(), says);
    }
    place.bad_or_said(
        2,
        &[&eval[..], &["cifar-10-binary.tar", "--resize", "crop"]].concat(),
        "not a folder of pictures",
    );
    place.bad_or_said(
        1,
        &["eval", "net.onnx", "--data", "cifar-10-binary.tar"],
        "does not say how images are prepared",
    );
    place.bad_or_said(2, &["eval", "net.nin", "--source", "cifar10"], "--source is for networks of other programs");

    fs::create_dir(place.path("svhn")).expect("made");
    for (part, labels) in [("train", [1u8, 10]), ("test", [3, 10]), ("extra", [2, 4])] {
        fs::write(place.path(&format!("svhn/{part}_32x32.mat")), mat_file(&labels)).expect("written");
    }
    networks(&place, "svhn", [3, 32, 32], 10);
    same(&place, &["--data", "svhn"], &[]);
    same(&place, &["--data", "svhn"], &["--source", "svhn(extra = true)"]);

    fs::create_dir(place.path("hundred")).expect("made");
    for name in ["train.bin", "test.bin"] {
        fs::write(place.path("hundred").join(name), records(2, 4)).expect("written");
    }
    networks(&place, "cifar100", [3, 32, 32], 100);
    same(&place, &["--data", "hundred"], &[]);
}

#[test]
fn sets_of_grey_pictures_and_arrays() {
    let place = Place::new();
    for folder in ["idx", "fashion-mnist"] {
        fs::create_dir(place.path(folder)).expect("made");
        for (part, count) in [("train", 2u32), ("t10k", 3)] {
            let pixels: Vec<u8> = (0..count * 784).map(|at| (at * 7 % 251) as u8).collect();
            let write = |name: &str, bytes: Vec<u8>| {
                fs::write(place.path(folder).join(format!("{part}-{name}-ubyte")), bytes).expect("written");
            };
            write("images-idx3", idx_bytes(&[count, 28, 28], &pixels));
            write("labels-idx1", idx_bytes(&[count], &[3, 1, 9][..count as usize]));
        }
    }
    networks(&place, "mnist", [1, 28, 28], 10);
    same(&place, &["--data", "idx"], &[]);
    // Another set beside it has images of another size.
    fs::write(place.path("idx/test_32x32.mat"), "").expect("written");
    same(&place, &["--data", "idx"], &[]);
    networks(&place, "fashion_mnist", [1, 28, 28], 10);
    same(&place, &["--data", "fashion-mnist"], &[]);
    same(&place, &["--data", "idx"], &["--source", "fashion_mnist"]);
    networks(&place, "digits", [1, 8, 8], 10);
    same(&place, &[], &["--source", "digits"]);

    let eval = ["eval", "net.onnx", "--prepare", "none", "--data", "idx", "--source"];
    place.bad_or_said(
        1,
        &[&eval[..], &["mnist"]].concat(),
        "net.onnx does not fit the data: `mnist` gives images of the",
    );
    place.bad_or_said(1, &[&eval[..], &["mnist"]].concat(), "`--source` says what they are");
    place.bad_or_said(
        2,
        &[&eval[..], &["svhn("]].concat(),
        "`--source 'svhn('` and `--prepare 'none'`: this `(` is not",
    );

    let pixels: Vec<u8> = (0..10 * 24).collect();
    let arrays = [
        ("x.npy", npy_bytes("|u1", "(10, 4, 3, 2)", &pixels)),
        ("y.npy", npy_bytes("|u1", "(10,)", &[0, 1, 2, 0, 1, 2, 0, 1, 2, 0])),
    ];
    fs::write(place.path("d.npz"), zip_bytes(&arrays)).expect("written");
    networks(&place, "npz", [4, 3, 2], 3);
    same(&place, &["--data", "d.npz"], &[]);
    fs::write(place.path("names.txt"), "cat\ndog\nhen\n").expect("written");
    let named = ["eval", "net.onnx", "--prepare", "none", "--data", "d.npz", "--classes", "names.txt"];
    assert!(place.good(&named).contains("hen"));
}

#[test]
fn folders_of_pictures() {
    let place = Place::new();
    for (class, pixel) in [("cat", 40u8), ("dog", 200)] {
        fs::create_dir_all(place.path("photos/test").join(class)).expect("made");
        let picture = image::RgbImage::from_fn(6, 9, |x, y| image::Rgb([pixel, (x * 40) as u8, (y * 20) as u8]));
        picture.save(place.path("photos/test").join(class).join("a.png")).expect("written");
    }
    for how in ["stretch", "crop"] {
        networks(&place, &format!("folder(resize = \"{how}\")"), [3, 5, 5], 2);
        same(&place, &["--data", "photos"], &["--resize", how]);
        same(&place, &["--data", "photos"], &["--source", &format!("folder(resize = \"{how}\")")]);
    }
    fs::write(place.path("names.txt"), "dog\ncat\n").expect("written");
    let named = ["eval", "net.onnx", "--prepare", "none", "--data", "photos", "--classes"];
    assert!(place.good(&[&named[..], &["names.txt"]].concat()).contains("dog"));
    fs::write(place.path("names.txt"), "dog\nhen\n").expect("written");
    place.bad_or_said(1, &[&named[..], &["names.txt"]].concat(), "the data have the class `cat`");
    let both = ["--source", "folder", "--resize", "crop"];
    place.bad(2, &[&named[..6], &both].concat(), "say it in the source: `--source 'folder(resize = \"crop\")'`");
    place.bad_or_said(1, &[&named[..6], &["--source", "fold"]].concat(), "a source cannot be `fold`");
    // What is said comes along.
    place.good(&["import", "net.onnx", "-o", "back.nin", "--prepare", "[scale]", "--source", "folder(\"photos\")"]);
    let text = fs::read_to_string(place.path("back.nin")).expect("a model");
    assert!(text.contains("source  = folder(\"photos\")\n    prepare = [scale]"), "{text}");
}
