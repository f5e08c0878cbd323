"""Arrays of any kind, as the native module takes them."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Union

from ._errors import Error, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Images = Union[NDArray[Any], Any]


def array(images: Any) -> NDArray[Any]:
    """Returns a NumPy array of what holds numbers: without a copy where it is one, or has DLPack, the array interface
    or the buffer protocol."""
    import numpy as np

    if hasattr(images, "__dlpack__") and not hasattr(images, "__array_interface__"):
        try:
            images = np.from_dlpack(images)
        except (BufferError, RuntimeError, TypeError, ValueError) as e:
            raise Error(f"the array cannot be taken over DLPack: {e}", "bring it to the processor, as float32") from e
    try:
        found = np.asarray(images)
    except (TypeError, ValueError) as e:
        raise Error(f"this is no array of numbers: {e}", "give one array of shape [N, C, H, W]") from e
    if found.dtype.kind == "O":
        raise Error(f"{kind(images)} holds no numbers that networks take", "give one array of shape [N, C, H, W]")
    if found.dtype.kind not in "fiub" or found.dtype.itemsize > 8:
        raise Error(
            f"an array of {found.dtype} holds no numbers that networks take",
            "floats of 16, 32 and 64 bits, integers and truth values are understood",
        )
    return found


def given(images: NDArray[Any]) -> NDArray[Any] | bytes:
    """Returns the array itself where the native module reads its memory, else its numbers as a file of NumPy."""
    import numpy as np

    if images.dtype in (np.float32, np.uint8):
        return np.ascontiguousarray(images, dtype=images.dtype.newbyteorder("="))
    file = io.BytesIO()
    np.save(file, images, allow_pickle=False)
    return file.getvalue()


def kind(thing: Any) -> str:
    """Says of what type something is."""
    return "None" if thing is None else f"an object of the type {type(thing).__qualname__}"


def picture(image: Any, number: int) -> tuple[str, str | bytes]:
    """Returns a picture's name and the path of its file or its bytes: of a path, the bytes of a file, an open file, an
    image of Pillow, or an array of uint8 [H, W], [H, W, 1] or [H, W, 3], in the order red, green, blue."""
    if isinstance(image, (str, os.PathLike)):
        path = os.fsdecode(image)
        return path, path
    name = f"image {number}"
    if isinstance(image, (bytes, bytearray, memoryview)):
        return name, bytes(image)
    if hasattr(image, "save") and hasattr(image, "getexif"):
        if getattr(image, "filename", ""):
            name = os.fsdecode(image.filename)
        return name, of_pillow(image, name)
    if hasattr(image, "read"):
        found = image.read()
        if not isinstance(found, (bytes, bytearray, memoryview)):
            raise UsageError(f"{name} is an open file that gives no bytes", 'open it with `open(path, "rb")`')
        called = getattr(image, "name", None)
        return called if isinstance(called, str) else name, bytes(found)
    if not (hasattr(image, "__array__") or hasattr(image, "__array_interface__") or hasattr(image, "__dlpack__")):
        raise UsageError(
            f"{kind(image)} is no picture",
            "give a path, bytes, an open file, an image of Pillow, or an array of uint8 [H, W] or [H, W, 3]",
        )
    return name, of_pixels(image)


# What PNG has no form for, and the form that says the same.
_COLOURS = {mode: "RGB" for mode in ("CMYK", "YCbCr", "HSV", "LAB", "RGBX")}
_MODES = {**_COLOURS, "RGBa": "RGBA", "PA": "RGBA", "La": "LA"}
_KEPT = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def of_pillow(image: Any, name: str) -> bytes:
    """Returns the PNG of an image of Pillow: without a loss, and upright, as its file says that it is to be shown."""
    from PIL import ImageOps

    file = io.BytesIO()
    try:
        upright = ImageOps.exif_transpose(image)
        mode, more = upright.mode, {}
        if mode in _MODES:
            # A profile of other colours is none of these.
            upright, more = upright.convert(_MODES[mode]), {"icc_profile": None}
        elif mode.startswith("I") and mode != "I;16" and image.format is not None:
            # Shades of 16 bits, as some versions have them.
            least: Any
            most: Any
            least, most = upright.convert("I").getextrema()
            if 0 <= least and most <= 0xFFFF:
                upright = upright.convert("I").convert("I;16")
        if upright.mode in _KEPT:
            upright.save(file, "PNG", compress_level=1, **more)
    except Exception as e:
        # Whatever Pillow finds while it reads the file.
        raise Error(f"{name} is not a readable picture: {e}", "give its path, or an image that Pillow can load") from e
    if upright.mode not in _KEPT:
        raise UsageError(
            f"{name} is an image of Pillow's mode {mode}, whose numbers are no shades that are known",
            'bring it to colours or shades of 0 to 255: `image.convert("RGB")`, or uint8 of [H, W]',
        )
    return file.getvalue()


def of_pixels(image: Any) -> bytes:
    """Returns the PNG of an array of pixels."""
    import numpy as np

    from . import _ninc

    pixels = array(image)
    picture_like = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3))
    if pixels.dtype != np.uint8 or not picture_like or pixels.size == 0:
        shape = list(pixels.shape)
        raise UsageError(
            f"an array of {pixels.dtype} of the shape {shape} is no picture",
            "give uint8 of [H, W] or [H, W, 3]; arrays of images as the training data had them go to `model(images)`",
        )
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return _ninc.png(np.ascontiguousarray(pixels))
