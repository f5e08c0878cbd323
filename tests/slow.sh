#!/usr/bin/env bash
# What takes too long for every change, and is run before a larger part is called done: random convolutions in four
# times the usual number, all models to ONNX and back, a hundred thousand random micro-kernels, OpenCL kernels of a whole
# network under oclgrind, a hundred thousand damaged files of each kind, the Rust example of built libraries with the
# crate `image`, pages of three networks in headless Chromium.
#
#     tests/slow.sh            all parts
#     tests/slow.sh PART…      some: cases, onnx, micro-kernels, oclgrind, damaged, rust-image, pages
#
# An hour on two cores. Exit code 1 as soon as a part fails; a part whose programs are missing says that it is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- cases onnx micro-kernels oclgrind damaged rust-image pages
for part in "$@"; do
    echo "== $part"
    case $part in
        cases) NINC_CASES=4 cargo test --locked --test all -- conv:: random:: ;;
        onnx) cargo test --locked --release --test all -- --ignored onnx:: ;;
        micro-kernels) cargo test --locked --release --test all -- --ignored a_hundred_thousand ;;
        oclgrind) cargo test --locked --test all -- --ignored --nocapture oclgrind ;;
        damaged) NINC_FUZZ=100000 CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --locked --test fuzz ;;
        rust-image) cargo test --locked --test all -- --ignored --nocapture the_rust_example ;;
        pages) cargo build --locked --release && tests/web/pages.sh ;;
        *) echo "unknown part '$part'; parts: cases, onnx, micro-kernels, oclgrind, damaged, rust-image, pages" >&2; exit 2 ;;
    esac
done
