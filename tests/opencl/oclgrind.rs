//! The kernels under oclgrind, which simulates a device and watches each access: outside of buffers, races between
//! items, and wrong uses of OpenCL.
//!
//! Its search for uninitialised values is not used: it takes what the host writes into a buffer
//! (`clEnqueueWriteBuffer`, `clEnqueueFillBuffer`) for uninitialised, and gives up at LLVM's `freeze`. The kernels'
//! interpreter makes that search: its memory starts with garbage (NaN), and results are compared (`kernel/interp.rs`).

use super::devices::{err, ninc};
use std::path::Path;

/// Where the simulator's library may be.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/oclgrind/liboclgrind-rt.so",
    "/usr/lib/x86_64-linux-gnu/oclgrind/liboclgrind-rt.so",
    "/usr/local/lib/oclgrind/liboclgrind-rt.so",
];

/// Inference and a training step of the digits, narrow, so that the simulator takes seconds.
#[test]
fn oclgrind_has_nothing_to_say() {
    let given = std::env::var("NINC_OCLGRIND").ok();
    let library = given.as_deref().into_iter().chain(LIBRARIES).find(|path| Path::new(path).is_file());
    let Some(library) = library else {
        eprintln!("skipped: no oclgrind (its liboclgrind-rt.so; NINC_OCLGRIND names another place)");
        return;
    };
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits.nin");
    let model = model.to_str().expect("a path");
    for mode in ["infer", "train"] {
        let bench = ["bench", model, "--set", "width=6", "--device", "opencl:0", "--no-peak"];
        let rest = ["--batch", "2", "--rounds", "1", "--mode", mode];
        let log = place.path().join(mode);
        let mut command = ninc(place.path(), &[&bench[..], &rest].concat());
        command.env("NINC_OPENCL", library).env("OCLGRIND_LOG", &log);
        // What the command `oclgrind` would set.
        command.env("OCLGRIND_DATA_RACES", "1").env("OCLGRIND_CHECK_API", "1");
        let output = command.output().expect("ninc starts");
        assert!(output.status.success(), "{mode}: {}", err(&output));
        let reports = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(reports.trim().is_empty(), "{mode}: {}", reports.lines().take(40).collect::<Vec<_>>().join("\n"));
    }
}
