"""What all tests use: the models of the repository, and the program to compare with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
MODELS = ROOT / "models"
DIGITS = MODELS / "digits.nin"
SEVEN = ROOT / "tests" / "data" / "digit-7.png"
CAT = ROOT / "tests" / "data" / "cat.png"

# A shell makes commands in the background deaf to interrupts, and what they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Another program than the one that the package holds, to compare with: NINC names it.
NINC = [os.environ["NINC"]] if "NINC" in os.environ else [sys.executable, "-m", "ninc"]


def run(*words: object, ok: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the program with these words."""
    done = subprocess.run([*NINC, *map(str, words)], capture_output=True, text=True, cwd=cwd)
    assert not ok or done.returncode == 0, done.stderr
    return done


def probabilities(output: str, classes: int) -> np.ndarray:
    """Reads what `ninc run --json` says of all classes, in their order."""
    rows = []
    for line in output.splitlines():
        row = [np.nan] * classes
        for guess in json.loads(line)["top"]:
            row[guess["class"]] = guess["probability"]
        rows.append(row)
    return np.array(rows)


@pytest.fixture(scope="session")
def digits():
    import ninc

    return ninc.load(DIGITS, weights=MODELS / "digits.safetensors")


@pytest.fixture(scope="session")
def cifar10():
    import ninc

    return ninc.load(MODELS / "cifar10.nin", weights=MODELS / "cifar10.safetensors")


@pytest.fixture
def images(digits):
    """Images of digits' shape, 0 to 255."""
    return np.random.default_rng(1).integers(0, 256, (5, *digits.image_shape), dtype=np.uint8)
