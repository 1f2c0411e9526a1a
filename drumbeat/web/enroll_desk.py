"""What the four screens of enrolling work with: the check of a file, and the run that enrolls."""

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import Request

from drumbeat.actions import enrolling
from drumbeat.actions.deciding import Result as What
from drumbeat.actions.enrolling import Order, PersonReport, Report
from drumbeat.actions.errors import ActionError
from drumbeat.actions.launching import Choices
from drumbeat.campaign.model import Campaign, EmailStep, Send
from drumbeat.campaign.people import PeopleReading, read_people
from drumbeat.campaign.planning import LaunchError, parse_clock
from drumbeat.reps import MailboxError
from drumbeat.store import campaigns
from drumbeat.store.errors import StoreError
from drumbeat.temporal.client import TemporalUnreachable
from drumbeat.web.site import Site
from drumbeat.web.uploads import Kept, Result, Uploads

_LOG = logging.getLogger("drumbeat.web")

TROUBLES = (ActionError, LaunchError, MailboxError, TemporalUnreachable, StoreError)
"""Why an enrolling cannot be done; the text is for whoever asked."""
FRESH_FOR = timedelta(seconds=8)
"""A check is made anew after that."""
_MOST_CHECKS = 8
"""Checks of files that are remembered."""


@dataclass(frozen=True, slots=True)
class Zone:
    """People of one zone, and when the first step comes to them."""

    zone: ZoneInfo
    number: int
    at: datetime
    """UTC."""
    step: str
    is_task: bool


@dataclass(frozen=True, slots=True)
class Check:
    """What enrolling a file would do."""

    campaign: Campaign
    report: Report | None
    """None: nobody can be enrolled so, see `trouble`."""
    trouble: str | None = None

    def those(self, what: What | str) -> list[PersonReport]:
        """The people, or rows, for whom it is the result."""
        return [one for one in self.everybody if one.result == what]

    @property
    def everybody(self) -> Sequence[PersonReport]:
        """All people and rejected rows, by line."""
        return self.report.people if self.report is not None else ()

    @property
    def lacking(self) -> list[PersonReport]:
        """Who would be enrolled and lacks a token."""
        return [one for one in self.those(What.ENROLLED) if one.missing]

    @property
    def missing(self) -> list[tuple[str, int]]:
        """Token -> how many lack it, those first that most lack."""
        return Counter(token for one in self.lacking for token in one.missing).most_common()

    @property
    def zones(self) -> list[Zone]:
        """When it begins, in the zone of each enrollment; those first that most people are in."""
        found = {one.launch.zone.key: one.launch for one in self.everybody if one.launch}
        counts = Counter(one.launch.zone.key for one in self.everybody if one.launch)
        return [
            Zone(
                found[key].zone,
                number,
                found[key].due_at,
                found[key].first.label,
                found[key].first.is_task,
            )
            for key, number in counts.most_common()
        ]


@dataclass(frozen=True, slots=True)
class _Known:
    """A check that was made."""

    key: tuple[Any, ...]
    check: Check
    until: float
    """When it is made anew, by the monotonic clock; that of a large file takes its time."""


@dataclass(slots=True)
class Job:
    """A run that enrolls."""

    total: int
    done: int = 0
    trouble: str | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def is_running(self) -> bool:
        """Whether it is not over."""
        return self.task is not None and not self.task.done()


class EnrollDesk:
    """The uploads of an application, their checks, and the runs of this process."""

    def __init__(self, folder: Path) -> None:
        self.uploads = Uploads(folder)
        self.uploads.sweep()
        self.jobs: dict[str, Job] = {}
        self._checks: OrderedDict[str, _Known] = OrderedDict()

    async def check(self, site: Site, user_id: str, kept: Kept) -> Check:
        """What would be done; with nothing changed."""
        key = (
            *(kept.again, kept.also, kept.rep_id, kept.send_at),
            *(tuple(sorted(kept.times.items())), tuple(sorted(kept.fills.items()))),
        )
        known = self._checks.get(kept.id)
        began = time.monotonic()
        if known is not None and known.key == key and began < known.until:
            self._checks.move_to_end(kept.id)
            return known.check
        order = await self._order(site, user_id, kept)
        try:
            check = Check(order.campaign, await enrolling.rehearse(site.store, order))
        except TROUBLES as error:
            return Check(order.campaign, None, str(error))
        took = time.monotonic() - began
        fresh_for = max(FRESH_FOR.total_seconds(), 5 * took)
        self._checks[kept.id] = _Known(key, check, time.monotonic() + fresh_for)
        while len(self._checks) > _MOST_CHECKS:
            self._checks.popitem(last=False)
        return check

    async def begin(self, site: Site, user_id: str, kept: Kept, total: int) -> None:
        """Start enrolling, unless this process does it already."""
        job = self.jobs.get(kept.id)
        if job is not None and job.is_running:
            return
        order = await self._order(site, user_id, kept)
        kept.is_begun = True
        self.uploads.write(kept)
        job = self.jobs[kept.id] = Job(total)
        job.task = asyncio.create_task(self._run(site, order, kept, job))

    def forget(self, kept: Kept) -> None:
        """Remove an upload with what was checked."""
        self._checks.pop(kept.id, None)
        self.jobs.pop(kept.id, None)
        self.uploads.remove(kept)

    async def _run(self, site: Site, order: Order, kept: Kept, job: Job) -> None:
        def progress(number: int) -> None:
            job.done += number

        try:
            report = await enrolling.enroll(
                site.store,
                site.connect,
                order,
                site.reps,
                task_queue=site.task_queue,
                progress=progress,
            )
        except TROUBLES as error:
            job.trouble = str(error)
            return
        except Exception as error:
            # Nobody awaits this task: what is unforeseen must reach the log and the page.
            _LOG.error("enrolling failed: %s", type(error).__name__)
            job.trouble = type(error).__name__
            return
        rejected = [one for one in report.people if one.result is What.REJECTED]
        self.uploads.finish(
            kept,
            Result(
                enrolled=report.count(What.ENROLLED),
                updated=report.updated,
                already=report.count(What.ALREADY),
                excluded=report.count(What.EXCLUDED),
                rejects=[(one.line, one.email, one.reason) for one in rejected],
            ),
        )
        self._checks.pop(kept.id, None)

    async def _order(self, site: Site, user_id: str, kept: Kept) -> Order:
        people = await self.people(kept)
        async with site.store.read() as tx:
            campaign = await campaigns.load(tx, kept.version)
        rep = site.reps.by_id(kept.rep_id)
        if rep is None:
            raise ActionError("the rep who was chosen is no longer in the reps file")
        return Order(
            campaign=campaign,
            attachments={},  # they are in the tables since the campaign was stored
            people=people,
            rep=rep,
            choices=choices(campaign, kept),
            again=kept.again,
            also=kept.also,
            fills=kept.fills,
            user_id=user_id,
            texts=kept.texts,
        )

    async def people(self, kept: Kept) -> PeopleReading:
        """What the file says."""
        return await asyncio.to_thread(read_people, self.uploads.people(kept))


def choices(campaign: Campaign, kept: Kept) -> Choices:
    """What was chosen so far; a first email whose time is to be chosen leaves at once.

    Raises:
        LaunchError: A clock time is none.
    """
    send_at = (kept.send_at or "now") if is_chosen(campaign) else None
    return Choices(
        send_at=send_at, times={step: parse_clock(clock) for step, clock in kept.times.items()}
    )


def is_chosen(campaign: Campaign) -> bool:
    """Whether the launcher says when the first email leaves."""
    first = campaign.steps[0][2]
    return isinstance(first, EmailStep) and first.send is Send.CHOOSE


def enroll_desk(request: Request, site: Site) -> EnrollDesk:
    """The application's."""
    state = request.app.state
    if not hasattr(state, "enroll_desk"):
        state.enroll_desk = EnrollDesk(site.uploads)
    desk: EnrollDesk = state.enroll_desk
    return desk
