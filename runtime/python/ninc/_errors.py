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


_OPTION = re.compile(r"'?--([a-z][a-z-]*)(?:[ =]<?([A-Z][A-Za-z0-9,.=-]*…?)>?)?'?")
_COMMAND = re.compile(r"(`ninc [^`]*`)")


def words(text: str) -> str:
    """Returns a message of the program with options as arguments of functions: `--weights FILE` is `weights=FILE`."""

    def argument(found: re.Match[str]) -> str:
        return f"{found[1].replace('-', '_')}={found[2] or ''}"

    # Commands stay what a shell takes.
    parts = _COMMAND.split(text)
    return "".join(part if part.startswith("`ninc ") else _OPTION.sub(argument, part) for part in parts)


def diagnostics(text: str) -> tuple[Diagnostic, ...]:
    """Reads diagnostics that were written as JSON."""

    def one(d: dict[str, Any]) -> Diagnostic:
        labels = tuple(Label(Span(**label["span"]), label["message"]) for label in d["labels"])
        return Diagnostic(d["code"], d["severity"], d["message"], Span(**d["span"]), labels, d["help"])

    return tuple(map(one, json.loads(text)))


def made(usage: bool, message: str, help: str | None, found: str) -> Error:
    """Makes the exception that the native module raises."""
    kind = UsageError if usage else Error
    return kind(words(message), words(help) if help else None, diagnostics(found))
