#!/usr/bin/env python3
"""One table (Markdown) of what run.sh measured: python3 table.py FOLDER. Times are medians in milliseconds; TFLOP/s count the
convolutions as if computed directly, and beside them is their part of the card's peak, measured with matrix products of the
same precision."""
import json
import pathlib
import sys


def lines(path):
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"not JSON, left out: {line[:80]}", file=sys.stderr)
    return found


def main():
    folder = pathlib.Path(sys.argv[1])
    ours, theirs = lines(folder / "ninc.jsonl"), lines(folder / "torch.jsonl")
    card = next((t for t in theirs if "card" in t), None)
    peaks = {t["precision"]: t["tflops"] for t in theirs if t.get("what") == "matrix product"}
    columns = []
    times = {}
    for run in ours:
        # The other side's name for it, by which its peaks go.
        precision = {"f32": "float32"}.get(run["precision"], run["precision"])
        times[run["mode"], run["batch"], f"ninc {precision}"] = (run["median_ms"], run["gflops"] / 1e3, precision)
    for run in theirs:
        if run.get("what") in ("infer", "train"):
            name = f"torch {run['precision']}" + (" compiled" if run["compiled"] else "")
            times[run["what"], run["batch"], name] = (run["ms"], None, run["precision"])
    for key in times:
        if key[2] not in columns:
            columns.append(key[2])
    rows = sorted({key[:2] for key in times})
    network = ours[0]["network"] if ours else "?"
    print(f"# {network} on {ours[0]['device'] if ours else '?'}")
    if card:
        print(f"\n{card['card']}, torch {card['torch']}, CUDA {card['cuda']}")
    if peaks:
        print("\nMatrix products: " + ", ".join(f"{name} {value:.1f} TFLOP/s" for name, value in peaks.items()))
    print("\n| ms | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
    for mode, batch in rows:
        cells = []
        for column in columns:
            ms, tflops, precision = times.get((mode, batch, column), (None, None, None))
            cell = "" if ms is None else f"{ms:.3f}"
            if tflops is not None:
                cell += f" ({tflops:.2f} TFLOP/s" + (f", {100 * tflops / peaks[precision]:.0f} %" if precision in peaks else "") + ")"
            cells.append(cell)
        print(f"| {mode} {batch} | " + " | ".join(cells) + " |")
    failed = (folder / "failed.txt").read_text().strip() if (folder / "failed.txt").exists() else ""
    if failed:
        print("\nNot done:\n\n" + "\n".join(f"- {line}" for line in failed.splitlines()))


if __name__ == "__main__":
    main()
