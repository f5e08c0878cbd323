"""What is wrong with the text of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _ninc
from ._errors import Diagnostic, diagnostics
from ._options import text as typed


def check(text: str, *, set: Mapping[str, Any] | None = None) -> list[Diagnostic]:
    """Returns all that is wrong with the text of a model file, or odd; nothing where it is right.

    Args:
        text: the text.
        set: parameters of the network that are given values: `{"width": 96}`.
    """
    pairs = [(name, typed(value)) for name, value in (set or {}).items()]
    return list(diagnostics(_ninc.check(text, pairs)))
