"""The networks of the benchmarks for other engines: the same layers as models/*.nin, seeded random weights."""
import numpy as np

# (input shape, layers); a layer is ("mlpconv", kernel, stride, pad, widths), ("max", kernel, stride) or ("gap",)
NETWORKS = {
    "cifar10": ((3, 32, 32), [
        ("mlpconv", 5, 1, 2, [192, 160, 96]), ("max", 3, 2),
        ("mlpconv", 5, 1, 2, [192, 192, 192]), ("max", 3, 2),
        ("mlpconv", 3, 1, 1, [192, 192, 10]), ("gap",)]),
    "mnist": ((1, 28, 28), [
        ("mlpconv", 5, 1, 2, [96, 64, 48]), ("max", 3, 2),
        ("mlpconv", 5, 1, 2, [128, 96, 48]), ("max", 3, 2),
        ("mlpconv", 5, 1, 2, [128, 96, 10]), ("gap",)]),
    "imagenet": ((3, 224, 224), [
        ("mlpconv", 11, 4, 0, [96, 96, 96]), ("max", 3, 2),
        ("mlpconv", 5, 1, 2, [256, 256, 256]), ("max", 3, 2),
        ("mlpconv", 3, 1, 1, [384, 384, 384]), ("max", 3, 2),
        ("mlpconv", 3, 1, 1, [1024, 1024, 1000]), ("gap",)]),
}


def convolutions(name):
    """Yields ("conv", in, out, kernel, stride, pad), ("max", kernel, stride) and ("gap",) in order."""
    (channels, _, _), layers = NETWORKS[name]
    for layer in layers:
        if layer[0] != "mlpconv":
            yield layer
            continue
        _, kernel, stride, pad, widths = layer
        for i, width in enumerate(widths):
            yield ("conv", channels, width, *((kernel, stride, pad) if i == 0 else (1, 1, 0)))
            channels = width


def onnx_bytes(name, batch, int8=False):
    """The network as a serialised ONNX model with input `x` and output `y`; `int8`: what convolutions read is quantised
    to bytes and back (QDQ), weights for each channel, with ranges that such random networks have."""
    from onnx import TensorProto, helper, numpy_helper
    shape, _ = NETWORKS[name]
    rng = np.random.default_rng(0)
    nodes, weights, current, channels = [], [], "x", shape[0]

    def constant(value):
        weights.append(numpy_helper.from_array(value, f"c{len(weights)}"))
        return weights[-1].name

    def append(op, *inputs, **attributes):
        nonlocal current
        result = f"v{len(nodes)}"
        nodes.append(helper.make_node(op, [current, *inputs], [result], **attributes))
        current = result

    def quantise(low, high):
        scale = constant(np.float32((high - low) / 255))
        zero = constant(np.uint8(round(-low / (high - low) * 255)))
        append("QuantizeLinear", scale, zero)
        append("DequantizeLinear", scale, zero)

    def dequantised(w):
        scales = np.abs(w).max(axis=(1, 2, 3)) / 127
        whole = np.rint(w / scales[:, None, None, None]).astype(np.int8)
        names = constant(whole), constant(scales.astype("f")), constant(np.zeros(len(scales), np.int8))
        nodes.append(helper.make_node("DequantizeLinear", names, [f"v{len(nodes)}"], axis=0))
        return nodes[-1].output[0]

    for layer in convolutions(name):
        if layer[0] == "conv" and int8:
            quantise(*((-5, 5) if current == "x" else (0, 5)))
        if layer[0] == "conv":
            _, fan, channels, kernel, stride, pad = layer
            w = rng.standard_normal((channels, fan, kernel, kernel)) * np.sqrt(2 / (fan * kernel * kernel))
            bias = constant(np.zeros(channels, "f"))
            append("Conv", dequantised(w) if int8 else constant(w.astype("f")), bias, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
            append("Relu")
        elif layer[0] == "max":
            append("MaxPool", kernel_shape=[layer[1]] * 2, strides=[layer[2]] * 2, ceil_mode=1)
        else:
            append("GlobalAveragePool")
            append("Flatten")
    nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        nodes, name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, channels])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model.SerializeToString()
