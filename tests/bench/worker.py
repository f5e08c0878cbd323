"""One engine in a process of its own: prepares, then times a round whenever a line arrives.

    worker.py ENGINE infer|train NETWORK BATCH THREADS        prints milliseconds, one number a round
"""
import os
import sys
import tempfile
import time

import numpy as np
from networks import NETWORKS, convolutions, onnx_bytes


def onnxruntime(path, x, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})


def openvino(precision):
    def prepare(path, x, threads):
        import openvino
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(path), "CPU", {
            "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"})
        request = compiled.create_infer_request()
        return lambda: request.infer({0: x})
    return prepare


def mnn(path, x, threads):
    import subprocess
    import MNN.expr as expr
    import MNN.nn as nn
    tool = os.path.join(os.path.dirname(sys.executable), "mnnconvert")
    subprocess.run([tool, "-f", "ONNX", "--modelFile", path, "--MNNModel", path + ".mnn", "--bizCode", "x"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runtime = nn.create_runtime_manager(({"backend": "CPU", "precision": "normal", "numThread": threads},))
    net = nn.load_module_from_file(path + ".mnn", ["x"], ["y"], runtime_manager=runtime)
    value = expr.placeholder(list(x.shape), expr.NCHW)
    value.write(x)
    return lambda: net.forward(expr.convert(value, expr.NC4HW4)).read()


def torch_model(network):
    import torch
    from torch import nn
    layers = []
    for layer in convolutions(network):
        if layer[0] == "conv":
            layers += [nn.Conv2d(*layer[1:4], stride=layer[4], padding=layer[5]), nn.ReLU()]
        elif layer[0] == "max":
            layers += [nn.MaxPool2d(layer[1], layer[2], ceil_mode=True), nn.Dropout(0.5)]
        else:
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers).train().to(memory_format=torch.channels_last)


def torch_train(bf16, wrap=lambda model: model):
    def prepare(network, batch, threads):
        import torch
        from torch import nn
        torch.set_num_threads(threads)
        model = wrap(torch_model(network))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        x = torch.randn(batch, *NETWORKS[network][0]).to(memory_format=torch.channels_last)
        y = torch.randint(0, 10, (batch,))

        def step():
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        return step
    return prepare


def tensorflow_train(network, batch, threads):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    from tensorflow import keras
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    c, h, w = NETWORKS[network][0]
    inputs = x = keras.Input((h, w, c))
    for layer in convolutions(network):
        if layer[0] == "conv":
            x = keras.layers.Conv2D(layer[2], layer[3], strides=layer[4], padding="same", activation="relu")(x)
        elif layer[0] == "max":
            x = keras.layers.Dropout(0.5)(keras.layers.MaxPool2D(layer[1], layer[2], padding="same")(x))
        else:
            x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, x)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=1e-4),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    images, labels = tf.random.normal((batch, h, w, c)), tf.zeros((batch,), tf.int32)
    return lambda: model.train_on_batch(images, labels)


INFER = {"mnn": mnn, "openvino": openvino("f32"), "openvino-bf16": openvino("bf16"), "openvino-int8": openvino("bf16"),
         "onnxruntime": onnxruntime, "onnxruntime-int8": onnxruntime}
TRAIN = {"tensorflow": tensorflow_train, "torch": torch_train(False), "torch-bf16": torch_train(True)}


def main():
    engine, mode, network, batch, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    if mode == "infer":
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "net.onnx")
            with open(path, "wb") as file:
                file.write(onnx_bytes(network, batch, engine.endswith("-int8")))
            x = np.random.default_rng(1).standard_normal((batch, *NETWORKS[network][0])).astype("f")
            run = INFER[engine](path, x, threads)
            serve(run)
    else:
        serve(TRAIN[engine](network, batch, threads))


def serve(run, seconds=1.5, least=3):
    run(), run()
    print("ready", flush=True)
    for _ in sys.stdin:
        times, start = [], time.perf_counter()
        while len(times) < least or time.perf_counter() - start < seconds:
            before = time.perf_counter()
            run()
            times.append(time.perf_counter() - before)
        print(sorted(times)[len(times) // 2] * 1e3, flush=True)


if __name__ == "__main__":
    main()
