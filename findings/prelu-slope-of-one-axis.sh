#!/usr/bin/env bash
# PRelu whose slope has the shape [C]: OpenVINO takes it by channel, ONNX Runtime and the reference along the width.
#
# Versions: onnx 1.22.0, ONNX Runtime 1.32.0, OpenVINO 2026.4.1 (CPU), Python 3.11.
# Input: PRelu of -1 everywhere, shape [1, 2, 2, 2], slope [1, 10].
# A good engineer expects: a slope a channel, since that is what PyTorch, Keras and Caffe store as [C]; or, having
# read the standard, broadcasting from the right, which is the width. In any case one answer.
# Seen: ONNX Runtime and onnx.reference alternate along the width (-1, -10, -1, -10, ...); OpenVINO gives channel 0
# the slope 1 and channel 1 the slope 10. With a square image of C pixels a side nobody complains; with W different
# from C the standard's reading is an error and OpenVINO's runs.
# For ninc: `prelu` has a slope a channel by its definition; in a foreign file a slope of one axis is ambiguous wherever
# C > 1, whatever one engine makes of it.
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
from onnx.reference import ReferenceEvaluator


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


x = -np.ones((1, 2, 2, 2), np.float32)
prelu = model("PRelu", [1, 2, 2, 2], 16, [("slope", np.array([1, 10], np.float32))])
width, reference, channel = onnx_runtime(prelu, x), ReferenceEvaluator(prelu).run(None, {"x": x})[0], openvino(prelu, x)
print("ONNX Runtime", width.ravel().tolist(), "OpenVINO", channel.ravel().tolist())
assert width.ravel().tolist() == [-1, -10] * 4
assert reference.ravel().tolist() == [-1, -10] * 4
assert channel.ravel().tolist() == [-1] * 4 + [-10] * 4
PY
