"""Keyword arguments as options of the command line, which checks them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any


def option_words(options: Mapping[str, Any]) -> list[str]:
    """Returns the words of options: `freeze=["a", "b"]` is `--freeze a --freeze b`, `True` a flag, `set={"width": 96}`
    is `--set width=96`; `None` and `False` are left out."""
    words: list[str] = []
    for name, value in options.items():
        option = "--" + name.rstrip("_").replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            words.append(option)
        elif isinstance(value, Mapping):
            for key, one in value.items():
                words += [option, f"{key}={text(one)}"]
        elif isinstance(value, (list, set, frozenset)):
            for one in value:
                words += [option, text(one)]
        else:
            # Behind the sign a value may begin with a dash.
            words.append(f"{option}={text(value)}")
    return words


def text(value: Any) -> str:
    """Returns a value as it is typed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ",".join(map(text, value))
    return str(value)


def file_word(file: Any) -> str:
    """Returns the path of a file as a word that is no option."""
    path = os.fsdecode(os.fspath(file))
    return os.path.join(".", path) if path.startswith("-") else path
