"""Makes tests/data/odd and the table of what each file must give: `python tests/odd/make.py tests/data/odd`.

Needs Pillow and NumPy. `--check` makes nothing and says whether the right values are still what Pillow makes of the files.
"""
import io
import json
import pathlib
import sys

import numpy as np
from PIL import Image

import arrays
import folders
import pictures
import reference
import weights

# Input shapes that the tests read pictures as: channels, height, width, how.
SHAPES = [(3, 5, 8, "stretch"), (1, 6, 6, "crop")]


def values(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return [reference.meaning(image, c, w, h, how).ravel().tolist() for c, h, w, how in SHAPES]


def table():
    rows = []
    for name, odd, data, within in pictures.good():
        rows.append(({"file": name, "odd": odd, "within": within, "values": values(data)}, data))
    for name, odd, data, words in pictures.bad():
        rows.append(({"file": name, "odd": odd, "error": words}, data))
    for name, odd, data in arrays.good():
        # Weights with `scale(1/255)` that learned from bytes.
        images = 1 if name in ("one.npy", "bare.npy") else 2
        rows.append(({"file": name, "odd": odd, "prepared": (arrays.PIXELS[:images] / 255).ravel().tolist()}, data))
    for name, odd, data, words in arrays.bad():
        rows.append(({"file": name, "odd": odd, "error": words}, data))
    for name, odd, data, gives in arrays.sets():
        row = {"file": name, "odd": odd, **({"error": gives} if isinstance(gives, str) else {"labels": gives.tolist()})}
        rows.append((row, data))
    for name, odd, data, more in weights.good():
        rows.append(({"file": name, "odd": odd, "arguments": more, "scores": weights.scores().tolist()}, data))
    for name, odd, data, more, words in weights.bad():
        rows.append(({"file": name, "odd": odd, "arguments": more, "error": words}, data))
    for name, odd, files, classes, train, test, skipped in folders.good():
        gives = {"classes": classes, "train": train, "test": test, "skipped": skipped}
        rows.append(({"folder": name, "odd": odd, "files": files, **gives}, None))
    for name, odd, files, words in folders.bad():
        rows.append(({"folder": name, "odd": odd, "files": files, "error": words}, None))
    return rows


def readme(rows):
    lines = [
        "# Odd inputs",
        "",
        "Made by `tests/odd/make.py`, which also has the right values (Pillow's and NumPy's, in `table.json`).",
        "`tests/odd.rs` runs them all. Weights are for a linear layer from four numbers to three classes; folders are lists",
        "in `table.json`, which the tests make.",
        "",
        "| file | what is odd about it | what it must give |",
        "|---|---|---|",
    ]
    for row, _ in rows:
        if "skipped" in row:
            gives = f"{len(row['classes'])} classes, {row['train']} and {row['test']} images, {row['skipped']} left out"
        elif "scores" in row:
            gives = " ".join(["the scores that NumPy computes", *([f"with `{' '.join(row['arguments'])}`"] if row["arguments"] else [])])
        elif "error" in row:
            gives = f"error: \"… {row['error']} …\""
        elif "prepared" in row:
            gives = "its numbers over 255, for weights with `scale` that learned from bytes"
        elif "labels" in row:
            gives = "ten images with the labels 0, 1, 2, 0, …"
        else:
            gives = "the pixels that Pillow shows" + (f", within {row['within']}" if row["within"] else "")
        name = row.get("file") or f"{row['folder']}/"
        lines.append(f"| `{name}` | {row['odd']} | {gives} |")
    return "\n".join(lines) + "\n"


def check_resize():
    """The reference's own arithmetic beside Pillow's."""
    random = np.random.default_rng(0)
    for _ in range(100):
        high, wide, height, width = (int(v) for v in random.integers(1, 60, 4))
        pixels = random.integers(0, 256, (high, wide, 3), dtype=np.uint8)
        for w, h, most in [(width, high, 0), (wide, height, 0), (width, height, 1)]:
            right = np.asarray(Image.fromarray(pixels).resize((w, h), Image.Resampling.BILINEAR)).astype(int)
            apart = np.abs(right - reference.resize(pixels, w, h)).max()
            assert apart <= most, (high, wide, h, w, apart)


def main():
    folder = pathlib.Path(sys.argv[-1])
    check_resize()
    rows = table()
    text = json.dumps([row for row, _ in rows], indent=0) + "\n"
    text = text.replace(",\n", ", ").replace("}, {", "},\n{").replace("[\n", "[").replace("\n]", "]")
    if "--check" in sys.argv:
        for row in json.loads((folder / "table.json").read_text()):
            if "values" in row:
                right = np.array(values((folder / row["file"]).read_bytes()), dtype=object)
                for ours, theirs in zip(row["values"], right):
                    apart = np.abs(np.array(ours) - np.array(theirs)).max()
                    assert apart <= 2, (row["file"], apart)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for row, data in rows:
        if data is not None:
            (folder / row["file"]).write_bytes(data)
    (folder / "table.json").write_text(text)
    (folder / "README.md").write_text(readme(rows))


if __name__ == "__main__":
    main()
