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


def onnx_bytes(name, batch):
    """The network as a serialised ONNX model with input `x` and output `y`."""
    from onnx import TensorProto, helper, numpy_helper
    shape, _ = NETWORKS[name]
    rng = np.random.default_rng(0)
    nodes, weights, current, channels = [], [], "x", shape[0]

    def append(op, *inputs, **attributes):
        nonlocal current
        result = f"v{len(nodes)}"
        nodes.append(helper.make_node(op, [current, *inputs], [result], **attributes))
        current = result

    for layer in convolutions(name):
        if layer[0] == "conv":
            _, fan, channels, kernel, stride, pad = layer
            w = rng.standard_normal((channels, fan, kernel, kernel)) * np.sqrt(2 / (fan * kernel * kernel))
            names = f"w{len(weights)}", f"b{len(weights)}"
            weights += [numpy_helper.from_array(w.astype("f"), names[0]),
                        numpy_helper.from_array(np.zeros(channels, "f"), names[1])]
            append("Conv", *names, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
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
