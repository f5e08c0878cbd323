#!/usr/bin/env bash
# MNN's converter gives QuantizeLinear and DequantizeLinear two axes exchanged, and unsigned bytes 128 steps too low, silently.
#
# Version: MNN 3.6.1 (its mnnconvert and its CPU), onnx 1.22.0, Python 3.11.
# Input: a QuantizeLinear and its DequantizeLinear (operator set 13), with one scale and one zero point, on images of
# [2, 3, 2, 2] and [1, 4, 2, 2]; no value is cut off or near a tie.
# A good engineer expects: each value at its own place, off by half a step at most, as in every file of a quantised network.
# Seen: the converter says nothing. The results have the shapes [3, 2, 2, 2] and [4, 1, 2, 2]: the batch and the channels
# are exchanged, whatever the attribute `axis` says. Where the zero point is an unsigned byte, each value is 128 scales
# too low besides; with signed bytes the values are right, at their wrong places. A convolution behind such a pair is
# refused when it runs, because its channels are then the batch; tensors of two and three axes give a file that cannot be
# loaded.
# For ninc: its files with such pairs (`ninc export` of a quantised network) are checked against the standard's meaning
# and with ONNX Runtime; the README says that MNN misreads them, and its table has no int8 figure of MNN.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check MNN==3.6.1 onnx==1.22.0 numpy
cd "$place"
venv/bin/python - <<'PY' 2>/dev/null
import subprocess

import MNN.expr as expr
import MNN.nn as nn
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STEP = np.float32(1 / 64)


def pair(shape, zero, axis):
    attributes = {} if axis is None else {"axis": axis}
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in (("s", STEP), ("z", zero))]
    graph = helper.make_graph(nodes, "pair", ends[:1], ends[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made)
    onnx.save(made, "pair.onnx")
    subprocess.run(["venv/bin/mnnconvert", "-f", "ONNX", "--modelFile", "pair.onnx", "--MNNModel", "pair.mnn",
                    "--bizCode", "x"], check=True, stdout=subprocess.DEVNULL)
    return nn.load_module_from_file("pair.mnn", ["x"], ["y"])


for shape in ([2, 3, 2, 2], [1, 4, 2, 2]):
    # Whole steps, from -1 to 1: all of them are bytes with either zero point.
    x = np.round(np.linspace(-1, 1, int(np.prod(shape))) / STEP).astype(np.float32).reshape(shape) * STEP
    for zero in (np.uint8(100), np.int8(-20)):
        for axis in (None, 0, 3):
            network = pair(shape, zero, axis)
            image = expr.placeholder(shape, expr.NCHW)
            image.write(x)
            result = network.forward([image])[0]
            y = np.array(expr.convert(result, expr.NCHW).read()).reshape(result.shape)
            low = (x.transpose(1, 0, 2, 3) - y) / STEP
            print(f"{shape}, {type(zero).__name__}, axis {axis}: comes out as {list(y.shape)},",
                  f"{low.min():.0f} to {low.max():.0f} steps too low at the exchanged places")
            assert list(y.shape) == [shape[1], shape[0], 2, 2], "exchanged"
            assert (low == (128 if type(zero) is np.uint8 else 0)).all()
PY
echo "as found"
