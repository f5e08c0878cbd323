//! Pictures of any size: a library makes of them what `ninc run` does, and so do the examples around it.

use super::loaded::Loaded;
use super::{Place, have};
use crate::odd;
use image::metadata::Orientation;
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use ninc_runtime::image::picture;
use ninc_runtime::philox::Stream;
use ninc_runtime::spec::{Grey, Pictures, Resize};
use ninc_runtime::store::{Store, System};
use ninc_runtime::{Tensor, npy, weights};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A network whose result is its first channel, with weights that read pictures in this way.
pub(super) fn network(place: &Place, name: &str, dims: [usize; 3], pictures: &Pictures) {
    let model = format!("network {name} {{ input image: {dims:?}  image |> conv(channels = 1, kernel = 1) }}");
    fs::write(place.path(&format!("{name}.nin")), model).expect("written");
    let mut one = vec![0.0; dims[0]];
    one[0] = 1.0;
    let tensors = BTreeMap::from([
        ("conv1.weight".to_string(), Tensor::new(&[1, dims[0], 1, 1], one).expect("fits")),
        ("conv1.bias".to_string(), Tensor::new(&[1], vec![0.0]).expect("fits")),
    ]);
    let metadata = [
        ("format", weights::FORMAT.to_string()),
        ("prepare", "[]".into()),
        ("image", format!("{dims:?}")),
        ("range", r#"{"low":0.0,"high":255.0}"#.into()),
        ("pictures", serde_json::to_string(pictures).expect("plain data")),
    ];
    let metadata = metadata.map(|(k, v)| (k.to_string(), v)).into();
    let file = format!("{name}.safetensors");
    Store { tensors, metadata, ..Store::default() }.write(&place.path(&file), &System).expect("written");
    let model = format!("{name}.nin");
    place.good("ninc", &["build", &model, "--weights", &file, "-o", "lib", "--cpu", "native"]);
}

/// A picture of random bytes with 1 to 4 channels.
fn random(random: &mut Stream, width: u32, height: u32, channels: u32) -> DynamicImage {
    let bytes = (0..width * height * channels).map(|_| random.below(256) as u8).collect();
    let picture = match channels {
        1 => GrayImage::from_raw(width, height, bytes).map(Into::into),
        2 => GrayAlphaImage::from_raw(width, height, bytes).map(Into::into),
        3 => RgbImage::from_raw(width, height, bytes).map(Into::into),
        _ => RgbaImage::from_raw(width, height, bytes).map(Into::into),
    };
    picture.expect("as large")
}

#[test]
fn a_library_prepares_pictures_as_run_does() {
    let place = Place::new();
    let mut numbers = Stream::new(11, 0, 0);
    for (name, dims, resize, grey, background) in [
        ("colours", [3, 5, 7], Resize::Stretch, Grey::Rec601, [255, 255, 255]),
        ("middle", [3, 6, 4], Resize::Crop, Grey::Rec601, [10, 200, 60]),
        ("level", [1, 4, 9], Resize::Crop, Grey::Rec709, [0, 0, 0]),
        ("light", [1, 7, 7], Resize::Stretch, Grey::Rec601, [255, 0, 130]),
    ] {
        let pictures = Pictures { resize, grey, background };
        network(&place, name, dims, &pictures);
        let library = Loaded::open(&place.path(&format!("lib/lib{name}.so")), name);
        let network = library.create(&place.path(&format!("lib/{name}.safetensors"))).expect("good weights");
        let size = dims.iter().product();
        for round in 0..48u32 {
            // Sizes of the input's own, a pixel, and whatever.
            let side = |numbers: &mut Stream, own: usize| match numbers.below(6) {
                0 => own as u32,
                1 => 1,
                _ => 1 + numbers.below(60),
            };
            let (width, height) = (side(&mut numbers, dims[2]), side(&mut numbers, dims[1]));
            let (channels, turned) = (1 + round % 4, 1 + (round / 4 % 8) as u8);
            let mut picture_ = random(&mut numbers, width, height, channels);
            let bytes = picture_.as_bytes().to_vec();
            let shape = [width, height, channels, u32::from(turned)].map(i64::from);
            let got = library.prepare_picture(network, &bytes, shape, size).expect("a picture");
            picture_.apply_orientation(Orientation::from_exif(turned).expect("1 to 8"));
            picture_.save(place.path("p.png")).expect("saved");
            let expected = picture(&place.path("p.png"), dims, &pictures).expect("reads");
            let expected: Vec<f32> = expected.into_iter().map(f32::from).collect();
            assert_eq!(got, expected, "{name}: {width} x {height} x {channels}, orientation {turned}");
        }
        for wrong in
            [[0, 4, 3, 1], [4, -1, 3, 1], [4, 4, 5, 1], [4, 4, 0, 1], [4, 4, 3, 0], [4, 4, 3, 9], [40000, 1, 1, 1]]
        {
            assert_eq!(library.prepare_picture(network, &[0; 64], wrong, size), Err(6), "{wrong:?}");
        }
        library.destroy(network);
    }
}

/// What an example makes of the odd pictures that it can read, beside what `ninc run` does.
fn examples(place: &Place, program: &[&str], kinds: &[&str]) {
    let mut good: Vec<(String, f64)> = vec![];
    for row in odd::table() {
        let name = odd::text(&row, "file").to_string();
        let known = kinds.iter().any(|kind| name.to_lowercase().ends_with(kind));
        // CMYK is the decoder's matter, 16 bits are Pillow's; a Rust decoder does not look behind a PNG's pixels.
        let own = match program[0] {
            "./c" => false,
            "lib/classify-rs/target/release/classify" => name == "turned-behind.png",
            _ => name.contains("16"),
        };
        let own = own || name == "ink.jpg";
        if let Some(within) = row["within"].as_f64().filter(|_| known && !own) {
            good.push((format!("{}/{name}", odd::folder().display()), within));
        }
    }
    assert!(good.len() >= 18, "{}", good.len());
    let paths: Vec<&str> = good.iter().map(|(path, _)| path.as_str()).collect();
    let raw = place.good(program[0], &[&program[1..], &["--raw", "lib/light.safetensors"], &paths].concat());
    let numbers: Vec<f32> =
        raw.lines().map(|l| f32::from_bits(u32::from_str_radix(l, 16).expect("eight digits"))).collect();
    place.good("ninc", &[&["run", "light.nin", "--output", "r.npy"], &paths[..]].concat());
    let expected = npy::read(&place.path("r.npy")).expect("an array").data;
    assert_eq!(numbers.len(), expected.len());
    for ((path, within), (got, right)) in good.iter().zip(numbers.chunks(49).zip(expected.chunks(49))) {
        let apart = got.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let png = fs::read(path).expect("a file").starts_with(b"\x89PNG");
        assert!(apart <= if png { 0.0 } else { *within as f32 }, "{program:?} {path}: {apart}");
    }
}

#[test]
fn examples_read_pictures_as_run_does() {
    let place = Place::new();
    network(&place, "light", [1, 7, 7], &Pictures::default());
    if have("cc") && ["png.h", "jpeglib.h"].iter().all(|h| Path::new("/usr/include").join(h).exists()) {
        let line = ["-O1", "-Wall", "-Werror", "-DPNG", "-DJPEG", "lib/classify.c", "lib/liblight.a"];
        place.good("cc", &[&line[..], &["-lpng", "-ljpeg", "-lpthread", "-o", "c"]].concat());
        examples(&place, &["./c"], &["png", "jpg", "jpeg"]);
        // What is cut or damaged is not a picture there either.
        for name in
            ["cut.jpg", "cut-progressive.jpg", "cut-ended.jpg", "cut.png", "no-end.png", "flipped.png", "page.jpg"]
        {
            let path = format!("{}/{name}", odd::folder().display());
            let output = place.start("./c", &["lib/light.safetensors", &path]).output().expect("starts");
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(1) && text.contains(name), "{name}: {text}");
        }
    }
    let python = odd::python();
    if odd::has_pillow(&python) {
        examples(&place, &[&python, "lib/classify.py"], &["png", "jpg", "jpeg", "bmp"]);
    }
}

/// As its head says, but for the formats of the crate that nobody needs here: those take minutes to compile.
#[test]
#[ignore = "needs a package index; `tests/slow.sh rust-image` runs it"]
fn the_rust_example_reads_pictures_by_the_crate_image() {
    let place = Place::new();
    network(&place, "light", [1, 7, 7], &Pictures::default());
    // In a folder of somebody's workspace, which stays as it is.
    fs::write(place.path("Cargo.toml"), "[workspace]\n").expect("written");
    let text = fs::read_to_string(place.path("lib/classify.rs")).expect("there");
    let lines = text.lines().map_while(|line| line.strip_prefix("//!")).filter_map(|line| line.strip_prefix("     "));
    let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("classify-rs/")).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for line in lines {
        let line =
            line.replace("--optional", "--optional --no-default-features --features png,jpeg,bmp,webp,gif,tiff,qoi");
        let result = place.start("sh", &["-c", &line]).current_dir(place.path("lib")).output().expect("sh starts");
        if !result.status.success() && line.starts_with("cargo add") {
            return eprintln!("skipped: no package index: {}", String::from_utf8_lossy(&result.stderr));
        }
        assert!(result.status.success(), "{line}: {}", String::from_utf8_lossy(&result.stderr));
    }
    let kinds = ["png", "jpg", "jpeg", "bmp", "webp", "gif", "tif", "tiff", "qoi"];
    examples(&place, &["lib/classify-rs/target/release/classify"], &kinds);
}
