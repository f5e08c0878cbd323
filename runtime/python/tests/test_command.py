"""The command `ninc` of the package is the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import DIGITS, MODELS, ROOT, SEVEN

import ninc

OWN = [sys.executable, "-m", "ninc"]


def own(*words, **more):
    return subprocess.run([*OWN, *map(str, words)], capture_output=True, text=True, **more)


def test_version_and_exit_codes(tmp_path):
    done = own("--version")
    assert (done.returncode, done.stdout) == (0, f"ninc {ninc.__version__}\n")
    assert own("check", DIGITS).returncode == 0
    wrong = own("check", ROOT / "tests" / "data" / "typo.nin")
    assert wrong.returncode == 1 and "unknown-function" in wrong.stderr
    assert own("check").returncode == 2 and own("chek", "x").returncode == 2
    assert own("help", "conv").returncode == 0


def test_run_classifies():
    done = own("run", DIGITS, SEVEN, "--weights", MODELS / "digits.safetensors", "--top", "1")
    assert done.returncode == 0 and done.stdout.splitlines()[1].split()[0] == "7"


def test_a_closed_pipe_is_no_failure():
    command = f"'{sys.executable}' -m ninc inspect '{DIGITS}' | true; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", command], capture_output=True).returncode == 0


def test_a_shell_asks_for_completions():
    words = {**os.environ, "NINC_COMPLETE": "bash", "_CLAP_COMPLETE_INDEX": "1", "_CLAP_COMPLETE_COMP_TYPE": "9"}
    done = subprocess.run([*OWN, "--", "ninc", "insp"], capture_output=True, text=True, env=words)
    assert done.returncode == 0 and "inspect" in done.stdout, done


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_of_the_command_saves_and_says_how_to_go_on(tmp_path):
    words = [*OWN, "train", str(DIGITS), "--out", str(tmp_path), "--epochs", "100000"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    lines = []
    while not any(line.startswith("epoch 1 ") for line in lines):
        lines.append(child.stderr.readline())
        assert lines[-1], lines
    child.send_signal(signal.SIGINT)
    _, rest = child.communicate(timeout=120)
    assert child.returncode == 130 and (tmp_path / "digits.checkpoint").is_file()
    assert f"ninc train {DIGITS} --out {tmp_path} --epochs 100000 --resume" in rest


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_ends_other_commands(tmp_path):
    child = subprocess.Popen([*OWN, "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) in (-signal.SIGINT, 130)
