//! Signals while a command opens what it needs, and beside the handlers that drivers of devices bring.

use crate::cli::Place;
use crate::opencl::present;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill is there");
    assert!(sent.success());
}

/// Starts a training by a shell that first does `before`, and reads lines up to one that starts so.
fn started(place: &Place, before: &str, options: &str, until: &str) -> (Child, BufReader<ChildStderr>) {
    let start = format!("{before}; exec {} train tiny.nin --overwrite {options}", env!("CARGO_BIN_EXE_ninc"));
    let mut command = Command::new("sh");
    command
        .args(["-c", &start])
        .current_dir(place.path(""))
        .env("XDG_CACHE_HOME", place.path("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.starts_with(until) {
        line.clear();
        assert!(lines.read_line(&mut line).expect("text") > 0, "it ended before it said `{until}`");
    }
    (child, lines)
}

/// Waits for the end; returns what was said before it too.
fn ended(mut child: Child, mut lines: BufReader<ChildStderr>) -> (ExitStatus, String) {
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("text");
    (child.wait().expect("ends"), rest)
}

/// Before the first step nothing is there that could be saved; where the signal comes later it is.
#[test]
fn a_signal_that_comes_early_ends_the_program() {
    let place = Place::new();
    let (child, lines) = started(&place, ":", "--epochs 100000", "data: ");
    signal(&child, "-TERM");
    let (status, said) = ended(child, lines);
    assert!(status.signal() == Some(15) || status.code() == Some(130), "{status} {said}");
}

/// As `nohup` does; later the signal asks for a checkpoint.
#[test]
fn who_was_made_deaf_to_an_early_signal_goes_on() {
    let place = Place::new();
    let (child, lines) = started(&place, "trap '' HUP", "--steps 3", "data: ");
    signal(&child, "-HUP");
    let (status, said) = ended(child, lines);
    assert!(status.success(), "{status} {said}");
}

/// A checkpoint has weights of its own, so `--weights` and `--resume` exclude each other.
#[test]
fn the_line_that_goes_on_leaves_out_where_a_training_started() {
    let place = Place::new();
    let (child, lines) = started(&place, ":", "--steps 3", "data: ");
    assert!(ended(child, lines).0.success());
    let (child, lines) = started(&place, ":", "--weights out/tiny.safetensors --out later --epochs 100000", "epoch ");
    signal(&child, "-INT");
    let (status, said) = ended(child, lines);
    assert_eq!(status.code(), Some(130), "{status} {said}");
    let line = said.split("Go on: ").nth(1).expect("a line");
    assert!(line.contains("--out later --epochs 100000 --resume") && !line.contains("--weights"), "{line}");
}

/// LLVM within a driver has handlers of its own: a training is saved all the same.
#[test]
fn a_training_on_a_device_is_saved() {
    if !present() {
        return;
    }
    let place = Place::new();
    for name in ["-INT", "-TERM"] {
        let (child, lines) = started(&place, ":", "--device opencl --epochs 100000", "epoch ");
        signal(&child, name);
        let (status, said) = ended(child, lines);
        assert_eq!(status.code(), Some(130), "{name}: {status} {said}");
        assert!(said.contains("; saved out/tiny.checkpoint. Go on: "), "{said}");
        assert!(place.path("out/tiny.checkpoint").is_file());
    }
}
