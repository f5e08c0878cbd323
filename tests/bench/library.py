#!/usr/bin/env python3
"""Times built libraries with one and two threads beside `ninc bench`, in interleaved rounds, and prints a table.

    cargo build --release
    python3 library.py [--rounds 5] [--seconds 1] [--ninc PATH]

Libraries are built with `--cpu native` and linked as archives into a C program. A round's figure is the median of the
runs in `seconds`; the table has the medians of the rounds in microseconds. `ok` means: two threads are at least as fast
as one (within 2 %, the noise of a median), and the library is within 10 % of the engine of `ninc run`.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "..", "..", "models")
ROWS = [("digits", 1), ("digits", 8), ("digits", 64), ("cifar10", 1), ("cifar10", 8)]
THREADS = (1, 2)


def weights(ninc, network, folder):
    """Weights as training starts with them: their values do not matter for time."""
    subprocess.run([ninc, "build", os.path.join(MODELS, network + ".nin"), "--train", "--cpu", "native", "-o", folder],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return os.path.join(folder, network + ".safetensors")


def library(ninc, network, folder):
    """Builds the library and the program that times it; gives the command."""
    file = weights(ninc, network, folder)
    program = os.path.join(folder, "time")
    upper = network.upper()
    subprocess.run(["cc", "-O2", "-I" + folder, "-DNAME=" + network, f'-DHEADER="{network}.h"',
                    f"-DPIXELS={upper}_INPUT_SIZE", f"-DRESULTS={upper}_OUTPUT_SIZE", os.path.join(HERE, "library.c"),
                    os.path.join(folder, f"lib{network}.a"), "-lpthread", "-o", program], check=True)
    return [program, file]


def engine(ninc, network, batch, threads, seconds):
    """`ninc bench`: the median of a run in microseconds."""
    result = subprocess.run([ninc, "bench", os.path.join(MODELS, network + ".nin"), "--batch", str(batch), "--threads",
                             str(threads), "--json"], check=True, capture_output=True, text=True)
    return 1e3 * json.loads(result.stdout)["median_ms"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--ninc", default=os.path.join(HERE, "..", "..", "target", "release", "ninc"))
    args = parser.parse_args()
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        programs = {name: library(args.ninc, name, os.path.join(folder, name)) for name in dict(ROWS)}
        for round in range(args.rounds):
            for network, batch in ROWS:
                for threads in THREADS:
                    command = [*programs[network], str(batch), str(threads), str(args.seconds)]
                    ours = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                    times.setdefault((network, batch, threads, "library"), []).append(ours)
                    run = engine(args.ninc, network, batch, threads, args.seconds)
                    times.setdefault((network, batch, threads, "run"), []).append(run)
            print(f"round {round + 1} of {args.rounds}", file=sys.stderr)
    middle = {key: statistics.median(values) for key, values in times.items()}
    print("| network, batch | library, 1 thread | 2 threads | `ninc run`, 1 thread | 2 threads | |")
    print("|---|---|---|---|---|---|")
    good = True
    for network, batch in ROWS:
        one, two, run_one, run_two = (middle[network, batch, threads, what] for what in ("library", "run") for threads in THREADS)
        right = two <= 1.02 * one and one <= 1.1 * run_one and two <= 1.1 * run_two
        good &= right
        cells = " | ".join(f"{value:,.1f} µs" for value in (one, two, run_one, run_two))
        print(f"| {network}, {batch} | {cells} | {'ok' if right else 'not ok'} |")
    sys.exit(not good)


main()
