"""Trains the digits network that `ninc export` wrote for one epoch in PyTorch, and writes it in the forms that come back.

    retrain.py FOLDER

FOLDER holds digits.onnx and data.npz: `x`, `y` to train on and `x_test`, `y_test`, bytes of 0 to 255. Written are state.pt
(a state dict), again.onnx (the default exporter), older.onnx (the older one), prepare.txt (the preparation, as the file
says it) and values.npz: the first test images, prepared, with values and gradients as PyTorch has them. Prints the
accuracy on the test images before and after.
"""

import pathlib
import re
import sys

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

folder = pathlib.Path(sys.argv[1])
torch.manual_seed(1)


class Block(nn.Module):
    """A convolution and two of one pixel, as `mlpconv` names them."""

    def __init__(self, inputs, channels):
        super().__init__()
        first, second, last = channels
        self.conv = nn.Conv2d(inputs, first, 3, padding=1)
        self.cccp1 = nn.Conv2d(first, second, 1)
        self.cccp2 = nn.Conv2d(second, last, 1)

    def forward(self, x):
        return self.cccp2(self.cccp1(self.conv(x).relu()).relu()).relu()


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1 = Block(1, [48, 48, 48])
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.2)
        self.block2 = Block(48, [96, 96, 48])
        self.maps = nn.Conv2d(48, 10, 1)

    def scores(self, first):
        return self.maps(self.block2(self.dropout(self.pool(first)))).mean((2, 3))

    def forward(self, x):
        return self.scores(self.block1(x)).softmax(1)


file = onnx.load(folder / "digits.onnx")
net = Digits()
tensors = {t.name: torch.tensor(numpy_helper.to_array(t).copy()) for t in file.graph.initializer}
net.load_state_dict({name: tensors[name] for name in net.state_dict()})
prepare = next(entry.value for entry in file.metadata_props if entry.key == "ninc.prepare")
mean, std = (float(v) for v in re.search(r"mean = \[(.+?)\], std = \[(.+?)\]", prepare).groups())
(folder / "prepare.txt").write_text(prepare)
data = np.load(folder / "data.npz")
x, x_test = (torch.tensor((data[name].astype(np.float32) - mean) / std) for name in ["x", "x_test"])
y, y_test = (torch.tensor(data[name].astype(np.int64)) for name in ["y", "y_test"])


def accuracy():
    net.eval()
    with torch.no_grad():
        return (net(x_test).argmax(1) == y_test).double().mean().item()


before = accuracy()
net.train()
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
for rows in torch.randperm(len(x)).split(32):
    optimizer.zero_grad()
    nn.functional.cross_entropy(net.scores(net.block1(x[rows])), y[rows]).backward()
    optimizer.step()
print(before, accuracy())

torch.save(net.state_dict(), folder / "state.pt")
some = x_test[:16].clone().requires_grad_()
torch.onnx.export(net, (some[:1].detach(),), folder / "again.onnx", dynamic_shapes=({0: torch.export.Dim("batch")},))
torch.onnx.export(
    net, (some[:1].detach(),), folder / "older.onnx", dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}}
)
net.zero_grad()
first = net.block1(some)
# Every class that is not the image's own: the loss is steep there, whatever has been learned.
labels = (y_test[:16] + 1) % 10
nn.functional.cross_entropy(net.scores(first), labels).backward()
values = {"image": some, "labels": labels, "block1": first, "probabilities": net(some), "grad/image": some.grad}
values |= {f"grad/{name}": parameter.grad for name, parameter in net.named_parameters()}
np.savez(folder / "values.npz", **{name: value.detach().numpy() for name, value in values.items()})
