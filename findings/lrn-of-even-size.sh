#!/usr/bin/env bash
# LRN with an even size: ONNX Runtime refuses it, OpenVINO quietly computes the next smaller odd size.
#
# Versions: onnx 1.22.0, ONNX Runtime 1.32.0, OpenVINO 2026.4.1 (CPU), Python 3.11.
# Input: LRN of size 2 over the channels 1, 2, 3, 4 of one pixel, alpha = 2 (so alpha / size = 1), beta = 1, bias = 1.
# The checker accepts it.
# A good engineer expects: the standard's formula, from c - floor((size - 1) / 2) to c + ceil((size - 1) / 2), which is
# a channel and the next one: 1 / (1 + 1 + 4), 2 / (1 + 4 + 9), ...; or an error.
# Seen: ONNX Runtime raises at load ("size_ % 2 == 1 was false"); OpenVINO answers 1 / 2, 2 / 5, 3 / 10, 4 / 17: each
# channel alone, so no neighbour takes part at all.
# For ninc: `lrn` follows the standard's formula for every size, and its tests have even sizes among them.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.22.0 onnxruntime==1.32.0 openvino==2026.4.1
"$place/venv/bin/python" - <<'PY'
import numpy as np
import onnx
from onnx import TensorProto, helper
import onnxruntime as ort
import openvino as ov


def model(operator, shape, opset, weights=(), **attributes):
    """A network of one node; the output's shape has free names, so that nothing but the node decides it."""
    free = [f"n{i}" for i in range(len(shape))]
    names = ["x"] + [name for name, _ in weights]
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], **attributes)], "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, free)],
        [onnx.numpy_helper.from_array(values, name) for name, values in weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    onnx.checker.check_model(made)
    return made


def onnx_runtime(made, x):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def openvino(made, x):
    core = ov.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(made.SerializeToString()), "CPU", exact)
    return compiled(x)[compiled.output(0)]


x = np.arange(1, 5, dtype=np.float32).reshape(1, 4, 1, 1)
lrn = model("LRN", [1, 4, 1, 1], 13, size=2, alpha=2.0, beta=1.0, bias=1.0)
try:
    onnx_runtime(lrn, x)
    raise SystemExit("ONNX Runtime takes even sizes now")
except Exception as error:
    assert "size_ % 2 == 1" in str(error), error
    print("ONNX Runtime:", str(error)[-60:].strip())
alone = openvino(lrn, x).ravel()
print("OpenVINO:", alone.tolist())
assert np.allclose(alone, [1 / 2, 2 / 5, 3 / 10, 4 / 17], atol=1e-4)
PY
