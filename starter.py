"""The one door: `starter.py COMMAND`. `starter.py --help` lists the commands."""

import os
import sys

from drumbeat.cli.app import main

if __name__ == "__main__":
    status = main(sys.argv[1:])
    # Not sys.exit: a process that used Temporal's client may crash at the interpreter's own end,
    # and lose its exit status there (sdk-python issue 300). `main` has flushed what was printed.
    os._exit(status)
