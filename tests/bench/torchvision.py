#!/usr/bin/env python3
"""Checks networks of torchvision against PyTorch, and times ninc on them beside other engines, in interleaved rounds.

    pip install torch torchvision onnxscript onnxruntime openvino
    cargo build --release
    python torchvision.py [--networks resnet18,vgg11] [--threads 2] [--rounds 5] [--engines openvino] [-- ninc options]

One picture of 224 x 224, random weights. Each network is exported by both of torch.onnx.export's exporters, and ninc's
results must be within 1e-4 of PyTorch's. The ratio is the median over rounds of (engine / ninc); see compare.py.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# This file has the name of a package.
sys.path = [path for path in sys.path if os.path.abspath(path or ".") != HERE] + [HERE]

NETWORKS = "squeezenet1_1,resnet18,mobilenet_v2,vgg11"
ENGINES = "onnxruntime,openvino,torch"
TOLERANCE = 1e-4


def network(name):
    import torch
    import torchvision
    torch.manual_seed(0)
    made = getattr(torchvision.models, name)(weights=None).eval()
    # Statistics unlike those of a new network, so that what they do is seen.
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return made


def export(name, folder):
    """Writes NAME.script.onnx and NAME.dynamo.onnx, an image and its result."""
    import numpy as np
    import torch
    made, x = network(name), torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        np.save(os.path.join(folder, name + ".x.npy"), x.numpy())
        np.save(os.path.join(folder, name + ".y.npy"), made(x).numpy())
    torch.onnx.export(made, (x,), os.path.join(folder, name + ".script.onnx"), dynamo=False)
    torch.onnx.export(made, (x,), os.path.join(folder, name + ".dynamo.onnx"), dynamo=True, external_data=False)


def check(ninc, name, folder):
    """Gives the largest difference from PyTorch's result over both files."""
    import numpy as np
    right = np.load(os.path.join(folder, name + ".y.npy"))
    worst = 0.0
    for kind in ["script", "dynamo"]:
        result = os.path.join(folder, "result.npy")
        subprocess.run([ninc, "run", os.path.join(folder, f"{name}.{kind}.onnx"), os.path.join(folder, name + ".x.npy"),
                        "--prepare", "none", "--output", result], check=True, stdout=subprocess.DEVNULL)
        worst = max(worst, float(np.abs(np.load(result).reshape(right.shape) - right).max()))
        os.remove(result)
    return worst


def worker(engine, name, folder, threads):
    """Serves one engine as worker.py does."""
    import numpy as np
    import worker as engines
    path = os.path.join(folder, name + ".dynamo.onnx")
    x = np.load(os.path.join(folder, name + ".x.npy"))
    if engine == "torch":
        import torch
        torch.set_num_threads(threads)
        made, image = network(name).to(memory_format=torch.channels_last), torch.from_numpy(x)
        image = image.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            engines.serve(lambda: made(image))
    else:
        engines.serve(engines.INFER[engine](path, x, threads))


def start(engine, name, folder, threads):
    command = [sys.executable, os.path.abspath(__file__), "--worker", engine, name, folder, str(threads)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True)
    while (line := process.stdout.readline()) and line.strip() != "ready":
        pass
    if not line:
        print(f"{engine}: not installed, or it cannot run {name}", file=sys.stderr)
    return process if line else None


def ours(args, name, folder, extra):
    command = [args.ninc, "bench", os.path.join(folder, name + ".dynamo.onnx"), "--prepare", "none", "--batch", "1",
               "--threads", str(args.threads), "--json", *extra]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["median_ms"]


def measure(args, name, folder, extra):
    """Gives times of ninc and of each engine, a number a round."""
    started = {engine: start(engine, name, folder, args.threads) for engine in args.engines.split(",")}
    workers = {engine: process for engine, process in started.items() if process}
    times = {engine: [] for engine in ["ninc", *workers]}
    for _ in range(args.rounds):
        times["ninc"].append(ours(args, name, folder, extra))
        for engine, process in workers.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            times[engine].append(float(process.stdout.readline()))
    for process in workers.values():
        process.stdin.close()
    return times


def main():
    if sys.argv[1:2] == ["--worker"]:
        engine, name, folder, threads = sys.argv[2:6]
        return worker(engine, name, folder, int(threads))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=NETWORKS)
    parser.add_argument("--engines", default=ENGINES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="0: only compare the results")
    parser.add_argument("--folder", help="where the exported files are kept")
    parser.add_argument("--ninc", default=os.path.join(HERE, "..", "..", "target", "release", "ninc"))
    own, extra = sys.argv[1:], []
    if "--" in own:
        own, extra = own[:own.index("--")], own[own.index("--") + 1:]
    args = parser.parse_args(own)
    wrong = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or temporary
        os.makedirs(folder, exist_ok=True)
        for name in args.networks.split(","):
            if not os.path.exists(os.path.join(folder, name + ".dynamo.onnx")):
                export(name, folder)
            worst = check(args.ninc, name, folder)
            wrong |= not worst <= TOLERANCE
            print(f"{name}: within {worst:.1e} of PyTorch{'' if worst <= TOLERANCE else ': WRONG'}", flush=True)
            times = measure(args, name, folder, extra) if args.rounds else {}
            for engine, each in times.items():
                ratio = statistics.median(t / o for t, o in zip(each, times["ninc"]))
                print(f"    {engine:12s} {statistics.median(each):9.3f} ms ({min(each):.3f} to {max(each):.3f})   "
                      f"x{ratio:.2f}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
