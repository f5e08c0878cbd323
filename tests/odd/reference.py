"""What a picture means, by Pillow and NumPy: the right values of tests/data/odd, and of tests/pictures.rs."""
import numpy as np
from PIL import Image, ImageOps


def taps(source, target):
    """First pixel and 22-bit weights of each pixel of the result: a triangle, antialiased, as Pillow's BILINEAR."""
    reach = 2 * max(source, target)
    result = []
    for i in range(target):
        middle = (2 * i + 1) * source
        near = [(x, reach - abs((2 * x + 1) * target - middle)) for x in range(source)]
        near = [(x, weight) for x, weight in near if weight > 0]
        total = sum(weight for _, weight in near)
        result.append((near[0][0], [((weight << 23) + total) // (2 * total) for _, weight in near]))
    return result


def across(pixels, width):
    result = np.zeros(pixels.shape[:1] + (width,) + pixels.shape[2:], np.uint8)
    for i, (first, weights) in enumerate(taps(pixels.shape[1], width)):
        total = np.full(result[:, 0].shape, 1 << 21, np.int64)
        for k, weight in enumerate(weights):
            total += pixels[:, first + k].astype(np.int64) * weight
        result[:, i] = np.minimum(total >> 22, 255)
    return result


def resize(pixels, width, height):
    """Rows, then columns. Pillow chooses the order by the sizes, so where both sides change it may differ by 1."""
    if width != pixels.shape[1]:
        pixels = across(pixels, width)
    if height != pixels.shape[0]:
        pixels = across(pixels.swapaxes(0, 1), height).swapaxes(0, 1)
    return pixels


def upright(image):
    """8 bits a channel, turned as EXIF says, with its alpha where it has any."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        wide = np.asarray(image).astype(np.int64)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode == "P" or "transparency" in image.info:
        return image.convert("RGBA")
    return image


def composed(image, background):
    """Red, green and blue over the background, rounded to the nearest."""
    pixels = np.asarray(upright(image).convert("RGBA")).astype(np.int64)
    alpha = pixels[..., 3:]
    return ((pixels[..., :3] * alpha + np.array(background) * (255 - alpha) + 127) // 255).astype(np.uint8)


def meaning(image, channels, width, height, how="stretch", background=(255, 255, 255)):
    """[channels, height, width], 0 to 255."""
    pixels = composed(image, background)
    if how == "crop":
        high, wide = pixels.shape[:2]
        if width * high >= height * wide:
            size = width, max((2 * high * width + wide) // (2 * wide), height)
        else:
            size = max((2 * wide * height + high) // (2 * high), width), height
        pixels = resize(pixels, *size)
        x, y = (size[0] - width) // 2, (size[1] - height) // 2
        pixels = pixels[y:y + height, x:x + width]
    else:
        pixels = resize(pixels, width, height)
    if channels == 1:
        # Pillow's own integers for Rec. 601.
        pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[..., None]
    return pixels.transpose(2, 0, 1)
