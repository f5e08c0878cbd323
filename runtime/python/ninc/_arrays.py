"""Arrays of any kind, as the native module takes them."""

from __future__ import annotations

import io
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


def picture(image: Any, number: int) -> tuple[str, str | bytes]:
    """Returns a picture's name and the path of its file or its bytes: of a path, the bytes of a file, an image of
    Pillow, or an array of uint8 [H, W], [H, W, 1] or [H, W, 3], in the order red, green, blue."""
    import os

    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        path = os.fsdecode(path) if isinstance(path, bytes) else path
        return path, path
    name = f"image {number}"
    if isinstance(image, (bytes, bytearray, memoryview)):
        return name, bytes(image)
    if hasattr(image, "save") and hasattr(image, "getexif"):
        from PIL import ImageOps

        if getattr(image, "filename", ""):
            name = str(image.filename)
        file = io.BytesIO()
        # Without a loss, and upright: an image of Pillow keeps what its file says of how it is turned.
        ImageOps.exif_transpose(image).save(file, "PNG", compress_level=1)
        return name, file.getvalue()
    return name, of_pixels(image)


def of_pixels(image: Any) -> bytes:
    """Returns the PNG of an array of pixels."""
    import numpy as np

    from . import _ninc

    pixels = array(image)
    picture_like = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3))
    if pixels.dtype != np.uint8 or not picture_like:
        shape = list(pixels.shape)
        raise UsageError(
            f"an array of {pixels.dtype} of the shape {shape} is no picture",
            "give uint8 of [H, W] or [H, W, 3]; arrays of images as the training data had them go to `model(images)`",
        )
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return _ninc.png(np.ascontiguousarray(pixels))
