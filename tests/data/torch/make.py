"""Makes the files beside it with torch 2.15.0, and the tensors that are in them as right.safetensors."""

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
