#!/usr/bin/env bash
# onnxscript's optimiser, which torch.onnx.export runs, removes a bias whose numbers are all 0: a network exported before
# it is trained has fewer parameters than its source.
#
# Version: onnxscript 0.7.2, onnx 1.22.0, Python 3.11 (PyTorch 2.15's exporter hands its graph to this optimiser).
# Input: one node with a weight and a bias, as Conv, ConvTranspose and Gemm (operator set 18).
# A good engineer expects: an optimiser for inference to fold constants, and a named parameter of the network to be left
# in the file, whatever its numbers are; or numbers below some threshold to be dropped as well.
# Seen: biases of 0 or -0 are gone, from the node's inputs and from the initializers, without a message; one of 1e-45 stays.
# SqueezeNet 1.1 of torchvision, which starts its biases at 0, so loses all 26 of them, and whoever reads the file and goes
# on training it trains another network.
# For ninc: an imported layer without a bias says `bias = false`; the reference tells who goes on training to look for it.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.22.0 onnxscript==0.7.2 numpy
"$place/venv/bin/python" - <<'PY'
import numpy as np
import onnx
import onnxscript.optimizer
from onnx import TensorProto, helper, numpy_helper

NODES = {
    "Conv": (["N", 2, 6, 6], (4, 2, 3, 3), ["N", 4, 4, 4], {"kernel_shape": [3, 3]}),
    "ConvTranspose": (["N", 2, 6, 6], (2, 4, 3, 3), ["N", 4, 8, 8], {"kernel_shape": [3, 3]}),
    "Gemm": (["N", 8], (8, 4), ["N", 4], {}),
}


def left(op, number):
    x, w, y, attributes = NODES[op]
    weight = np.random.default_rng(1).normal(size=w).astype(np.float32)
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.full(4, number, np.float32), "b")]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in [("x", x), ("y", y)]]
    node = helper.make_node(op, ["x", "w", "b"], ["y"], **attributes)
    graph = helper.make_graph([node], "one", info[:1], info[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(made)
    done = onnxscript.optimizer.optimize(made)
    return [list(node.input) for node in done.graph.node], [constant.name for constant in done.graph.initializer]


for op in NODES:
    for number in [0.0, -0.0, 1e-45, 0.5]:
        inputs, names = left(op, number)
        print(f"{op} with a bias of {number}: node {inputs}, initializers {names}")
        kept = number not in (0.0, -0.0)
        assert inputs == [["x", "w", "b"] if kept else ["x", "w"]], "the behaviour has changed"
        assert ("b" in names) == kept, "the behaviour has changed"
PY
