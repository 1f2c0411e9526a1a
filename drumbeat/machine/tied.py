"""Runs a command that dies with the process that started it, even when that one is killed.

`python tied.py PARENT COMMAND…` asks the Linux kernel for SIGKILL at the parent's death and becomes
the command. It is a program of its own, and not a function between fork and exec, because the
parent has threads. Other systems know no such request: there a killed parent leaves its parts.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before the request
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
