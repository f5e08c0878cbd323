"""What the program says besides its results: notes are warnings, the rest goes to the logger `ninc`."""

from __future__ import annotations

import logging
import os
import re
import warnings

from . import _ninc
from ._errors import Note, words

logger = logging.getLogger("ninc")

_HERE = os.path.dirname(__file__) + os.sep
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def told() -> list[str]:
    """Returns what was said since the last call, and makes warnings of notes."""
    all_of_them = []
    for text in _ninc.heard():
        text = _COLOUR.sub("", text)
        if text.startswith(("note: ", "warning: ", "warning[")):
            warn(text)
        else:
            logger.info("%s", text)
            all_of_them.append(text)
    return all_of_them


def warn(text: str) -> None:
    """Warns, at the place outside this package that called it."""
    import sys

    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        level, frame = level + 1, frame.f_back
    warnings.warn(words(text.removeprefix("note: ")), Note, stacklevel=level)
