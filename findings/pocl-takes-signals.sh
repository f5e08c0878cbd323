#!/usr/bin/env bash
# A program that opens an OpenCL context on PoCL has handlers for six signals that it never set, and a handler that it
# sets later, and that calls the one before it as libraries for signals do, ends the program.
#
# Versions: PoCL 3.0 (the wheel pocl-binary-distribution 3.0, LLVM 14), PyOpenCL 2025.2.7, Linux x86-64; the same seen
# with Debian's pocl-opencl-icd 3.1 (LLVM 15).
# Input: SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 at their defaults; one context; then a handler for SIGTERM that calls
# its predecessor and returns, and one that only returns; the process sends itself SIGTERM.
# A good engineer expects: a driver leaves signals to the program, and after either handler the program goes on.
# Seen: all six are caught from the first context on. The handler of LLVM in the driver removes its files, puts the
# defaults back and raises the signal again, so that the first program ends by SIGTERM (-15); the second goes on.
# For ninc: `train`, `sweep` and `serve` take signals before a device is opened (`src/cli/signals.rs`); else Ctrl-C lost
# the training.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pyopencl==2025.2.7 pocl-binary-distribution==3.0
icd=$(find "$place/venv" -name pocl.icd | head -1)
cat >"$place/run.py" <<'PY'
import ctypes
import re
import signal
import sys

import pyopencl

WATCHED = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]


def caught():
    status = open("/proc/self/status").read()
    mask = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
    return [n.name for n in WATCHED if mask >> (n - 1) & 1]


for number in WATCHED:
    signal.signal(number, signal.SIG_DFL)
before = caught()
device = pyopencl.get_platforms()[0].get_devices()[0]
context = pyopencl.Context([device])
print(device.platform.version, before, caught(), flush=True)
assert before == [], before
assert len(caught()) == 6, "the driver takes fewer signals now"

Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)
libc = ctypes.CDLL(None)
libc.signal.restype = ctypes.c_void_p
libc.signal.argtypes = [ctypes.c_int, Handler]


def handle(number):
    if sys.argv[1] == "chained":
        Handler(former)(number)


kept = Handler(handle)
former = libc.signal(signal.SIGTERM, kept)
getattr(libc, "raise")(signal.SIGTERM)
print("goes on", flush=True)
PY
for kind in chained alone; do
    code=0
    OCL_ICD_VENDORS=$(dirname "$icd") "$place/venv/bin/python" "$place/run.py" $kind 2>/dev/null || code=$?
    echo "$kind: exit code $code"
    [ "$code" = "$([ $kind = chained ] && echo 143 || echo 0)" ] || { echo "CHANGED"; exit 1; }
done
