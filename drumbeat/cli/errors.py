"""The one place that turns errors into the lines that a command ends with."""

import os
import secrets
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pydantic

from drumbeat.actions.reps_file import RepsFileFaulty
from drumbeat.settings import Settings


class CommandRefused(Exception):
    """A command that cannot be carried out; each line is one clear sentence."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines: Sequence[str] = lines


def report(error: Exception) -> Sequence[str]:
    """What to print on standard error for what a command raised: one line, of faults several.

    An error that nobody foresaw is noted in the home's logs; with DRUMBEAT_DEBUG set its traceback
    is printed instead.
    """
    if os.environ.get("DRUMBEAT_DEBUG"):
        return ["".join(traceback.format_exception(error)).rstrip()]
    if isinstance(error, (CommandRefused, RepsFileFaulty)):
        return error.lines
    if isinstance(error, pydantic.ValidationError) and error.title == Settings.__name__:
        return [_setting(error)]
    if isinstance(error, OSError) and error.filename is not None:
        return [f"{os.fspath(error.filename)!s}: {_reason(error)}"]
    foreseen = _foreseen(error)
    return [" ".join(foreseen.split())] if foreseen is not None else [_incident(error)]


def _foreseen(error: Exception) -> str | None:
    # Imported here: a command that ends well needs few of them.
    from temporalio.client import WorkflowUpdateFailedError
    from temporalio.service import RPCError

    from drumbeat.actions.errors import ActionError
    from drumbeat.campaign.planning import LaunchError
    from drumbeat.reps import MailboxError
    from drumbeat.store.errors import StoreError
    from drumbeat.temporal.client import TemporalUnreachable
    from drumbeat.web.starting import StartRefused

    foreseen = (
        ActionError,
        LaunchError,
        MailboxError,
        StartRefused,
        StoreError,
        TemporalUnreachable,
    )
    if isinstance(error, foreseen):
        return str(error)
    if isinstance(error, WorkflowUpdateFailedError):
        return str(error.cause)
    if isinstance(error, RPCError):
        return f"Temporal did not do it ({error.status.name}): try again"
    return None


def _setting(error: pydantic.ValidationError) -> str:
    """The setting that cannot be used, by the name under which it is set."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = "_".join(str(part) for part in first["loc"]).upper()
    return f"DRUMBEAT_{name}: {first['msg']}"


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _incident(error: Exception) -> str:
    """Note an error that nobody foresaw; the line that tells of it.

    The note holds types and places only: an error's own words may hold a person's data.
    """
    number = secrets.token_hex(4)
    line = f"unexpected trouble ({type(error).__name__}), incident {number}: "
    try:
        log = _log()
        with log.open("a", encoding="utf-8") as file:
            file.write(_note(number, error))
    except (OSError, pydantic.ValidationError):
        return line + "run it again with DRUMBEAT_DEBUG=1 to see where"
    return line + f"see {log}, or run it again with DRUMBEAT_DEBUG=1"


def _log() -> Path:
    folder = Settings().home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "incidents.log"


def _note(number: str, error: BaseException) -> str:
    lines = [f"{datetime.now(UTC).isoformat(timespec='seconds')} incident {number}\n"]
    cause: BaseException | None = error
    while cause is not None:
        lines += [f"{type(cause).__module__}.{type(cause).__qualname__}\n"]
        lines += traceback.format_tb(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    return "".join(lines) + "\n"
