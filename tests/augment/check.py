"""What changes of pictures must give, by Pillow: writes `expected.txt`, or checks it with `--check`.

    python3 tests/augment/check.py [--check]

Operations follow torchvision's definitions for pictures (transforms/autoaugment.py, transforms.py). What is drawn comes
from Philox4x32-10, written here a second time from the paper.
"""
import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

EXPECTED = Path(__file__).parent / "expected.txt"


def fnv(data):
    hash = 0xCBF29CE484222325
    for byte in data:
        hash = (hash ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return hash


def picture(channels, height, width, wild=False):
    """Gradients with noise, or noise alone."""
    state, planes = 12345, np.zeros((channels, height, width), np.uint8)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
                noise = state >> 24
                planes[c, y, x] = noise if wild else (x * 5 + y * 3 + c * 40 + noise % 32) % 200 + 20
    return Image.fromarray(planes[0] if channels == 1 else planes.transpose(1, 2, 0))


def planes(image):
    array = np.asarray(image)
    return (array if array.ndim == 2 else array.transpose(2, 0, 1)).tobytes()


def affine(image, matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


def hue(image, part):
    if image.mode == "L":
        return image
    h, s, v = image.convert("HSV").split()
    turned = np.asarray(h) + np.int32(part * 255).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(turned), s, v)).convert("RGB")


def brightness(image, factor):
    return ImageEnhance.Brightness(image).enhance(factor)


def contrast(image, factor):
    return ImageEnhance.Contrast(image).enhance(factor)


def saturation(image, factor):
    return ImageEnhance.Color(image).enhance(factor)


def operation(image, number, magnitude, negative):
    """One of RandAugment's operations, as torchvision orders them, with 31 magnitudes."""
    width, height = image.size
    sign = -1 if negative else 1

    def signed(most):
        return sign * np.linspace(0, most, 31)[magnitude]

    if number == 0:
        return image
    if number == 1:
        return affine(image, (1, math.tan(math.atan(signed(0.3))), 0, 0, 1, 0))
    if number == 2:
        return affine(image, (1, 0, 0, math.tan(math.atan(signed(0.3))), 1, 0))
    if number == 3:
        return affine(image, (1, 0, -int(signed(150 / 331 * width)), 0, 1, 0))
    if number == 4:
        return affine(image, (1, 0, 0, 0, 1, -int(signed(150 / 331 * height))))
    if number == 5:
        return image.rotate(signed(30), Image.Resampling.NEAREST)
    if number == 6:
        return brightness(image, 1 + signed(0.9))
    if number == 7:
        return saturation(image, 1 + signed(0.9))
    if number == 8:
        return contrast(image, 1 + signed(0.9))
    if number == 9:
        return ImageEnhance.Sharpness(image).enhance(1 + signed(0.9))
    if number == 10:
        return ImageOps.posterize(image, 8 - int(np.round(magnitude / (30 / 4))))
    if number == 11:
        return ImageOps.solarize(image, np.linspace(255, 0, 31)[magnitude])
    return ImageOps.autocontrast(image) if number == 12 else ImageOps.equalize(image)


def cropped(image, top, left, height, width, size):
    part = image.crop((left, top, left + width, top + height))
    return part.resize((size[1], size[0]), Image.Resampling.BILINEAR)


class Stream:
    """Words of Philox4x32-10 under a seed, for a purpose, an epoch and an image."""

    def __init__(self, seed, purpose, epoch, image, again=0):
        self.key, self.counter, self.words = (seed & 0xFFFFFFFF, seed >> 32), [0, again, purpose << 24 | epoch, image], []

    def word(self):
        if not self.words:
            c, k = list(self.counter), list(self.key)
            for _ in range(10):
                a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
                c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
                k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
            self.words = c
            self.counter[0] += 1
        return self.words.pop(0)

    def uniform(self, low, high):
        return low + (high - low) * ((self.word() >> 8) / 2**24)

    def below(self, bound):
        """Lemire's method."""
        while True:
            product = self.word() * bound
            if product & 0xFFFFFFFF >= (1 << 32) % bound:
                return product >> 32


PICTURES = 7


def drawn_crop(image, random, scale=(0.08, 1), ratio=(3 / 4, 4 / 3)):
    width, height = image.size
    for _ in range(10):
        area = width * height * random.uniform(*scale)
        aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = random.below(height - h + 1)
            return cropped(image, top, random.below(width - w + 1), h, w, (height, width))
    raise AssertionError("no part fits")


def drawn_jitter(image, random, ranges=(0.4, 0.3, 0.5, 0.1)):
    order = [0, 1, 2, 3]
    for i in (3, 2, 1):
        j = random.below(i + 1)
        order[i], order[j] = order[j], order[i]
    factors = [random.uniform(max(0, 1 - r), 1 + r) for r in ranges[:3]] + [random.uniform(-ranges[3], ranges[3])]
    for kind in order:
        image = (brightness, contrast, saturation, hue)[kind](image, factors[kind])
    return image


def drawn_operations(image, random, count=2, magnitude=9):
    for _ in range(count):
        number = random.below(14)
        negative = 1 <= number <= 9 and random.below(2) == 1
        image = operation(image, number, magnitude, negative)
    return image


def cases():
    pictures = {1: picture(1, 40, 50), 3: picture(3, 40, 50)}
    for channels, image in pictures.items():
        for number in range(14):
            for magnitude in (0, 4, 9, 20, 30):
                for negative in (False, True) if 1 <= number <= 9 else (False,):
                    words = f"operation {channels} {number} {magnitude} {int(negative)}"
                    yield words, operation(image, number, magnitude, negative)
        for name, change in ("brightness", brightness), ("contrast", contrast), ("saturation", saturation):
            for factor in (0, 0.3, 0.9, 1, 1.25, 4):
                yield f"{name} {channels} {factor}", change(image, factor)
        for part in (-0.5, -0.13, 0, 0.02, 0.3, 0.5):
            yield f"hue {channels} {part}", hue(image, part)
        for top, left, height, width in ((0, 0, 40, 50), (3, 7, 11, 9), (39, 49, 1, 1), (0, 5, 40, 30)):
            size = f"{top} {left} {height} {width}"
            yield f"crop {channels} {size}", cropped(image, top, left, height, width, (32, 24))
        for number in range(6):
            for name, draw in ("crop", drawn_crop), ("jitter", drawn_jitter), ("operations", drawn_operations):
                random = Stream(5_000_000_007, PICTURES, 3, number, again=number % 2)
                yield f"drawn {channels} {name} {number}", draw(image, random)
    wild = picture(3, 128, 128, wild=True)
    for part in (0, 0.07, -0.4):
        yield f"wild {part}", hue(wild, part)
    for number in (12, 13):
        yield f"flat {number}", operation(Image.new("RGB", (9, 9), (7, 200, 0)), number, 0, False)


def main():
    text = "".join(f"{words} = {fnv(planes(image)):016x}\n" for words, image in cases())
    if "--check" not in sys.argv:
        EXPECTED.write_text(text)
    elif EXPECTED.read_text() != text:
        pairs = zip(EXPECTED.read_text().splitlines(), text.splitlines())
        sys.exit("differ: " + "; ".join(new for old, new in pairs if old != new))


main()
