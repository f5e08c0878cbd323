"""Training."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

from . import _ninc, _progress
from ._errors import Error, Interrupted, UsageError
from ._notes import told
from ._options import file_word, found_path, option_words, several

if TYPE_CHECKING:
    from ._model import Model

    Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


class Training:
    """How a training went.

    Attributes:
        epochs: a dictionary for each epoch: `epoch`, `step`, `loss`, `accuracy`, `rate`, and, where they are measured,
            `valid_loss`, `valid_accuracy`, `test_loss`, `test_error`; after a resume those before it too.
        stopped: the callback stopped it before its end: `train(…, resume=True)` goes on.
        early: it ended before its length because the recipe's `early_stop` says so.
        steps: steps that were made, those before a resume included.
        accuracy, top5, loss: of the test part: fractions from 0 to 1, mean cross-entropy; `None` where it was stopped.
        confusion: how many images of the test part with the label [row] got the answer [column].
        classes: what rows and columns are called.
        weights: the file of the weights: those of the best epoch on the validation part, where there is one; `None`
            where it was stopped.
        best_epoch: that epoch, counted from 1.
        checkpoint: the file that `resume` goes on from.
        report: the page about the training.
    """

    def __init__(
        self, file: Path, options: Mapping[str, Any], epochs: list[dict[str, Any]], found: dict[str, Any]
    ) -> None:
        self._file = file
        shared = ("threads", "precision", "set", "device")
        self._options = {name: options[name] for name in shared if options.get(name) is not None}
        self.epochs = epochs
        self.name: str = found["name"]
        self.stopped: bool = found["stopped"]
        self.early: bool = found["early"]
        self.steps: int = found["steps"]
        self.accuracy: float | None = found["accuracy"]
        self.top5: float | None = found["top5"]
        self.loss: float | None = found["loss"]
        self.count: int = found["count"]
        self.confusion: list[list[int]] = found["confusion"]
        self.classes: tuple[str, ...] = tuple(found["classes"])
        self.weights: str | None = found_path(found["weights"])
        self.best_epoch: int | None = found["best_epoch"]
        self.checkpoint: str = found_path(found["checkpoint"])
        self.report: str | None = found_path(found["report"])

    @property
    def history(self) -> dict[str, list[Any]]:
        """The epochs' numbers as lists, as Keras has them: `history["loss"][0]`."""
        names = list(dict.fromkeys(name for epoch in self.epochs for name in epoch))
        return {name: [epoch.get(name) for epoch in self.epochs] for name in names}

    def model(self, **options: Any) -> Model:
        """Returns the network with the weights that it learned, ready to answer; options are those of `load`."""
        from ._model import load

        if self.weights is None and "weights" not in options:
            raise Error("the training was stopped before it had weights", "`train(…, resume=True)` goes on with it")
        return load(self._file, **{"weights": self.weights, **self._options, **options})

    def __repr__(self) -> str:
        if self.accuracy is None:
            return f"<ninc.Training of {self.name}: stopped after step {self.steps:,}>"
        return f"<ninc.Training of {self.name}: test accuracy {self.accuracy:.2%}, {self.steps:,} steps>"

    def _repr_html_(self) -> str:
        return _progress.page(self.name, self.epochs, repr(self)[1:-1].removeprefix("ninc."), None)


def train(
    file: Path,
    *,
    data: Path | None = None,
    out: Path | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    batch: int | None = None,
    seed: int | None = None,
    weights: Path | None = None,
    freeze: Sequence[str] | str | None = None,
    resume: bool | Path = False,
    overwrite: bool = False,
    set: Mapping[str, Any] | None = None,
    threads: int | None = None,
    precision: str | None = None,
    device: str | None = None,
    callback: Callable[[dict[str, Any]], Any] | None = None,
    on_step: Callable[[dict[str, Any]], Any] | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Training:
    """Trains a network, as `ninc train` does: weights, log, checkpoint and a report go into `out`.

    Ctrl-C, or stopping a notebook's cell, finishes the step and saves, then raises `ninc.Interrupted`, a
    `KeyboardInterrupt`; with `resume=True` the training goes on to the bits that it would have had.

    Args:
        file: the model file.
        data: file or folder of the data, where the model does not say it.
        out: folder of what is written; `out` unless said.
        epochs, steps, batch, seed: instead of the recipe's.
        weights: weights to start from; what has no counterpart in the network starts anew.
        freeze: layers or parameters that stay as they are: `["block1", "*.bias"]`.
        resume: go on from the checkpoint in `out`, or from this one.
        overwrite: replace what an earlier training left in `out` under the network's name.
        set: parameters of the network: `{"width": 96}`.
        threads, precision, device: as in `load`; precision unless said as the recipe has it.
        callback: called after each epoch with its numbers, a dictionary as in `Training.epochs`. If what it returns is
            true, the training is saved and stops; what it raises is raised here, when the training has been saved.
        on_step: the same after each step: `step`, `total_steps`, `steps_per_epoch`, `images`, `step_loss`, `loss`,
            `accuracy`, `rate`.
        progress: show how it goes; unless said in a notebook and on a terminal.
        options: further options of `ninc train`: `test_every=1`, `checkpoint_every="10min"`, `keep=3`.
    """
    for name, called in (("callback", callback), ("on_step", on_step)):
        if called is not None and not callable(called):
            raise UsageError(f"{name}={called!r} cannot be called", "give a function of one argument, a dictionary")
    given = {
        "data": data,
        "out": out,
        "epochs": epochs,
        "steps": steps,
        "batch": batch,
        "seed": seed,
        "weights": weights,
        "freeze": several(freeze),
        "resume": resume,
        "overwrite": overwrite,
        "set": set,
        "threads": threads,
        "precision": precision,
        "device": device,
        **options,
    }
    shown = _progress.shown(progress)
    done: list[dict[str, Any]] = []

    def watch(event: str, text: str) -> bool:
        for line in told():
            shown.say(line)
        if event == "note":
            from ._notes import warn

            warn(text)
            return False
        numbers = json.loads(text)
        if event == "step":
            shown.step(numbers)
            return on_step is not None and bool(on_step(numbers))
        numbers.pop("event", None)
        done.append(numbers)
        shown.epoch(done)
        return callback is not None and bool(callback(dict(numbers)))

    try:
        found = json.loads(_ninc.train([file_word(file), *option_words(given)], watch, on_step is not None))
    finally:
        for line in told():
            shown.say(line)
        shown.end(done)
    if found["interrupted"]:
        raise Interrupted(found["steps"], found_path(found["checkpoint"]))
    if resume:
        first = done[0]["step"] if done else found["steps"] + 1
        earlier = ({k: v for k, v in epoch.items() if k != "event"} for epoch in found["epochs"])
        done = [epoch for epoch in earlier if epoch["step"] < first] + done
    return Training(file, given, done, found)
