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

/// A network with each kind of kernel that training takes, as small as it can be: the simulator takes seconds for what
/// a device does in microseconds, and a weight's gradient has 64 parts however few pixels there are.
const NETWORK: &str = "network small(width = 3, classes = 4) {
    input image: [1, 4, 4]
    image
        |> mlpconv(kernel = 3, pad = 1, channels = [width, width])
        |> max_pool(kernel = 2, stride = 2)
        |> dropout(0.2)
        |> cccp(channels = classes)
        |> global_avg_pool
        |> softmax as probabilities
}
train {
    loss      = cross_entropy
    optimizer = sgd(rate = 0.05, momentum = 0.9, decay = 1e-4)
    schedule  = cosine
    batch     = 2
    epochs    = 1
}
";

/// Inference and a training step of a small network.
#[test]
fn oclgrind_has_nothing_to_say() {
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let model = place.path().join("small.nin");
    std::fs::write(&model, NETWORK).expect("written");
    watch(place.path(), &model);
}

/// The digits, narrow.
#[test]
#[ignore = "takes minutes; part of tests/slow.sh"]
fn oclgrind_has_nothing_to_say_about_the_digits() {
    let place = tempfile::tempdir().expect("a folder for temporary files");
    watch(place.path(), &Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits.nin"));
}

fn watch(place: &Path, model: &Path) {
    let given = std::env::var("NINC_OCLGRIND").ok();
    let library = given.as_deref().into_iter().chain(LIBRARIES).find(|path| Path::new(path).is_file());
    let Some(library) = library else {
        eprintln!("skipped: no oclgrind (its liboclgrind-rt.so; NINC_OCLGRIND names another place)");
        return;
    };
    for mode in ["infer", "train"] {
        let bench = ["bench", model.to_str().expect("a path"), "--set", "width=3", "--device", "opencl:0"];
        let rest = ["--no-peak", "--batch", "2", "--rounds", "1", "--mode", mode];
        let log = place.join(mode);
        let mut command = ninc(place, &[&bench[..], &rest].concat());
        command.env("NINC_OPENCL", library).env("OCLGRIND_LOG", &log);
        // What the command `oclgrind` would set.
        command.env("OCLGRIND_DATA_RACES", "1").env("OCLGRIND_CHECK_API", "1");
        let output = command.output().expect("ninc starts");
        assert!(output.status.success(), "{mode}: {}", err(&output));
        let reports = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(reports.trim().is_empty(), "{mode}: {}", reports.lines().take(40).collect::<Vec<_>>().join("\n"));
    }
}
