//! Products that 32 items compute together: the numbers that each item gives to the matrix instruction and takes from
//! it, against the layout that the instruction is documented to have. A C compiler runs the emitted function, one item
//! after the other.

use super::present;
use crate::library::have;
use ninc::lower::target::Target;
use ninc::pipeline::{self, Options};
use ninc::types::Format;
use ninc_runtime::opencl::tensor;
use std::path::Path;
use std::process::Command;

/// First all items say what they give to each instruction; then each takes the sums that follow from what all gave.
const HARNESS: &str = r#"
#include <stdio.h>
#include <string.h>
#define NINC_TENSOR
#define __local
#define uint unsigned int
typedef int idx;
static uint as_uint(float x) { uint u; memcpy(&u, &x, 4); return u; }
static float as_float(uint u) { float x; memcpy(&x, &u, 4); return x; }
static int item, call, taking;
static int get_local_id(int d) { return item + d; }
static uint given[128][32][6];
static int terms;
static float term(uint u, int k) {
    return as_float(terms == 1 || k % 2 ? u & (terms == 1 ? ~0u : 0xffff0000u) : u << 16);
}
/* Four items hold a row or column: a word has `terms` neighbouring terms, another word those 4 words later. */
static float a_at(int r, int k) { return term(given[call][r % 8 * 4 + k / terms % 4][r / 8 + 2 * (k / terms / 4)], k); }
static float b_at(int k, int n) { return term(given[call][n * 4 + k / terms % 4][4 + k / terms / 4], k); }
static float sum(int r, int n) {
    float s = 0;
    for (int k = 0; k < 8 * terms; ++k) s += a_at(r, k) * b_at(k, n);
    return s;
}
#define MMA(kind, c0, c1, c2, c3, a0, a1, a2, a3, b0, b1) do { \
    const uint words[6] = {a0, a1, a2, a3, b0, b1}; \
    const int g_ = item / 4, n_ = item % 4 * 2; \
    terms = strstr(kind, "m16n8k16") ? 2 : 1; \
    if (taking) { c0 += sum(g_, n_); c1 += sum(g_, n_ + 1); c2 += sum(g_ + 8, n_); c3 += sum(g_ + 8, n_ + 1); } \
    else memcpy(given[call][item], words, sizeof words); \
    ++call; } while (0)
"#;

/// 32 items with 32 rows and columns of their own, tile sizes and name filled in.
const MAIN: &str = r#"
static float a[DEPTH * PITCH_A], b[DEPTH * PITCH_B], c[32][32];
int main(void) {
    for (int i = 0; i < DEPTH * PITCH_A; ++i) a[i] = i * 7 % 13 - 6;
    for (int i = 0; i < DEPTH * PITCH_B; ++i) b[i] = i * 5 % 11 - 5;
    for (taking = 0; taking < 2; ++taking)
        for (item = 0; item < 32; ++item) {
            for (int i = 0; i < 32; ++i) c[item][i] = i;
            call = 0;
            FUNCTION(a + item / 4, b + item % 4 * 2, c[item]);
        }
    for (item = 0; item < 32; ++item)
        for (int r = 0; r < 4; ++r)
            for (int n = 0; n < 8; ++n) {
                float s = r * 8 + n;
                for (int k = 0; k < DEPTH; ++k)
                    s += a[k * PITCH_A + item / 4 + 8 * r] * b[k * PITCH_B + item % 4 * 2 + n / 2 * 8 + n % 2];
                if (c[item][r * 8 + n] != s) return printf("item %d, row %d, column %d\n", item, r, n), 1;
            }
    return call == 0;
}
"#;

/// The number behind a letter in a name: `k32`.
fn size(name: &str, letter: char) -> usize {
    let part = name.split('_').find(|p| p.starts_with(letter) && p[1..].parse::<usize>().is_ok());
    part.and_then(|p| p[1..].parse().ok()).unwrap_or_else(|| panic!("no {letter} in {name}"))
}

#[test]
fn items_give_and_take_what_the_instruction_says() {
    check_fragments(Format::Bf16);
}

#[test]
fn items_give_and_take_single_numbers_of_tf32() {
    check_fragments(Format::Tf32);
}

/// For all products of a network.
fn check_fragments(format: Format) {
    if !have("cc") {
        eprintln!("skipped: no C compiler");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cifar10.nin");
    let text = std::fs::read_to_string(path).expect("a readable model");
    let (model, diagnostics) = ninc::front::load(&text, "cifar10.nin", &[]);
    let model = model.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    let target = Target::gpu().with_gpu(|gpu| gpu.tensor = true);
    let options = Options { precision: Some(format), target: Some(target), ..Options::default() };
    let (_, source) = pipeline::opencl_inference(&model, &options).expect("OpenCL C");
    let functions: Vec<&str> =
        source.text.split_inclusive("\n}\n").filter(|f| f.contains("#ifdef NINC_TENSOR\n    const")).collect();
    assert!(functions.len() >= 2, "products with wide and with narrow results");
    let place = tempfile::tempdir().expect("a folder for temporary files");
    for function in functions {
        let function = &function[function.find("void multiply").expect("a function")..];
        let name = &function["void ".len()..function.find('(').expect("parameters")];
        let sizes = [("DEPTH", size(name, 'k')), ("PITCH_A", size(name, 'a')), ("PITCH_B", size(name, 'b'))];
        let sizes: String = sizes.iter().map(|(name, size)| format!("#define {name} {size}\n")).collect();
        let text = format!("{sizes}{HARNESS}{}#define FUNCTION {name}\n{function}{MAIN}", tensor::INSTRUCTION);
        run_c(place.path(), name, &text);
    }
}

fn run_c(place: &Path, name: &str, text: &str) {
    std::fs::write(place.join("t.c"), text).expect("written");
    let built = Command::new("cc").args(["-w", "-o", "t", "t.c"]).current_dir(place).output().expect("cc starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(place.join("t")).output().expect("it starts");
    assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stdout));
}

/// The trial by 32 items: both results are the product of the matrices that it says.
const TRIAL: &str = r#"
static float c[2 * 16 * 8];
int main(void) {
    for (taking = 0; taking < 2; ++taking)
        for (item = 0; item < 32; ++item) {
            call = 0;
            trial(c);
        }
    for (int i = 0; i < 2 * 16 * 8; ++i) {
        float s = 0;
        for (int k = 0; k < 16; ++k) s += A(i / 8 % 16, k) * B(k, i % 8);
        if (c[i] != s) return printf("result %d: %f instead of %f\n", i, c[i], s), 1;
    }
    return 0;
}
"#;

/// A device that has the instructions passes the trial: its own indices are right.
#[test]
fn the_trial_multiplies_what_it_says() {
    if !have("cc") {
        eprintln!("skipped: no C compiler");
        return;
    }
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let words = "#define __kernel\n#define __global\n";
    let text = format!("{HARNESS}{words}{}{}{TRIAL}", tensor::INSTRUCTION, tensor::TRIAL);
    run_c(place.path(), "trial", &text);
}

/// A device that takes no PTX says so, and nothing else happens.
#[test]
fn other_devices_do_not_pass_the_trial() {
    if !present() {
        return;
    }
    for info in ninc_runtime::opencl::list().expect("devices") {
        if !info.vendor.contains("NVIDIA") {
            assert!(!tensor::trial(&info).unwrap_or(false), "{}", info.label());
            assert!(!tensor::passes(&info));
        }
    }
}
