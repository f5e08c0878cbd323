#!/usr/bin/env bash
# The standard's reference implementation of LRN normalises only as many channels as the batch has images.
#
# Version: onnx 1.22.0 (onnx.reference), Python 3.11, beside ONNX Runtime 1.32.0.
# Input: LRN of size 3 over x[n, c] = c + 1, four channels, for batches of 1, 2 and 4 images, alpha = 3, beta = 1,
# bias = 1.
# A good engineer expects: the reference decides what is right; y[c] = x[c] / (1 + sum of squares of the neighbours
# and itself).
# Seen: with one image, channels 1, 2 and 3 come out as they went in (divided by the bias alone); with two images
# channels 2 and 3; with four all are right. The loop over channels is bounded by the first axis. The published test
# cases are 5x5x5x5, where both axes are equal, so they pass. With bias = 0, as AlexNet's relatives have it, the
# values are infinite.
# For ninc: `lrn` is compared with values computed by hand and with ONNX Runtime, never with onnx.reference.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.22.0 onnxruntime==1.32.0
"$place/venv/bin/python" - <<'PY'
import numpy as np
import onnx
from onnx import TensorProto, helper
import onnxruntime as ort
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


channels = 4
squares = [1.0, 4.0, 9.0, 16.0]
right = [(c + 1) / (1 + sum(squares[max(c - 1, 0):c + 2])) for c in range(channels)]
for batch in (1, 2, 4):
    lrn = model("LRN", [batch, channels, 1, 1], 13, size=3, alpha=3.0, beta=1.0, bias=1.0)
    x = np.tile(np.arange(1, channels + 1, dtype=np.float32).reshape(1, channels, 1, 1), (batch, 1, 1, 1))
    reference = ReferenceEvaluator(lrn).run(None, {"x": x})[0][0].ravel()
    engine = onnx_runtime(lrn, x)[0].ravel()
    print(f"batch {batch}: onnx.reference {reference.round(4).tolist()}, ONNX Runtime {engine.round(4).tolist()}")
    assert np.allclose(engine, right)
    wrong = [(c + 1) if c >= batch else right[c] for c in range(channels)]
    assert np.allclose(reference, wrong)
PY
