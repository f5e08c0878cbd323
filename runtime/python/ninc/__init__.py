"""A compiler for Network-In-Network style convolutional networks, as a module.

    import ninc

    model = ninc.load("cifar10.nin", weights="cifar10.safetensors")
    print(model.classify("cat.png"))
    probabilities = model(images)                     # [N, 3, 32, 32] -> [N, 10]

`ninc.train` trains, `ninc.check` says what is wrong with a model's text, and the command `ninc` does all the rest.
"""

from __future__ import annotations

import sys

from . import _ninc

# Parts are imported when they are asked for: a command should not wait for them.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._check import check
    from ._errors import Diagnostic, Error, Interrupted, Label, Note, Span, UsageError
    from ._model import Answer, Guess, Layer, Map, Model, load
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

_PARTS = {
    "_check": ["check"],
    "_errors": ["Diagnostic", "Error", "Interrupted", "Label", "Note", "Span", "UsageError"],
    "_model": ["Answer", "Guess", "Layer", "Map", "Model", "load"],
    "_training": ["Training", "train"],
}


def __getattr__(name: str) -> object:
    for part, names in _PARTS.items():
        if name in names:
            __import__(f"{__name__}.{part}")
            value = getattr(sys.modules[f"{__name__}.{part}"], name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
