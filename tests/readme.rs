//! The README's examples, run: every `$ ninc …` line works and prints what the page says it prints, numbers aside.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

/// Numbers differ from machine to machine and run to run; a page is true where the words are.
fn words(line: &str) -> String {
    let mut out = String::new();
    for part in line.split_whitespace() {
        let number = part.trim_end_matches('x').chars().all(|c| c.is_ascii_digit() || ".,x-".contains(c));
        if !(number && part.chars().any(|c| c.is_ascii_digit())) {
            out.push_str(part);
            out.push(' ');
        }
    }
    out
}

/// Does `printed` read as `page` says, where `...` stands for any lines?
fn reads_as(printed: &[String], page: &[String]) -> bool {
    match page.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "..." => (0..=printed.len()).any(|n| reads_as(&printed[n..], rest)),
        Some((first, rest)) => printed.first() == Some(first) && reads_as(&printed[1..], rest),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().expect("a name")))?;
        }
    }
    Ok(())
}

#[test]
fn examples_do_what_they_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = tempfile::tempdir().expect("a folder");
    copy(&root.join("models"), &place.path().join("models")).expect("models");
    copy(&root.join("tests/data"), &place.path().join("tests/data")).expect("pictures");
    // Shipped weights would be found before those that the tour has just trained.
    let shipped = place.path().join("models/digits.safetensors");
    // The page's first command has trained before the tour begins: its weights are not replaced without a word.
    fs::create_dir(place.path().join("out")).expect("made");
    fs::copy(&shipped, place.path().join("out/digits.safetensors")).expect("copied");
    let _ = fs::remove_file(shipped);
    let page = fs::read_to_string(root.join("README.md")).expect("README.md");
    let mut examples = 0;
    for block in page.split("```console\n").skip(1) {
        let block = block.split("```").next().expect("the block");
        let (command, output) = block.split_once('\n').expect("a command line");
        let args = command.strip_prefix("$ ninc ").unwrap_or_else(|| panic!("{command} is not a ninc command"));
        let result = Command::new(env!("CARGO_BIN_EXE_ninc"))
            .args(args.split_whitespace())
            .current_dir(place.path())
            .output()
            .expect("ninc runs");
        let text = String::from_utf8_lossy(&result.stderr) + String::from_utf8_lossy(&result.stdout);
        assert_eq!(result.status.success(), !output.starts_with("error"), "{command}: {text}");
        let printed: Vec<String> = text.lines().map(words).filter(|l| !l.is_empty()).collect();
        let said: Vec<String> = output.lines().map(words).filter(|l| !l.is_empty()).collect();
        assert!(reads_as(&printed, &said), "{command} printed\n{text}\nthe README says\n{output}");
        examples += 1;
    }
    assert!(examples >= 5, "only {examples} examples");
    library(&page, place.path());
}

/// The lines that build a library and classify a picture with it, as they stand.
fn library(page: &str, place: &Path) {
    let block = page.split("```sh\n").find(|block| block.contains("lib/classify.c")).expect("the lines");
    let lines = block.split("```").next().expect("the block");
    let headers = ["png.h", "jpeglib.h"].iter().all(|name| Path::new("/usr/include").join(name).exists());
    if !headers || Command::new("cc").arg("--version").output().is_err() {
        eprintln!("skipped: no cc with libpng and libjpeg");
        return;
    }
    let ninc = Path::new(env!("CARGO_BIN_EXE_ninc")).parent().expect("a folder");
    let path = format!("{}:{}", ninc.display(), std::env::var("PATH").unwrap_or_default());
    let result =
        Command::new("sh").args(["-ec", lines]).env("PATH", path).current_dir(place).output().expect("sh runs");
    let text = String::from_utf8_lossy(&result.stderr) + String::from_utf8_lossy(&result.stdout);
    assert!(result.status.success() && text.contains("tests/data/digit-7.png: 7 (class 7)"), "{text}");
}
