"""Makes the files beside it with onnx 1.22.0 and the right values with onnxruntime 1.32.0."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(7)


def weight(name, *shape):
    values = random.normal(0, 1 / np.sqrt(max(np.prod(shape[1:]), 1)), shape)
    return numpy_helper.from_array(values.astype(np.float32), name)


def save(name, nodes, weights, image, result, **more):
    graph = helper.make_graph(
        nodes, "main_graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *image])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", *result])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, f"{name}.onnx", **more)
    return model


def values(name, model, image):
    x = random.normal(0, 1, (2, *image)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.save(f"{name}.in.npy", x)
    np.save(f"{name}.out.npy", session.run(None, {"x": x})[0])


node = helper.make_node
chain = [
    node("Conv", ["x", "features.0.weight", "features.0.bias"], ["a"], "/features/features.0/Conv", pads=[1] * 4),
    node("Relu", ["a"], ["b"], "/features/features.1/Relu"),
    node("Conv", ["b", "features.2.weight", "features.2.bias"], ["c"], "/features/features.2/Conv"),
    node("Relu", ["c"], ["d"], "/features/features.3/Relu"),
    node("MaxPool", ["d"], ["e"], "/features/features.4/MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    node("ReduceMean", ["e"], ["f"], "node_mean", axes=[2, 3], keepdims=0),
    node("Gemm", ["f", "fc.weight", "fc.bias"], ["g"], "/fc/Gemm", transB=1),
    node("Softmax", ["g"], ["y"], "/Softmax", axis=1),
]
weights = [
    weight("features.0.weight", 6, 3, 3, 3), weight("features.0.bias", 6), weight("features.2.weight", 5, 6, 1, 1),
    weight("features.2.bias", 5), weight("fc.weight", 4, 5), weight("fc.bias", 4),
]
values("small", save("small", chain, weights, [3, 8, 8], [4]), [3, 8, 8])
save("external", chain, weights, [3, 8, 8], [4], save_as_external_data=True, location="external.bin", size_threshold=64)
save("refused", [
    node("Conv", ["x", "w"], ["a"], "stem"),
    node("Erf", ["a"], ["b"], "strange"),
    node("MaxPool", ["a"], ["c"], "wide", kernel_shape=[2, 2], dilations=[2, 2]),
    node("Add", ["b", "c"], ["y"], "sum"),
], [weight("w", 4, 3, 1, 1)], [3, 8, 8], [4, 6, 6])

# Forms of other exporters: channels last, shapes that are computed, what only moves values.
def ints(name, *numbers):
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


moves = [
    node("Transpose", ["x"], ["nhwc"], perm=[0, 2, 3, 1]),
    node("Mul", ["nhwc", "scale"], ["scaled"]),
    node("Transpose", ["scaled"], ["nchw"], perm=[0, 3, 1, 2]),
    node("Pad", ["nchw", "pads"], ["padded"], mode="reflect"),
    node("Slice", ["padded", "starts", "ends", "axes", "steps"], ["cut"]),
    node("Resize", ["cut", "", "scales"], ["wide"], mode="linear"),
    node("Split", ["wide", "parts"], ["low", "high"], axis=1),
    node("Concat", ["high", "low", "high", "low"], ["joined"], axis=1),
    node("Clip", ["joined", "zero", "six"], ["limited"]),
    node("Shape", ["limited"], ["shape"]),
    node("Gather", ["shape", "first"], ["batch"], axis=0),
    node("Concat", ["batch", "rest"], ["target"], axis=0),
    node("Reshape", ["limited", "target"], ["pieces"]),
    node("ReduceMax", ["pieces"], ["most"], axes=[2], keepdims=0),
    node("Mul", ["most", "most"], ["square"]),
    node("Reshape", ["square", "rows"], ["flat"]),
    node("Pad", ["flat", "channel.pads"], ["wider"]),
    node("AveragePool", ["wider"], ["mean"], kernel_shape=[3, 1]),
    node("Squeeze", ["mean", "one"], ["means"]),
    node("Reshape", ["means", "as.most"], ["back"]),
    node("Mul", ["back", "alpha"], ["part"]),
    node("Add", ["part", "k"], ["base"]),
    node("Pow", ["base", "beta"], ["power"]),
    node("Div", ["most", "power"], ["normal"]),
    node("Transpose", ["normal"], ["last"], perm=[0, 2, 3, 1]),
    node("Flatten", ["last"], ["features"]),
    node("MatMul", ["features", "dense"], ["product"]),
    node("Add", ["product", "bias"], ["y"]),
]
constants = [
    weight("scale", 4), ints("pads", 0, 0, 1, 1, 0, 0, 1, 1), ints("starts", 1, 0), ints("ends", 9, 2**63 - 1),
    ints("axes", 2, 3), ints("steps", 2, 1), numpy_helper.from_array(np.array([1, 1, 2, 1], np.float32), "scales"),
    ints("parts", 1, 3), ints("first", 0), ints("rest", 4, 2, 8, 8), ints("rows", 0, 1, 4, -1), ints("one", 1),
    ints("channel.pads", 0, 0, 1, 0, 0, 0, 1, 0), ints("as.most", 0, 4, 8, 8), weight("dense", 256, 3), weight("bias", 3),
    *[numpy_helper.from_array(np.float32(value), name) for name, value in
      [("zero", 0), ("six", 0.6), ("alpha", 0.3), ("k", 1.5), ("beta", 0.75)]],
]
values("moves", save("moves", moves, constants, [4, 6, 6], [3]), [4, 6, 6])
