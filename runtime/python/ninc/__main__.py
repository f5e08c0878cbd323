"""`python -m ninc` is the command `ninc`."""

from ninc._command import main

main()
