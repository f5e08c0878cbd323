#!/usr/bin/env python3
"""Asks `ninc serve` 50,000 times at a bounded rate, with broken, huge, slow and vanishing requests among them.

    python3 tests/serve/load.py [--ninc target/release/ninc] [--network digits] [--requests 50000] [--rate 1000]

Needs nothing but Python. Right requests must have the classes and the probabilities of `ninc run --json`, to the last digit; all
others the status that they earn. Memory is read after each tenth of the requests: in the second half it may not grow by more than
4 MB.
"""
import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PICTURES = {"digits": ["digit-7.png"], "mnist": ["mnist-7.png"], "cifar10": ["cat.png", "ship.png"]}
PATIENCE = 2
LIMIT = 1_000_000


def head(length, kind="image/png", path="/classify"):
    return f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


async def answer(reader):
    text = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(re.search(r"content-length: (\d+)", text, re.I).group(1))
    body = await reader.readexactly(length)
    return int(text.split()[1]), body


class Client:
    """One of those who ask at the same time; right requests share a connection."""

    def __init__(self, port, seed, right, counts):
        self.port, self.random, self.right, self.counts = port, random.Random(seed), right, counts
        self.stream = None

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def good(self):
        body, expected = self.random.choice(self.right)
        kept = self.stream is not None
        self.stream = self.stream or await self.connect()
        reader, writer = self.stream
        try:
            writer.write(head(len(body)) + body)
            status, text = await answer(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            # An idle connection that the server has closed: another one, once.
            if not kept:
                raise
            self.stream = None
            return await self.good()
        if status == 503:
            self.counts["503"] = self.counts.get("503", 0) + 1
            return
        assert status == 200, (status, text)
        assert json.loads(text)["results"][0]["top"] == expected, text

    async def alone(self, bytes_, status, says):
        reader, writer = await self.connect()
        try:
            writer.write(bytes_)
            got, text = await answer(reader)
            assert got == status and (not says or says in json.loads(text)["error"]), (got, text, says)
        finally:
            writer.close()

    async def broken(self):
        body = bytearray(self.random.choice(self.right)[0])
        if self.random.random() < 0.5:
            body = body[:self.random.randrange(1, len(body))]
            await self.alone(head(len(body)) + body, 400, "")
        else:
            await self.alone(head(9, "application/json") + b"[[1], [2,", 400, "EOF")

    async def noise(self):
        """Bytes that are changed may still be a picture: an answer, whatever it is, and the server lives on."""
        body = bytearray(self.random.choice(self.right)[0])
        for _ in range(4):
            body[self.random.randrange(len(body))] = self.random.randrange(256)
        reader, writer = await self.connect()
        writer.write(head(len(body)) + body)
        status, _ = await answer(reader)
        assert status in (200, 400, 503), status
        writer.close()

    async def huge(self):
        if self.random.random() < 0.5:
            await self.alone(head(1 << 40), 413, "larger than")
            return
        chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        reader, writer = await self.connect()
        try:
            writer.write(b"POST /classify HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(LIMIT // (1 << 16) + 2):
                writer.write(chunk)
            status, _ = await answer(reader)
            assert status == 413, status
        except (ConnectionError, asyncio.IncompleteReadError):
            # Closed while the rest was on its way.
            pass
        finally:
            writer.close()

    async def slow(self):
        part = self.random.choice([b"POST /clas", head(1000) + b"abc"])
        await self.alone(part, 408, "did not come within")

    async def gone(self):
        _, writer = await self.connect()
        writer.write(head(1000) + bytes(self.random.randrange(999)))
        await asyncio.sleep(self.random.random() / 100)
        writer.transport.abort()

    async def wrong(self):
        await self.alone(*self.random.choice([
            (b"GET /nothing HTTP/1.1\r\nHost: here\r\n\r\n", 404, "nothing at"),
            (b"DELETE /classify HTTP/1.1\r\nHost: here\r\n\r\n", 405, "does not take"),
            (head(1, "video/mp4") + b"x", 415, "is not read"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400, None),
            (head(3, path="/classify?top=x") + b"abc", 400, "not a whole number"),
        ]))


KINDS = {"good": 900, "broken": 30, "noise": 20, "huge": 10, "slow": 10, "gone": 15, "wrong": 15}


async def ask_all(port, right, args, memory):
    counts, done, start = {}, 0, time.monotonic()
    clients = [Client(port, seed, right, counts) for seed in range(args.clients)]
    free = asyncio.Queue()
    for client in clients:
        free.put_nowait(client)
    failures = []

    async def one(client, kind):
        try:
            await getattr(client, kind)()
            counts[kind] = counts.get(kind, 0) + 1
        except Exception as error:
            failures.append((kind, repr(error)[:300]))
            client.stream = None
        finally:
            free.put_nowait(client)

    draw, tasks = random.Random(1), set()
    names, weights = list(KINDS), list(KINDS.values())
    sizes = []
    for number in range(args.requests):
        late = start + number / args.rate - time.monotonic()
        if late > 0:
            await asyncio.sleep(late)
        client = await free.get()
        kind = draw.choices(names, weights)[0]
        task = asyncio.create_task(one(client, kind))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if number and number % (args.requests // 10) == 0:
            sizes.append(memory())
    await asyncio.gather(*tasks)
    for client in clients:
        if client.stream:
            client.stream[1].close()
    return counts, failures, [*sizes, memory()], time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ninc", default=os.path.join(ROOT, "target", "release", "ninc"))
    parser.add_argument("--network", default="digits")
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--clients", type=int, default=64)
    args = parser.parse_args()
    model, weights = (os.path.join(ROOT, "models", f"{args.network}.{end}") for end in ("nin", "safetensors"))
    right = []
    for name in PICTURES[args.network]:
        picture = os.path.join(ROOT, "tests", "data", name)
        said = subprocess.run([args.ninc, "run", model, "--weights", weights, "--json", picture], check=True,
                              capture_output=True, text=True).stdout
        right.append((open(picture, "rb").read(), json.loads(said)["top"]))
    server = subprocess.Popen([args.ninc, "serve", model, "--weights", weights, "--port", "0", "--timeout", str(PATIENCE),
                               "--limit", str(LIMIT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    port = int(server.stdout.readline().rsplit(":", 1)[1].split("/")[0])

    def memory():
        status = open(f"/proc/{server.pid}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    counts, failures, sizes, took = asyncio.run(ask_all(port, right, args, memory))
    server.send_signal(signal.SIGTERM)
    code, said = server.wait(30), server.stderr.read().strip()
    print(f"{args.network}: {sum(counts[k] for k in KINDS if k in counts)} requests in {took:.0f} s: {counts}")
    print(f"memory after each tenth, in kB: {sizes}; exit code {code}: {said}")
    for failure in failures[:10]:
        print("failed:", *failure)
    if failures or code or "panicked" in said or sizes[-1] > sizes[len(sizes) // 2 - 1] + 4096:
        sys.exit(1)


main()
