#!/usr/bin/env python3
"""Trains models/fast94.nin's network by the same recipe in PyTorch on the processor: the time to 94 % to compare with.

    pip install -r requirements.txt
    python fast94.py cifar-10-binary.tar.gz [--threads 2] [--seed 0] [--bf16] [--compile] [--epochs 9.9]

Prints the accuracy on the test part after each epoch, of the averaged weights, and at the end that of six views, those
of `ninc eval --tta flip,shift`. Seconds are those of training alone: testing does not count. The order of images
and what is drawn differ from ninc's; everything else is the same recipe.
"""
import argparse
import math
import tarfile
import time

import torch
import torch.nn.functional as F
from torch import nn

RATE, MOMENTUM, DECAY, SMOOTHING = 11.5, 0.85, 0.0153, 0.2
BATCH, NORM_BIAS, NORM_EPSILON, NORM_NEW = 1024, 64, 1e-12, 0.4
PEAK, START, END = 0.23, 0.2, 0.07
EVERY, PAST, POWER = 5, 0.95, 3
WHITE_EPOCHS, WHITE_EPSILON = 3, 5e-4


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
        return x / 9


def network(images):
    """The network, its first layer fitted to 5,000 images."""
    white = nn.Conv2d(3, 24, 2)
    patches = F.unfold(images[:: max(1, len(images) // 5000)], 2).transpose(1, 2).reshape(-1, 12).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + WHITE_EPSILON).sqrt()).T.flip(0).float().view(12, 3, 2, 2)
    white.weight.data = torch.cat([filters, -filters])
    white.weight.requires_grad = False
    white.bias.data.zero_()
    return nn.Sequential(white, nn.GELU(), *group(24, 64), *group(64, 256), *group(256, 256), nn.MaxPool2d(3),
                         nn.Flatten(), nn.Linear(256, 10, bias=False), Scale())


def optimizer(net):
    """SGD on the mean loss; the pull of the decay is the same for all parameters, whatever their rate."""
    norms = {id(p) for layer in net.modules() if isinstance(layer, nn.BatchNorm2d) for p in layer.parameters()}
    learned = [p for p in net.parameters() if p.requires_grad]
    rate, decay = RATE / (1 + 1 / (1 - MOMENTUM)), DECAY / RATE
    groups = [{"params": [p for p in learned if id(p) not in norms], "lr": rate, "weight_decay": decay},
              {"params": [p for p in learned if id(p) in norms], "lr": rate * NORM_BIAS,
               "weight_decay": decay / NORM_BIAS}]
    return torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM, nesterov=True)


def factor(done):
    """The rate's factor where this part of the training is done."""
    return START + (1 - START) * done / PEAK if done < PEAK else 1 + (END - 1) * (done - PEAK) / (1 - PEAK)


def views(images):
    """Six views and their weights: as it is, moved by a pixel both ways, each mirrored too."""
    padded = F.pad(images, (1,) * 4, "reflect")
    for weight, view in [(0.5, images), (0.25, padded[:, :, :32, :32]), (0.25, padded[:, :, 2:, 2:])]:
        yield weight / 2, view
        yield weight / 2, view.flip(-1)


def accuracy(net, state, test, tta=False):
    own = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(state)
    net.eval()
    right = 0
    with torch.no_grad():
        for images, labels in zip(test[0].split(500), test[1].split(500)):
            seen = views(images) if tta else [(1, images)]
            right += (sum(weight * net(view) for weight, view in seen).argmax(1) == labels).sum().item()
    net.load_state_dict(own)
    net.train()
    return right / len(test[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=float, default=9.9)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    (images, labels), (test_images, test_labels) = read(args.data)
    mean, deviation = images.float().mean((0, 2, 3), True), images.float().std((0, 2, 3), keepdim=True)
    prepare = lambda part: ((part.float() - mean) / deviation).contiguous(memory_format=torch.channels_last)
    images, test = prepare(images), (prepare(test_images), test_labels)
    net = network(images).to(memory_format=torch.channels_last)
    sgd = optimizer(net)
    step_of = torch.compile(net) if args.compile else net
    mirrored = torch.rand(len(images)) < 0.5
    padded = F.pad(images, (2,) * 4, "reflect")
    each = math.ceil(len(images) / BATCH)
    total = args.steps or math.ceil(args.epochs * each)
    slow = {name: value.clone() for name, value in net.state_dict().items()}
    seconds, step, epoch = 0.0, 0, 0
    while step < total:
        begin = time.perf_counter()
        net[0].bias.requires_grad = epoch < WHITE_EPOCHS
        for batch in torch.randperm(len(images)).split(BATCH)[: total - step]:
            y, x = torch.randint(5, (2, len(batch), 1, 1))
            rows, columns = y + torch.arange(32).view(1, 32, 1), x + torch.arange(32).view(1, 1, 32)
            seen = padded.permute(0, 2, 3, 1)[batch.view(-1, 1, 1), rows, columns].permute(0, 3, 1, 2)
            turned = (mirrored[batch] ^ bool(epoch % 2)).view(-1, 1, 1, 1)
            seen = torch.where(turned, seen.flip(-1), seen).contiguous(memory_format=torch.channels_last)
            for group_, rate in zip(sgd.param_groups, (1, NORM_BIAS)):
                group_["lr"] = RATE / (1 + 1 / (1 - MOMENTUM)) * rate * factor(step / total)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                scores = step_of(seen)
            loss = F.cross_entropy(scores.float(), labels[batch], label_smoothing=SMOOTHING)
            sgd.zero_grad(set_to_none=True)
            loss.backward()
            sgd.step()
            step += 1
            if step % EVERY == 0:
                past = PAST**EVERY * (step / total) ** POWER
                with torch.no_grad():
                    for name, value in net.state_dict().items():
                        if value.is_floating_point():
                            slow[name].lerp_(value, 1 - past)
                            value.copy_(slow[name])
        epoch += 1
        seconds += time.perf_counter() - begin
        right = accuracy(net, slow, test)
        print(f"epoch {epoch}: step {step}, loss {loss.item():.4f}, test {right:.4f}, {seconds:.1f} s", flush=True)
    print(f"six views: test {accuracy(net, slow, test, tta=True):.4f}; {step} steps in {seconds:.1f} s")


if __name__ == "__main__":
    main()
