//! What the commands make of folders of pictures.

use super::folder;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const MODEL: &str = "network small {
    input image: [3, 4, 4]

    image |> flatten |> linear(features = 3) |> softmax
}

data {
    source  = folder
    prepare = [scale]
    valid   = 2
}

train {
    optimizer = sgd(rate = 0.01)
    batch     = 4
    steps     = 1
}
";

fn ninc(folder: &Path, arguments: &[&str]) -> (Output, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ninc"))
        .args(arguments)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder)
        .output()
        .expect("ninc starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[test]
fn check_says_what_train_says() {
    let folder = folder(&["d/cat/note.txt", "d/.hidden", "d/dog/more/old.heic"]);
    fs::write(folder.path().join("m.nin"), MODEL).expect("written");
    for (class, count) in [("cat", 10), ("dog/more", 5), ("10", 2)] {
        fs::create_dir_all(folder.path().join("d").join(class)).expect("made");
        for i in 0..count {
            let path = folder.path().join("d").join(class).join(format!("{i}.png"));
            image::RgbImage::from_pixel(4, 4, image::Rgb([i * 20, 0, 0])).save(path).expect("saved");
        }
    }
    let check = ["check", "m.nin", "--data", "d"];
    let (output, said, err) = ninc(folder.path(), &check);
    assert!(output.status.success() && err.is_empty(), "{err}");
    // By hand: 17 pictures; a fifth, rounded up, is for the test; 2 of the 13 others for validation.
    let expected = "data: d (folder), 3 classes, images: 11 training, 2 validation, 4 test
class  training  validation  test
10            1           0     1
cat           7           1     2
dog           3           1     1
all: d
test: a fifth of each class, by the files' names
validation: 2 of 13 training images, of each class, by the files' names
without validation images: 10
in folders within those of their classes: 5 images
left out: 1 file d/.hidden, hidden
left out: 1 file d/dog/more/old.heic, with the ending .heic, which is not read
left out: 1 file d/cat/note.txt, with the ending .txt, which is not read
";
    assert_eq!(said, expected);
    let (output, _, err) = ninc(folder.path(), &["train", "m.nin", "--data", "d"]);
    assert!(output.status.success() && err.starts_with(expected), "{err}");
    // What would be refused is refused, with code 1, behind what was found.
    fs::create_dir(folder.path().join("d/eel")).expect("made");
    let (output, said, err) = ninc(folder.path(), &check);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("eel") && err.contains("no training images of `eel`"), "{said}{err}");
    let (output, said, err) = ninc(folder.path(), &["check", "m.nin", "--data", "nowhere"]);
    assert!(output.status.code() == Some(1) && said.is_empty() && err.contains("nowhere"), "{said}{err}");
}

/// Three classes of ten pictures, and a model for them.
fn photos() -> TempDir {
    let folder = folder(&[]);
    fs::write(folder.path().join("m.nin"), MODEL).expect("written");
    for (class, colour) in [("a", [200, 0, 0]), ("b", [0, 200, 0]), ("c", [0, 0, 200])] {
        fs::create_dir_all(folder.path().join("d").join(class)).expect("made");
        for i in 0..10 {
            let picture = image::RgbImage::from_pixel(9, 7, image::Rgb(colour.map(|c| c + i)));
            picture.save(folder.path().join(format!("d/{class}/{i}.png"))).expect("saved");
        }
    }
    folder
}

#[test]
fn broken_files_are_named_together_before_the_first_step() {
    let folder = photos();
    let root = folder.path();
    let whole = fs::read(root.join("d/a/0.png")).expect("there");
    fs::write(root.join("d/a/0.png"), &whole[..whole.len() - 5]).expect("written");
    fs::write(root.join("d/b/3.png"), "").expect("written");
    fs::write(root.join("d/c/7.png"), "<html>").expect("written");
    // Its head and its end are as they should be: only decoding finds that its data are not.
    let mut damaged = whole.clone();
    let data = whole.windows(4).position(|name| name == b"IDAT").expect("data") + 4;
    damaged[data + 6] ^= 0x40;
    fs::write(root.join("d/c/9.png"), damaged).expect("written");
    let broken = |arguments: &[&str], names: &[&str]| {
        let (output, _, err) = ninc(root, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {err}");
        let list = err.split_once("pictures cannot be read:\n").map_or(err.as_str(), |(_, list)| list);
        let lines: Vec<&str> = list.lines().filter(|line| line.contains(".png")).collect();
        assert_eq!(lines.len(), names.len(), "{err}");
        lines.iter().zip(names).for_each(|(line, name)| assert!(line.contains(name), "{name}: {err}"));
        assert!(err.contains("help: ") && !root.join("out").exists(), "{err}");
    };
    let three = ["d/a/0.png", "d/b/3.png", "d/c/7.png"];
    broken(&["train", "m.nin", "--data", "d"], &three);
    broken(&["check", "m.nin", "--data", "d"], &three);
    let four = [&three[..], &["d/c/9.png"]].concat();
    broken(&["train", "m.nin", "--data", "d", "--check-data"], &four);
    broken(&["check", "m.nin", "--data", "d", "--check-data"], &four);
    for file in three {
        fs::write(root.join(file), &whole).expect("written");
    }
    broken(&["check", "m.nin", "--data", "d", "--check-data"], &["d/c/9.png"]);
    assert!(ninc(root, &["check", "m.nin", "--data", "d"]).0.status.success());
    // Of many the first twenty are named.
    for (class, i) in ["a", "b", "c"].into_iter().flat_map(|class| (0..10).map(move |i| (class, i))) {
        fs::write(root.join(format!("d/{class}/{i}.png")), "").expect("written");
    }
    let err = ninc(root, &["train", "m.nin", "--data", "d"]).2;
    assert!(err.contains("30 of 30 pictures") && err.contains("and 10 more"), "{err}");
}

#[test]
fn run_answers_what_can_be_read() {
    let folder = photos();
    let root = folder.path();
    let (output, _, err) = ninc(root, &["train", "m.nin", "--data", "d"]);
    assert!(output.status.success(), "{err}");
    fs::write(root.join("d/a/4.png"), "no picture").expect("written");
    let files: Vec<String> = (0..10).map(|i| format!("d/a/{i}.png")).collect();
    let arguments =
        [&["run", "m.nin", "--top", "1"][..], &files.iter().map(String::as_str).collect::<Vec<_>>()].concat();
    let (output, out, err) = ninc(root, &arguments);
    let answered: Vec<&str> = out.lines().filter(|line| line.contains(".png")).collect();
    let expected: Vec<&String> = files.iter().filter(|file| !file.contains("4.png")).collect();
    assert_eq!((answered.len(), output.status.code()), (9, Some(1)), "{out}{err}");
    assert!(answered.iter().zip(expected).all(|(a, e)| a == e), "{out}");
    assert!(err.contains("d/a/4.png is not a picture"), "{err}");
    let (output, out, _) = ninc(root, &["run", "m.nin", "d/a/4.png", "nowhere.png"]);
    assert!(output.status.code() == Some(1) && out.is_empty(), "{out}");
    // In a test folder it is found before anything is computed.
    let (output, out, err) = ninc(root, &["eval", "m.nin", "--data", "d", "--part", "all"]);
    assert!(output.status.code() == Some(1) && out.is_empty() && err.contains("4.png"), "{out}{err}");
}
