"""Measures how often ONNX Runtime answers as ninc does, on a quantised network that `ninc export` wrote.

    tests/onnx/int8.py NINC MODEL.nin WEIGHTS DATA [--part 0.999]

`tests/slow.sh int8` quantises the networks with weights in `models/` and runs this on each, as far as there are data.

WEIGHTS are of `ninc quantize`. DATA is MNIST's t10k-images-idx3-ubyte.gz or cifar-10-binary.tar.gz, whose test images are
all answered, or runtime/data/digits.bin.z, of which all images are. The file holds the preparation, so that both sides take
numbers of 0 to 255, and it is imported again, to the same bits. Exit code 1 where fewer answers agree than --part says, or
bits are others.
"""

import argparse
import gzip
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zlib

import numpy as np
import onnx
import onnxruntime

BATCH = 500
# ONNX Runtime adds products of bytes in 16 bits where a processor with AVX2 has no VNNI (findings/
# avx2-int8-products-saturate.sh); of CIFAR-10's answers 7 % are others then.
CPU = pathlib.Path("/proc/cpuinfo")
FLAGS = set(CPU.read_text().split()) if CPU.exists() else set()
SATURATES = "avx2" in FLAGS and not FLAGS & {"avx512_vnni", "avx_vnni"}

parser = argparse.ArgumentParser()
parser.add_argument("ninc")
parser.add_argument("model")
parser.add_argument("weights")
parser.add_argument("data")
parser.add_argument("--part", type=float, default=0.999)
args = parser.parse_args()


def images(path):
    if path.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            name = next(n for n in archive.getnames() if n.endswith("test_batch.bin"))
            rows = np.frombuffer(archive.extractfile(name).read(), np.uint8).reshape(-1, 3073)
        return rows[:, 1:].reshape(-1, 3, 32, 32)
    if path.endswith("digits.bin.z"):
        values = np.frombuffer(zlib.decompress(pathlib.Path(path).read_bytes()), np.uint8)[: 1797 * 64]
        return np.floor(values * (255 / 16) + 0.5).astype(np.uint8).reshape(-1, 1, 8, 8)
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)


def ninc(*words):
    subprocess.run([args.ninc, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    pixels = images(args.data)
    np.save(folder / "images.npy", pixels)
    net = folder / "net.onnx"
    ninc("export", args.model, "--weights", args.weights, "-o", net, "--with-preparation")
    ninc("run", args.model, folder / "images.npy", "--weights", args.weights, "--output", folder / "ours.npy")
    ours = np.load(folder / "ours.npy")
    onnx.checker.check_model(onnx.load(net), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if SATURATES:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        print("ONNX Runtime computes in floats: its sums of bytes saturate without VNNI", file=sys.stderr)
    session = onnxruntime.InferenceSession(str(net), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: pixels[i : i + BATCH].astype(np.float32)})[0] for i in range(0, len(pixels), BATCH)]
    theirs = np.concatenate(parts).reshape(ours.shape)
    # Whatever the preparation rounds is the same on both sides here: prepared images go in.
    plain, prepared = folder / "plain.onnx", folder / "prepared.npy"
    ninc("export", args.model, "--weights", args.weights, "-o", plain)
    few = np.random.default_rng(1).normal(size=(64, *pixels.shape[1:])).astype(np.float32)
    np.save(prepared, few)
    ninc("run", args.model, prepared, "--weights", args.weights, "--raw", "--output", folder / "a.npy")
    ninc("run", plain, prepared, "--raw", "--output", folder / "b.npy")
    same = np.array_equal(np.load(folder / "a.npy").view(np.uint32), np.load(folder / "b.npy").view(np.uint32))

agree = (ours.argmax(1) == theirs.argmax(1)).mean()
print(f"{100 * agree:.3f} % of {len(ours)} answers agree; imported again: {'the same' if same else 'OTHER'} bits")
sys.exit(0 if agree >= args.part and same else 1)
