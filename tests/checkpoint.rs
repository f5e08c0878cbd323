//! Checkpoints of older builds: `data/checkpoint/out` was written by the first build that had them. It must resume, to
//! the bits that that build would have come to.

use ninc::front;
use ninc::graph::identity;
use ninc_runtime::init::fnv;
use ninc_runtime::store::Store;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// FNV-1a of the weights that the build which wrote the checkpoint makes of it with `--isa portable`, three steps
/// later.
const GONE_ON: u64 = 0xe0bb_c2c9_430a_78e7;

const VARIANCE: &str = "batch_norm1.running_var";
/// The running variance in them. Former builds kept the biased one; nothing else of a training depends on it.
const BIASED: [f32; 8] = [1.1351092, 1.1278394, 1.4957844, 1.2269235, 2.2840648, 1.5973147, 1.100392, 1.3559123];
/// Values of a batch that it is of: 16 images of 4x4 positions.
const VALUES: f64 = 256.0;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoint")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let (from, to) = (entry.as_ref().expect("an entry").path(), to.join(entry.expect("an entry").file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("copied");
        }
    }
}

#[test]
fn a_checkpoint_of_an_older_build_resumes_to_the_same_bits() {
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let out = place.path().join("out");
    copy(&folder().join("out"), &out);
    let output = Command::new(env!("CARGO_BIN_EXE_ninc"))
        .args(["train", "--isa", "portable", "--steps", "6", "--resume", "--out"])
        .args([&out, &folder().join("small.nin")])
        .env("XDG_CACHE_HOME", place.path())
        .output()
        .expect("ninc starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = out.join("small.safetensors");
    // What weights say of themselves has grown since; the file is that of then without it.
    let mut weights = Store::read(&path, true).expect("weights");
    weights.metadata.retain(|key, _| !["pictures", "range", "checksum", "crc32"].contains(&key.as_str()));
    let store = Store::read(&folder().join("out/small.checkpoint"), true).expect("a checkpoint");
    let before = &store.tensors[VARIANCE].data;
    let now = weights.tensors.get_mut(VARIANCE).map(|tensor| std::mem::replace(&mut tensor.data, BIASED.to_vec()));
    for ((now, before), biased) in now.expect("a variance").iter().zip(before).zip(BIASED) {
        // What is left of the former ones after three steps of a tenth, and what these steps brought.
        let left = 0.729 * f64::from(*before);
        let expected = left + (f64::from(biased) - left) * VALUES / (VALUES - 1.0);
        assert!((f64::from(*now) - expected).abs() < 1e-6, "{now} {expected}");
    }
    let weights = weights.to_bytes();
    // Where the processor has no fused multiply-add, sums round otherwise.
    #[cfg(target_arch = "x86_64")]
    if !std::arch::is_x86_feature_detected!("fma") {
        return;
    }
    assert_eq!(format!("{:016x}", fnv(&weights)), format!("{GONE_ON:016x}"));
}

/// Whoever changes an attribute, or how graphs are printed, keeps this text as it is (`graph/identity.rs` says how).
#[test]
fn the_identity_of_every_layer_stays() {
    let read = |name: &str| fs::read_to_string(folder().join(name)).expect("a file of the test");
    let (model, diagnostics) = front::load(&read("every.nin"), "every.nin", &[]);
    let model = model.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    let (expected, found) = (read("every.identity"), identity::text(&model.graph));
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);
}
