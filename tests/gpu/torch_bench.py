#!/usr/bin/env python3
"""Times the CIFAR-10 network of the paper in PyTorch on a GPU: eager and torch.compile, float32 with TF32 off and on, bf16
autocast, all with channels_last. One JSON object a line, times in milliseconds, medians; beside them the card's own peak,
measured with large matrix products in the same precision."""
import argparse
import itertools
import json
import statistics
import sys
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


def median(work, seconds, least=10):
    for _ in range(3):
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


def infer(device, batch, half, compiled, seconds):
    model = network().eval().to(device, memory_format=torch.channels_last)
    run = torch.compile(model, mode="reduce-overhead") if compiled else model
    x = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)

    def work():
        with torch.inference_mode(), half:
            return run(x)

    return median(work, seconds)


def train(device, batch, half, compiled, seconds):
    model = network().train().to(device, memory_format=torch.channels_last)
    run = torch.compile(model) if compiled else model
    step = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    x = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    y = torch.randint(10, (batch,), device=device)

    def work():
        step.zero_grad(set_to_none=True)
        with half:
            loss = nn.functional.cross_entropy(run(x), y)
        loss.backward()
        step.step()

    return median(work, seconds)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--infer", type=int, nargs="+", default=[1, 128, 1024])
    options.add_argument("--train", type=int, nargs="+", default=[128, 512])
    options.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    options = options.parse_args()
    device = torch.device("cuda")
    say(card=torch.cuda.get_device_name(), torch=torch.__version__, cuda=torch.version.cuda)
    torch.backends.cudnn.benchmark = True
    # Compiling takes most of the time: all that goes without it comes first.
    for compiled, precision in itertools.product([False, True], ["float32", "tf32", "bf16"]):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch._dynamo.reset()
        half = torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16")
        if not compiled:
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            a = torch.randn(8192, 8192, device=device, dtype=dtype)
            ms = median(lambda: a @ a, 0.5, least=5)
            say(what="matrix product", precision=precision, tflops=2 * 8192**3 / ms / 1e9)
        for what, batches, measure in [("infer", options.infer, infer), ("train", options.train, train)]:
            for batch in batches:
                try:
                    ms = measure(device, batch, half, compiled, options.seconds)
                except (RuntimeError, torch.cuda.OutOfMemoryError) as error:
                    print(f"{what} {batch} {precision} compiled={compiled}: {error}", file=sys.stderr)
                    continue
                say(what=what, batch=batch, precision=precision, compiled=compiled, ms=ms)


if __name__ == "__main__":
    main()
