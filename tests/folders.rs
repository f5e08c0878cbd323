//! Folders of pictures: which files are used for what, and that nothing is left out unsaid. Most need no pictures, only
//! files: which are used depends on names alone.

mod commands;

use ninc_runtime::data::split::{self, Order};
use ninc_runtime::data::{Dataset, Images, Pixels, Sets, load, load_split};
use ninc_runtime::philox::Stream;
use ninc_runtime::spec::{DataSpec, Pictures, Resize, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn spec(valid: Option<f64>) -> DataSpec {
    DataSpec { valid, ..DataSpec::of(Source::Folder { resize: Resize::Stretch }) }
}

/// A folder with these files, `a/{0..9}.png` being ten of them.
fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    files.iter().for_each(|file| write(folder.path(), file));
    folder
}

fn write(folder: &Path, file: &str) {
    let Some((start, rest)) = file.split_once("{0..") else {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        return fs::write(path, file).expect("written");
    };
    let (last, end) = rest.split_once('}').expect("a range");
    (0..=last.parse::<usize>().expect("a number")).for_each(|i| write(folder, &format!("{start}{i}{end}")));
}

fn read(folder: &TempDir) -> Sets {
    load(&spec(None), Some(folder.path()), &[3, 4, 4]).expect("reads")
}

/// Names of the files of a part, without the folder.
fn files(set: &Dataset, folder: &Path) -> Vec<String> {
    let Pixels::Files(files, _) = &set.images.pixels else { panic!("files") };
    let name = |row: &u32| files[*row as usize].strip_prefix(folder).expect("below").display().to_string();
    set.rows.iter().map(name).collect()
}

/// Images of each class.
fn counts(set: &Dataset, classes: usize) -> Vec<usize> {
    (0..classes).map(|c| (0..set.len()).filter(|&i| set.label(i) as usize == c).count()).collect()
}

#[test]
fn layouts_are_those_that_people_know() {
    // Training, validation and test images of each class.
    type Parts<'a> = (&'a [usize], &'a [usize], &'a [usize]);
    let check = |files: &[&str], names: &str, (train, valid, test): Parts| {
        let folder = folder(files);
        let sets = read(&folder);
        assert_eq!(sets.names.join(" "), names, "{files:?}");
        let count = |set: &Dataset| counts(set, sets.names.len());
        let found = (count(&sets.train), sets.valid.as_ref().map_or(vec![], count), count(&sets.test));
        assert_eq!((&found.0[..], &found.1[..], &found.2[..]), (train, valid, test), "{files:?}");
        assert!(sets.reading.skipped.is_empty(), "{files:?}: {:?}", sets.reading.skipped);
    };
    // torchvision's tutorials, Keras with two calls: what is validated with is what is tested with.
    check(
        &["train/a/{0..3}.png", "train/b/{0..3}.png", "val/a/0.png", "val/b/{0..1}.png"],
        "a b",
        (&[4, 4], &[], &[1, 2]),
    );
    check(&["train/a/{0..3}.png", "validation/a/0.png"], "a", (&[4], &[], &[1]));
    check(&["Train/a/{0..3}.png", "Test/a/0.png"], "a", (&[4], &[], &[1]));
    // Ultralytics.
    let three = ["train/a/{0..3}.png", "val/a/{0..1}.png", "test/a/0.png"];
    check(&three, "a", (&[4], &[2], &[1]));
    // Keras with `validation_split`.
    check(&["train/a/{0..9}.png", "train/b/{0..4}.png"], "a b", (&[8, 4], &[], &[2, 1]));
    check(&["a/{0..9}.png", "b/{0..4}.png"], "a b", (&[8, 4], &[], &[2, 1]));
    // All of them take what lies deeper.
    check(&["a/x/{0..4}.png", "a/y/z/{0..4}.png", "b/{0..4}.png"], "a b", (&[8, 4], &[], &[2, 1]));
    // Pictures to be tested alone.
    check(&["test/a/{0..1}.png", "test/b/0.png"], "a b", (&[0, 0], &[], &[2, 1]));
    check(&["val/a/{0..1}.png", "test/a/0.png"], "a", (&[0], &[2], &[1]));
    // A class may be called so.
    check(&["bus/{0..4}.png", "train/{0..4}.png"], "bus train", (&[4, 4], &[], &[1, 1]));
    check(&["exam/{0..4}.png", "test/{0..4}.png"], "exam test", (&[4, 4], &[], &[1, 1]));
    check(&["exam/{0..4}.png", "test/old/{0..4}.png"], "exam test", (&[4, 4], &[], &[1, 1]));
    // A class that one part lacks keeps its place.
    check(&["train/a/0.png", "train/b/0.png", "test/b/0.png", "test/c/0.png"], "a b c", (&[1, 1, 0], &[], &[0, 1, 1]));
    // Every ending that is read, in any case.
    let kinds = [
        "a/0.PNG", "a/1.jpg", "a/2.Jpeg", "a/3.webp", "a/4.gif", "a/5.tif", "a/6.TIFF", "a/7.qoi", "a/8.bmp", "a/9.jpe",
    ];
    check(&kinds, "a", (&[8], &[], &[2]));
}

#[test]
fn what_is_left_out_has_a_reason() {
    let folder = folder(&[
        "a/{0..4}.png",
        "b/{0..4}.png",
        "a/x.heic",
        "a/deep/y.HEIC",
        "a/z",
        "a/.hidden.png",
        "a/.cache/0.png",
        "a/.cache/in/1.txt",
        "readme.txt",
        "loose.png",
        ".DS_Store",
        "__MACOSX/a/._0.png",
        "__MACOSX/.b",
        "b/Thumbs.db",
    ]);
    let sets = read(&folder);
    let skipped: BTreeMap<&str, usize> =
        sets.reading.skipped.iter().map(|(reason, skipped)| (reason.as_str(), skipped.count)).collect();
    let expected = [
        ("with the ending .heic, which is not read", 2),
        ("with the ending .db, which is not read", 1),
        ("without an ending", 1),
        ("hidden", 4),
        ("beside the folders of the classes", 2),
        ("in __MACOSX, which macOS' archiver makes", 2),
    ];
    assert_eq!(skipped, expected.into());
    assert_eq!(sets.train.len() + sets.test.len(), 10);
    // Beside parts other folders are nothing that can be trained on.
    let beside = self::folder(&["train/a/0.png", "test/a/0.png", "unsorted/{0..2}.png", "labels.csv"]);
    let sets = read(&beside);
    assert_eq!(sets.reading.skipped["beside the folders of the parts"].count, 4);
    assert_eq!((sets.train.len(), sets.test.len()), (1, 1));
}

#[test]
fn folders_that_cannot_be_understood_are_refused() {
    let bad = |files: &[&str], says: &[&str]| {
        let folder = folder(files);
        let error = load(&spec(Some(0.5)), Some(folder.path()), &[3, 4, 4]).expect_err("refused");
        says.iter().for_each(|text| assert!(error.message.contains(text), "{files:?} should say `{text}`: {error}"));
        assert!(error.help.is_some(), "{error}");
    };
    bad(&["0.png", "1.png"], &["no sub-folders"]);
    bad(&["train/a/0.png", "Train/a/0.png"], &["rain", "one part"]);
    bad(&["train/a/0.png", "val/a/0.png", "valid/a/0.png"], &["val", "valid", "one part"]);
    bad(&["photos/a/0.png", "photos/b/0.png"], &["one sub-folder, which holds folders"]);
    bad(&["a/0.heic", "b/1.heic", "c.txt"], &["no pictures", "3 other files", "2 of them with the ending .heic"]);
    bad(&["train/a/{0..3}.png", "val/a/0.png", "test/a/0.png"], &["a folder for validation already", "valid = 0.5"]);
}

#[test]
fn splits_depend_on_names_and_hardly_move() {
    let files_of =
        |sets: &Sets, folder: &TempDir| -> BTreeSet<String> { files(&sets.test, folder.path()).into_iter().collect() };
    let (one, other) = (folder(&["a/{0..29}.png", "b/{0..9}.png"]), folder(&["b/{0..9}.png", "a/{0..29}.png"]));
    let (first, second) = (files_of(&read(&one), &one), files_of(&read(&other), &other));
    assert_eq!(first, second, "in another place");
    assert_eq!(counts(&read(&one).test, 2), [6, 2]);
    // Not the first ones of each class, and other ones in each.
    assert!(!first.is_superset(&(0..6).map(|i| format!("a/{i}.png")).collect()), "{first:?}");
    // A picture more or less moves one other at most.
    write(one.path(), "a/new.png");
    let more = files_of(&read(&one), &one);
    assert!(first.difference(&more).count() <= 1 && more.difference(&first).count() <= 1, "{first:?} {more:?}");
    fs::remove_file(one.path().join("b/5.png")).expect("removed");
    let less = files_of(&read(&one), &one);
    assert!(more.difference(&less).count() <= 1, "{more:?} {less:?}");
    // Validation is cut off what is left, of each class in proportion.
    let sets = load(&spec(Some(8.0)), Some(other.path()), &[3, 4, 4]).expect("reads");
    let valid = sets.valid.expect("asked for");
    assert_eq!((counts(&sets.train, 2), counts(&valid, 2)), (vec![18, 6], vec![6, 2]));
    let parts: Vec<String> = [&sets.train, &valid, &sets.test].iter().flat_map(|s| files(s, other.path())).collect();
    assert_eq!((parts.len(), parts.iter().collect::<BTreeSet<_>>().len()), (40, 40), "each is in one part");
    // Trainings that versions before began have the split that these made.
    let former = load_split(&spec(None), Some(other.path()), &[3, 4, 4], true).expect("reads");
    let pixels = Pixels::Files(vec![PathBuf::new(); 40], Pictures::default());
    let labels = (0..40).map(|i| u32::from(i >= 30)).collect();
    let all = Dataset::new(Images { dims: [3, 4, 4], pixels }, labels);
    assert_eq!(former.test.rows, all.split(20_131_216, 8).1.rows);
}

#[test]
fn arrays_are_split_by_class_and_index() {
    let labels: Vec<u32> = (0..1000).map(|i| if i % 10 == 0 { 1 } else { 0 }).collect();
    let set = |labels: &[u32]| {
        Dataset::new(Images { dims: [1, 1, 1], pixels: Pixels::Bytes(vec![0; labels.len()]) }, labels.to_vec())
    };
    let (rest, cut) = split::cut(&set(&labels), 200, Order::Index);
    // By hand: a fifth of 900 and of 100.
    assert_eq!((counts(&rest, 2), counts(&cut, 2)), (vec![720, 80], vec![180, 20]));
    assert!(rest.rows.is_sorted() && cut.rows.is_sorted());
    assert_eq!(split::cut(&set(&labels), 200, Order::Index).1.rows, cut.rows);
    // Drawn, not counted off: far from regular, and from all parts.
    let halves = cut.rows.iter().filter(|&&row| row < 500).count();
    assert!((70..130).contains(&halves), "{halves}");
    // One of each class is left, whatever is asked for.
    let (rest, cut) = split::cut(&set(&[0, 1, 1, 2]), 4, Order::Index);
    assert_eq!((counts(&rest, 3), counts(&cut, 3)), (vec![1, 1, 1], vec![0, 1, 0]));
}

/// Files that are used and files that are reported are all files, in 100 folders drawn at random.
#[test]
fn pictures_used_and_left_out_are_all_files() {
    let mut random = Stream::new(13, 2, 0);
    let mut draw = |list: &[&'static str]| list[random.below(list.len() as u32) as usize];
    let (mut used_in_all, mut left_out_in_all) = (0, 0);
    for number in 0..100 {
        let folder = folder(&[]);
        let mut written = BTreeSet::new();
        let parts: &[&str] = match number % 4 {
            0 => &[""],
            1 => &["train", "test"],
            2 => &["Train", "validation", "test", "extra"],
            _ => &["", "train", ".hidden", "__MACOSX"],
        };
        for _ in 0..60 {
            let class = draw(&["cat", "dog", "2", "10", "Éclair", "with space", ".cache"]);
            let deeper = draw(&["", "", "", "x", "x/y", ".z", "__MACOSX"]);
            let name = draw(&["a", "b", "c", "d.e", ".f", "._g", "weiß", "h i"]);
            let ending = draw(&[".png", ".jpg", ".JPG", ".webp", ".heic", ".txt", "", ".png.bak", ".gif"]);
            let path: PathBuf = [draw(parts), class, deeper].iter().filter(|p| !p.is_empty()).collect();
            let path = path.join(format!("{name}{ending}"));
            written.insert(path.display().to_string());
            write(folder.path(), &path.display().to_string());
        }
        // Whatever was drawn, there are pictures.
        for part in parts {
            write(folder.path(), &Path::new(part).join("cat/sure.png").display().to_string());
        }
        let loose = draw(&["readme.txt", "x.png", ".DS_Store"]);
        write(folder.path(), loose);
        written.insert(loose.to_string());
        let all = count_files(folder.path());
        let sets = read(&folder);
        let used = sets.train.len() + sets.valid.as_ref().map_or(0, Dataset::len) + sets.test.len();
        assert_eq!(used + sets.reading.left_out(), all, "folder {number}: {written:?}");
        (used_in_all, left_out_in_all) = (used_in_all + used, left_out_in_all + sets.reading.left_out());
    }
    assert!(used_in_all > 1000 && left_out_in_all > 1000, "{used_in_all} {left_out_in_all}");
}

fn count_files(folder: &Path) -> usize {
    fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| if path.is_dir() { count_files(&path) } else { 1 })
        .sum()
}

#[cfg(unix)]
#[test]
fn links_pipes_and_names_that_are_not_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let folder = folder(&["a/{0..4}.png", "elsewhere/b/{0..4}.png"]);
    let root = folder.path().join("set");
    fs::create_dir(&root).expect("made");
    // Classes behind links, one of which leads back to where it lies.
    symlink("../a", root.join("a")).expect("made");
    symlink("../elsewhere/b", root.join("b")).expect("made");
    symlink("..", folder.path().join("elsewhere/b/round")).expect("made");
    for (class, name) in [(&b"caf\xe9"[..], &b"\xff.png"[..]), (b"caf\xe8", b"\xfe.png")] {
        let class = root.join(OsStr::from_bytes(class));
        fs::create_dir(&class).expect("made");
        fs::write(class.join(OsStr::from_bytes(name)), "x").expect("written");
    }
    let status = Command::new("mkfifo").arg(folder.path().join("a/pipe.png")).status().expect("mkfifo starts");
    assert!(status.success());
    let sets = load(&spec(None), Some(&root), &[3, 4, 4]).expect("reads");
    assert_eq!(sets.names, ["a", "b", "caf\\xE8", "caf\\xE9"]);
    // `round` leads to `elsewhere`, whose one folder is the one that the link lies in.
    assert_eq!(sets.train.len() + sets.test.len(), 5 + 5 + 2, "{:?}", sets.reading);
    let reasons: Vec<&String> = sets.reading.skipped.keys().collect();
    assert_eq!(reasons, ["not a file: a pipe, a socket or a device"]);
}
