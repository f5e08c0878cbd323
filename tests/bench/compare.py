#!/usr/bin/env python3
"""Times ninc beside other engines on this machine, in interleaved rounds, and prints medians and ratios.

    pip install -r requirements.txt
    cargo build --release
    python compare.py [--network cifar10] [--mode infer] [--batch 1] [--engines mnn,openvino] [--rounds 5] [-- ninc options]

Every engine lives in a process of its own and idles while another is timed. A round is the median over 1.5 seconds;
the ratio is the median over rounds of (engine / ninc), each pair taken one after the other.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def ninc(args, extra):
    command = [args.ninc, "bench", os.path.join(HERE, "..", "..", "models", args.network + ".nin"), "--mode", args.mode,
               "--batch", str(args.batch), "--threads", str(args.threads), "--json", *extra]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="cifar10")
    parser.add_argument("--mode", default="infer", choices=["infer", "train"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines")
    parser.add_argument("--ninc", default=os.path.join(HERE, "..", "..", "target", "release", "ninc"))
    own, extra = sys.argv[1:], []
    if "--" in own:
        own, extra = own[:own.index("--")], own[own.index("--") + 1:]
    args = parser.parse_args(own)
    engines = (args.engines or {"infer": "mnn,openvino,onnxruntime", "train": "tensorflow,torch"}[args.mode]).split(",")

    workers = {}
    for engine in engines:
        worker = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "worker.py"), engine, args.mode, args.network, str(args.batch),
             str(args.threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        while (line := worker.stdout.readline()) and line.strip() != "ready":
            pass
        if line:
            workers[engine] = worker
        else:
            print(f"{engine}: not installed, or it cannot run this network", file=sys.stderr)

    if "--rounds" not in extra:
        # As long as the others take.
        extra = extra + ["--rounds", str(max(30, round(1500 / ninc(args, extra)["median_ms"])))]
    ours, theirs = [], {engine: [] for engine in workers}
    for _ in range(args.rounds):
        ours.append(ninc(args, extra)["median_ms"])
        for engine, worker in workers.items():
            worker.stdin.write("go\n")
            worker.stdin.flush()
            theirs[engine].append(float(worker.stdout.readline()))
    for worker in workers.values():
        worker.stdin.close()

    print(f"{args.network} {args.mode} batch {args.batch}, {args.threads} threads, {args.rounds} rounds")
    print(f"{'ninc':16s} {statistics.median(ours):9.3f} ms   ({min(ours):.3f} to {max(ours):.3f})")
    for engine, times in theirs.items():
        ratios = [t / o for t, o in zip(times, ours)]
        print(f"{engine:16s} {statistics.median(times):9.3f} ms   ({min(times):.3f} to {max(times):.3f})   "
              f"x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
