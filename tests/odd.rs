//! The odd inputs of `tests/data/odd`: each gives what its table says, whose right values are Pillow's.

mod commands;
mod folders;
pub mod weights;

use ninc_runtime::image::picture;
use ninc_runtime::spec::{Grey, Pictures, Resize};
use ninc_runtime::store::{Store, System};
use ninc_runtime::{Tensor, npy};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Shapes that the table has values for.
const SHAPES: [([usize; 3], Resize); 2] = [([3, 5, 8], Resize::Stretch), ([1, 6, 6], Resize::Crop)];

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/odd")
}

pub fn table() -> Vec<Value> {
    let text = fs::read_to_string(folder().join("table.json")).expect("the table");
    serde_json::from_str(&text).expect("JSON")
}

/// Paths of the odd files of these kinds, with their rows.
pub fn rows(kinds: &[&str]) -> Vec<(String, Value)> {
    let kind = |name: &str| kinds.iter().any(|kind| name.to_lowercase().ends_with(kind));
    let path = |row: Value| (format!("{}/{}", folder().display(), text(&row, "file")), row);
    table().into_iter().filter(|row| kind(text(row, "file"))).map(path).collect()
}

pub fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

#[test]
fn pictures_mean_what_a_viewer_shows() {
    let (mut right, mut refused) = (0, 0);
    for row in table() {
        let name = text(&row, "file");
        let path = folder().join(name);
        if name.is_empty() || [".npy", ".npz", ".safetensors"].iter().any(|ending| name.ends_with(ending)) {
            continue;
        }
        for (shape, (dims, resize)) in SHAPES.into_iter().enumerate() {
            let read = picture(&path, dims, &Pictures { resize, ..Pictures::default() });
            match (read, row["values"].as_array()) {
                (Ok(pixels), Some(values)) => {
                    let expected: Vec<f64> =
                        values[shape].as_array().expect("a list").iter().flat_map(Value::as_f64).collect();
                    let apart = pixels.iter().zip(&expected).map(|(&p, e)| (f64::from(p) - e).abs());
                    let apart = apart.fold(0.0, f64::max);
                    assert_eq!(pixels.len(), expected.len(), "{name}");
                    assert!(apart <= row["within"].as_f64().expect("a number"), "{name} {dims:?}: {apart} apart");
                    right += 1;
                }
                (Err(e), None) => {
                    assert!(e.message.contains(text(&row, "error")), "{name}: {e}");
                    assert!(e.message.contains(name), "{name}: {e}");
                    refused += 1;
                }
                (Ok(_), None) => panic!("{name} is read as a picture"),
                (Err(e), Some(_)) => panic!("{e}"),
            }
        }
    }
    assert!(right >= 80 && refused >= 30, "{right} {refused}");
}

/// Cut anywhere, a picture is an error.
#[test]
fn no_part_of_a_picture_is_a_picture() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("part");
    for name in [
        "baseline.jpg",
        "progressive.jpg",
        "restarts.jpg",
        "grey.jpg",
        "rgb-alpha.png",
        "palette.bmp",
        "lossless.webp",
        "moving.gif",
        "rgb.qoi",
    ] {
        let whole = fs::read(folder().join(name)).expect("a file");
        for cut in (0..whole.len()).step_by(13).chain([whole.len() - 1]) {
            fs::write(&path, &whole[..cut]).expect("written");
            let read = picture(&path, [3, 4, 4], &Pictures::default());
            assert!(read.is_err(), "{name}: {cut} of {} bytes are a picture", whole.len());
        }
    }
}

/// Bytes changed anywhere end in a picture or an error, soon.
#[test]
fn changed_bytes_are_survived() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("changed");
    let mut random = ninc_runtime::philox::Stream::new(7, 0, 0);
    for name in [
        "baseline.jpg",
        "progressive.jpg",
        "restarts.jpg",
        "interlaced.png",
        "palette.bmp",
        "lossy.webp",
        "moving.gif",
        "packed.tiff",
        "rgb.qoi",
    ] {
        let whole = fs::read(folder().join(name)).expect("a file");
        for _ in 0..60 {
            let mut changed = whole.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(changed.len() as u32) as usize;
                changed[at] = random.below(256) as u8;
            }
            fs::write(&path, &changed).expect("written");
            let _ = picture(&path, [3, 4, 4], &Pictures::default());
        }
    }
}

/// What is cut off is never made: enlarged as a whole, this picture would have five gigabytes.
#[test]
fn long_and_narrow_pictures_are_cut_before_they_are_enlarged() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("long.png");
    let level = |x: u32, y: u32| image::Luma([if x + y < 16_384 { 0 } else { 224 }]);
    let crop = Pictures { resize: Resize::Crop, ..Pictures::default() };
    for (width, height) in [(1, 32_768), (32_768, 1)] {
        image::GrayImage::from_fn(width, height, level).save(&path).expect("saved");
        let pixels = picture(&path, [3, 224, 224], &crop).expect("reads");
        // In the middle, between two pixels, each of the 224 steps adds 1, from a half on.
        for (i, &pixel) in pixels.iter().enumerate() {
            let step = if width == 1 { i / 224 % 224 } else { i % 224 };
            assert!(pixel == step as u8 || pixel == step as u8 + 1, "{width} x {height}, {i}: {pixel}");
        }
    }
}

/// Counts and sizes that no file of this length can have are refused before memory is taken for them.
#[test]
fn headers_that_declare_too_much_are_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("picture");
    let refused = |file: &str, from: &[u8], to: &[u8], says: &str| {
        let mut bytes = fs::read(folder().join(file)).expect("a file");
        let at = bytes.windows(from.len()).position(|found| found == from).expect("the field");
        bytes[at..at + to.len()].copy_from_slice(to);
        fs::write(&path, bytes).expect("written");
        let error = picture(&path, [3, 4, 4], &Pictures::default()).expect_err(file);
        assert!(error.message.contains(says) && error.help.is_some(), "{file}: {error}");
    };
    refused("clear.gif", b"GIF89a", b"GIF89a\0\0\0\0", "no pixels");
    // The length of a chunk, and the count of a tag's values (258: bits of each channel).
    refused("turned-8.webp", b"EXIF", b"EXIF\xf0\xff\xff\xff", "its end is missing");
    refused("plain.tif", &[2, 1, 3, 0, 3, 0], &[2, 1, 3, 0, 0, 0, 128, 0], "its end is missing");
}

#[test]
fn grey_and_background_are_as_asked_for() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("one.png");
    let mut one = image::RgbaImage::from_pixel(1, 1, image::Rgba([250, 100, 10, 51]));
    one.save(&path).expect("saved");
    let read = |channels, pictures: &Pictures| picture(&path, [channels, 1, 1], pictures).expect("reads");
    // (250·51 + 255·204)/255 = 254, (100·51 + 255·204)/255 = 224, (10·51 + 255·204)/255 = 206.
    assert_eq!(read(3, &Pictures::default()), [254, 224, 206]);
    // (250·51 + 0·204)/255 = 50, (100·51 + 255·204)/255 = 224, (10·51 + 50·204)/255 = 42.
    let background = Pictures { background: [0, 255, 50], ..Pictures::default() };
    assert_eq!(read(3, &background), [50, 224, 42]);
    // 0.299·50 + 0.587·224 + 0.114·42 = 151.2; 0.2126·50 + 0.7152·224 + 0.0722·42 = 173.9, of which the former grey
    // kept the whole part.
    assert_eq!(read(1, &background), [151]);
    assert_eq!(read(1, &Pictures { grey: Grey::Rec709, ..background }), [173]);
    one.put_pixel(0, 0, image::Rgba([0, 0, 0, 0]));
    one.save(&path).expect("saved");
    assert_eq!(read(1, &Pictures::default()), [255]);
}

/// The Python of tests that want Pillow.
pub fn python() -> String {
    std::env::var("NINC_PYTHON").unwrap_or_else(|_| "python3".into())
}

/// Has it what the scripts need? Says so where it has not.
pub fn has_pillow(python: &str) -> bool {
    let able = Command::new(python).args(["-c", "import PIL, numpy"]).output().is_ok_and(|o| o.status.success());
    if !able {
        eprintln!("skipped: {python} has no Pillow or NumPy (NINC_PYTHON names another)");
    }
    able
}

#[test]
fn the_table_is_what_pillow_says() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/odd/make.py");
    let python = python();
    if !has_pillow(&python) {
        return;
    }
    let checked = Command::new(&python).arg("-B").arg(script).arg("--check").arg(folder()).output().expect("runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// A network that gives its input back, with weights that hold what `set` puts into their metadata.
pub fn echo(place: &Path, dims: &str, data: &str, set: &[(&str, &str)]) {
    let model =
        format!("network echo {{ input image: {dims}  image |> conv(channels = 1, kernel = 1, groups = 1) }} {data}");
    fs::write(place.join("echo.nin"), model).expect("written");
    let one = |dims: &[usize], v| Tensor::new(dims, vec![v]).expect("fits");
    let mut tensors = BTreeMap::new();
    tensors.insert("conv1.weight".to_string(), one(&[1, 1, 1, 1], 1.0));
    tensors.insert("conv1.bias".to_string(), one(&[1], 0.0));
    if let Some((_, factor)) = set.iter().find_map(|(key, v)| (*key == "prepare").then(|| v.split_once("factor\":"))?) {
        let factor = factor.trim_end_matches(['}', ']']).parse().expect("a number");
        tensors.insert("prepare.0.factor".to_string(), Tensor::new(&[], vec![factor]).expect("fits"));
    }
    let mut metadata = BTreeMap::from([("format".to_string(), ninc_runtime::weights::FORMAT.to_string())]);
    metadata.extend(set.iter().map(|(k, v)| (k.to_string(), v.to_string())));
    let store = Store { tensors, metadata, ..Store::default() };
    store.write(&place.join("echo.safetensors"), &System).expect("written");
}

/// What `ninc run` makes of an input, or its error.
pub fn echoed(place: &Path, args: &[&str]) -> Result<Vec<f32>, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
    let output = command.args(["run", "echo.nin", "--output", "out.npy"]).args(args).current_dir(place).output();
    let output = output.expect("ninc runs");
    match output.status.success() {
        true => Ok(npy::read(&place.join("out.npy")).expect("an array").data),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Weights say how pictures are read; those of a former version meant Rec. 709 on white, whatever the model says now.
#[test]
fn weights_remember_how_pictures_are_read() {
    let place = tempfile::tempdir().expect("a folder");
    let one = image::RgbaImage::from_pixel(1, 1, image::Rgba([250, 100, 10, 51]));
    one.save(place.path().join("one.png")).expect("saved");
    let data = r#"data { source = folder("x")  grey = rec601  background = [0, 0, 0] }"#;
    let prepared = [("prepare", "[]"), ("image", "[1, 1, 1]")];
    let red = r#"{"resize": "stretch", "grey": "rec601", "background": [0, 255, 50]}"#;
    // 0.2126·254 + 0.7152·224 + 0.0722·206 = 229.1; the model's black: 0.299·50 + 0.587·20 + 0.114·2 = 26.9.
    for (set, expected) in
        [(&prepared[..], 229.0), (&[prepared[0], prepared[1], ("pictures", red)], 151.0), (&[], 27.0)]
    {
        echo(place.path(), "[1, 1, 1]", data, set);
        assert_eq!(echoed(place.path(), &["one.png"]), Ok(vec![expected]), "{set:?}");
    }
}
