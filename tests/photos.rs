//! Decoded pictures that are kept on disk, and files that are read once.

use ninc_runtime::data::checksum::Hashed;
use ninc_runtime::data::look::{self, Look};
use ninc_runtime::data::{Dataset, Images, Pixels};
use ninc_runtime::image::disk::Cache;
use ninc_runtime::spec::Pictures;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// All files below a folder, in order.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

fn read(cache: &Cache, key: &str, size: usize) -> Option<Vec<u8>> {
    let mut pixels = vec![0; size];
    cache.read(key, &mut pixels).then_some(pixels)
}

#[test]
fn entries_are_whole_or_not_there() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("pictures");
    let cache = Cache::new(folder.clone(), 1 << 20);
    assert_eq!(read(&cache, "a", 4), None);
    cache.write("a", &[1, 2, 3, 4]);
    cache.write("b", &[]);
    for reader in [&cache, &Cache::new(folder.clone(), 0)] {
        assert_eq!(read(reader, "a", 4), Some(vec![1, 2, 3, 4]));
        assert_eq!(read(reader, "b", 0), Some(vec![]));
        // Another size, another key.
        assert_eq!([read(reader, "a", 3), read(reader, "a", 5), read(reader, "c", 4)], [None, None, None]);
    }
    let files = below(&folder);
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        let whole = fs::read(&file).expect("there");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 4;
            fs::write(&file, &changed).expect("written");
            assert_eq!(
                [read(&cache, "a", 4).is_some(), read(&cache, "b", 0).is_some()].iter().filter(|r| **r).count(),
                1
            );
            fs::write(&file, &whole[..at]).expect("written");
            assert_eq!(
                [read(&cache, "a", 4).is_some(), read(&cache, "b", 0).is_some()].iter().filter(|r| **r).count(),
                1
            );
        }
        fs::write(&file, [&whole[..], &[0]].concat()).expect("written");
        assert!(read(&cache, "a", 4).is_none() || read(&cache, "b", 0).is_none());
        fs::write(&file, whole).expect("written");
    }
    // What is wrong is written anew.
    fs::write(&below(&folder)[0], "").expect("written");
    cache.write("a", &[1, 2, 3, 4]);
    cache.write("b", &[]);
    assert!(read(&cache, "a", 4).is_some() && read(&cache, "b", 0).is_some());
}

#[test]
fn a_full_cache_forgets_what_was_used_longest_ago() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().to_path_buf();
    let first = Cache::new(folder.clone(), 10 * 4096);
    (0..12).for_each(|i| first.write(&format!("{i}"), &[i; 100]));
    let there = |cache: &Cache| (0..20).filter(|i| read(cache, &format!("{i}"), 100).is_some()).collect::<Vec<_>>();
    // What a process wrote itself makes no place for more of it: in an epoch each picture comes once.
    assert_eq!(below(&folder).len(), 10);
    for (hours, file) in below(&folder).iter().enumerate() {
        let then = SystemTime::now() - Duration::from_secs(3600 * (20 - hours as u64));
        File::options().write(true).open(file).and_then(|f| f.set_modified(then)).expect("set");
    }
    // A writer that died has left this, and another one is at work.
    let part = below(&folder)[0].parent().expect("a folder").to_path_buf();
    let (dead, alive) = (part.join("1-1.tmp"), part.join("2-1.tmp"));
    fs::write(&dead, "").expect("written");
    fs::write(&alive, "").expect("written");
    let old = SystemTime::now() - Duration::from_secs(7200);
    File::options().write(true).open(&dead).and_then(|f| f.set_modified(old)).expect("set");
    // The oldest is used again, so that others go first.
    let second = Cache::new(folder.clone(), 10 * 4096);
    let oldest = fs::read_to_string(
        below(&folder).iter().find(|f| !f.ends_with("1-1.tmp") && !f.ends_with("2-1.tmp")).expect("one"),
    );
    let oldest = oldest.expect("text").split(' ').next().expect("a key").to_string();
    assert!(read(&second, &oldest, 100).is_some());
    (12..15).for_each(|i| second.write(&format!("{i}"), &[i; 100]));
    let left = there(&second);
    assert!(left.len() == 10 && [12, 13, 14].iter().all(|i| left.contains(i)), "{left:?}");
    assert!(left.contains(&oldest.parse().expect("a number")), "{left:?} {oldest}");
    assert!(!dead.exists() && alive.exists());
}

#[test]
fn many_writers_and_readers_see_whole_entries() {
    let place = tempfile::tempdir().expect("a folder");
    let pixels = |i: usize| vec![i as u8; 5000 + i];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // As processes of their own have.
                let cache = Cache::new(place.path().into(), 1 << 30);
                for i in (0..60).map(|i| i % 6) {
                    if let Some(found) = read(&cache, &i.to_string(), 5000 + i) {
                        assert_eq!(found, pixels(i));
                    }
                    cache.write(&i.to_string(), &pixels(i));
                }
            });
        }
    });
    let cache = Cache::new(place.path().into(), 1 << 30);
    assert!((0..6).all(|i| read(&cache, &i.to_string(), 5000 + i) == Some(pixels(i))));
    assert_eq!(below(place.path()).len(), 6, "nothing else is left");
}

#[test]
fn where_nothing_can_be_written_nothing_is_kept() {
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("file");
    fs::write(&file, "not a folder").expect("written");
    let cache = Cache::new(file.clone(), 1 << 20);
    cache.write("a", &[1]);
    cache.write("a", &[1]);
    assert_eq!(read(&cache, "a", 1), None);
    assert_eq!(fs::read_to_string(file).expect("there"), "not a folder");
}

/// A noisy picture: its file is as long as its pixels are many.
fn noise(path: &Path, seed: u32) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let mut random = ninc_runtime::philox::Stream::new(1, seed, 0);
    image::RgbImage::from_fn(80, 80, |_, _| image::Rgb([0; 3].map(|_| random.below(256) as u8)))
        .save(path)
        .expect("saved");
}

#[test]
fn a_training_keeps_decoded_pictures_for_the_next_one() {
    let place = tempfile::tempdir().expect("a folder");
    let root = place.path();
    for i in 0..8 {
        noise(&root.join(format!("d/{}/{i}.png", ["a", "b"][i % 2])), i as u32);
    }
    let model = "network n { input image: [3, 4, 4]  image |> flatten |> linear(features = 2) |> softmax }
data { source = folder(\"d\")  prepare = [scale] }
train { optimizer = sgd(rate = 0.1)  batch = 4  epochs = 2 }";
    fs::write(root.join("n.nin"), model).expect("written");
    let ninc = |command: &str, more: &[&str]| {
        let mut ninc = Command::new(env!("CARGO_BIN_EXE_ninc"));
        let output = ninc.args([command, "n.nin"]).args(more).current_dir(root).env("NINC_CACHE", root.join("cache"));
        let output = output.output().expect("ninc runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let weights = |out: &str| fs::read(root.join(out).join("n.safetensors")).expect("weights");
    let kept = || below(&root.join("cache/pictures"));
    ninc("train", &["--out", "none", "--no-data-cache"]);
    assert!(kept().is_empty());
    ninc("train", &["--out", "first"]);
    // Six to train with, two to test with.
    let entries = kept();
    assert_eq!(entries.len(), 8, "{entries:?}");
    ninc("train", &["--out", "second"]);
    assert!(weights("first") == weights("none") && weights("second") == weights("none"));
    // They are taken: other pixels give other weights.
    for entry in &entries {
        let text = fs::read(entry).expect("there");
        let line = text.iter().position(|&b| b == b'\n').expect("a line");
        let pixels = vec![200; text.len() - line - 1];
        let sum = format!("{:08x}", ninc_runtime::store::crc32(&pixels));
        fs::write(entry, [&text[..line - 8], sum.as_bytes(), b"\n", &pixels].concat()).expect("written");
    }
    ninc("train", &["--out", "other"]);
    assert!(weights("other") != weights("none"));
    ninc("train", &["--out", "anew", "--no-data-cache"]);
    assert!(weights("anew") == weights("none"));
    ninc("eval", &["--weights", "none/n.safetensors", "--no-data-cache"]);
    // Other contents are another picture, whatever the file looks like from outside.
    let (path, then) = (root.join("d/a/0.png"), fs::metadata(root.join("d/a/0.png")).expect("there"));
    let length = then.len();
    noise(&path, 99);
    let file = File::options().write(true).open(&path).expect("opens");
    file.set_modified(then.modified().expect("a time")).expect("set");
    assert_eq!(kept().len(), 8);
    ninc("eval", &["--weights", "none/n.safetensors", "--part", "all"]);
    assert_eq!(kept().len(), 9, "the file had {length} bytes");
}

#[test]
fn contents_are_read_once_before_the_first_step() {
    let place = tempfile::tempdir().expect("a folder");
    let set = |name: &str| {
        let paths: Vec<PathBuf> = (0..3).map(|i| place.path().join(name).join(format!("{i}.png"))).collect();
        paths.iter().zip(0..).for_each(|(path, i)| noise(path, i));
        Dataset::new(Images { dims: [3, 4, 4], pixels: Pixels::Files(paths, Pictures::default()) }, vec![0, 1, 0])
    };
    let (looked_at, other) = (set("a"), set("b"));
    look::look(&look::files([&looked_at]), Look::Contents, 2, &|| ()).expect("whole");
    let sum = |set: &Dataset| set.checksum(Hashed::Contents).expect("read");
    assert_eq!(sum(&looked_at), sum(&other), "a checksum of the same contents");
    // With the same length and time a file is not read again in the same process.
    let overwrite = |name: &str, then: Option<SystemTime>| {
        let path = place.path().join(name).join("1.png");
        let about = fs::metadata(&path).expect("there");
        fs::write(&path, vec![7; about.len() as usize]).expect("written");
        let file = File::options().write(true).open(&path).expect("opens");
        file.set_modified(then.unwrap_or(about.modified().expect("a time"))).expect("set");
    };
    let before = sum(&looked_at);
    overwrite("a", None);
    overwrite("b", None);
    assert_eq!(sum(&looked_at), before);
    assert_ne!(sum(&other), before);
    overwrite("a", Some(SystemTime::UNIX_EPOCH));
    assert_eq!(sum(&looked_at), sum(&other));
}
