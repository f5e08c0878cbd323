"""Runs the operator tests that come with onnx 1.22.0 through `ninc run`, and compares with the list beside this file.

    operators.py NINC            every case must be as operators.txt says
    operators.py NINC --bless    writes operators.txt anew

Of each case the first input is the image, its first axis the batch; all other inputs count as constants. An image of
fewer dimensions than a network takes gets dimensions of 1. A case is `passed` where every value is right, and `refused`
where the import names the nodes that it has no counterpart for; anything else is `failed`, which nothing may be.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

HERE = pathlib.Path(__file__).parent
LIST = HERE / "operators.txt"
# What networks of images are made of; cases of other operators are not asked for.
OPERATORS = """
    Abs Add AveragePool BatchNormalization Cast Celu Clip Concat Constant ConstantOfShape Conv DequantizeLinear Div Dropout
    Elu Erf Expand Flatten Gather Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity LRN LeakyRelu
    LogSoftmax MatMul Max MaxPool Mean Min Mul Neg PRelu Pad Pow QuantizeLinear ReduceMax ReduceMean ReduceMin ReduceSum
    Relu Reshape Resize Selu Shape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Upsample
""".split()

# Right values that were typed in with four digits.
ROUGH = ["test_averagepool_2d_ceil_last_window_starts_on_pad"]


def cases():
    root = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
    for kind in ["node", "pytorch-operator", "pytorch-converted", "simple"]:
        for folder in sorted((root / kind).iterdir()):
            if (folder / "model.onnx").exists():
                yield f"{kind}/{folder.name}", folder


def tensor(path):
    value = onnx.TensorProto()
    value.ParseFromString(path.read_bytes())
    return value


def prepared(folder):
    """Returns the model with its inputs but the first as constants, the image and the results; None for another kind."""
    model = onnx.load(folder / "model.onnx")
    if not {node.op_type for node in model.graph.node} <= set(OPERATORS) or model.functions:
        return None
    data = folder / "test_data_set_0"
    held = {c.name for c in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in held]
    if not inputs or any(not i.type.HasField("tensor_type") for i in [*inputs, *model.graph.output]):
        return None
    values = [tensor(data / f"input_{i}.pb") for i in range(len(inputs))]
    image = numpy_helper.to_array(values[0])
    if image.dtype not in [np.float32, np.float64, np.float16] or image.size == 0:
        return None
    with np.errstate(over="ignore"):
        image = image.astype(np.float32)
    if not np.isfinite(image).all():
        return None
    for port, value in list(zip(inputs, values))[1:]:
        value.name = port.name
        model.graph.initializer.append(value)
        model.graph.input.remove(port)
    del inputs[0].type.tensor_type.shape.dim[:]
    for size in image.shape:
        inputs[0].type.tensor_type.shape.dim.add().dim_value = size
    count = len(model.graph.output)
    right = [numpy_helper.to_array(tensor(data / f"output_{i}.pb")) for i in range(count)]
    return model, image, right


def as_network(image):
    """Returns the image as the network takes it: [N, F], or [N, C, H, W]."""
    n, *rest = image.shape if image.ndim else (1,)
    if len(rest) < 2:
        return image.reshape(n, -1)
    if len(rest) == 2:
        return image.reshape(n, rest[0], 1, rest[1])
    return image.reshape(n, rest[0], int(np.prod(rest[1:-1])), rest[-1])


def outcome(ninc, folder, place):
    made = prepared(folder)
    if made is None:
        return None
    model, image, right = made
    np.save(place / "x.npy", as_network(image))
    del model.graph.output[1:]
    onnx.save(model, place / "case.onnx")
    command = [ninc, "run", "case.onnx", "x.npy", "--raw", "--output", "y.npy"]
    try:
        ran = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "failed", "it takes more than a minute"
    said = ran.stderr
    if ran.returncode != 0:
        nodes = re.findall(r"^  `.*?` \((\w*)\): (.*)$", said, re.M)
        if nodes:
            return "refused", nodes[0][1]
        ports = re.search(r"cannot be imported: (.*)", said)
        return ("refused", ports.group(1)) if ports and "panicked" not in said else ("failed", said.strip()[:300])
    found = np.load(place / "y.npy")
    if found.size != right[0].size:
        return "failed", f"{found.shape} instead of {right[0].shape}"
    expected = right[0].astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.abs(found.reshape(expected.shape) - expected).max(initial=0)
        scale = np.abs(expected).max(initial=1e-30)
    # float16 has 11 significant bits.
    bound = 2e-3 if right[0].dtype == np.float16 else 1e-3 if folder.name in ROUGH else 1e-5
    return ("passed", "") if off <= bound * max(scale, 1e-3) else ("failed", f"{off / scale:.1e} off")


def main():
    ninc = str(pathlib.Path(sys.argv[1]).resolve())
    found = {}
    only = sys.argv[2:] if sys.argv[2:] and not sys.argv[2].startswith("--") else []
    with tempfile.TemporaryDirectory() as place:
        for name, folder in cases():
            if only and not any(part in name for part in only):
                continue
            result = outcome(ninc, folder, pathlib.Path(place))
            if result:
                found[name] = result
                if only or result[0] == "failed":
                    print(name, *result)
    lines = [" ".join([result, name, *([f"({reason})"] if reason else [])]) for name, (result, reason) in found.items()]
    counts = collections.Counter(result for result, _ in found.values())
    print(", ".join(f"{counts[word]} {word}" for word in ["passed", "refused", "failed"]))
    if only:
        return
    if "--bless" in sys.argv:
        LIST.write_text("\n".join(lines) + "\n")
    listed = LIST.read_text().splitlines()
    for line in sorted(set(listed) ^ set(lines)):
        print(("listed: " if line in listed else "found:  ") + line)
    sys.exit(0 if set(listed) == set(lines) and not counts["failed"] else 1)


main()
