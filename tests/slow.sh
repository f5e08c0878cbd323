#!/usr/bin/env bash
# What takes too long for every change, and is run before a larger part is called done: random convolutions in four
# times the usual number, all models to ONNX and back, in other engines and through PyTorch, quantised networks in ONNX
# Runtime, a hundred thousand random micro-kernels, OpenCL kernels of a whole network under oclgrind, a hundred thousand
# damaged files of each kind, the Rust example of built libraries with the crate `image`, pages of three networks in
# headless Chromium, libraries for all systems that `ninc build --target` takes, the extension for Visual Studio Code and
# the tree-sitter grammar, trainings over MPI, the wheel, 50,000 requests
# to a server with broken, huge and slow ones among them, packages in empty environments.
#
#     tests/slow.sh            all parts
#     tests/slow.sh PART…      some: cases, onnx, int8, micro-kernels, oclgrind, damaged, rust-image, pages, systems,
#                              editors, mpi, python, serve, packages
#
# An hour on two cores. Exit code 1 as soon as a part fails; a part whose programs are missing says that it is skipped.
# NINC_PYTHON names a Python with numpy, onnx, onnxruntime, openvino, torch, torchvision, timm and onnxscript (onnx,
# int8); NINC_DATA a folder with the files of MNIST and cifar-10-binary.tar.gz (int8), ../shared/data unless said.
set -euo pipefail
cd "$(dirname "$0")/.."

# Quantised networks: ONNX Runtime must give the same answers.
int8() {
    local python=${NINC_PYTHON:-python3} data=${NINC_DATA:-../shared/data} ninc=target/release/ninc out
    if ! "$python" -c 'import numpy, onnx, onnxruntime' 2>/dev/null; then
        echo "SKIPPED: $python has not all of numpy, onnx, onnxruntime (NINC_PYTHON names another)"
        return
    fi
    cargo build --locked --release
    out=$(mktemp -d)
    # MODEL, what `--data` takes, the file of the images that are answered.
    while read -r model from images; do
        if [ ! -e "$images" ]; then
            echo "SKIPPED: $model: there is no $images (NINC_DATA names another folder)"
            continue
        fi
        echo "$model"
        if [ "$from" = - ]; then from=; fi
        "$ninc" quantize "models/$model.nin" --weights "models/$model.safetensors" ${from:+--data "$from"} \
            --out "$out/$model.safetensors" >"$out/$model.txt"
        "$python" tests/onnx/int8.py "$ninc" "models/$model.nin" "$out/$model.safetensors" "$images"
    done <<END
digits - runtime/data/digits.bin.z
mnist $data $data/t10k-images-idx3-ubyte.gz
cifar10 $data/cifar-10-binary.tar.gz $data/cifar-10-binary.tar.gz
END
    rm -r "$out"
}

[ $# -gt 0 ] || set -- cases onnx int8 micro-kernels oclgrind damaged rust-image pages systems editors mpi python serve packages
for part in "$@"; do
    echo "== $part"
    case $part in
        cases) NINC_CASES=4 cargo test --locked --test all -- conv:: random:: ;;
        onnx) cargo test --locked --release --test all -- --ignored --nocapture onnx:: torch:: ;;
        int8) int8 ;;
        micro-kernels) cargo test --locked --release --test all -- --ignored a_hundred_thousand ;;
        oclgrind) cargo test --locked --test all -- --ignored --nocapture oclgrind ;;
        damaged) NINC_FUZZ=100000 CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --locked --test fuzz ;;
        rust-image) cargo test --locked --test all -- --ignored --nocapture the_rust_example ;;
        mpi) cargo build --locked --release && NINC=target/release/ninc tests/mpi/run.sh digits cifar10 pictures devices refused killed slurm ;;
        pages) cargo build --locked --release && tests/web/pages.sh ;;
        # Emulators and linkers: apt-get install lld llvm qemu-user wine wine64 musl-tools gcc-mingw-w64-x86-64
        # gcc-aarch64-linux-gnu gcc-riscv64-linux-gnu
        systems) cargo test --locked --test all -- --include-ignored --nocapture library::linked:: library::systems:: ;;
        # NINC_PYTHONS names Pythons that it is installed in, as the oldest and the newest.
        # shellcheck disable=SC2086
        python) runtime/python/check.sh ${NINC_PYTHONS:-python3} ;;
        serve) cargo build --locked --release && for name in digits cifar10; do tests/serve/load.py --network $name; done ;;
        editors) cargo build --locked --release && grammar/editors/check.sh ;;
        packages) runtime/packages/check.sh ;;
        *)
            echo "unknown part '$part'; parts: cases, onnx, int8, micro-kernels, oclgrind, damaged, rust-image, pages, systems, editors, mpi, python, serve, packages" >&2
            exit 2
            ;;
    esac
done
