"""Classifies pictures with the network @name@ through its shared library.

Pictures are binary PPM or PGM of @width@ x @height@ pixels:

    python3 classify.py @name@.safetensors picture.ppm

With --raw in front, the numbers of the result are printed as their bits, which loses nothing.
"""
import ctypes
import pathlib
import struct
import sys

CHANNELS, HEIGHT, WIDTH, RESULTS = @channels@, @height@, @width@, @output_size@


class Network:
    """A created network. Any number of threads may call `run` at the same time."""

    def __init__(self, weights, library=pathlib.Path(__file__).with_name("lib@name@.so")):
        self.library = ctypes.CDLL(str(library))
        self.library.@name@_message.restype = ctypes.c_char_p
        self.library.@name@_class_name.restype = ctypes.c_char_p
        self.library.@name@_class_name.argtypes = [ctypes.c_int64]
        self.library.@name@_destroy.argtypes = [ctypes.c_void_p]
        self.library.@name@_run_u8.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p, ctypes.c_void_p]
        self.handle = ctypes.c_void_p()
        error = ctypes.create_string_buffer(256)
        path = str(weights).encode()
        if self.library.@name@_create(ctypes.byref(self.handle), path, error, ctypes.c_size_t(256)):
            raise RuntimeError(error.value.decode())

    def __del__(self):
        if getattr(self, "handle", None):
            self.library.@name@_destroy(self.handle)

    def run(self, pixels):
        """Numbers of the result for one picture: bytes, row by row, the channels of a pixel together."""
        if len(pixels) != CHANNELS * HEIGHT * WIDTH:
            raise ValueError("a picture has %d bytes" % (CHANNELS * HEIGHT * WIDTH))
        result = (ctypes.c_float * RESULTS)()
        status = self.library.@name@_run_u8(self.handle, 1, bytes(pixels), result)
        if status:
            raise RuntimeError(self.library.@name@_message(status).decode())
        return list(result)

    def name(self, number):
        name = self.library.@name@_class_name(number)
        return name.decode() if name else "class"


def read_ppm(path):
    data = pathlib.Path(path).read_bytes()
    kind, width, height, most = data.split(None, 4)[:4]
    size = CHANNELS * HEIGHT * WIDTH
    if kind != (b"P6" if CHANNELS == 3 else b"P5") or (int(width), int(height), int(most)) != (WIDTH, HEIGHT, 255):
        raise ValueError("%s: no PPM or PGM of %d x %d pixels with %d channels" % (path, WIDTH, HEIGHT, CHANNELS))
    return data[-size:]


def main():
    values = sys.argv[1:]
    raw = values[:1] == ["--raw"]
    values = values[raw:]
    if len(values) < 2:
        sys.exit("usage: classify.py [--raw] WEIGHTS PICTURE...")
    network = Network(values[0])
    for path in values[1:]:
        result = network.run(read_ppm(path))
        best = result.index(max(result))
        if raw:
            for value in result:
                print(struct.pack(">f", value).hex())
        else:
            print("%s: %s (class %d)" % (path, network.name(best), best))


if __name__ == "__main__":
    main()
