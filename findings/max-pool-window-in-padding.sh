#!/usr/bin/env bash
# A max pool with ceil_mode whose last window would begin in the padding: OpenVINO computes it, out of nothing, and
# answers the lowest float32.
#
# Versions: onnx 1.22.0, ONNX Runtime 1.32.0, OpenVINO 2026.4.1 (CPU), Python 3.11.
# Input: MaxPool of [1, 2, 3, 4, 5] along one axis, kernel 2, stride 3, padding 1 at both ends, ceil_mode = 1. Windows
# begin at -1, 2 and 5; the third has no cell of the input.
# A good engineer expects: two values, as since opset 22 the standard's text drops a window that begins in the padding
# at the end, and engines did so before; or else an error. Never -3.4e38 out of 1 to 5.
# Seen: ONNX Runtime and onnx.reference [1, 4]; OpenVINO [1, 4, -3.4028235e38], in every opset tried (11, 19, 22).
# onnx's own shape inference promises 3 for opset 11 and 19, and 2 for 22, so a shape that a file records may be
# either.
# For ninc: shapes are computed from the operator and never taken from a file; a window without a cell does not exist.
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


x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 1, 5)
for opset, promised in ((11, 3), (19, 3), (22, 2)):
    pool = model("MaxPool", [1, 1, 1, 5], opset, kernel_shape=[1, 2], strides=[1, 3], pads=[0, 1, 0, 1], ceil_mode=1)
    shape = onnx.shape_inference.infer_shapes(pool, strict_mode=True).graph.output[0].type.tensor_type.shape
    first, second = onnx_runtime(pool, x).ravel(), openvino(pool, x).ravel()
    inferred = shape.dim[3].dim_value
    print(f"opset {opset}: inferred {inferred}, ONNX Runtime {first.tolist()}, OpenVINO {second.tolist()}")
    assert inferred == promised
    assert first.tolist() == [1, 4]
    assert second.tolist() == [1, 4, float(np.finfo(np.float32).min)]
PY
