"""`starter.py up`: everything on this machine."""

from cyclopts import App

from drumbeat.cli.errors import CommandRefused
from drumbeat.cli.parameters import example
from drumbeat.machine import up as machine
from drumbeat.reps import read_reps
from drumbeat.settings import Settings

commands = App(
    name="up",
    help_epilogue=example("starter.py up --example"),
)


@commands.default
async def up(*, example: bool = False) -> int:
    """Start everything on this machine, and stop it all on Ctrl-C.

    Temporal server and UI, worker, Command Center and a local mail server: nothing leaves the
    machine. Everything that is written lies in DRUMBEAT_HOME. Reps and mailboxes come from the file
    that DRUMBEAT_REPS names.

    Args:
        example: Also enroll the example's people, with the example's reps.
    """
    settings = Settings()
    if not example:
        _refuse_bad_reps(settings)
    return await machine.up(settings, example=example)


def _refuse_bad_reps(settings: Settings) -> None:
    """Say at once what the worker would die of, again and again."""
    local = settings.local_smtp or f"smtp://127.0.0.1:{settings.smtp_port}"
    lines = [str(fault) for fault in read_reps(settings.reps, local_smtp=local).faults]
    if lines and not settings.reps.exists():
        lines[0] += "; `starter.py up --example` has reps of its own"
    if lines:
        raise CommandRefused(*lines)
