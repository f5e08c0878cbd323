//! The odd folders through the commands.

use super::{table, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MODEL: &str = "network m { input image: [3, 4, 4]  image |> flatten |> linear(features = CLASSES) |> softmax }
data { source = folder(\"set\")  allow_empty = ALLOWED  prepare = [scale] }
train { optimizer = sgd(rate = 0.1)  batch = 2  steps = 1 }";

/// A name of the table, in which `\xNN` is a byte.
fn path(name: &str) -> PathBuf {
    let mut parts = name.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
        bytes.extend(part[2..].bytes());
    }
    #[cfg(unix)]
    return PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes));
    #[cfg(not(unix))]
    return PathBuf::from(String::from_utf8_lossy(&bytes).into_owned());
}

fn write(root: &Path, name: &str, contents: &[u8]) {
    let path = root.join(path(name));
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, contents).expect("written");
}

/// Makes a row's files; gives how many there are.
fn make(root: &Path, row: &Value) -> usize {
    let picture = ninc_runtime::image::png(4, 4, 1, &[90; 16]).expect("a picture");
    let mut made = 0;
    for name in row["files"].as_array().expect("files").iter().flat_map(Value::as_str) {
        match (name.split_once('*'), name.split_once('=')) {
            (Some((start, count)), _) => {
                let count: usize = count.parse().expect("a number");
                (0..count).for_each(|i| write(root, &format!("{start}{i}.png"), &picture));
                made += count;
            }
            (None, Some((name, contents))) => {
                write(root, name, contents.as_bytes());
                made += 1;
            }
            (None, None) => {
                write(root, name, &picture);
                made += 1;
            }
        }
    }
    made
}

fn ninc(place: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
    let output = command.args(args).current_dir(place).env("XDG_CACHE_HOME", place).output().expect("ninc runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn folders_give_what_the_table_says() {
    let rows: Vec<Value> = table().into_iter().filter(|row| row["folder"].is_string()).collect();
    assert!(rows.len() >= 18, "{}", rows.len());
    for row in &rows {
        let place = tempfile::tempdir().expect("a folder");
        let name = text(row, "folder");
        let made = make(&place.path().join("set"), row);
        let classes: Vec<&str> = row["classes"].as_array().into_iter().flatten().flat_map(Value::as_str).collect();
        let allowed = ["empty-class", "test-only"].contains(&name);
        let model = MODEL.replace("CLASSES", &classes.len().max(2).to_string());
        let model = model.replace("ALLOWED", &allowed.to_string());
        fs::write(place.path().join("m.nin"), &model).expect("written");
        let check = ninc(place.path(), &["check", "m.nin", "--data", "set"]);
        let train = ninc(place.path(), &["train", "m.nin"]);
        if let Some(words) = row["error"].as_str() {
            for (code, _, err) in [&check, &train] {
                assert!(*code == Some(1) && err.contains(words) && err.contains("help: "), "{name}: {err}");
            }
            assert!(!place.path().join("out").exists(), "{name}: nothing is written");
            continue;
        }
        assert_eq!((check.0, train.0), (Some(0), Some(0)), "{name}: {}{}", check.2, train.2);
        assert!(train.2.starts_with(&check.1), "{name}: {}{}", check.1, train.2);
        let number = |key: &str| row[key].as_u64().expect("a number") as usize;
        let (train, test) = (number("train"), number("test"));
        let first = format!("{} classes, images: {train} training, {test} test\n", classes.len());
        assert!(check.1.contains(&first), "{name}: {}", check.1);
        let count = |line: &str| line.strip_prefix("left out: ")?.split(' ').next()?.parse::<usize>().ok();
        let left_out: usize = check.1.lines().filter_map(count).sum();
        assert_eq!((left_out, train + test + left_out), (number("skipped"), made), "{name}: {}", check.1);
        // The classes in their order, as rows of the table.
        let found: Vec<&str> = check.1.lines().skip(2).take(classes.len()).collect();
        assert!(found.iter().zip(&classes).all(|(line, class)| line.starts_with(class)), "{name}: {}", check.1);
        let (code, out, err) = ninc(place.path(), &["eval", "m.nin", "--json"]);
        let answer: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{name}: {err}"));
        assert_eq!((code, answer["count"].as_u64()), (Some(0), Some(test as u64)), "{name}: {err}");
    }
}
