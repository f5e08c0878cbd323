#!/usr/bin/env python3
"""Times the CIFAR-10 network of the paper in PyTorch on a GPU: eager and torch.compile, float32 with TF32 off and on, bf16
autocast, all with channels_last. One JSON object a line, times in milliseconds, medians; beside them the card's own peak,
measured with large matrix products in the same precision."""
import itertools
import json
import statistics
import time

import torch
from torch import nn


def network():
    layers = []
    for channels, widths, kernel, pool in [
            (3, (192, 160, 96), 5, nn.MaxPool2d(3, 2, ceil_mode=True)),
            (96, (192, 192, 192), 5, nn.MaxPool2d(3, 2, ceil_mode=True)),
            (192, (192, 192, 10), 3, None)]:
        first, second, third = widths
        layers += [nn.Conv2d(channels, first, kernel, padding=kernel // 2), nn.ReLU(),
                   nn.Conv2d(first, second, 1), nn.ReLU(), nn.Conv2d(second, third, 1), nn.ReLU()]
        if pool is not None:
            layers += [pool, nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def median(work, least=20, seconds=5.0):
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    times, start = [], time.perf_counter()
    while len(times) < least or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def say(**values):
    print(json.dumps(values), flush=True)


def main():
    device = torch.device("cuda")
    say(card=torch.cuda.get_device_name(), torch=torch.__version__, cuda=torch.version.cuda)
    for precision, compiled in itertools.product(["float32", "tf32", "bf16"], [False, True]):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True
        half = torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16")
        if not compiled:
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            a = torch.randn(8192, 8192, device=device, dtype=dtype)
            ms = median(lambda: a @ a, least=5, seconds=1.0)
            say(what="matrix product", precision=precision, tflops=2 * 8192**3 / ms / 1e9)
        for batch in (1, 128, 1024):
            model = network().eval().to(device, memory_format=torch.channels_last)
            run = torch.compile(model, mode="max-autotune") if compiled else model
            x = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)

            def infer():
                with torch.inference_mode(), half:
                    return run(x)

            say(what="infer", batch=batch, precision=precision, compiled=compiled, ms=median(infer))
        for batch in (128, 512):
            model = network().train().to(device, memory_format=torch.channels_last)
            run = torch.compile(model) if compiled else model
            step = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
            x = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
            y = torch.randint(10, (batch,), device=device)

            def train():
                step.zero_grad(set_to_none=True)
                with half:
                    loss = nn.functional.cross_entropy(run(x), y)
                loss.backward()
                step.step()

            say(what="train", batch=batch, precision=precision, compiled=compiled, ms=median(train))


if __name__ == "__main__":
    main()
