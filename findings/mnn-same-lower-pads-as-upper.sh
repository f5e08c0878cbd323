#!/usr/bin/env bash
# MNN pads SAME_LOWER as SAME_UPPER, and computes a max pool with dilations as one without, both silently.
#
# Version: MNN 3.6.1 (its mnnconvert and its CPU), onnx 1.22.0, onnxruntime 1.32.0, Python 3.11.
# Input: x = 1 to 16 as [1, 1, 4, 4]; Conv with weights of 1, MaxPool and AveragePool with a 2x2 window and auto_pad
# SAME_LOWER; and MaxPool with a 2x2 window and dilations 2x2 (operator set 13).
# A good engineer expects: with SAME_LOWER the odd row and column of padding in front, so that the first value comes of
# 1 alone; a dilated pool of 2x2 results, 11, 12, 15 and 16; or a refusal by the converter.
# Seen: the converter says nothing. MNN's results are those of SAME_UPPER, the odd padding behind: the image seems moved
# by a pixel. The dilated pool has 3x3 results, those of dilations 1x1. ONNX Runtime and onnx.reference agree with the
# standard.
# For ninc: an odd padding becomes an explicit one, in front or behind as the file says, and a dilated max pool is refused
# by the node's name. Networks with either cannot be compared with MNN.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check MNN==3.6.1 onnx==1.22.0 onnxruntime==1.32.0
cd "$place"
venv/bin/python - <<'PY' 2>/dev/null
import subprocess

import MNN.expr as expr
import MNN.nn as nn
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

X = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
ONES = numpy_helper.from_array(np.ones((1, 1, 2, 2), np.float32), "w")


def model(op, **attributes):
    inputs = ["x", "w"] if op == "Conv" else ["x"]
    node = helper.make_node(op, inputs, ["y"], kernel_shape=[2, 2], strides=[1, 1], **attributes)
    sizes = {"x": [1, 1, 4, 4], "y": [1, 1, "H", "W"]}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in sizes.items()]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], [ONES] if op == "Conv" else [])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def right(made):
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    result = session.run(None, {"x": X})[0]
    assert (ReferenceEvaluator(made).run(None, {"x": X})[0] == result).all()
    return result


def mnn(made):
    onnx.save(made, "one.onnx")
    subprocess.run(["venv/bin/mnnconvert", "-f", "ONNX", "--modelFile", "one.onnx", "--MNNModel", "one.mnn", "--bizCode",
                    "x"], check=True, stdout=subprocess.DEVNULL)
    network = nn.load_module_from_file("one.mnn", ["x"], ["y"])
    image = expr.placeholder([1, 1, 4, 4], expr.NCHW)
    image.write(X)
    result = expr.convert(network.forward([expr.convert(image, expr.NC4HW4)])[0], expr.NCHW)
    return np.array(result.read()).reshape(result.shape)


for op in ("Conv", "MaxPool", "AveragePool"):
    lower, upper = (model(op, auto_pad=f"SAME_{side}") for side in ("LOWER", "UPPER"))
    print(f"{op}, first row with SAME_LOWER: right {right(lower)[0, 0, 0]}, MNN {mnn(lower)[0, 0, 0]}")
    assert (mnn(upper) == right(upper)).all() and (mnn(lower) == right(upper)).all()
    assert (right(lower) != right(upper)).any()
dilated, plain = model("MaxPool", dilations=[2, 2]), model("MaxPool")
print(f"MaxPool with dilations 2x2: right {right(dilated).ravel()}, MNN {mnn(dilated).ravel()}")
assert right(dilated).ravel().tolist() == [11, 12, 15, 16]
assert (mnn(dilated) == right(plain)).all()
PY
echo "as found"
