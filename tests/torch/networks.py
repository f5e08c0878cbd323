"""Writes state dicts of networks of torchvision and timm with random weights, an image and their results.

    networks.py FOLDER NAME=SOURCE.MODEL…        resnet18=torchvision.resnet18
"""

import importlib
import pathlib
import sys

import numpy as np
import torch

folder = pathlib.Path(sys.argv[1])
torch.manual_seed(0)
image = torch.randn(1, 3, 224, 224)
np.save(folder / "image.npy", image.numpy())
for word in sys.argv[2:]:
    name, source = word.split("=")
    package, model = source.split(".")
    if package == "torchvision":
        net = getattr(importlib.import_module("torchvision.models"), model)(weights=None).eval()
    else:
        net = importlib.import_module(package).create_model(model).eval()
    # Unlike those of a new network, so that each layer's are seen.
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values, low, high in [(module.weight.data, 0.7, 1.3), (module.bias.data, -0.2, 0.2),
                                      (module.running_mean, -0.1, 0.1), (module.running_var, 0.8, 1.2)]:
                values.uniform_(low, high)
    torch.save(net.state_dict(), folder / f"{name}.pth")
    with torch.no_grad():
        np.save(folder / f"{name}.npy", net(image).numpy())
