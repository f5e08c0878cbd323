#!/usr/bin/env python3
"""Requests a second of `ninc serve` beside ONNX Runtime in a FastAPI process, at equal latency, in one run.

    pip install numpy onnxruntime fastapi 'uvicorn[standard]' pillow
    apt-get install wrk
    cargo build --release
    python serve.py [--networks digits,cifar10] [--seconds 4] [--rounds 3] [-- options of ninc serve]

Both get the same picture as the body of each request, and give the same classes (checked). The other process decodes with
Pillow and runs the network that `ninc export --with-preparation` wrote, once on its event loop and once in its thread pool;
the faster counts. `wrk` keeps 1, 2, 4 ... connections busy. A row is the median over interleaved rounds. Equal latency: the
most requests a second of ninc among rows whose median and 99th percentile are not above those of the other's best row.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
PICTURES = {"digits": "digit-7.png", "mnist": "mnist-7.png", "cifar10": "cat.png"}
CONNECTIONS = [1, 2, 4, 8, 16, 32]

OTHER = '''
import io, sys
import numpy as np, onnxruntime as ort
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image
import uvicorn

session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
channels, height, width = entry.shape[1:]
app = FastAPI()

def classify(body):
    picture = Image.open(io.BytesIO(body)).convert("L" if channels == 1 else "RGB").resize((width, height), Image.BILINEAR)
    image = np.asarray(picture, np.float32).reshape(height, width, channels).transpose(2, 0, 1)[None]
    scores = session.run(None, {entry.name: image})[0].reshape(-1)
    top = np.argsort(-scores)[:5]
    return {"results": [{"top": [{"class": int(c), "probability": float(scores[c])} for c in top]}]}

@app.post("/loop")
async def loop(request: Request):
    return classify(await request.body())

@app.post("/pool")
async def pool(request: Request):
    return await run_in_threadpool(classify, await request.body())

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", access_log=False)
'''


def post(url, body):
    request = urllib.request.Request(url, body, {"Content-Type": "image/png"})
    return json.load(urllib.request.urlopen(request, timeout=10))["results"][0]["top"]


def until_it_answers(url, body):
    for _ in range(200):
        try:
            return post(url, body)
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} does not answer")


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def load(url, script, connections, seconds):
    """Requests a second, and the median and the 99th percentile of their times in ms."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    wrong = re.search(r"Non-2xx.*|Socket errors.*", text)
    if wrong:
        sys.exit(f"{url}: {wrong.group()}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    times = [milliseconds(re.search(rf"^\s+{part}%\s+(\S+)", text, re.MULTILINE).group(1)) for part in (50, 99)]
    return [rate, *times]


def measure(name, args, extra, folder):
    model, weights = (os.path.join(ROOT, "models", f"{name}.{end}") for end in ("nin", "safetensors"))
    onnx, script = os.path.join(folder, f"{name}.onnx"), os.path.join(folder, "post.lua")
    subprocess.run([args.ninc, "export", model, "--weights", weights, "-o", onnx, "--with-preparation"], check=True,
                   capture_output=True)
    picture = os.path.join(ROOT, "tests", "data", PICTURES[name])
    body = open(picture, "rb").read()
    with open(script, "w") as lua:
        lua.write(f'local file = io.open("{picture}", "rb")\nwrk.method = "POST"\nwrk.body = file:read("*a")\n'
                  'wrk.headers["Content-Type"] = "image/png"\n')
    with open(os.path.join(folder, "other.py"), "w") as other:
        other.write(OTHER)
    serving = subprocess.Popen([args.ninc, "serve", model, "--weights", weights, "--port", "0", *extra],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    other = subprocess.Popen([sys.executable, os.path.join(folder, "other.py"), onnx, str(args.port)])
    try:
        ours = serving.stdout.readline().split(" on ")[1].split()[0] + "classify"
        ways = {way: f"http://127.0.0.1:{args.port}/{way}" for way in ("loop", "pool")}
        answers = [until_it_answers(url, body) for url in [ours, *ways.values()]]
        for answer in answers[1:]:
            if [c["class"] for c in answer[:3]] != [c["class"] for c in answers[0][:3]]:
                sys.exit(f"{name}: the two give other classes: {answers[0]} {answer}")
            assert abs(answer[0]["probability"] - answers[0][0]["probability"]) < 1e-3, answers
        found = {}
        for _ in range(args.rounds):
            for connections in CONNECTIONS:
                for way, url in [("ninc", ours), *ways.items()]:
                    row = load(url, script, connections, args.seconds)
                    found.setdefault((way, connections), []).append(row)
        rows = {key: [statistics.median(column) for column in zip(*rounds)] for key, rounds in found.items()}
    finally:
        for process in (serving, other):
            process.terminate()
            process.wait()
    print(f"{name}\n  server  connections  requests/s   median ms      99 % ms")
    for (way, connections), (rate, median, high) in sorted(rows.items()):
        print(f"  {way:6}  {connections:11}  {rate:10.0f}  {median:10.2f}  {high:11.2f}")
    best = max((row for (way, _), row in rows.items() if way != "ninc"), key=lambda row: row[0])
    equal = [row for (way, _), row in rows.items() if way == "ninc" and row[1] <= best[1] and row[2] <= best[2]]
    if not equal:
        print("  no row of ninc is as quick")
        return
    own = max(equal, key=lambda row: row[0])
    single = [rows[way, 1][1] for way in ("ninc", "loop", "pool")]
    print(f"  at equal latency: {own[0]:.0f} against {best[0]:.0f} requests/s, x{own[0] / best[0]:.2f}; one connection: "
          f"{single[0]:.2f} against {min(single[1:]):.2f} ms, x{min(single[1:]) / single[0]:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="digits,cifar10")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=18080, help="of the other process")
    parser.add_argument("--ninc", default=os.path.join(ROOT, "target", "release", "ninc"))
    own, extra = sys.argv[1:], []
    if "--" in own:
        own, extra = own[:own.index("--")], own[own.index("--") + 1:]
    args = parser.parse_args(own)
    with tempfile.TemporaryDirectory() as folder:
        for name in args.networks.split(","):
            measure(name, args, extra, folder)


main()
