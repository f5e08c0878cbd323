"""The pictures of tests/data/odd: what is odd about each, and the file."""
import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

WIDTH, HEIGHT = 24, 16


def scene():
    """Four corners that no turn or mirror confuses, smooth enough for a JPEG."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    x, y = x / (WIDTH - 1), y / (HEIGHT - 1)
    red, green, blue = 220 * x * (1 - y), 200 * y, 160 * (1 - x) * (1 - y) + 40
    return Image.fromarray(np.stack([red, green, blue], -1).round().astype(np.uint8))


def mask():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray(((x * 11 + y * 7) % 256).astype(np.uint8))


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned(number):
    exif = Image.Exif()
    exif[0x112] = number
    return exif


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, depth, color, rows, before=b"", interlaced=0):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    data = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def adam7(pixels):
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for x, y, dx, dy in passes:
        for row in pixels[y::dy, x::dx]:
            rows += b"\0" + row.tobytes() if len(row) else b""
    return rows


def scans(jpeg):
    """Places of the markers that begin scans."""
    at, found = 2, []
    while jpeg[at + 1] != 0xD9:
        if jpeg[at + 1] == 0xDA:
            found.append(at)
        at += 2 + struct.unpack(">H", jpeg[at + 2:at + 4])[0]
        while not (jpeg[at] == 0xFF and jpeg[at + 1] not in (0, 0xFF, *range(0xD0, 0xD8))):
            at += 1
    return found


def qoi(pixels):
    """The Quite OK Image format, written by its specification: runs, and whole pixels for everything else."""
    high, wide, channels = pixels.shape
    out = b"qoif" + struct.pack(">IIBB", wide, high, channels, 0)
    before, run = (0, 0, 0, 255), 0
    for pixel in pixels.reshape(-1, channels):
        pixel = (*(int(v) for v in pixel), 255)[:4]
        if pixel == before:
            run += 1
        if run and (pixel != before or run == 62):
            out, run = out + bytes([0xC0 | run - 1]), 0
        if pixel != before:
            out += bytes([0xFE, *pixel[:3]]) if pixel[3] == before[3] else bytes([0xFF, *pixel])
        before = pixel
    return out + (bytes([0xC0 | run - 1]) if run else b"") + bytes(7) + b"\1"


def good():
    """Name, what is odd, bytes, and by how much a right decoder may differ from Pillow's."""
    s, m = scene(), mask()
    grey, rgba = s.convert("L"), s.copy()
    rgba.putalpha(m)
    la = grey.copy()
    la.putalpha(m)
    palette = s.quantize(12)
    flat = np.asarray(s)
    filtered = b"".join(b"\0" + row.tobytes() for row in flat)
    wide = np.asarray(s).astype(np.uint16) * 256 + np.asarray(s)[..., ::-1]
    wide_alpha = np.dstack([wide, np.asarray(m).astype(np.uint16) * 256 + 77])
    wide_rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide_alpha)
    base = saved(s, "JPEG", quality=92)
    later = saved(s, "PNG")
    exif = turned(6).tobytes()[6:]
    behind = later[:-12] + chunk(b"eXIf", exif) + later[-12:]
    # Without the time of its making.
    p3 = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    p3 = p3[:24] + bytes(12) + p3[36:]
    table = [
        ("rgb.png", "RGB", saved(s, "PNG"), 0),
        ("grey.png", "grey", saved(grey, "PNG"), 0),
        ("one-bit.png", "1 bit a pixel", saved(grey.convert("1"), "PNG"), 0),
        ("palette.png", "a palette", saved(palette, "PNG"), 0),
        ("palette-clear.png", "a palette with a transparent colour (`tRNS`)", saved(palette, "PNG", transparency=3), 0),
        ("palette-alpha.png", "a palette with an alpha for each colour", saved(palette, "PNG", transparency=bytes(
            range(0, 240, 20))), 0),
        ("grey-clear.png", "grey with a transparent level (`tRNS`)", saved(grey, "PNG", transparency=80), 0),
        ("rgb-clear.png", "RGB with a transparent colour (`tRNS`)", saved(s, "PNG", transparency=s.getpixel((3, 3))), 0),
        ("grey-alpha.png", "grey with alpha", saved(la, "PNG"), 0),
        ("rgb-alpha.png", "RGB with alpha", saved(rgba, "PNG"), 0),
        ("grey-16.png", "16 bits of grey", saved(Image.fromarray(wide[..., 0].copy()), "PNG"), 0),
        ("rgb-alpha-16.png", "16 bits a channel, with alpha", png(WIDTH, HEIGHT, 16, 6, wide_rows), 1),
        ("interlaced.png", "interlaced", png(WIDTH, HEIGHT, 8, 2, adam7(flat), interlaced=1), 0),
        ("turned-6.png", "turned by `eXIf`", saved(s, "PNG", exif=turned(6)), 0),
        ("turned-behind.png", "turned by an `eXIf` behind the pixels", behind, 0),
        ("profile.png", "a colour profile (sRGB's)", saved(s, "PNG", icc_profile=p3), 0),
        ("gamma.png", "a `gAMA` chunk, which is passed over", png(WIDTH, HEIGHT, 8, 2, filtered, chunk(
            b"gAMA", struct.pack(">I", 100000))), 0),
        ("one-pixel.png", "one pixel", saved(s.crop((3, 3, 4, 4)), "PNG"), 0),
        ("tall.png", "1 x 200 pixels", saved(s.resize((1, 200)), "PNG"), 0),
        ("baseline.jpg", "baseline, 4:2:0", base, 2),
        ("full-colour.jpg", "4:4:4", saved(s, "JPEG", subsampling=0, quality=92), 2),
        ("half-colour.jpg", "4:2:2", saved(s, "JPEG", subsampling=1, quality=92), 2),
        ("progressive.jpg", "progressive", saved(s, "JPEG", progressive=True, quality=92), 2),
        ("grey.jpg", "grey", saved(grey, "JPEG", quality=92), 2),
        ("restarts.jpg", "restart markers", saved(s, "JPEG", restart_marker_blocks=1, quality=92), 2),
        ("ink.jpg", "CMYK", saved(s.convert("CMYK"), "JPEG", quality=95), 3),
        ("more-behind.jpg", "another picture and other bytes behind its end", base + b"\0\0" + base, 2),
        ("jpeg.png", "a JPEG whose name says PNG", base, 2),
        ("LOUD.JPEG", "an ending in capitals", base, 2),
        ("rgb.bmp", "24 bits", saved(s, "BMP"), 0),
        ("palette.bmp", "a palette", saved(palette, "BMP"), 0),
        ("lossless.webp", "WebP without loss, with alpha", saved(rgba, "WEBP", lossless=True, exact=True), 0),
        ("lossy.webp", "WebP with loss", saved(s, "WEBP", quality=95), 4),
        ("turned-8.webp", "turned by its EXIF data", saved(s, "WEBP", lossless=True, exif=turned(8)), 0),
        ("moving.webp", "several pictures, the first of which counts", saved(s, "WEBP", lossless=True, save_all=True,
            append_images=[s.transpose(Image.Transpose.ROTATE_180)]), 0),
        ("palette.gif", "GIF", saved(palette, "GIF"), 0),
        ("clear.gif", "GIF with a transparent colour", saved(palette, "GIF", transparency=3), 0),
        ("moving.gif", "several pictures, the first of which counts", saved(palette, "GIF", save_all=True,
            append_images=[palette.transpose(Image.Transpose.ROTATE_180)]), 0),
        ("plain.tif", "TIFF", saved(s, "TIFF"), 0),
        ("packed.tiff", "TIFF by LZW, with alpha", saved(rgba, "TIFF", compression="tiff_lzw"), 0),
        ("grey.tif", "TIFF, grey", saved(grey, "TIFF", compression="tiff_adobe_deflate"), 0),
        ("turned-3.tif", "turned by its orientation", saved(s, "TIFF", tiffinfo={274: 3}), 0),
        ("pages.tif", "several pages, the first of which counts", saved(s, "TIFF", save_all=True, append_images=[grey]), 0),
        ("rgb.qoi", "QOI", qoi(flat), 0),
        ("rgb-alpha.qoi", "QOI with alpha", qoi(np.asarray(rgba)), 0),
    ]
    for number in range(1, 9):
        table.append((f"turned-{number}.jpg", f"EXIF orientation {number}", saved(
            s, "JPEG", exif=turned(number), quality=92), 2))
    table.append(("turned-9.jpg", "an EXIF orientation that does not exist", saved(
        s, "JPEG", exif=turned(9), quality=92), 2))
    return table


def half(data):
    return data[:len(data) // 2]


def bad():
    """Name, what is odd, bytes, and words of the error."""
    s = scene()
    noise = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    noisy = Image.fromarray(noise)
    base, progressive = saved(noisy, "JPEG", quality=92), saved(noisy, "JPEG", progressive=True, quality=92)
    restarts = saved(noisy, "JPEG", restart_marker_blocks=1, quality=92)
    plain = saved(noisy, "PNG")
    starts = scans(progressive)
    damaged = bytearray(plain)
    damaged[plain.index(b"IDAT") + 40] ^= 0x10
    zeros = bytearray(base)
    begin = scans(base)[0] + 40
    zeros[begin:begin + 60] = b"\xff\x00" * 30
    second = restarts.index(b"\xff\xd0")
    return [
        ("cut.jpg", "a baseline JPEG cut in the middle", base[:len(base) * 2 // 3], "cut.jpg is damaged or cut short"),
        ("cut-progressive.jpg", "a progressive JPEG cut in the middle", progressive[:len(progressive) * 2 // 3],
         "cut-progressive.jpg is damaged or cut short"),
        ("cut-ended.jpg", "cut, with an end marker put behind", base[:len(base) * 2 // 3] + b"\xff\xd9",
         "its data end"),
        ("cut-scans.jpg", "whole scans are missing", progressive[:starts[4]] + b"\xff\xd9", "scans of it are missing"),
        ("cut-restart.jpg", "a part between two restart markers is missing", restarts[:second - 60]
         + restarts[second:], "its data end"),
        ("no-end.jpg", "the end marker alone is missing", base[:-2], "its end is missing"),
        ("overwritten.jpg", "bytes of its data overwritten", bytes(zeros), "is damaged or cut short"),
        ("cut.png", "a PNG cut in the middle", plain[:len(plain) // 2], "cut.png is damaged or cut short"),
        ("no-end.png", "a PNG without its last chunk", plain[:-12], "its end is missing"),
        ("flipped.png", "one bit of a PNG's data flipped", bytes(damaged), "flipped.png is not a readable picture"),
        ("cut.bmp", "a BMP cut in the middle", saved(s, "BMP")[:600], "cut.bmp is not a readable picture"),
        ("cut.webp", "a WebP cut in the middle", saved(noisy, "WEBP", lossless=True)[:700], "cut.webp"),
        ("cut.gif", "a GIF cut in the middle", saved(noisy.quantize(), "GIF")[:1100], "cut.gif"),
        ("cut.tif", "a TIFF cut in the middle", saved(noisy, "TIFF")[:700], "cut.tif"),
        ("cut.qoi", "a QOI cut in the middle", qoi(noise)[:700], "cut.qoi"),
        ("cut-lossy.webp", "a lossy WebP cut in the middle", half(saved(noisy, "WEBP", quality=95)), "cut-lossy.webp is "),
        ("cut-packed.tiff", "a TIFF by LZW cut in the middle", half(saved(noisy, "TIFF", compression="tiff_lzw")),
         "cut-packed.tiff is "),
        ("empty.png", "no bytes at all", b"", "is not a picture in a known format"),
        ("text.png", "text", b"this is no picture\n", "is not a picture in a known format"),
        ("page.jpg", "an HTML page", b"<!DOCTYPE html><html><body>404</body></html>",
         "is not a picture in a known format"),
        ("bomb.png", "60,000 x 60,000 pixels in a few bytes", png(60000, 60000, 8, 2, b"\0" * 100), "readable picture"),
    ]
