"""Classifies pictures with the network @name@ through its shared library.

Pictures of any size are read by Pillow; without it only binary PPM and PGM are:

    python3 classify.py @weights@picture.png

/*unlinked<*/
The shared library is made here by

    @link@

/*>unlinked*/
With --raw in front, the numbers of the result are printed as their bits, which loses nothing.
"""
import ctypes
import pathlib
import re
import struct
import sys

CHANNELS, HEIGHT, WIDTH, RESULTS = @channels@, @height@, @width@, @output_size@


class Network:
    """A created network. Any number of threads may call `run` at the same time."""

    def __init__(self, @py_weights@library=pathlib.Path(__file__).with_name("@shared@")):
        self.library = ctypes.CDLL(str(library))
        self.library.@name@_message.restype = ctypes.c_char_p
        self.library.@name@_class_name.restype = ctypes.c_char_p
        self.library.@name@_class_name.argtypes = [ctypes.c_int64]
        self.library.@name@_destroy.argtypes = [ctypes.c_void_p]
        self.library.@name@_run.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p]
        self.library.@name@_prepare_picture.argtypes = [ctypes.c_void_p, ctypes.c_char_p] + 4 * [ctypes.c_int64] + [
            ctypes.c_void_p]
        self.handle = ctypes.c_void_p()
        error = ctypes.create_string_buffer(256)
/*external<*/
        path = str(weights).encode()
        if self.library.@name@_create(ctypes.byref(self.handle), path, error, ctypes.c_size_t(256)):
/*>external*/
/*embedded<*/
        if self.library.@name@_create_embedded(ctypes.byref(self.handle), error, ctypes.c_size_t(256)):
/*>embedded*/
            raise RuntimeError(error.value.decode())

    def __del__(self):
        if getattr(self, "handle", None):
            self.library.@name@_destroy(self.handle)

    def run(self, pixels, width, height, channels, orientation=1):
        """Numbers of the result for one picture: bytes, row by row, the channels (1 to 4) of a pixel together."""
        if len(pixels) != channels * width * height:
            raise ValueError("a picture has %d bytes" % (channels * width * height))
        image = (ctypes.c_float * (CHANNELS * HEIGHT * WIDTH))()
        result = (ctypes.c_float * RESULTS)()
        status = self.library.@name@_prepare_picture(
            self.handle, bytes(pixels), width, height, channels, orientation, image)
        status = status or self.library.@name@_run(self.handle, 1, image, result)
        if status:
            raise RuntimeError(self.library.@name@_message(status).decode())
        return list(result)

    def name(self, number):
        name = self.library.@name@_class_name(number)
        return name.decode() if name else "class"


def read(path):
    """Pixels, width, height, channels and orientation."""
    try:
        from PIL import Image
    except ImportError:
        return read_ppm(path)
    image = Image.open(path)
    orientation = image.getexif().get(0x112, 1)
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda v: v * (1 / 257) + 0.5).convert("L")
    clear = "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa", "RGBA")
    image = image.convert("RGBA" if clear else "L" if image.mode in ("1", "L") else "RGB")
    channels = len(image.getbands())
    return image.tobytes(), image.width, image.height, channels, orientation if orientation in range(1, 9) else 1


def read_ppm(path):
    data = pathlib.Path(path).read_bytes()
    head = re.match(rb"P([56])\s+(\d+)\s+(\d+)\s+255\s", data)
    if not head:
        raise ValueError("not a PPM or PGM of bytes, and Pillow, which reads other pictures, is not installed")
    channels, width, height = 3 if head[1] == b"6" else 1, int(head[2]), int(head[3])
    pixels = data[head.end():head.end() + channels * width * height]
    if len(pixels) < channels * width * height:
        raise ValueError("is cut short")
    return pixels, width, height, channels, 1


def main():
    values = sys.argv[1:]
    raw = values[:1] == ["--raw"]
    values = values[raw:]
    if len(values) < @first@:
        sys.exit("usage: classify.py [--raw] @WEIGHTS@PICTURE...")
    try:
        network = Network(*values[:@first@ - 1])
    except RuntimeError as error:
        sys.exit(str(error))
    failed = 0
    for path in values[@first@ - 1:]:
        try:
            result = network.run(*read(path))
        except (OSError, RuntimeError, SyntaxError, ValueError) as error:
            # Pillow's own errors are among these.
            print("%s: %s" % (path, error), file=sys.stderr)
            failed = 1
            continue
        best = result.index(max(result))
        if raw:
            for value in result:
                print(struct.pack(">f", value).hex())
        else:
            print("%s: %s (class %d)" % (path, network.name(best), best))
    sys.exit(failed)


if __name__ == "__main__":
    main()
