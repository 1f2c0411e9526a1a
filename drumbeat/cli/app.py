"""What `starter.py` runs: finds the command, carries it out, and says how it ended.

A command module holds an `App` of cyclopts named `commands`, and a line in `COMMANDS` below makes
it known. A single command is its default; a group has one function for each:

    commands = App(name="task", help="The rep's queue.")

    @commands.command(name="list", help_epilogue=example("starter.py task list --json"))
    async def list_tasks(*, json: Json = False) -> None:
        async with Context() as context:
            store = await context.store()
            ...

Commands are `def` or `async def`. They raise what `drumbeat.cli.errors` knows when they are
refused, and may return an exit status; none is 0.
"""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from drumbeat.cli.errors import report
from drumbeat.cli.output import ReaderGone, complain, flush

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

COMMANDS = {
    "block": "drumbeat.cli.block",
    "campaign": "drumbeat.cli.campaign",
    "check": "drumbeat.cli.check",
    "enroll": "drumbeat.cli.enroll",
    "mailbox": "drumbeat.cli.mailbox",
    "person": "drumbeat.cli.person",
    "preview": "drumbeat.cli.preview",
    "suppress": "drumbeat.cli.suppress",
    "task": "drumbeat.cli.task",
    "up": "drumbeat.cli.up",
    "user": "drumbeat.cli.user",
    "validate": "drumbeat.cli.validate",
}
"""The first word of a command -> the module whose `commands` carry it out."""


def main(arguments: Sequence[str]) -> int:
    """Carry out one command.

    Args:
        arguments: What stands behind `starter.py`.

    Returns:
        The exit status (SPEC section 8): 0 done, 1 refused or failed, 2 usage; 130 after Ctrl-C.
    """
    try:
        status = _run(list(arguments))
        flush()
        return status
    except CycloptsError as error:
        complain(_usage(error))
        return USAGE
    except ReaderGone:  # such as `| head`: nobody is left to be told
        return DONE
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except Exception as error:
        for line in report(error):
            complain(line)
        return FAILED


def _run(arguments: list[str]) -> int:
    command, bound, _ = _app(arguments).parse_args(arguments)
    if _asks_for_help(command):
        try:
            command(*bound.args, **bound.kwargs)
        except SystemExit:  # rich's answer to a reader who has gone
            raise ReaderGone from None
        # Without a command there was nothing to do: that is no success.
        return DONE if {"--help", "-h"} & set(arguments) else USAGE
    status = command(*bound.args, **bound.kwargs)
    if inspect.iscoroutine(status):
        status = asyncio.run(status)
    return DONE if status is None else int(status)


def _app(arguments: Sequence[str]) -> App:
    """The whole command line; of the modules, only the one that is asked for is imported."""
    app = App(
        name="starter.py",
        help="Drumbeat: sales campaigns as durable workflows.",
        help_epilogue="`starter.py COMMAND --help` says what a command does, with an example.",
        default_parameter=Parameter(negative=()),
        version_flags=(),
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    asked = [name for name in arguments[:1] if name in COMMANDS]
    for name in asked or COMMANDS:
        app.command(import_module(COMMANDS[name]).commands)
    return app


def _asks_for_help(command: Callable[..., Any]) -> bool:
    return getattr(command, "__func__", None) is App.help_print


def _usage(error: CycloptsError) -> str:
    words = " ".join(("starter.py", *(error.command_chain or ())))
    return f"{' '.join(str(error).split())} See {words} --help"
