"""The arrays of tests/data/odd: `.npy` for `ninc run`, `.npz` for training."""
import io

import numpy as np

PIXELS = np.array([[[[0, 10], [100, 250]]], [[[255, 1], [2, 3]]]], np.uint8)


def npy(array, **options):
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asanyarray(array), **options)
    return out.getvalue()


def python2(array):
    """As NumPy wrote it under Python 2."""
    shape = ", ".join("%dL" % d for d in array.shape)
    head = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (array.dtype.str, shape)
    head = head.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + array.tobytes()


def npz(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def good():
    """Name, what is odd, bytes; all hold PIXELS, or their first image."""
    x = PIXELS
    return [
        ("bytes.npy", "bytes", npy(x)),
        ("half.npy", "float16", npy(x.astype("<f2"))),
        ("double.npy", "float64", npy(x.astype("<f8"))),
        ("long.npy", "int64", npy(x.astype("<i8"))),
        ("big-endian.npy", "big endian", npy(x.astype(">f4"))),
        ("columns.npy", "in Fortran's order", npy(np.asfortranarray(x))),
        ("python2.npy", "a header of Python 2 (`2L`)", python2(x)),
        ("version2.npy", "version 2 of the format", npy(x, version=(2, 0))),
        ("no-channel.npy", "[N, H, W] for one channel", npy(x[:, 0])),
        ("flat.npy", "[N, features]", npy(x.reshape(2, 4))),
        ("one.npy", "an image without the N", npy(x[0])),
        ("bare.npy", "[H, W]", npy(x[0, 0])),
    ]


def bad():
    """Name, what is odd, bytes, and words of the error."""
    x = PIXELS.astype("<f4")
    whole = npy(x)
    return [
        ("unit.npy", "0 to 1 for weights that learned from bytes", npy(x / 255), "give `x * 255`"),
        ("standard.npy", "standardised", npy((x - 90) / 100), "it looks prepared already"),
        ("sixteen.npy", "16 bits", npy(PIXELS.astype("<u2") * 257), "give `x / 257`"),
        ("last.npy", "[N, H, W, C]", npy(x.transpose(0, 2, 3, 1)), "give `x.transpose(0, 3, 1, 2)`"),
        ("colours.npy", "three channels for one", npy(x.repeat(3, axis=1)), "it looks like colours"),
        ("cut.npy", "cut in the middle", whole[:len(whole) - 9], "do not fill the shape"),
        ("texts.npy", "texts", npy(np.array(["a", "b"])), "they are texts"),
        ("objects.npy", "Python objects", npy(np.array([None, 1], object)), "they are Python objects"),
        ("complex.npy", "complex numbers", npy(x.astype("<c8")), "its elements are `<c8`"),
        ("fields.npy", "a structured type", npy(np.zeros(2, [("a", "<f4")])), "a structured type"),
        ("none.npy", "no images", npy(x[:0]), "holds no images"),
        ("text.npy", "text", b"1,2,3\n", "it does not start as one"),
    ]


X = np.arange(40, dtype=np.uint8).reshape(10, 1, 2, 2)
Y = np.arange(10) % 3


def sets():
    """Name, what is odd, bytes, and the labels of all images, or words of the error for a network with 3 outputs."""
    one_hot = np.eye(3, dtype="<f4")[Y]
    whole = npz(x=X, y=Y)
    objects = np.array([str(v) for v in Y])
    return [
        ("column.npz", "labels in a column", npz(x=X, y=Y[:, None]), Y),
        ("one-hot.npz", "labels one-hot", npz(x=X, y=one_hot), Y),
        ("float-labels.npz", "labels as floats", npz(x=X, y=Y.astype("<f8")), Y),
        ("half.npz", "images of float16", npz(x=(X / 64).astype("<f2"), y=Y), Y),
        ("long.npz", "images of int64", npz(x=X.astype("<i8"), y=Y), Y),
        ("no-channel.npz", "[N, H, W]", npz(x=X[:, 0], y=Y), Y),
        ("packed.npz", "compressed", packed(), Y),
        ("from-one.npz", "labels from 1", npz(x=X, y=Y + 1), "give `y - 1`"),
        ("gaps.npz", "labels with gaps", npz(x=X, y=Y * 50), "number them without gaps"),
        ("more.npz", "a class more than outputs", npz(x=X, y=np.arange(10) % 4), "--set classes=4"),
        ("minus.npz", "a label below 0", npz(x=X, y=Y - 1), "labels start at 0"),
        ("soft.npz", "probabilities as labels", npz(x=X, y=one_hot * 0.5 + 0.1), "y.argmax(axis=1)"),
        ("fractions.npz", "fractions as labels", npz(x=X, y=Y + 0.5), "a network learns classes"),
        ("names.npz", "names as labels", npz(x=X, y=objects), "numpy.unique"),
        ("fewer.npz", "fewer labels than images", npz(x=X, y=Y[:9]), "there are 10 images"),
        ("last.npz", "[N, H, W, C]", npz(x=X.transpose(0, 2, 3, 1), y=Y), "give `x.transpose(0, 3, 1, 2)`"),
        ("other-names.npz", "arrays of other names", npz(images=X, labels=Y), "x=images, y=labels"),
        ("cut.npz", "cut in the middle", whole[:len(whole) // 2], "is not an .npz archive"),
    ]


def packed():
    out = io.BytesIO()
    np.savez_compressed(out, x=X, y=Y)
    return out.getvalue()
