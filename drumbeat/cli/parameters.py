"""The options that several commands share, and how they are written."""

import re
from collections.abc import Sequence
from datetime import time
from typing import Annotated, Any

from cyclopts import Parameter

from drumbeat.campaign.planning import LaunchError, parse_clock

_STEP = re.compile(r"([1-9][0-9]{0,3})=(\S.*)")
_MOMENT = re.compile(
    r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
    r"\s*([Zz]|[+-][0-9]{2}:?[0-9]{2})?\s*"
)


def example(*lines: str) -> str:
    """The example at the end of a command's help."""
    return "\n\n".join(["Example:", *(f"    {line}" for line in lines)])


def _clock(text: str) -> time:
    try:
        return parse_clock(text)
    except LaunchError as error:
        raise ValueError(str(error)) from None


def _is_moment(_: object, value: str | None) -> None:
    if value is not None and not _MOMENT.fullmatch(value):
        raise ValueError(
            "Write a date and a time, as in 2026-11-24T09:30 or 2026-11-24T09:30-05:00."
        )


def _is_moment_or_now(_: object, value: str | None) -> None:
    if value is not None and value.strip() != "now" and not _MOMENT.fullmatch(value):
        raise ValueError("Write `now`, or a date and a time, as in 2026-11-24T09:30.")


def _are_step_times(_: object, values: Sequence[str] | None) -> None:
    for _step, value in _by_step(values or (), "STEP=HH:MM, as in 2=09:30"):
        _clock(value)


def _are_step_moments(_: object, values: Sequence[str] | None) -> None:
    for _step, value in _by_step(values or (), "STEP=ISO, as in 3=2026-11-26T15:00"):
        _is_moment(None, value)


def _by_step(values: Sequence[str], form: str) -> list[tuple[int, str]]:
    found: dict[int, str] = {}
    for value in values:
        match = _STEP.fullmatch(value)
        if match is None:
            raise ValueError(f"{value!r} is not of the form {form}.")
        step = int(match[1])
        if step in found:
            raise ValueError(f"Step {step} is given twice.")
        found[step] = match[2]
    return list(found.items())


def step_times(values: Sequence[str] | None) -> dict[int, time]:
    """Step -> clock time, of values that `StepTimes` has let through."""
    return {step: parse_clock(value) for step, value in _by_step(values or (), "")}


def step_moments(values: Sequence[str] | None) -> dict[int, str]:
    """Step -> moment as typed, of values that `StepMoments` has let through."""
    return dict(_by_step(values or (), ""))


def _text(name: str, help: str, **kwargs: Any) -> Parameter:
    # What a person types may begin with a hyphen.
    return Parameter(name=name, help=help, allow_leading_hyphen=True, **kwargs)


Json = Annotated[
    bool, Parameter(name="--json", help="Print one JSON object or list, and nothing else.")
]
As = Annotated[
    str | None,
    Parameter(name="--as", help="Who acts: a rep's address. Default: the enrollment's rep."),
]
Reason = Annotated[str | None, _text("--reason", "Why; kept and shown.")]
Until = Annotated[
    str | None,
    Parameter(
        name="--until",
        help="When the hold ends by itself: a date with a time, as in 2026-11-24T09:30.",
        validator=_is_moment,
    ),
]
SendAt = Annotated[
    str | None,
    Parameter(
        name="--send-at",
        help="When a first email that says `send: choose` leaves: `now`, or a date with a time; "
        "without an offset it is local to the enrollment's zone.",
        validator=_is_moment_or_now,
    ),
]
StepTimes = Annotated[
    list[str] | None,
    Parameter(
        name="--at",
        help="STEP=HH:MM: another time for an email with a fixed one. May be repeated.",
        validator=_are_step_times,
    ),
]
StepMoments = Annotated[
    list[str] | None,
    Parameter(
        name="--done",
        help="STEP=ISO: assume that this task is over at that moment. May be repeated.",
        validator=_are_step_moments,
    ),
]
Start = Annotated[
    str | None,
    Parameter(
        name="--start",
        help="The kickoff: a date with a time; without an offset it is local to the "
        "enrollment's zone. Default: now.",
        validator=_is_moment,
    ),
]
LeaveAt = Annotated[
    str,
    Parameter(
        name="--at",
        help="When it leaves: a date with a time; without an offset it is local to the "
        "enrollment's zone.",
        validator=_is_moment,
    ),
]
