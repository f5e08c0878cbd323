#!/usr/bin/env bash
# ONNX Runtime's optimised softmax of a quantised network is a byte's step below its own chain, for a tenth of the values.
#
# Version: onnxruntime 1.32.0, onnx 1.22.0, Python 3.11, its CPU provider.
# Input: QuantizeLinear, DequantizeLinear, Softmax, QuantizeLinear, DequantizeLinear (operator set 17) on 1,000 rows of 10
# scores that are whole steps of the input's scale; the probabilities have the scale 1/255 and the zero 0, which its
# quantiser gives them. No value is near the middle between two bytes.
# A good engineer expects: optimisation to keep the standard's rounding to the nearest byte, or to differ in ties alone.
# Seen: without optimisation all 10,000 bytes are right. With it (the default) the five nodes become one QLinearSoftmax,
# and 959 bytes are one too small, none too large. With the scale 1/256 no byte differs.
# For ninc: quantised files are checked against the chain's meaning (values of the run without optimisation), and ours
# keep their softmax in floats.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.22.0 onnxruntime==1.32.0
"$place/venv/bin/python" - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

LEVELS = ort.GraphOptimizationLevel


def model(step):
    numbers = {"s": np.float32(0.125), "z": np.uint8(128), "t": np.float32(step), "o": np.uint8(0)}
    chain = [("QuantizeLinear", ["x", "s", "z"], "q"), ("DequantizeLinear", ["q", "s", "z"], "d"), ("Softmax", ["d"], "p"),
             ("QuantizeLinear", ["p", "t", "o"], "r"), ("DequantizeLinear", ["r", "t", "o"], "y")]
    nodes = [helper.make_node(op, inputs, [output]) for op, inputs, output in chain]
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 10]) for name in "xy"]
    constants = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    graph = helper.make_graph(nodes, "softmax", rows[:1], rows[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def bytes_of(step, level, x):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model(step), options, providers=["CPUExecutionProvider"])
    return np.rint(session.run(None, {"x": x})[0] / np.float32(step))


x = (np.random.default_rng(1).integers(-40, 41, (1000, 10)) * 0.125).astype(np.float32)
powers = np.exp(x.astype(np.float64))
p = powers / powers.sum(1, keepdims=True)
for parts in (255, 256):
    scaled = p * parts
    right = np.minimum(np.rint(scaled), 255)
    near = np.abs(scaled - np.floor(scaled) - 0.5).min()
    plain, fused = (bytes_of(1 / parts, level, x) for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL))
    below, above = int((fused == right - 1).sum()), int((fused > right).sum())
    print(f"scale 1/{parts}: nearest to a tie {near:.1e}; wrong: {(plain != right).sum()} of the chain,",
          f"{(fused != right).sum()} optimised ({below} one below, {above} above)")
    assert (plain == right).all(), "the chain is right"
    if parts == 255:
        assert 500 < below and below == (fused != right).sum(), "the optimised one is a step below"
    else:
        assert (fused == right).all()
PY
echo "as found"
