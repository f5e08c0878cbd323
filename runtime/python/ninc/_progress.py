"""How a training goes, for people: lines on a terminal, a table with a curve in a notebook."""

from __future__ import annotations

import html
import sys
from typing import Any, Protocol

# Columns of an epoch: what is measured, its heading, how it is written.
_COLUMNS = [
    ("epoch", "epoch", "{:.4g}"),
    ("loss", "loss", "{:.4f}"),
    ("accuracy", "accuracy", "{:.2%}"),
    ("valid_loss", "valid loss", "{:.4f}"),
    ("valid_accuracy", "valid accuracy", "{:.2%}"),
    ("test_loss", "test loss", "{:.4f}"),
    ("test_error", "test error", "{:.2%}"),
    ("rate", "rate", "{:.4g}"),
]

# Rows of the table before it shows the first and the last ones only.
_ROWS = 12

# Colours and letters are the notebook's own where it says them.
_STYLE = """
.ninc-training { color: var(--jp-ui-font-color1, inherit); font: 13px/1.5 system-ui, sans-serif; max-width: 46rem;
  overflow-x: auto }
.ninc-training table { border-collapse: collapse; margin: .4rem 0 }
.ninc-training th, .ninc-training td { text-align: right; padding: .1rem .6rem; font-variant-numeric: tabular-nums;
  border-bottom: 1px solid rgba(128, 128, 128, .35); background: none; white-space: nowrap }
.ninc-training progress { width: 100%; height: .6rem; accent-color: #1f77b4 }
.ninc-training svg { display: block; width: 100%; max-width: 30rem; height: auto }
.ninc-training .loss { stroke: #1f77b4; fill: none; stroke-width: 2 }
.ninc-training .valid { stroke: #d95f0e; fill: none; stroke-width: 2; stroke-dasharray: 5 3 }
.ninc-training .test { stroke: #7a8a1a; fill: none; stroke-width: 2; stroke-dasharray: 1 3 }
.ninc-training text { fill: currentColor; font: 11px system-ui, sans-serif }
.ninc-training .axis { stroke: currentColor; opacity: .4; fill: none }
"""


class Shown(Protocol):
    """Hears how a training goes."""

    def say(self, text: str) -> None:
        """Tells something besides the numbers."""

    def step(self, numbers: dict[str, Any]) -> None:
        """Is called now and then after a step."""

    def epoch(self, epochs: list[dict[str, Any]]) -> None:
        """Is called after each epoch with the numbers of all."""

    def end(self, epochs: list[dict[str, Any]]) -> None:
        """Is called at the end, whatever it was."""


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None: ...

    def step(self, numbers: dict[str, Any]) -> None: ...

    def epoch(self, epochs: list[dict[str, Any]]) -> None: ...

    def end(self, epochs: list[dict[str, Any]]) -> None: ...


class Lines(Silent):
    """Prints a line for each epoch on stderr."""

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def epoch(self, epochs: list[dict[str, Any]]) -> None:
        shown = (f"{heading} {form.format(epochs[-1][name])}" for name, heading, form in _present(epochs[-1:]))
        self.say("  ".join(shown))


class Notebook(Silent):
    """Shows a bar, a curve and a table in a notebook's cell, which change while the training goes."""

    def __init__(self) -> None:
        from importlib import import_module

        # IPython says nothing of types.
        notebook: Any = import_module("IPython.display")
        self._make, display = notebook.HTML, notebook.display
        self._lines: list[str] = []
        self._epochs: list[dict[str, Any]] = []
        self._handle: Any = display(self._make(page("", [], "compiling", None)), display_id=True)

    def say(self, text: str) -> None:
        self._lines += text.splitlines()

    def step(self, numbers: dict[str, Any]) -> None:
        part = numbers["step"] / max(numbers["total_steps"], 1)
        text = f"step {numbers['step']:,} of {numbers['total_steps']:,}, loss {numbers['step_loss']:.4f}"
        self._show(text, part)

    def epoch(self, epochs: list[dict[str, Any]]) -> None:
        self._epochs = epochs

    def end(self, epochs: list[dict[str, Any]]) -> None:
        self._epochs = epochs
        self._show(self._lines[0] if self._lines else "", None)

    def _show(self, text: str, part: float | None) -> None:
        if self._handle is not None:
            self._handle.update(self._make(page("", self._epochs, text, part)))


def shown(wanted: bool | None) -> Shown:
    """Chooses how a training is shown: unless it is said, in notebooks and on terminals."""
    if wanted is False:
        return Silent()
    shell = sys.modules.get("IPython")
    shell = shell.get_ipython() if shell is not None else None
    if shell is not None and hasattr(shell, "kernel"):
        return Notebook()
    return Lines() if wanted or sys.stderr.isatty() else Silent()


def _present(epochs: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [column for column in _COLUMNS if any(epoch.get(column[0]) is not None for epoch in epochs)]


def page(name: str, epochs: list[dict[str, Any]], text: str, part: float | None) -> str:
    """Returns a training as HTML: a sentence, a bar where `part` of it is done, the curve of the losses, and a table."""
    parts = [f"<div class='ninc-training'><style>{_STYLE}</style>"]
    if text:
        parts.append(f"<div role='status'>{html.escape(text)}</div>")
    if part is not None:
        parts.append(f"<progress max='1' value='{part:.4f}' aria-label='steps done'></progress>")
    if len(epochs) > 1:
        parts.append(_curve(epochs))
    if epochs:
        parts.append(_table(epochs))
    return "".join(parts) + "</div>"


def _table(epochs: list[dict[str, Any]]) -> str:
    columns = _present(epochs)
    rows = ["<tr>" + "".join(f"<th scope='col'>{heading}</th>" for _, heading, _ in columns) + "</tr>"]
    for number, epoch in enumerate(epochs):
        # Of many the first two and the last ones are shown.
        if 2 <= number < len(epochs) - _ROWS + 3:
            if number == 2:
                rows.append(f"<tr><td colspan='{len(columns)}'>…</td></tr>")
            continue
        cells = ("" if epoch.get(n) is None else form.format(epoch[n]) for n, _, form in columns)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "<table>" + "".join(rows) + "</table>"


def _curve(epochs: list[dict[str, Any]]) -> str:
    width, height, left, below = 480, 150, 44, 20
    lines = {"loss": "loss", "valid_loss": "valid", "test_loss": "test"}
    words = {"loss": "loss", "valid_loss": "dashed: validation", "test_loss": "dotted: test"}
    found = {name: [(e["epoch"], e[name]) for e in epochs if e.get(name) is not None] for name in lines}
    # What is not a number, or endless, has no place on the curve.
    found = {name: [(x, y) for x, y in points if -1e30 < y < 1e30] for name, points in found.items()}
    values = [y for points in found.values() for _, y in points]
    if not values:
        return ""
    low, high = min(*values, 0.0), max(values)
    first, last = epochs[0]["epoch"], epochs[-1]["epoch"]

    def place(x: float, y: float) -> str:
        across = left + (width - left - 8) * (x - first) / ((last - first) or 1)
        down = 8 + (height - below - 8) * (high - y) / ((high - low) or 1)
        return f"{across:.1f},{down:.1f}"

    drawn = [
        f"<polyline class='{lines[name]}' points='{' '.join(place(x, y) for x, y in points)}'/>"
        for name, points in found.items()
        if points
    ]
    bottom = height - below
    legend = ", ".join(words[name] for name, points in found.items() if points)
    return (
        f"<svg viewBox='0 0 {width} {height}' role='img' aria-label='{legend}, epoch {first:.4g} to {last:.4g}'>"
        f"<path class='axis' d='M{left},8 V{bottom} H{width - 8}'/>"
        f"<text x='{left - 4}' y='14' text-anchor='end'>{high:.3g}</text>"
        f"<text x='{left - 4}' y='{bottom}' text-anchor='end'>{low:.3g}</text>"
        f"<text x='{left}' y='{height - 4}'>{first:.4g}</text>"
        f"<text x='{width - 8}' y='{height - 4}' text-anchor='end'>epoch {last:.4g}</text>"
        f"<text x='{(left + width) / 2}' y='{height - 4}' text-anchor='middle'>{legend}</text>{''.join(drawn)}</svg>"
    )
