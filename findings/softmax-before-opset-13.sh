#!/usr/bin/env bash
# Softmax of opset 12 and before sums over everything from its axis on: ONNX Runtime does, OpenVINO and onnx.reference
# take opset 13's meaning.
#
# Versions: onnx 1.22.0, ONNX Runtime 1.32.0, OpenVINO 2026.4.1 (CPU), Python 3.11.
# Input: Softmax without attributes of zeros of the shape [1, 2, 2, 2], in opset 12 and in opset 13.
# A good engineer expects: the opset that a file declares decides. Until 12 the default axis is 1 and the tensor is
# flattened to two axes there: 8 values, 1/8 each. From 13 on it is the last axis alone: 1/2 each.
# Seen: ONNX Runtime 0.125 and 0.5; OpenVINO and onnx.reference 0.5 and 0.5. On class scores [N, C] both are equal, so
# it shows only where softmax meets maps, as over the positions of a confidence map.
# For ninc: `softmax` is over the channels of each position, which is neither of the two on maps before opset 13.
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


x = np.zeros((1, 2, 2, 2), np.float32)
for opset, flattened in ((12, 0.125), (13, 0.5)):
    softmax = model("Softmax", [1, 2, 2, 2], opset)
    reference = ReferenceEvaluator(softmax).run(None, {"x": x})[0]
    got = onnx_runtime(softmax, x), openvino(softmax, x), reference
    print(f"opset {opset}: ONNX Runtime, OpenVINO, onnx.reference:", *(float(values.ravel()[0]) for values in got))
    assert np.allclose(got[0], flattened) and np.allclose(got[1], 0.5) and np.allclose(got[2], 0.5)
PY
