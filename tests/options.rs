//! Options that mean nothing in a command, and two results on one stream, are refused before anything is done.

use std::process::Command;

fn refused(arguments: &[&str], says: &str) {
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(env!("CARGO_BIN_EXE_ninc")).args(arguments).current_dir(root).output().expect("starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && output.stdout.is_empty() && text.contains(says),
        "{arguments:?}: {text}"
    );
}

#[test]
fn options_without_meaning_are_refused() {
    let model = "models/digits.nin";
    for (arguments, option) in [
        (&["check", model, "--device", "opencl"][..], "--device"),
        (&["inspect", model, "--precision=bf16"], "--precision"),
        (&["fmt", "--check", model, "--set", "width=8"], "--set"),
        (&["weights", "models/digits.safetensors", "--isa", "avx2"], "--isa"),
        (&["--no-verify", "devices"], "--no-verify"),
        (&["new", "none", "--data", "none", "--emit", "graph"], "--emit"),
    ] {
        refused(
            arguments,
            &format!("`ninc {}` does nothing with {option}", arguments[usize::from(option == "--no-verify")]),
        );
    }
    refused(&["build", model, "--json", "--explain"], "--explain and --json would mix two results");
    refused(&["bench", model, "--json", "--emit", "plan"], "--emit and --json would mix two results");
}
