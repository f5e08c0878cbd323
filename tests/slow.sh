#!/usr/bin/env bash
# What takes too long for every change, and is run before a larger part is called done: random convolutions in four
# times the usual number, a hundred thousand random micro-kernels, OpenCL kernels of a whole network under oclgrind.
#
#     tests/slow.sh            all parts
#     tests/slow.sh PART…      some: cases, micro-kernels, oclgrind
#
# An hour on two cores. Exit code 1 as soon as a part fails; a part whose programs are missing says that it is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- cases micro-kernels oclgrind
for part in "$@"; do
    echo "== $part"
    case $part in
        cases) NINC_CASES=4 cargo test --locked --test all -- conv:: random:: ;;
        micro-kernels) cargo test --locked --release --test all -- --ignored a_hundred_thousand ;;
        oclgrind) cargo test --locked --test all -- --ignored --nocapture oclgrind ;;
        *) echo "unknown part '$part'; parts: cases, micro-kernels, oclgrind" >&2; exit 2 ;;
    esac
done
