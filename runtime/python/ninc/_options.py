"""Keyword arguments as options of the command line, which checks them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any


def option_words(options: Mapping[str, Any]) -> list[str]:
    """Returns the words of options: `freeze=["a", "b"]` is `--freeze=a --freeze=b`, `True` a flag, `set={"width": 96}`
    is `--set=width=96`; `None` and `False` are left out."""
    words: list[str] = []
    for name, value in options.items():
        option = "--" + name.rstrip("_").replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            words.append(option)
        elif isinstance(value, Mapping):
            words += [f"{option}={key}={text(one)}" for key, one in value.items()]
        elif isinstance(value, (list, set, frozenset)):
            words += [f"{option}={text(one)}" for one in value]
        else:
            # Behind the sign a value may begin with a dash.
            words.append(f"{option}={text(value)}")
    return words


def several(value: Any) -> Any:
    """Returns a list of what may be one or many: a text is one."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else value


def pair(value: Any) -> Any:
    """Returns numbers that belong together as one value, not as many; a text is as it is typed."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else value


def found_path(path: Any) -> Any:
    """Returns a path that the native module found: one that is no text comes as its bytes."""
    return os.fsdecode(bytes(path)) if isinstance(path, list) else path


def text(value: Any) -> str:
    """Returns a value as it is typed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, os.PathLike)):
        return os.fsdecode(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ",".join(map(text, value))
    return str(value)


def file_word(file: Any) -> str:
    """Returns the path of a file as a word that is no option."""
    path = os.fsdecode(os.fspath(file))
    return os.path.join(".", path) if path.startswith("-") else path
