"""`starter.py up`: everything on this machine."""

from cyclopts import App

from drumbeat.cli.parameters import example
from drumbeat.machine import up as machine
from drumbeat.settings import Settings

commands = App(
    name="up",
    help_epilogue=example("starter.py up --example"),
)


@commands.default
async def up(*, example: bool = False) -> int:
    """Start everything on this machine, and stop it all on Ctrl-C.

    Temporal server and UI, worker, Command Center and a local mail server: nothing leaves the
    machine. Everything that is written lies in DRUMBEAT_HOME.

    Args:
        example: Also enroll the example's people.
    """
    return await machine.up(Settings(), example=example)
