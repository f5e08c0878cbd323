"""Training: history, callbacks, interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import DIGITS, MODELS, SEVEN, run

import ninc

QUICK = {"steps": 60, "batch": 32, "threads": 2}


def test_a_training_gives_history_and_weights(tmp_path, images):
    seen, steps = [], []
    told = {"callback": seen.append, "on_step": steps.append, "progress": False}
    made = ninc.train(DIGITS, out=tmp_path, epochs=2, test_every=1, **told)
    assert seen == made.epochs and [round(e["epoch"]) for e in seen] == [1, 2]
    assert made.history["loss"] == [e["loss"] for e in seen] and "test_error" in made.history
    assert len(steps) == made.steps == steps[-1]["total_steps"]
    assert 0 <= made.accuracy <= made.top5 <= 1 and made.count == sum(map(sum, made.confusion)) == 360
    right = sum(made.confusion[i][i] for i in range(10))
    assert made.accuracy == pytest.approx(right / made.count)
    assert Path(made.weights).is_file() and Path(made.report).is_file() and not made.stopped
    model = made.model(threads=1)
    assert model.weights == made.weights and model(images).shape == (5, 10)
    assert "accuracy" in repr(made) and "<svg" in made._repr_html_()


def test_the_weights_are_those_of_the_command(tmp_path):
    ninc.train(DIGITS, out=tmp_path / "a", progress=False, **QUICK)
    run("train", DIGITS, "--out", tmp_path / "b", "--steps", 60, "--batch", 32, "--threads", 2)
    assert (tmp_path / "a" / "digits.safetensors").read_bytes() == (tmp_path / "b" / "digits.safetensors").read_bytes()


def test_a_callback_stops_a_training_that_goes_on_to_the_same_bits(tmp_path):
    whole = ninc.train(DIGITS, out=tmp_path / "whole", progress=False, **QUICK)
    stopped = ninc.train(DIGITS, out=tmp_path / "parts", progress=False, on_step=lambda s: s["step"] == 17, **QUICK)
    assert stopped.stopped and stopped.steps == 17 and stopped.accuracy is None
    assert stopped.weights is None and stopped.report is None and Path(stopped.checkpoint).is_file()
    with pytest.raises(ninc.Error, match="stopped before it had weights"):
        stopped.model()
    assert "stopped" in repr(stopped)
    resumed = ninc.train(DIGITS, out=tmp_path / "parts", progress=False, resume=True, **QUICK)
    assert not resumed.stopped and resumed.steps == whole.steps
    assert Path(whole.weights).read_bytes() == Path(resumed.weights).read_bytes()


@pytest.mark.parametrize("answer", [np.True_, 1, [0]])
def test_whatever_is_true_stops_a_training(tmp_path, answer):
    made = ninc.train(DIGITS, out=tmp_path, progress=False, callback=lambda epoch: answer, epochs=5)
    assert made.stopped and len(made.epochs) == 1


@pytest.mark.parametrize("name", ["callback", "on_step"])
def test_what_cannot_be_called_is_refused_before_the_training(tmp_path, name):
    with pytest.raises(ninc.UsageError, match=f"{name}=3 cannot be called"):
        ninc.train(DIGITS, out=tmp_path / "none", progress=False, **{name: 3})
    assert not (tmp_path / "none").exists()


def test_a_training_that_goes_on_knows_its_epochs(tmp_path):
    words = {"progress": False, "epochs": 4, "test_every": 1}
    whole = ninc.train(DIGITS, out=tmp_path / "whole", **words)
    first = ninc.train(DIGITS, out=tmp_path / "parts", callback=lambda e: round(e["epoch"]) == 2, **words)
    assert first.epochs == whole.epochs[:2]
    seen = []
    second = ninc.train(DIGITS, out=tmp_path / "parts", resume=True, callback=seen.append, **words)
    assert second.epochs == whole.epochs and seen == whole.epochs[2:]
    again = ninc.train(DIGITS, out=tmp_path / "parts", resume=True, **words)
    assert again.epochs == whole.epochs and again.history == whole.history


def test_what_a_callback_raises_comes_out_when_the_training_is_saved(tmp_path):
    def fail(step):
        if step["step"] == 5:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        ninc.train(DIGITS, out=tmp_path, progress=False, on_step=fail, **QUICK)
    assert ninc.train(DIGITS, out=tmp_path, progress=False, resume=True, **QUICK).steps == 60


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_saves(tmp_path):
    asked = threading.Event()

    def interrupt(step):
        if step["step"] == 9 and not asked.is_set():
            asked.set()
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        ninc.train(DIGITS, out=tmp_path, progress=False, on_step=interrupt, **QUICK)
    assert isinstance(caught.value, ninc.Interrupted)
    assert 9 <= caught.value.steps < 60 and Path(caught.value.checkpoint).is_file()
    assert ninc.train(DIGITS, out=tmp_path, progress=False, resume=True, **QUICK).steps == 60


def test_work_is_not_overwritten(tmp_path):
    ninc.train(DIGITS, out=tmp_path, progress=False, **QUICK)
    with pytest.raises(ninc.Error, match="digits") as caught:
        ninc.train(DIGITS, out=tmp_path, progress=False, **QUICK)
    assert "to replace it: `overwrite=True`" in caught.value.help and "--" not in caught.value.help
    assert "ninc" not in caught.value.help.replace(str(tmp_path), "")
    ninc.train(DIGITS, out=tmp_path, progress=False, overwrite=True, **QUICK)


@pytest.mark.parametrize(
    "words,says",
    [
        ({"epochs": -1}, "epochs"),
        ({"epochs": 1, "steps": 2}, "epochs"),
        ({"resume": True}, "no checkpoint"),
        ({"preview": "x.png"}, "preview"),
        ({"freeze": ["nothing"]}, "nothing"),
        ({"freeze": ["-x"]}, "freeze -x fits no layer"),
        ({"hurry": True}, "hurry"),
    ],
)
def test_arguments_that_are_wrong(tmp_path, words, says):
    with pytest.raises(ninc.Error, match=says):
        ninc.train(DIGITS, out=tmp_path, progress=False, **words)


def test_lines_on_a_terminal(tmp_path):
    code = f"import ninc; ninc.train({str(DIGITS)!r}, out={str(tmp_path)!r}, epochs=1, progress=True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "", done
    assert "epoch 1" in done.stderr and "1,437 training" in done.stderr
    quiet = code.replace("progress=True", "overwrite=True")
    done = subprocess.run([sys.executable, "-c", quiet], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_page_of_a_training_is_well_formed():
    import xml.dom.minidom

    from ninc._progress import page

    one = {"accuracy": 0.5, "rate": 0.1}
    epochs = [{**one, "epoch": float(n), "loss": 1 / n, "valid_loss": 2 / n} for n in range(1, 40)]
    for some in ([], epochs[:1], epochs, [{**epochs[0], "loss": float("nan")}, epochs[1]]):
        text = page("a<b", some, "a < b & c", 0.5)
        xml.dom.minidom.parseString(text)
    assert "…" in page("", epochs, "", None) and page("", epochs, "", None).count("<tr>") < 20
    assert np.isfinite(len(text)) and SEVEN.is_file()


def test_a_callback_may_load_and_use_networks(tmp_path, images):
    answers = []

    def look(epoch):
        answers.append(ninc.load(DIGITS, weights=MODELS / "digits.safetensors")(images))

    ninc.train(DIGITS, out=tmp_path, epochs=2, callback=look, progress=False)
    assert len(answers) == 2 and (answers[0] == answers[1]).all()
