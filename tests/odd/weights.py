"""Weights for a network of one linear layer, [1, 2, 2] to three classes: whole ones with the scores that they must give, and
others with the words that must be said."""
import gzip
import io
import json
import struct
import zipfile

import numpy as np

# Exact in every type of floats.
WEIGHT = ((np.arange(12).reshape(3, 4) - 5) / 8).astype(np.float32)
BIAS = np.array([0.5, -0.25, 0], np.float32)
IMAGE = np.array([0, 1, 2, -1], np.float32).reshape(1, 1, 2, 2)
TYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}


def scores():
    """Softmax of what the layer makes of IMAGE, in float64."""
    logits = WEIGHT.astype(np.float64) @ IMAGE.ravel() + BIAS
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def numbers(values, dtype):
    if dtype == "BF16":
        # Exact, so that cutting is rounding.
        return (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return np.ascontiguousarray(values, TYPES[dtype]).tobytes()


def safetensors(tensors, metadata=None):
    """Bytes of a file as other programs write it. `tensors`: (name, values, type)."""
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, values, dtype in tensors:
        part = numbers(values, dtype)
        header[name] = {"dtype": dtype, "shape": list(np.shape(values)), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def layer(dtype="F32", prefix="", weight=WEIGHT, bias=BIAS):
    return [(prefix + "linear1.weight", weight, dtype), (prefix + "linear1.bias", bias, dtype)]


def archive(name, contents):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(zipfile.ZipInfo(name), contents)
    return buffer.getvalue()


def good():
    """(file, what is odd, bytes, further arguments)"""
    whole = safetensors(layer(), {"format": "pt"})
    keys = {"format": "pt", "classes": "not a list", "prepare": "[", "image": "?", "checksum": "1", "recipe": "0"}
    return [
        ("foreign.safetensors", "as PyTorch saves it", whole, []),
        ("no-metadata.safetensors", "no metadata", safetensors(layer()), []),
        ("metadata.safetensors", "our keys in foreign metadata, meaning something else", safetensors(layer(), keys), []),
        ("f16.safetensors", "float16", safetensors(layer("F16")), []),
        ("bf16.safetensors", "bfloat16", safetensors(layer("BF16")), []),
        ("f64.safetensors", "float64", safetensors(layer("F64")), []),
        ("counter.safetensors", "a count of batches beside the floats",
         safetensors(layer() + [("bn.num_batches_tracked", np.array(7), "I64")]), []),
        ("prefix.safetensors", "every name with a prefix", safetensors(layer(prefix="module.")), ["--rename", "module.="]),
        ("star.safetensors", "the layer has another name", safetensors(
            [("fc.weight", WEIGHT, "F32"), ("fc.bias", BIAS, "F32")]), ["--rename", "fc.*=linear1.*"]),
    ]


def bad():
    """(file, what is odd, bytes, further arguments, words)"""
    whole = safetensors(layer(), {"format": "pt"})
    broken = WEIGHT.copy()
    broken[1, 2] = np.nan
    endless = BIAS.copy()
    endless[0] = -np.inf
    two = [("a.weight", WEIGHT, "F32"), ("b.weight", WEIGHT, "F32"), ("linear1.bias", BIAS, "F32")]
    return [
        ("needs-rename.safetensors", "every name with a prefix, and nothing said", safetensors(layer(prefix="model.")), [],
         "`--rename model.=`"),
        ("two.safetensors", "two names for one after renaming", safetensors(two), ["--rename", "a.=linear1.", "--rename",
         "b.=linear1."], "linear1.weight"),
        ("integers.safetensors", "a tensor of integers",
         safetensors([("linear1.weight", WEIGHT.astype(np.int32), "I32"), ("linear1.bias", BIAS, "F32")]), [],
         "is there, but as I32"),
        ("turned.safetensors", "[in, out] instead of [out, in]", safetensors(layer(weight=WEIGHT.T)), [],
         "has the shape [4, 3] instead of [3, 4]"),
        ("nan.safetensors", "not a number", safetensors(layer(weight=broken)), [], "linear1.weight"),
        ("infinite.safetensors", "an infinity", safetensors(layer(bias=endless)), [], "linear1.bias"),
        ("fewer.safetensors", "a tensor is missing", safetensors(layer()[:1]), [], "missing: `linear1.bias`"),
        ("more.safetensors", "a tensor too many", safetensors(layer() + [("other", BIAS, "F32")]), [],
         "not in the network: `other`"),
        ("cut.safetensors", "cut within the numbers", whole[:-9], [], "is damaged or not a safetensors file"),
        ("cut-header.safetensors", "cut within the header", whole[:60], [], "is damaged or not a safetensors file"),
        ("long-header.safetensors", "a header of 2^63 bytes", struct.pack("<Q", 1 << 63) + whole[8:], [],
         "is damaged or not a safetensors file"),
        ("empty.safetensors", "no bytes", b"", [], "is an empty file"),
        ("pointer.safetensors", "a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
         [], "a Git LFS pointer"),
        ("page.safetensors", "a web page", b"\n<!DOCTYPE html>\n<html></html>", [], "a web page (HTML)"),
        ("pickle.safetensors", "a pickle", b"\x80\x02]q\x00.", [], "is a pickle"),
        ("torch.safetensors", "PyTorch's archive", archive("m/data.pkl", b"\x80\x02."), [], "a PyTorch file"),
        ("numpy.safetensors", "NumPy's archive", archive("x.npy", b"\x93NUMPY"), [], "an .npz archive"),
        ("hdf5.safetensors", "an HDF5 file", b"\x89HDF\r\n\x1a\n" + b"\0" * 24, [], "an HDF5 file"),
        ("packed.safetensors", "gzipped", gzip.compress(whole, mtime=0), [], "compressed with gzip"),
        ("graph.safetensors", "an ONNX model", b"\x08\x08\x12\x07pytorch", [], "an ONNX model"),
    ]
