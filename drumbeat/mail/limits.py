"""When a mailbox may send next within its limits (SPEC section 4, "Limits"): pure computation.

A *mark* is the instant of a handing over that counts against the limits, or of a place that was
taken for one to come. Marks are always given in ascending order, in UTC.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from drumbeat.campaign.calendar import local_date, resolve
from drumbeat.reps import Limit

__all__ = [
    "SPARE",
    "VALID_FOR",
    "FirstEmails",
    "Limit",
    "earliest",
    "earliest_on_free_day",
    "end_of_full",
    "place",
    "with_spare",
]

VALID_FOR = timedelta(seconds=5)
"""How long after its instant a place may still be used; then it is taken anew."""

SPARE = VALID_FOR
"""What is added to each span when places are planned.

Two places that are planned a span and this apart are used at least the span apart, although the
earlier one may be used up to `VALID_FOR` late.
"""


def with_spare(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """The limits to plan places with: each span is longer by `SPARE`."""
    return tuple(Limit(limit.count, limit.span + SPARE) for limit in limits)


def earliest(at: datetime, marks: Sequence[datetime], limits: Iterable[Limit]) -> datetime:
    """The first instant (UTC), at or after `at`, where one more mark keeps every limit.

    It keeps a limit if no half-open span of the limit's length then holds more than its count, be
    the other marks before it or after it. Marks that broke a limit already (a rep's own sends
    displace places) forbid only the instants that would make it worse.

    Args:
        at: An aware instant.
        marks: What counts already, ascending.
        limits: What is to be kept; the longest span first is fastest.
    """
    limits = tuple(limits)
    at = at.astimezone(UTC)  # elsewhere, adding a span would add wall clock time
    while True:
        found = at
        for limit in limits:
            found = _earliest(found, marks, limit)
        if found == at:
            return found
        at = found


def _earliest(at: datetime, marks: Sequence[datetime], limit: Limit) -> datetime:
    """As `earliest`, for one limit.

    Together with `count` neighbouring marks from `first` to `last`, themselves less than the span
    apart, a new mark breaks the limit exactly in the open interval (last - span, first + span).
    The intervals of later groups begin and end later, so from an instant inside some of them the
    next one that may be free is the end of the last of them.
    """
    count, span = limit.count, limit.span
    low = 0
    while True:
        low = _bisect(bisect_right, marks, at - span, low, count)
        after_last = _bisect(bisect_left, marks, at + span, low, count)
        for first in range(after_last - count, low - 1, -1):
            if marks[first + count - 1] - marks[first] < span:
                at = marks[first] + span
                low = first
                break
        else:
            return at


def end_of_full(at: datetime, near: Sequence[datetime], limit: Limit) -> datetime:
    """`at` (UTC) where one more mark keeps the limit; else an instant until which none does.

    Args:
        at: The instant in question.
        near: The marks that are less than the span away from it, ascending.
        limit: What is to be kept.
    """
    count = limit.count
    for first in range(len(near) - count, -1, -1):
        if near[first + count - 1] - near[first] < limit.span:
            return max(at, near[first] + limit.span)
    return at


def _bisect(
    bisect: Callable[[Sequence[datetime], datetime, int, int], int],
    marks: Sequence[datetime],
    x: datetime,
    low: int,
    count: int,
) -> int:
    """Bisect from `low` on, looking near it first: the next full span is seldom far away."""
    near = low + 3 * count
    if near < len(marks) and marks[near] > x:
        return bisect(marks, x, low, near)
    return bisect(marks, x, low, len(marks))


@dataclass(frozen=True, slots=True)
class FirstEmails:
    """The limit on first emails, by date where the mailbox's owner is."""

    per_day: int
    zone: ZoneInfo
    used: Mapping[date, int]
    """For each date in that zone, the first emails sent on it and the places taken for some."""


def earliest_on_free_day(at: datetime, first: FirstEmails) -> datetime:
    """The first instant (UTC), at or after `at`, on a date with room for one more first email.

    The last seconds of a date (`VALID_FOR`) are left out: a place there could be used on the next
    date, for which it does not count.
    """
    at = at.astimezone(UTC)
    on = local_date(at + VALID_FOR, first.zone)
    while first.used.get(on, 0) >= first.per_day:
        on += timedelta(days=1)
    return max(at, resolve(on, time(0), first.zone))


def place(
    at: datetime,
    *,
    leave: Callable[[datetime], datetime],
    marks: Sequence[datetime],
    limits: Iterable[Limit],
    first: FirstEmails | None = None,
) -> datetime:
    """The earliest place (UTC), at or after `at`, that the calendar and all limits allow.

    Args:
        at: When the email falls due, or when it asks again: an aware instant.
        leave: When an email may leave that is ready at an instant: that instant or a later one,
            by window and sending days (`drumbeat.campaign.calendar.may_leave`).
        marks: What counts against `limits` already, ascending.
        limits: Usually `with_spare(mailbox.limits)`.
        first: Given for an enrollment's first email where the mailbox limits those.
    """
    limits = tuple(limits)
    while True:
        found = earliest(leave(at), marks, limits)
        if first is not None:
            found = earliest_on_free_day(found, first)
        if found == at:
            return found
        at = found
