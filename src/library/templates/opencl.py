#!/usr/bin/env python3
"""Runs the network @name@ by OpenCL, from @name@.cl and its launch table: an example of how a program reads the table.

usage: opencl.py [--raw] WEIGHTS.safetensors IMAGES.npy    (float32 [n, ...], prepared as the training images were)
"""

import ast
import ctypes
import ctypes.util
import itertools
import json
import os
import struct
import sys
from array import array
from ctypes import byref, c_char_p, c_int, c_int64, c_size_t, c_ubyte, c_uint, c_uint64, c_void_p, sizeof

HERE = os.path.dirname(os.path.abspath(__file__))
GPU, ANY = 4, 0xFFFFFFFF
SINGLE_FP_CONFIG, EXACT_DIVISION = 0x101B, 1 << 7
NOTHING = (0, None, None)  # no events


def check(code, what):
    if code:
        sys.exit(f"OpenCL: {what} gave the error {code}")


def size(value, n):
    """Sizes and places of the table, for n images."""
    return value["fixed"] + value["per_image"] * n


class Network:
    def __init__(self):
        with open(os.path.join(HERE, "@name@.cl.json")) as file:
            self.table = json.load(file)
        with open(os.path.join(HERE, self.table["source"]), "rb") as file:
            source = c_char_p(file.read())
        self.cl = cl = ctypes.CDLL(ctypes.util.find_library("OpenCL") or "libOpenCL.so.1")
        for name in ("Context", "CommandQueue", "ProgramWithSource", "Buffer", "Kernel"):
            getattr(cl, "clCreate" + name).restype = c_void_p
        device = self.device()
        self.context = self.made("Context", None, 1, byref(device), None, None)
        self.queue = self.made("CommandQueue", self.context, device, c_uint64(0))
        self.program = self.made("ProgramWithSource", self.context, 1, byref(source), None)
        options, config = self.table["build_options"], c_uint64()
        cl.clGetDeviceInfo(device, SINGLE_FP_CONFIG, c_size_t(8), byref(config), None)
        if config.value & EXACT_DIVISION:
            options += " -cl-fp32-correctly-rounded-divide-sqrt"
        check(cl.clBuildProgram(self.program, 1, byref(device), options.encode(), None, None), "building the kernels")
        self.kernels = {}
        self.memory = {"persistent": self.zeros(size(self.table["memory"]["persistent"], 1))}

    def device(self):
        """The first GPU, or else the first device."""
        count = c_uint()
        check(self.cl.clGetPlatformIDs(0, None, byref(count)), "looking for platforms")
        platforms = (c_void_p * count.value)()
        check(self.cl.clGetPlatformIDs(count, platforms, None), "looking for platforms")
        for kind, platform in itertools.product((GPU, ANY), platforms):
            found = c_void_p()
            if self.cl.clGetDeviceIDs(c_void_p(platform), c_uint64(kind), 1, byref(found), None) == 0:
                return found
        sys.exit("OpenCL: there is no device")

    def made(self, what, *arguments):
        code = c_int()
        made = getattr(self.cl, "clCreate" + what)(*arguments, byref(code))
        check(code.value, f"clCreate{what}")
        return c_void_p(made)

    def zeros(self, count):
        count = max(count, 64)
        memory, zero = self.made("Buffer", self.context, c_uint64(1), c_size_t(count), None), c_ubyte(0)
        where = (c_size_t(1), c_size_t(0), c_size_t(count))
        check(self.cl.clEnqueueFillBuffer(self.queue, memory, byref(zero), *where, *NOTHING), "filling memory")
        return memory

    def place(self, buffer, n):
        """The memory of a buffer, and its offset there."""
        buffer = self.table["buffers"][buffer]
        return self.memory[buffer["memory"]], size(buffer["offset"], n)

    def positions(self, port):
        """For each number in memory its number in the order of the shape."""
        shape = port["shape"]
        strides = [1] * len(shape)
        for d in reversed(range(len(shape) - 1)):
            strides[d] = strides[d + 1] * shape[d + 1]
        ranges = [range(0, shape[d] * strides[d], strides[d]) for d in port["order"]]
        return [sum(index) for index in itertools.product(*ranges)]

    def write(self, port, values, n):
        positions = self.positions(port)
        images = range(0, len(values), len(positions))
        data = array(values.typecode, [values[first + p] for first in images for p in positions]).tobytes()
        memory, offset = self.place(port["buffer"], n)
        where = (c_size_t(offset), c_size_t(len(data)), data)
        check(self.cl.clEnqueueWriteBuffer(self.queue, memory, 1, *where, *NOTHING), "writing")

    def read(self, port, n):
        positions = self.positions(port)
        count = n if port["one_per_image"] else 1
        data = ctypes.create_string_buffer(4 * len(positions) * count)
        memory, offset = self.place(port["buffer"], n)
        where = (c_size_t(offset), c_size_t(len(data)), data)
        check(self.cl.clEnqueueReadBuffer(self.queue, memory, 1, *where, *NOTHING), "reading")
        numbers = array("i" if port["type"] == "int32" else "f", data.raw)
        values = array(numbers.typecode, numbers)
        for image, (i, position) in itertools.product(range(count), enumerate(positions)):
            values[image * len(positions) + position] = numbers[image * len(positions) + i]
        return values

    def launch(self, launches, n):
        for entry in launches:
            iterations, local = entry["iterations"], entry["local_size"]
            iterations = iterations["fixed"] + iterations["each"] * -(-n // iterations["images"])
            groups = iterations if entry["groups"] == "iterations" else min(-(-iterations // local), 65536)
            if iterations == 0:
                continue
            name = entry["kernel"]
            if name not in self.kernels:
                self.kernels[name] = self.made("Kernel", self.program, name.encode())
            arguments = []
            for buffer in entry["buffers"]:
                memory, offset = self.place(buffer, n)
                arguments += [memory, c_int64(offset)]
            arguments += [c_int64(n), c_int64(0), c_int64(n)]
            if entry["workspace"]:
                arguments.append(self.zeros(entry["workspace"] * groups * local))
            kernel = self.kernels[name]
            for i, value in enumerate(arguments):
                code = self.cl.clSetKernelArg(kernel, i, c_size_t(sizeof(value)), byref(value))
                check(code, f"argument {i} of {name}")
            grid = (1, None, byref(c_size_t(groups * local)), byref(c_size_t(local)))
            check(self.cl.clEnqueueNDRangeKernel(self.queue, kernel, *grid, *NOTHING), name)

    def load(self, path):
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header, data = json.loads(file.read(length)), file.read()
        self.memory["arena"] = self.zeros(size(self.table["memory"]["arena"], 1))
        for port in self.table["parameters"]:
            begin, end = header[port["name"]]["data_offsets"]
            self.write(port, array("f", data[begin:end]), 1)
        self.launch(self.table["prepare"], 1)

    def run(self, n, images):
        self.memory["arena"] = self.zeros(size(self.table["memory"]["arena"], n))
        self.write(self.table["inputs"][0], images, n)
        self.launch(self.table["launches"], n)
        return self.read(self.table["outputs"][0], n)


def npy(path):
    """The shape and the numbers of an array in a file."""
    with open(path, "rb") as file:
        head = file.read(10)
        about = ast.literal_eval(file.read(struct.unpack("<H", head[8:10])[0]).decode())
        if head[:6] != b"\x93NUMPY" or about["descr"] != "<f4" or about["fortran_order"]:
            sys.exit(f"{path} is not an array of float32 in the usual order")
        return about["shape"], array("f", file.read())


def main():
    raw = sys.argv[1:2] == ["--raw"]
    if len(sys.argv) != 3 + raw:
        sys.exit(__doc__)
    network = Network()
    network.load(sys.argv[1 + raw])
    shape, images = npy(sys.argv[2 + raw])
    result = network.run(shape[0], images)
    each = len(result) // shape[0]
    for image in range(shape[0]):
        values = result[image * each : (image + 1) * each]
        if raw:
            print("\n".join(f"{bits:08x}" for bits in struct.unpack(f"{each}I", values.tobytes())))
        else:
            print(f"image {image}: class {max(range(each), key=values.__getitem__)}")


main()
