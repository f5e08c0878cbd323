#!/usr/bin/env bash
# On processors with AVX2 and without VNNI, a quantised convolution of ONNX Runtime and of OpenVINO gives about half of a
# large sum, and says nothing.
#
# Version: onnxruntime 1.32.0, openvino 2026.4.1, onnx 1.22.0, Python 3.11, on an AMD with AVX2 (Zen 3).
# Input: QuantizeLinear, DequantizeLinear, a 1x1 Conv of 64 channels whose weights are dequantised signed bytes, Relu,
# QuantizeLinear, DequantizeLinear (operator set 17); zeros are 0, scales are 1 but for the last one.
# A good engineer expects: sums of 32 bits. The standard defines the chain by its floats, and two engines that agree with
# each other look like a confirmation.
# Seen: with all weights 127 and all bytes 255 both give the byte 129, and the chain in floats 255: pairs of products are
# added in 16 bits (VPMADDUBSW), so that 2 · 255 · 127 = 64,770 becomes 32,767. With bytes up to 127, or weights up to 64,
# nothing can saturate, and both are right.
# For ninc: bytes are widened to 16 bits there, or weights leave room for the sums (`ninc quantize --narrow`), which is
# checked when they are read; tests compare sums at both bounds on every instruction set. Ratios of speed beside these
# engines on such processors compare exact sums with saturating ones, which the README says.
set -euo pipefail
if grep -qwE 'avx_vnni|avx512_vnni' /proc/cpuinfo || ! grep -qw avx2 /proc/cpuinfo; then
    echo "this processor is not one with AVX2 and without VNNI: nothing was tried" >&2
    exit 1
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.22.0 onnxruntime==1.32.0 openvino==2026.4.1
"$place/venv/bin/python" - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import openvino
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 64


def model(weight, step):
    numbers = {"s": np.float32(1), "z": np.uint8(0), "w": np.full((32, CHANNELS, 1, 1), weight, np.int8),
               "t": np.ones(32, np.float32), "o": np.zeros(32, np.int8), "u": np.float32(step)}
    nodes = [helper.make_node(op, inputs, [output], **more) for op, inputs, output, more in [
        ("QuantizeLinear", ["x", "s", "z"], "q", {}), ("DequantizeLinear", ["q", "s", "z"], "d", {}),
        ("DequantizeLinear", ["w", "t", "o"], "v", {"axis": 0}), ("Conv", ["d", "v"], "c", {"kernel_shape": [1, 1]}),
        ("Relu", ["c"], "r", {}), ("QuantizeLinear", ["r", "u", "z"], "p", {}), ("DequantizeLinear", ["p", "u", "z"], "y", {})]]
    image, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, 8, 8]) for name, count in
                     (("x", CHANNELS), ("y", 32)))
    constants = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    graph = helper.make_graph(nodes, "sums", [image], [result], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def bytes_of(weight, byte):
    # The largest sum becomes 255.
    step = weight * byte * CHANNELS / 255
    data, x = model(weight, step), np.full((1, CHANNELS, 8, 8), byte, np.float32)
    plain = ort.SessionOptions()
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    core = openvino.Core()
    runs = {
        "in floats": ort.InferenceSession(data, plain, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0],
        "onnxruntime": ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0],
        "openvino": core.compile_model(core.read_model(data), "CPU")({0: x})[0],
    }
    found = {name: np.unique(np.rint(y / np.float32(step))).tolist() for name, y in runs.items()}
    print(f"weights {weight}, bytes {byte}: {found}")
    return [found[name] for name in ("in floats", "onnxruntime", "openvino")]


assert bytes_of(127, 255) == [[255], [129], [129]]
assert bytes_of(127, 127) == [[255]] * 3
assert bytes_of(64, 255) == [[255]] * 3
PY
echo "as found"
