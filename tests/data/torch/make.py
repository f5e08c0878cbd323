"""Makes the files beside it with torch 2.15.0: state dicts, the tensors that are in them as right.safetensors, and a
network of blocks whose layers are found by their order (blocks.pt), with images and results, and two layers that are
alike (twins.pt)."""

import json
import struct

import numpy as np
import torch

torch.manual_seed(1)
net = torch.nn.Sequential()
net.add_module("conv1", torch.nn.Conv2d(3, 4, 3))
net.add_module("batch_norm1", torch.nn.BatchNorm2d(4))
net.add_module("fc", torch.nn.Linear(4, 2))
state = net.state_dict()
whole = torch.randn(10)
odd = {
    "slice": whole[2:7],
    "turned": torch.randn(3, 4).t(),
    "last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "repeated": torch.randn(3, 1).expand(3, 4),
    "half": torch.randn(5).half(),
    "brain": torch.randn(5).bfloat16(),
    "double": torch.randn(5).double(),
    "parameter": torch.nn.Parameter(torch.randn(2, 2)),
    "scalar": torch.tensor(1.5),
    "none": torch.zeros(0, 3),
    "whole": torch.arange(4),
    "short": torch.arange(4).to(torch.uint16),
}
torch.save(state, "net.pt")
torch.save({**state, **odd}, "state.pt")
optimiser = torch.optim.Adam(net.parameters())
torch.save({"epoch": 3, "best": np.float64(0.5), "state_dict": {**state, **odd},
            "optimizer": optimiser.state_dict()}, "checkpoint.pth.tar")
torch.save(net, "module.pt")
torch.save(odd["turned"], "tensor.pt")
floats = {k: v.detach().float().numpy() for k, v in sorted({**state, **odd}.items()) if v.is_floating_point()}
header, data = {}, b""
for name, value in floats.items():
    raw = np.ascontiguousarray(value).astype("<f4").tobytes()
    header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
open("right.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + data)


class Block(torch.nn.Module):
    """A block whose short branch has a convolution of the same shape as its last one, as in the first of ResNet-50."""

    def __init__(self, channels, wide, stride=1):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(channels)
        self.conv2 = torch.nn.Conv2d(channels, wide, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(wide)
        self.downsample = None
        if channels != wide or stride != 1:
            short = torch.nn.Conv2d(channels, wide, 1, stride, bias=False)
            self.downsample = torch.nn.Sequential(short, torch.nn.BatchNorm2d(wide))

    def forward(self, x):
        short = x if self.downsample is None else self.downsample(x)
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inner + short)


class Blocks(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(4)
        self.layer1 = torch.nn.Sequential(Block(4, 4), Block(4, 4))
        self.layer2 = torch.nn.Sequential(Block(4, 6, 2), Block(6, 6))
        self.fc = torch.nn.Linear(6, 5)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


torch.manual_seed(2)
twins = {"conv1.weight": torch.randn(3, 3, 3, 3), "side.weight": torch.randn(3, 3, 3, 3)}
torch.save(twins, "twins.pt")
torch.manual_seed(2)
net = Blocks().eval()
for module in net.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        for values in [module.weight.data, module.running_var]:
            values.uniform_(0.5, 1.5)
        for values in [module.bias.data, module.running_mean]:
            values.uniform_(-0.3, 0.3)
torch.save(net.state_dict(), "blocks.pt")
image = torch.randn(2, 3, 8, 8)
np.save("blocks.in.npy", image.numpy())
np.save("blocks.out.npy", net(image).detach().numpy())
