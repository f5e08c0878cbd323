//! Instructions that compiled kernels and the compiler itself execute, against committed figures: a change that makes
//! either slower by more than the margin must say so in `tests/counts/`. Counted by callgrind, so no clock is involved.
//!
//! `NINC_BLESS=1` writes the figures anew. Skipped aloud without valgrind or AVX2.

use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Allowed growth and shrinkage. Kernels do the same whatever Rust compiler built the program; the compiler's own count
/// depends on it.
const KERNELS: f64 = 0.10;
const COMPILER: f64 = 0.20;

/// Caches of the machine that the figures were first counted on.
const CACHES: &str = "32K,1M,32M";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn file() -> PathBuf {
    root().join("tests/counts/instructions.json")
}

/// Instructions of a run of the program: all, or those that the options of callgrind choose.
fn instructions(options: &[&str], args: &[&str]) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(options)
        .arg(env!("CARGO_BIN_EXE_ninc"))
        .args(args)
        .current_dir(root())
        .output()
        .expect("valgrind starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {text}");
    let count = text.lines().find_map(|l| l.split_once("Collected :")).expect("callgrind's sum").1;
    count.trim().parse().expect("a number")
}

/// Instructions of a benchmark's kernels, its warm-up included: what the pool of threads runs, without start,
/// compilation and yardstick.
fn of_kernels(model: &str, mode: &str, algorithm: &str) -> f64 {
    let bench = ["bench", model, "--mode", mode, "--batch", "8", "--rounds", "1", "--no-peak", "--no-cache"];
    // The whole target, because caches decide the form of convolutions.
    let target = ["--threads", "1", "--isa", "avx2", "--caches", CACHES, "--algorithm", algorithm];
    instructions(&["--toggle-collect=ninc_runtime::threads::Pool::run"], &[&bench[..], &target].concat())
}

fn possible() -> bool {
    let valgrind = Command::new("valgrind").arg("--version").output().is_ok_and(|o| o.status.success());
    if !valgrind {
        eprintln!("skipped: instruction counts, because valgrind is not installed");
        return false;
    }
    #[cfg(target_arch = "x86_64")]
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    let avx2 = false;
    if !avx2 {
        eprintln!("skipped: instruction counts, because they are committed for AVX2");
    }
    avx2
}

/// The committed figures: millions of instructions by name.
fn committed(path: &Path) -> Map<String, Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("an object")
}

#[test]
fn no_kernel_and_no_step_of_compilation_grew_unnoticed() {
    if !possible() {
        return;
    }
    let counts = [
        ("digits inference, batch 8", of_kernels("models/digits.nin", "infer", "direct"), KERNELS),
        ("digits inference by Winograd, batch 8", of_kernels("models/digits.nin", "infer", "winograd"), KERNELS),
        ("digits training, batch 8", of_kernels("models/digits.nin", "train", "auto"), KERNELS),
        ("lenet5 inference, batch 8", of_kernels("models/lenet5.nin", "infer", "auto"), KERNELS),
        ("compiling digits", instructions(&[], &["build", "models/digits.nin"]), COMPILER),
    ];
    if env::var_os("NINC_BLESS").is_some() {
        let millions =
            |&(name, count, _): &(&str, f64, f64)| (name.to_string(), ((count / 1e4).round() / 100.0).into());
        let figures: Map<String, Value> = counts.iter().map(millions).collect();
        fs::create_dir_all(file().parent().expect("a folder")).expect("made");
        fs::write(file(), serde_json::to_string_pretty(&figures).expect("JSON") + "\n").expect("written");
        return;
    }
    let figures = committed(&file());
    assert_eq!(figures.len(), counts.len(), "as many figures as counts");
    let mut wrong = Vec::new();
    for (name, count, margin) in counts {
        let expected = figures[name].as_f64().expect("a number") * 1e6;
        let ratio = count / expected;
        eprintln!("{name}: {:.2} million instructions, x{ratio:.3} of the committed figure", count / 1e6);
        if (ratio - 1.0).abs() > margin {
            wrong.push(format!("{name}: x{ratio:.3}, margin {margin}"));
        }
    }
    assert!(wrong.is_empty(), "explain and bless (NINC_BLESS=1): {wrong:?}");
}
