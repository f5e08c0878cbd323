"""Checks a folder of exported files: NAME.OPSET.onnx with NAME.in.npy and NAME.out0.npy, NAME.out1.npy, ...

Each must pass onnx.checker with strict inference of shapes, and give within 1e-5 of the largest value the same results
in ONNX Runtime, and in OpenVINO (float32) where that is there. Prints for each name the largest difference of each.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime

try:
    import openvino
except ImportError:
    openvino = None


def engines(path, image):
    """The results of each engine."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    yield "ONNX Runtime", session.run(None, {session.get_inputs()[0].name: image})
    if openvino:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        yield "OpenVINO", list(compiled(image).values())


folder = pathlib.Path(sys.argv[1])
wrong, table = [], {}
files = sorted(folder.glob("*.onnx"))
for path in files:
    name = path.name.split(".")[0]
    right = [np.load(p) for p in sorted(folder.glob(f"{name}.out*.npy"))]
    model = onnx.load(path)
    try:
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:
        wrong.append(f"{path.name}: {error}")
        continue
    for engine, results in engines(path, np.load(folder / f"{name}.in.npy")):
        for i, (ours, theirs) in enumerate(zip(right, results, strict=True)):
            off = np.abs(ours - theirs.reshape(ours.shape)).max() / max(np.abs(ours).max(), 1e-30)
            most = table.setdefault(name, {})
            most[engine] = max(most.get(engine, 0.0), off)
            if not off <= 1e-5:
                wrong.append(f"{path.name}: result {i} of {engine} is {off:.1e} off")
for name, row in table.items():
    print(name, *(f"{engine} {off:.1e}" for engine, off in row.items()), sep="  ")
print("\n".join(wrong))
print(f"{len(files) - len({text.split(':')[0] for text in wrong})} files agree")
sys.exit(1 if wrong else 0)
