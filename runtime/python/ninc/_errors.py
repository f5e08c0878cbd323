"""What goes wrong, as exceptions."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, Optional


class Span(NamedTuple):
    """A place in a model's text: `text[start:end]`, with lines and columns counted from 1."""

    start: int
    end: int
    line: int
    column: int
    end_line: int
    end_column: int


class Label(NamedTuple):
    """A further place that a diagnostic is about, with its note."""

    span: Span
    message: str


class Diagnostic(NamedTuple):
    """Something that is wrong with a model's text, or odd.

    `code` is stable (`ninc help CODE` explains it), `severity` is `"error"` or `"warning"`, `message` is one sentence,
    `help` the way out, where one is known.
    """

    code: str
    severity: str
    message: str
    span: Span
    labels: tuple[Label, ...]
    help: Optional[str]

    def __str__(self) -> str:
        place = f"line {self.span.line}, column {self.span.column}"
        way_out = f"\n  help: {self.help}" if self.help else ""
        return f"{self.severity}[{self.code}]: {self.message} ({place}){way_out}"


class Error(Exception):
    """What went wrong, in one sentence.

    Attributes:
        message: the sentence.
        help: the way out, where one is known.
        code: the code of the first diagnostic of a model's text (`"unknown-function"`), else `None`.
        span: its place in the text, else `None`.
        diagnostics: all diagnostics of the text.
    """

    def __init__(self, message: str, help: str | None = None, diagnostics: tuple[Diagnostic, ...] = ()) -> None:
        super().__init__(message, help, diagnostics)
        self.message = message
        self.help = help
        self.diagnostics = diagnostics
        first = next((d for d in diagnostics if d.severity == "error"), None)
        self.code: str | None = first.code if first else None
        self.span: Span | None = first.span if first else None

    def __str__(self) -> str:
        if self.diagnostics:
            return "\n".join(map(str, self.diagnostics))
        return f"{self.message}\n  help: {self.help}" if self.help else self.message


class UsageError(Error, ValueError):
    """An argument that is wrong or contradicts another one."""


class Interrupted(KeyboardInterrupt):
    """A training that was interrupted, and saved: `ninc.train(…, resume=True)` goes on.

    Attributes:
        steps: the steps that were made.
        checkpoint: the file that was saved.
    """

    def __init__(self, steps: int, checkpoint: str) -> None:
        super().__init__(steps, checkpoint)
        self.steps = steps
        self.checkpoint = checkpoint

    def __str__(self) -> str:
        return f"stopped after step {self.steps}; saved {self.checkpoint}. Go on: resume=True"


class Note(UserWarning):
    """Something that a person should know: how images are prepared where the weights do not say it, and the like."""


# An option in prose: a value behind it is in capital letters or a number; `[=<VALUE>]` may be left out.
_OPTION = re.compile(
    r"'?--(?P<name>[a-z][a-z-]*)(?:\[=<[^>]*>\]|[ =]<(?P<meta>[^>]*)>"
    r"| (?P<value>[A-Z][A-Z0-9,.=-]*…?|-?\d[\d.,e-]*(?<![,.]))|=(?P<joined>[^\s'`,;]+))?'?"
)
_QUOTED = re.compile(r"(`[^`]*`)")
_BARE = re.compile(r"[A-Z<][A-Za-z0-9,.=<>…-]*|-?[0-9][0-9.,e-]*")

# What is there or not.
_FLAGS = {"overwrite", "raw", "resume", "with_preparation", "check_data"}
# What functions call otherwise.
_NAMES = {"maps_by": "by", "maps_of": "of"}


def words(text: str) -> str:
    """Returns a message of the program with options as arguments of functions: `--weights FILE` is `weights=FILE`,
    `--overwrite` is `overwrite=True`, `--set width=96` is `set={"width": 96}`."""

    def prose(found: re.Match[str]) -> str:
        return _argument(found["name"], found["meta"] or found["value"] or found["joined"])

    def part(text: str) -> str:
        # Commands stay what a shell takes.
        if text.startswith("`ninc "):
            return text
        return f"`{_arguments(text[1:-1])}`" if text.startswith("`--") else _OPTION.sub(prose, text)

    return "".join(map(part, _QUOTED.split(text)))


def _arguments(line: str) -> str:
    """Returns words of a command line as arguments."""
    import shlex

    parts: list[str] = []
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    while words:
        name, sign, value = words.pop(0).partition("=")
        if not sign and words and not words[0].startswith("--"):
            value = words.pop(0)
        parts.append(_argument(name.removeprefix("--"), value))
    return ", ".join(parts)


def _argument(option: str, value: str | None) -> str:
    """Returns an option as an argument."""
    name = option.replace("-", "_")
    name = _NAMES.get(name, name)
    if not value:
        return f"{name}=True" if name in _FLAGS else name
    key, sign, of_key = value.partition("=")
    if name in ("set", "rename") and sign:
        return f'{name}={{"{key}": {of_key if _BARE.fullmatch(of_key) else json.dumps(of_key)}}}'
    if not _BARE.fullmatch(value):
        return f"{name}={json.dumps(value, ensure_ascii=False)}"
    return f"{name}=({value.replace(',', ', ')})" if "," in value else f"{name}={value}"


def diagnostics(text: str) -> tuple[Diagnostic, ...]:
    """Reads diagnostics that were written as JSON."""

    def one(d: dict[str, Any]) -> Diagnostic:
        labels = tuple(Label(Span(**label["span"]), words(label["message"])) for label in d["labels"])
        way_out = words(d["help"]) if d["help"] else None
        return Diagnostic(d["code"], d["severity"], words(d["message"]), Span(**d["span"]), labels, way_out)

    return tuple(map(one, json.loads(text)))


def made(usage: bool, message: str, help: str | None, found: str) -> Error:
    """Makes the exception that the native module raises."""
    kind = UsageError if usage else Error
    return kind(words(message), words(help) if help else None, diagnostics(found))
