#!/usr/bin/env python3
"""Times training steps that processes of one thread share: ninc over MPI beside PyTorch's DistributedDataParallel over
gloo, the same network and batch, in rounds by turns.

    pip install numpy onnx torch
    cargo build --release
    python ddp.py [--network cifar10] [--batch 128] [--ranks 2] [--bf16] [--rounds 5]
                  [--mpirun "mpirun.openmpi --allow-run-as-root"]

Processes of one side idle while the other is timed. A round of PyTorch is the median over 3 seconds of the slowest
process, one of ninc the median of `ninc bench` under `mpirun`; ratios are of images per second.
"""
import argparse
import os
import shlex
import socket
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def rank(number, count, network, batch, bf16):
    """A process of PyTorch's: a round for each line that arrives."""
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
    from worker import torch_train
    dist.init_process_group("gloo", rank=number, world_size=count)
    step = torch_train(bf16, DistributedDataParallel)(network, batch // count, 1)
    step(), step()
    print("ready", flush=True)
    for line in sys.stdin:
        # All make the same number of steps, or some would wait for ever.
        times = []
        for _ in range(int(line)):
            before = time.perf_counter()
            step()
            times.append(time.perf_counter() - before)
        print(statistics.median(times), flush=True)


def ninc(args):
    """Images per second of one process and of all."""
    command = [*shlex.split(args.mpirun), "-n", str(args.ranks), args.ninc, "bench",
               os.path.join(HERE, "..", "..", "models", args.network + ".nin"), "--mode", "train", "--batch",
               str(args.batch), "--threads", "1", "--precision", "bf16" if args.bf16 else "f32", "--rounds", "15"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in text.splitlines()]
    return [float(row[1]) for row in rows if row and row[0] in ("1", str(args.ranks))]


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "rank":
        number, count, network, batch, bf16 = sys.argv[2:]
        return rank(int(number), int(count), network, int(batch), bf16 == "True")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="cifar10")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("--ninc", default=os.path.join(HERE, "..", "..", "target", "release", "ninc"))
    args = parser.parse_args()

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    own = [sys.executable, os.path.abspath(__file__), "rank"]
    rest = [str(args.ranks), args.network, str(args.batch), str(args.bf16)]
    workers = [subprocess.Popen([*own, str(number), *rest], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                env=env) for number in range(args.ranks)]

    def theirs(steps):
        for worker in workers:
            worker.stdin.write(f"{steps}\n")
            worker.stdin.flush()
        return max(float(worker.stdout.readline()) for worker in workers)

    for worker in workers:
        while (line := worker.stdout.readline()) and line.strip() != "ready":
            pass
        if not line:
            sys.exit("PyTorch's processes do not start")
    steps = max(3, int(3 / theirs(3)))
    ours, ddp = [], []
    for _ in range(args.rounds):
        ours.append(ninc(args)[-1])
        ddp.append(args.batch / theirs(steps))
    for worker in workers:
        worker.stdin.close()
        worker.wait()
    kind = "bf16" if args.bf16 else "f32"
    print(f"{args.network} training, batch {args.batch}, {kind}, {args.ranks} processes of one thread, "
          f"{args.rounds} rounds")
    for name, found in (("ninc", ours), ("DDP, gloo", ddp)):
        print(f"{name:10s} {statistics.median(found):9.1f} images/s   ({min(found):.1f} to {max(found):.1f})")
    ratios = [a / b for a, b in zip(ours, ddp)]
    print(f"x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
