"""A compiler for Network-In-Network style convolutional networks, as a module.

    import ninc

    model = ninc.load("cifar10.nin", weights="cifar10.safetensors")
    print(model.classify("cat.png"))
    probabilities = model(images)                     # [N, 3, 32, 32] -> [N, 10]

`ninc.train` trains, `ninc.check` says what is wrong with a model's text, and the command `ninc` does all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _ninc
from ._errors import Diagnostic, Error, Interrupted, Label, Note, Span, UsageError
from ._errors import diagnostics as _diagnostics
from ._model import Answer, Guess, Layer, Map, Model, load
from ._options import text as _text
from ._training import Training, train

__version__: str = _ninc.__version__

_ninc.is_in(_ninc.__file__)

__all__ = [
    "Answer",
    "Diagnostic",
    "Error",
    "Guess",
    "Interrupted",
    "Label",
    "Layer",
    "Map",
    "Model",
    "Note",
    "Span",
    "Training",
    "UsageError",
    "check",
    "load",
    "train",
]


def check(text: str, *, set: Mapping[str, Any] | None = None) -> list[Diagnostic]:
    """Returns all that is wrong with the text of a model file, or odd; nothing where it is right.

    Args:
        text: the text.
        set: parameters of the network that are given values: `{"width": 96}`.
    """
    pairs = [(name, _text(value)) for name, value in (set or {}).items()]
    return list(_diagnostics(_ninc.check(text, pairs)))
