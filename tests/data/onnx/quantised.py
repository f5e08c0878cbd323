"""Quantises the small network beside this file with ONNX Runtime, in both of its forms: `int8_qdq.onnx` and
`int8_qoperator.onnx`. `int8.out.npy` has the values for `small.in.npy` of both, before the probabilities are rounded to
bytes.

Scales of weights are per channel, and ReLUs are gone: the lower end of the bytes behind them is 0.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

here = pathlib.Path(__file__).parent
out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here
image = np.load(here / "small.in.npy")


class Images(CalibrationDataReader):
    def __init__(self, name):
        rng = np.random.default_rng(1)
        self.batches = iter([{name: rng.normal(size=image.shape).astype(np.float32)} for _ in range(20)])

    def get_next(self):
        return next(self.batches, None)


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Its own softmax of bytes is coarser than the operators say.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


name = session(here / "small.onnx").get_inputs()[0].name
for form in [QuantFormat.QDQ, QuantFormat.QOperator]:
    path = out / f"int8_{form.name.lower()}.onnx"
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(here / "small.onnx", path, Images(name), quant_format=form, per_channel=True, **kinds)

model = onnx.load(out / "int8_qdq.onnx")
inner = "y_QuantizeLinear_Input"
model.graph.output.append(onnx.helper.make_tensor_value_info(inner, onnx.TensorProto.FLOAT, None))
onnx.save(model, out / "with_inner.onnx")
np.save(out / "int8.out.npy", session(out / "with_inner.onnx").run([inner], {name: image})[0])
(out / "with_inner.onnx").unlink()
