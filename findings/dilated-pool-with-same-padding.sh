#!/usr/bin/env bash
# A pool with a dilated window and SAME padding has another size in ONNX Runtime than in the standard, and three engines
# give three results.
#
# Version: onnxruntime 1.32.0, onnx 1.22.0 (shape inference and onnx.reference), openvino 2026.4.1, Python 3.11.
# Input: x = 1 to 49 as [1, 1, 7, 7]; AveragePool (opset 19) and MaxPool (opset 12) with kernel 3x3, dilations 2x2,
# auto_pad SAME_UPPER; for comparison Conv with the same attributes and weights of 1.
# A good engineer expects: SAME means that a stride of 1 keeps the size, 7x7, as shape inference of the standard says;
# the first mean is that of 1, 3, 15 and 17, which is 9, the first maximum 17.
# Seen: ONNX Runtime's pools give 5x5, at most with a warning in the log: the padding is that of a window without
# dilation. Its Conv refuses the combination with an error, so only pools are smaller. onnx.reference has 7x7, its maxima
# are right, but its means are not those of the window: 17 where the mean is 9, and 0 in the last columns. OpenVINO is
# right in both.
# For ninc: AveragePool of this form is computed as the standard's sizes say (9 first), and so is Conv; MaxPool with a
# dilated window is refused by the node's name.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.22.0 onnxruntime==1.32.0 openvino==2026.4.1
"$place/venv/bin/python" - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

x = np.arange(1, 50, dtype=np.float32).reshape(1, 1, 7, 7)


def model(operator, opset, weights=()):
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"] + [name for name, _ in weights], ["y"], kernel_shape=[3, 3],
                          dilations=[2, 2], auto_pad="SAME_UPPER")], "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [numpy_helper.from_array(values, name) for name, values in weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    onnx.checker.check_model(made)
    return made


def inferred(made):
    dims = onnx.shape_inference.infer_shapes(made, strict_mode=True).graph.output[0].type.tensor_type.shape.dim
    return [d.dim_value for d in dims]


def run_ort(made):
    return ort.InferenceSession(made.SerializeToString()).run(None, {"x": x})[0]


def run_reference(made):
    return ReferenceEvaluator(made).run(None, {"x": x})[0]


def run_openvino(made):
    core = ov.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(core.read_model(made.SerializeToString(), b""), "CPU", options)(x)[0]


def right(reduce):
    at = lambda i: [k for k in (i - 2, i, i + 2) if 0 <= k < 7]
    return np.array([[reduce(x[0, 0][np.ix_(at(i), at(j))]) for j in range(7)] for i in range(7)])


for operator, opset, reduce in [("AveragePool", 19, np.mean), ("MaxPool", 12, np.max)]:
    made = model(operator, opset)
    assert inferred(made) == [1, 1, 7, 7], inferred(made)
    expected = right(reduce)
    mine, reference, openvino = run_ort(made), run_reference(made), run_openvino(made)
    print(operator, "ONNX Runtime", mine.shape, "reference", reference.shape, "OpenVINO", openvino.shape)
    assert mine.shape == (1, 1, 5, 5), mine.shape
    assert reference.shape == (1, 1, 7, 7)
    assert np.array_equal(reference[0, 0], expected) == (operator == "MaxPool")
    assert np.allclose(openvino[0, 0], expected), openvino
    if operator == "AveragePool":
        assert expected[0, 0] == 9 and reference[0, 0, 0, 0] == 17 and reference[0, 0, 0, 6] == 0, reference

conv = model("Conv", 11, [("w", np.ones((1, 1, 3, 3), np.float32))])
assert inferred(conv) == [1, 1, 7, 7] and run_openvino(conv).shape == (1, 1, 7, 7)
try:
    run_ort(conv)
    raise SystemExit("ONNX Runtime computes the convolution now")
except Exception as error:
    assert "ilation not supported" in str(error), error
print("as described")
PY
