#!/usr/bin/env bash
# An average pool with ceil_mode and count_include_pad, whose last window reaches beyond the padding: ONNX Runtime
# divides by the cells inside of image and padding, OpenVINO by the whole kernel.
#
# Versions: onnx 1.22.0, ONNX Runtime 1.32.0, OpenVINO 2026.4.1 (CPU), Python 3.11.
# Input: AveragePool of 1 to 8 along one axis, kernel 3, stride 2, padding 1, ceil_mode = 1, count_include_pad = 1.
# The fifth window covers 8, one cell of padding and one cell that does not exist.
# A good engineer expects: 8 / 2 = 4, as Caffe, PyTorch and the standard's formula have it: padding counts, what lies
# beyond does not.
# Seen: ONNX Runtime [1, 3, 5, 7, 4]; OpenVINO [1, 3, 5, 7, 2.667], which is 8 / 3. The other four values agree, so a
# network is wrong along its last row and column only, by an amount that no test on random shapes without ceil_mode
# finds.
# For ninc: `avg_pool` divides by the cells inside of the image, and the tests of its edges have ceil'd shapes among
# them.
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


x = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 1, 8)
options = dict(kernel_shape=[1, 3], strides=[1, 2], pads=[0, 1, 0, 1], ceil_mode=1, count_include_pad=1)
for opset in (11, 19, 22):
    pool = model("AveragePool", [1, 1, 1, 8], opset, **options)
    first, second = onnx_runtime(pool, x).ravel(), openvino(pool, x).ravel()
    print(f"opset {opset}: ONNX Runtime {first.tolist()}, OpenVINO {second.tolist()}")
    assert np.allclose(first, [1, 3, 5, 7, 4])
    assert np.allclose(second, [1, 3, 5, 7, 8 / 3], atol=1e-3)
PY
