"""Photographs through `ninc train` and through torchvision, side by side:

    photos.py make DIR [COUNT]           COUNT (300) photographs of 3 megapixels, in two classes
    photos.py torch DIR [EPOCHS]         ImageFolder and a DataLoader of 2 workers, the network of models/digits.nin behind
    photos.py compare NINC DIR [ROUNDS]  both in turns: images per second in the first epoch and in later ones, memory

Needs Pillow, NumPy, torch and torchvision. An epoch counts from the end of the one before; the first one from where the
data are looked at, without the start of Python and of its modules. `ninc` runs once without decoded pictures on disk
and once with them.
"""
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

SIZE = (2048, 1536)
EPOCHS = 4
# Widths of its convolutions; the input is 3 x 8 x 8.
WIDTH = 48
MODEL = """network photos(width = %d) {
    input image: [3, 8, 8]

    image
        |> mlpconv(kernel = 3, pad = 1, channels = [width, width, width])
        |> max_pool(kernel = 2, stride = 2)
        |> dropout(0.2)
        |> mlpconv(kernel = 3, pad = 1, channels = [2 * width, 2 * width, width])
        |> cccp(channels = 2)
        |> global_avg_pool
        |> softmax
}

data {
    source  = folder
    prepare = [scale]
}

train {
    optimizer = sgd(rate = 0.01, momentum = 0.9, decay = 1e-4)
    batch     = 32
    epochs    = %d
}
"""


def make(folder, count=300):
    """Noise of all scales in the measure of photographs, whose files have about 0.4 bytes a pixel."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)

    def layers():
        pixels = np.full((SIZE[1], SIZE[0], 3), 128, np.float32)
        for scale in (512, 128, 32, 8, 2, 1):
            grain = random.integers(0, 256, (SIZE[1] // scale, SIZE[0] // scale, 3), dtype=np.uint8)
            layer = Image.fromarray(grain).resize(SIZE, Image.Resampling.BILINEAR)
            pixels += (np.asarray(layer, np.float32) - 128) * (0.05 + 0.1 * scale ** 0.4)
        return pixels.clip(0, 255).astype(np.uint8)

    scenes = [layers() for _ in range(4)]
    for number in range(count):
        shift = [int(random.integers(0, side)) for side in SIZE[::-1]]
        place = pathlib.Path(folder, "train", "ab"[number % 2])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(scenes[number % 4], shift, (0, 1))).save(place / f"{number}.jpg", quality=85)
    # Two for the test, which is no part of the measurement.
    for name in "ab":
        place = pathlib.Path(folder, "test", name)
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(place / "0.png")


def peak():
    """MiB that this process and those it started had at most, each counted by itself."""
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024


def torch_epochs(folder, epochs):
    import torch
    from torch import nn
    from torchvision import datasets, transforms

    torch.set_num_threads(2)
    begin = time.perf_counter()
    steps = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])
    data = datasets.ImageFolder(os.path.join(folder, "train"), steps)
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True, num_workers=2, persistent_workers=True)

    def mlpconv(before, first, second, third):
        sizes = [(before, first, 3), (first, second, 1), (second, third, 1)]
        return [part for a, b, k in sizes for part in (nn.Conv2d(a, b, k, padding=k // 2), nn.ReLU())]

    model = nn.Sequential(*mlpconv(3, *[WIDTH] * 3), nn.MaxPool2d(2), nn.Dropout(0.2),
                          *mlpconv(WIDTH, 2 * WIDTH, 2 * WIDTH, WIDTH), nn.Conv2d(WIDTH, 2, 1),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        print(time.perf_counter() - begin, flush=True)
    del loader
    print("peak", peak(), flush=True)


def ninc_epochs(ninc, folder, cache):
    """Seconds from the start to the end of each epoch, and the most memory in MiB."""
    with tempfile.TemporaryDirectory() as out:
        model = pathlib.Path(out, "photos.nin")
        model.write_text(MODEL % (WIDTH, EPOCHS))
        command = [ninc, "train", str(model), "--data", folder, "--out", out, "--json"]
        begin, ends = time.perf_counter(), []
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               env={**os.environ, "NINC_CACHE": cache})
        for line in run.stdout:
            if json.loads(line)["event"] == "epoch":
                ends.append(time.perf_counter() - begin)
        _, status, usage = os.wait4(run.pid, 0)
        assert status == 0 and len(ends) == EPOCHS, status
        return ends, usage.ru_maxrss // 1024


def torch_run(folder):
    command = [sys.executable, __file__, "torch", folder, str(EPOCHS)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [float(line) for line in lines[:EPOCHS]], int(lines[EPOCHS].split()[1])


def rates(ends, count):
    later = (ends[-1] - ends[0]) / (EPOCHS - 1)
    return count / ends[0], count / later


def compare(ninc, folder, rounds=1):
    count = sum(1 for _ in pathlib.Path(folder, "train").glob("*/*.jpg"))
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            # What is compiled is kept as well, and is no part of the measurement.
            os.chmod(cache, 0o700)
            for name, (ends, memory) in [("ninc, nothing on disk", ninc_epochs(ninc, folder, cache)),
                                         ("ninc, decoded on disk", ninc_epochs(ninc, folder, cache)),
                                         ("torchvision", torch_run(folder))]:
                first, later = rates(ends, count)
                print(f"{name:22} first epoch {first:8.1f} images/s, later {later:9.1f}, memory {memory} MiB", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder, *count]:
            make(folder, *map(int, count))
        case ["torch", folder, *epochs]:
            torch_epochs(folder, *map(int, epochs or [EPOCHS]))
        case ["compare", ninc, folder, *rounds]:
            compare(ninc, folder, *map(int, rounds))
        case _:
            sys.exit(__doc__)
