"""The command `ninc`, as the program of that name."""

from __future__ import annotations

import os
import signal
import sys

from . import _ninc


def main() -> None:
    """Does what the words of this process's command line ask for, and ends the process with the exit code."""
    # As a program has it that is not written in Python: Ctrl-C ends it, and a training saves. What a shell has made deaf
    # to it, as a command in the background, stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = _ninc.command(["ninc", *sys.argv[1:]])
    sys.stdout.flush()
    # What threads are left have nothing to say to an interpreter that ends.
    os._exit(code)
