#!/usr/bin/env python3
"""The network and recipe of models/fast94.nin in PyTorch on the processor: the time to 94 % to compare with.

    pip install -r requirements.txt
    cargo build --release
    python fast94.py train cifar-10-binary.tar.gz [--threads 2] [--seed 0] [--bf16] [--compile] [--epochs 9]
    python fast94.py steps cifar-10-binary.tar.gz [--rounds 5] ...
    python fast94.py check cifar-10-binary.tar.gz

`train` trains in PyTorch alone and prints the accuracy on the test part after each epoch, and at the end that of six
views, those of `ninc eval --tta flip,shift`. Seconds are those of training alone: testing does
not count. The order of images and what is drawn differ from ninc's; everything else is the same recipe.

`steps` times single steps of both by turns, on a batch that is there already, and extrapolates: steps of the whole
training times the median step. No training is made, so no accuracy is measured; `train` measures it.

`check` gives both the same initial weights and the same batches, unchanged and in one order, in float32 on the
processor's vectors, and compares the losses of all steps, through the freezing of the first layer's bias, and the
whitening that each fits by itself.
"""
import argparse
import json
import math
import os
import re
import statistics
import struct
import subprocess
import sys
import tarfile
import tempfile
import time

import numpy
import torch
import torch.nn.functional as F
from torch import nn

# Rates for the sum of the images' losses, and the part of a weight that a whole rate takes from it for each image.
RATE, HEAD_RATE, DECAY, MOMENTUM, SMOOTHING = 0.053, 0.67, 2e-6, 0.85, 0.2
MUON_RATE, MUON_MOMENTUM, MUON_STEPS = 0.24, 0.6, 3
BATCH, NORM_EPSILON, NORM_NEW = 2000, 1e-12, 0.4
PEAK, START, END = 0.01, 1, 0
WHITE_EPOCHS, WHITE_EPSILON = 3, 5e-4
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MODEL = os.path.join(ROOT, "models", "fast94.nin")
# Of `check`: images of a batch, batches of an epoch, epochs.
CHECKED, CHECKED_BATCHES, CHECKED_EPOCHS = 64, 4, 5
# How far losses may lie apart: those of the first steps, and all that follow. Muon brings all directions of a gradient
# to one size, also those that are rounding alone: PyTorch in float64 goes as far from itself in float32.
NEAR, LATER = [1e-5, 1e-5, 1e-3], 2e-2


def read(path):
    """Images as bytes [N, 3, 32, 32] and labels, of training and test."""
    parts = {"data": [], "test": []}
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            kind = member.name.rsplit("/", 1)[-1][:4]
            if member.name.endswith(".bin") and kind in parts:
                records = torch.frombuffer(bytearray(archive.extractfile(member).read()), dtype=torch.uint8)
                parts[kind].append(records.view(-1, 3073))
    return [(rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].long()) for rows in map(torch.cat, parts.values())]


def convolution(inputs, outputs):
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[:inputs])
    return layer


def normalisation(channels):
    layer = nn.BatchNorm2d(channels, eps=NORM_EPSILON, momentum=NORM_NEW)
    layer.weight.requires_grad = False
    return layer


def group(inputs, outputs):
    return [convolution(inputs, outputs), nn.MaxPool2d(2), normalisation(outputs), nn.GELU(),
            convolution(outputs, outputs), normalisation(outputs), nn.GELU()]


class Scale(nn.Module):
    def forward(self, x):
        return x / 256


def network(images):
    """The network, its first layer fitted to 5,000 images."""
    white = nn.Conv2d(3, 24, 2)
    patches = F.unfold(images[:: max(1, len(images) // 5000)], 2).transpose(1, 2).reshape(-1, 12).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + WHITE_EPSILON).sqrt()).T.flip(0).float().view(12, 3, 2, 2)
    white.weight.data = torch.cat([filters, -filters])
    white.weight.requires_grad = False
    white.bias.data.zero_()
    head = nn.Linear(256, 10, bias=False)
    nn.init.uniform_(head.weight, -1.732, 1.732)
    groups = [*group(24, 64), *group(64, 256), *group(256, 256)]
    return nn.Sequential(white, nn.GELU(), *groups, nn.MaxPool2d(3), nn.Flatten(), head, Scale())


def optimizer(net, batch):
    """SGD on the mean loss for all but convolutions; a step's decay is the same for all, whatever their rate."""
    head = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
    biases = [layer.bias for layer in net if getattr(layer, "bias", None) is not None]
    groups = [{"params": own, "whole": rate * batch, "weight_decay": DECAY / rate}
              for own, rate in [(biases, RATE), (head, HEAD_RATE)]]
    return torch.optim.SGD(groups, lr=1, momentum=MOMENTUM, nesterov=True)


class Muon:
    """Steps of the same size in all directions of a filter matrix, whose norm is set before each."""

    def __init__(self, weights):
        self.weights = [(weight, torch.zeros_like(weight)) for weight in weights]

    @torch.no_grad()
    def step(self, rate):
        for weight, velocity in self.weights:
            velocity.mul_(MUON_MOMENTUM).add_(weight.grad)
            x = (weight.grad + MUON_MOMENTUM * velocity).reshape(len(weight), -1)
            wide = x.shape[0] <= x.shape[1]
            x = (x if wide else x.T) / (x.norm() + 1e-7)
            for _ in range(MUON_STEPS):
                a = x @ x.T
                x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
            weight.mul_(len(weight) ** 0.5 / weight.norm())
            weight.sub_((x if wide else x.T).reshape(weight.shape), alpha=rate)


class Training:
    """A training under way: the network and its optimisers."""

    def __init__(self, net, total, args, batch=BATCH):
        self.net, self.total, self.bf16, self.step = net, total, args.bf16, 0
        self.sgd = optimizer(net, batch)
        learned = [layer.weight for layer in net if isinstance(layer, nn.Conv2d) and layer.weight.requires_grad]
        self.muon = Muon(learned)
        self.forward = torch.compile(net) if args.compile else net

    def one(self, images, labels):
        now = factor(self.step / self.total)
        for group_ in self.sgd.param_groups:
            group_["lr"] = group_["whole"] * now
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            scores = self.forward(images)
        loss = F.cross_entropy(scores.float(), labels, label_smoothing=SMOOTHING)
        self.net.zero_grad(set_to_none=True)
        loss.backward()
        self.sgd.step()
        self.muon.step(MUON_RATE * now)
        self.step += 1
        return loss.item()


def factor(done):
    """The rate's factor where this part of the training is done."""
    return START + (1 - START) * done / PEAK if done < PEAK else 1 + (END - 1) * (done - PEAK) / (1 - PEAK)


def views(images):
    """Six views and their weights: as it is, moved by a pixel both ways, each mirrored too."""
    padded = F.pad(images, (1,) * 4, "reflect")
    for weight, view in [(0.5, images), (0.25, padded[:, :, :32, :32]), (0.25, padded[:, :, 2:, 2:])]:
        yield weight / 2, view
        yield weight / 2, view.flip(-1)


def accuracy(net, test, tta=False):
    net.eval()
    right = 0
    with torch.no_grad():
        for images, labels in zip(test[0].split(500), test[1].split(500)):
            seen = views(images) if tta else [(1, images)]
            right += (sum(weight * net(view) for weight, view in seen).argmax(1) == labels).sum().item()
    net.train()
    return right / len(test[1])


def prepared(*parts):
    """The images of all parts, centred and scaled by the first one's channels."""
    mean, deviation = parts[0].float().mean((0, 2, 3), True), parts[0].float().std((0, 2, 3), keepdim=True)
    return [((part.float() - mean) / deviation).contiguous(memory_format=torch.channels_last) for part in parts]


def train(args):
    (images, labels), (test_images, test_labels) = read(args.data)
    images, test_images = prepared(images, test_images)
    test = test_images, test_labels
    net = network(images).to(memory_format=torch.channels_last)
    mirrored = torch.rand(len(images)) < 0.5
    padded = F.pad(images, (2,) * 4, "reflect")
    total = args.steps or math.ceil(args.epochs * math.ceil(len(images) / BATCH))
    training = Training(net, total, args)
    seconds, epoch = 0.0, 0
    while training.step < total:
        begin = time.perf_counter()
        net[0].bias.requires_grad = epoch < WHITE_EPOCHS
        for batch in torch.randperm(len(images)).split(BATCH)[: total - training.step]:
            y, x = torch.randint(5, (2, len(batch), 1, 1))
            rows, columns = y + torch.arange(32).view(1, 32, 1), x + torch.arange(32).view(1, 1, 32)
            seen = padded.permute(0, 2, 3, 1)[batch.view(-1, 1, 1), rows, columns].permute(0, 3, 1, 2)
            turned = (mirrored[batch] ^ bool(epoch % 2)).view(-1, 1, 1, 1)
            seen = torch.where(turned, seen.flip(-1), seen).contiguous(memory_format=torch.channels_last)
            loss = training.one(seen, labels[batch])
        epoch += 1
        seconds += time.perf_counter() - begin
        right = accuracy(net, test)
        print(f"epoch {epoch}: step {training.step}, loss {loss:.4f}, test {right:.4f}, {seconds:.1f} s", flush=True)
    right = accuracy(net, test, tta=True)
    print(f"six views: test {right:.4f}; {training.step} steps in {seconds:.1f} s")


def steps(args):
    (images, labels), _ = read(args.data)
    whole = math.ceil(args.epochs * math.ceil(len(images) / BATCH))
    images, labels = prepared(images[:BATCH])[0], labels[:BATCH]
    net = network(images).to(memory_format=torch.channels_last)
    training = Training(net, whole, args)
    training.one(images, labels)
    precision = "bf16" if args.bf16 else "f32"
    bench = [args.ninc, "bench", MODEL, "--mode", "train", "--batch", str(BATCH), "--threads", str(args.threads),
             "--precision", precision, "--rounds", str(args.steps or 3), "--no-peak", "--json"]
    ours, theirs = [], []
    for _ in range(args.rounds):
        said = subprocess.run(bench, capture_output=True, text=True, check=True).stdout
        ours.append(json.loads(said)["median_ms"] / 1e3)
        times = []
        for _ in range(args.steps or 3):
            begin = time.perf_counter()
            training.one(images, labels)
            times.append(time.perf_counter() - begin)
        theirs.append(statistics.median(times))
    print(f"steps of {BATCH} images, {precision}, {args.threads} threads, {args.rounds} rounds")
    for name, times in [("ninc", ours), ("PyTorch", theirs)]:
        step = statistics.median(times)
        print(f"{name:8s} {step:8.3f} s a step ({min(times):.3f} to {max(times):.3f}); "
              f"extrapolated, not trained: {whole} steps in {whole * step:.0f} s")
    ratios = [their / our for our, their in zip(ours, theirs)]
    print(f"ratio    x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def names(net):
    """The names of the network's parameters and statistics in models/fast94.nin, by those in PyTorch."""
    numbered = {"0": "white"}
    numbered.update({str(2 + 7 * i + at): f"group{i + 1}.{name}" for i in range(3)
                     for at, name in [(0, "conv1"), (2, "norm1"), (4, "conv2"), (5, "norm2")]})
    numbered.update({str(at): "linear1" for at, layer in enumerate(net) if isinstance(layer, nn.Linear)})
    kept = [name for name in net.state_dict() if not name.endswith("num_batches_tracked")]
    return {name: numbered[name.split(".")[0]] + "." + name.split(".")[1] for name in kept}


def save(path, tensors):
    """Writes float32 tensors as safetensors."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        own = tensor.contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(own)]}
        data += own
    header = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)


def load(path, name):
    """Reads a float32 tensor of safetensors."""
    with open(path, "rb") as file:
        own = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))[name]
        data = file.read()[slice(*own["data_offsets"])]
    return torch.from_numpy(numpy.frombuffer(data, "<f4").reshape(own["shape"]).copy())


def check(args):
    (images, labels), _ = read(args.data)
    count = CHECKED * CHECKED_BATCHES
    raw, labels = images[:count], labels[:count]
    images = prepared(raw)[0]
    net = network(images)
    total = CHECKED_BATCHES * CHECKED_EPOCHS
    with tempfile.TemporaryDirectory() as folder:
        text = re.sub(r"source .*", 'source = npz("d.npz")', open(MODEL, encoding="utf-8").read())
        text = re.sub(r"    augment .*\n", "", text).replace("train {", "train {\n    shuffle = false", 1)
        with open(os.path.join(folder, "fast94.nin"), "w", encoding="utf-8") as file:
            file.write(text)
        x, y = raw.numpy(), labels.numpy().astype(numpy.int64)
        numpy.savez(os.path.join(folder, "d.npz"), x=x, y=y, x_test=x[:10], y_test=y[:10])
        first = {own: net.state_dict()[name] for name, own in names(net).items()}
        save(os.path.join(folder, "first.safetensors"), first)
        train = [args.ninc, "train", "fast94.nin", "--set", f"batch={CHECKED}", "--set", f"epochs={CHECKED_EPOCHS}",
                 "--precision", "f32", "--threads", str(args.threads), "-v", "--out"]
        run = lambda *more: subprocess.run([*train, *more], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        run("own", "--steps", "1")
        run("out", "--weights", "first.safetensors")
        white = load(os.path.join(folder, "own", "fast94.safetensors"), "white.weight")
        lines = [json.loads(line) for line in open(os.path.join(folder, "out", "fast94.log"), encoding="utf-8")]
    ours = [line["loss"] for line in lines if line["event"] == "step"]
    # A filter and its negative are both there, in either order.
    theirs = net[0].weight.data
    apart = torch.minimum(*((white[:12] - sign * theirs[:12]).abs().amax((1, 2, 3)) for sign in (1, -1)))
    near = bool((apart < 1e-3 * theirs.abs().amax()).all())
    print(f"whitening: filters differ by at most {apart.max():.2g} of {theirs.abs().max():.3g}")
    training = Training(net, total, args, CHECKED)
    for step, our in enumerate(ours):
        net[0].bias.requires_grad = step < WHITE_EPOCHS * CHECKED_BATCHES
        part = slice(step % CHECKED_BATCHES * CHECKED, (step % CHECKED_BATCHES + 1) * CHECKED)
        their = training.one(images[part], labels[part])
        near = near and abs(our - their) < (NEAR[step] if step < len(NEAR) else LATER) * their
        print(f"step {step + 1}: ninc {our:.6f}, PyTorch {their:.6f}")
    near = near and len(ours) == total
    print("the same" if near else f"NOT the same: losses lie apart, or there are not {total} steps")
    sys.exit(not near)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["train", "steps", "check"])
    parser.add_argument("data")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=float, default=9)
    parser.add_argument("--steps", type=int, help="of the training, or of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--ninc", default=os.path.join(ROOT, "target", "release", "ninc"))
    args = parser.parse_args()
    args.ninc = os.path.abspath(args.ninc)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    {"train": train, "steps": steps, "check": check}[args.mode](args)


if __name__ == "__main__":
    main()
