"""Writes networks of Caffe with random weights, and what OpenCV 4.14.0 (opencv-python-headless 4.14.0.94) computes with
them: `pip install opencv-python-headless==4.14.0.94`, then `python make.py` in this folder."""
import struct

import cv2
import numpy as np

rng = np.random.default_rng(7)


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    """A field: whole numbers, floats, texts and messages."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def blob(array, old):
    data = field(5, np.asarray(array, "<f4").tobytes())
    if old:
        sizes = [1] * (4 - array.ndim) + list(array.shape)
        return data + b"".join(field(1 + i, n) for i, n in enumerate(sizes))
    return data + field(7, field(1, b"".join(varint(n) for n in array.shape)))


def caffemodel(name, layers, old):
    """`layers`: name, type, bottoms, tops, blobs, other fields."""
    out = field(1, name)
    for layer, kind, bottoms, tops, blobs, more in layers:
        numbers = dict(name=4, kind=5, bottom=2, top=3, blobs=6) if old else dict(name=1, kind=2, bottom=3, top=4, blobs=7)
        text = field(numbers["name"], layer) + field(numbers["kind"], kind)
        text += b"".join(field(numbers["bottom"], b) for b in bottoms) + b"".join(field(numbers["top"], t) for t in tops)
        text += b"".join(field(numbers["blobs"], blob(b, old)) for b in blobs) + more
        out += field(2 if old else 100, text)
    return out


def normal(*shape, scale=0.4):
    return (scale * rng.standard_normal(shape)).astype("f4")


def made(name, layers, old, shape):
    with open(f"{name}.caffemodel", "wb") as file:
        file.write(caffemodel(name, layers, old))
    net = cv2.dnn.readNetFromCaffe(f"{name}.prototxt", f"{name}.caffemodel")
    x = rng.standard_normal(shape).astype("f4")
    net.setInput(x)
    y = net.forward()
    np.save(f"{name}.in.npy", x)
    np.save(f"{name}.out.npy", y.reshape(y.shape[0], -1))
    print(name, y.shape, y.ravel()[:4], y.std())


made("new", [
    ("conv/1", "Convolution", ["data"], ["conv/1"], [normal(6, 3, 3, 3), normal(6)], b""),
    ("bn", "BatchNorm", ["conv/1"], ["conv/1"], [normal(6) * 5, abs(normal(6)) * 5 + 2, np.float32([5])], b""),
    ("scale", "Scale", ["conv/1"], ["conv/1"], [normal(6) + 1, normal(6)], b""),
    ("prelu", "PReLU", ["pool1"], ["pool1"], [normal(6)], b""),
    ("grouped", "Convolution", ["pool1"], ["grouped"], [normal(4, 3, 3, 2)], field(106, field(5, 2))),
    ("beside", "Convolution", ["pool1"], ["beside"], [normal(4, 6, 1, 1), normal(4)], b""),
    ("bare", "BatchNorm", ["beside"], ["bare"], [normal(4), abs(normal(4)) + 0.5, np.float32([1])], b""),
    ("alone", "Scale", ["first"], ["alone"], [normal(2) + 1, normal(2)], b""),
    ("fc", "InnerProduct", ["flat"], ["fc"], [normal(5, 54), normal(5)], b""),
], False, (2, 3, 11, 9))
made("old", [
    ("conv1", 4, ["data"], ["conv1"], [normal(4, 3, 3, 2), normal(4)], b""),
    ("ip1", 14, ["pool2"], ["ip1"], [normal(6, 16), normal(6)], b""),
    ("ip2", 14, ["ip1"], ["ip2"], [normal(3, 6), normal(3)], b""),
], True, (2, 3, 9, 8))
