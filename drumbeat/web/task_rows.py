"""What the Tasks page shows of a task: its row in the list, and the pane beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row

from drumbeat.actions.channels import Channel, channel
from drumbeat.actions.own_tasks import KINDS
from drumbeat.campaign.calendar import Plan, Standing
from drumbeat.campaign.forecast import coming_tasks
from drumbeat.campaign.model import Campaign, Priority
from drumbeat.campaign.record import What
from drumbeat.campaign.states import TaskStatus, Why, explain
from drumbeat.store.lists.tasks import Group, group_of
from drumbeat.store.tasks import REPLY
from drumbeat.web.beats import Beat, BeatState
from drumbeat.web.texts import texts

KINDS_SHOWN = (REPLY, "call", "email", "inmail", "custom")
"""In the order of the page's chips."""
OPEN = (TaskStatus.OPEN, TaskStatus.SCHEDULED)
TOLD = frozenset(
    {
        *(What.ENROLLED, What.SENT, What.SENT_ELSEWHERE, What.TASK_COMPLETED, What.TASK_SKIPPED),
        *(What.REPLIED, What.BOUNCED, What.UNSUBSCRIBED, What.FAILED, What.IN_DOUBT, What.ENDED),
        *(What.HELD, What.RELEASED),
    }
)
"""What a rep wants to know before a call; the rest stands in the person's timeline."""

assert set(KINDS) < set(KINDS_SHOWN)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads the page, and when."""

    zone: ZoneInfo
    now: datetime
    """UTC."""

    @property
    def today(self) -> date:
        """The reader's date."""
        return self.now.astimezone(self.zone).date()


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A row of the list."""

    id: str
    """Empty where the task is forecast."""
    kind: str
    name: str
    company: str
    subject: str
    campaign: str
    step: int | None
    steps: Sequence[Beat]
    due: str
    small: str
    is_late: bool
    is_high: bool
    writes: bool
    """Whether its row opens the compose window."""
    person_id: str
    rep: str = ""
    """Whose it is, by name."""
    is_forecast: bool = False


@dataclass(frozen=True, slots=True)
class Past:
    """One line of what happened before."""

    at: datetime
    lead: str
    what: str


@dataclass(frozen=True, slots=True)
class Pane:
    """A task beside the list."""

    task: Row[Any]
    row: TaskRow
    headline: str
    about: str
    """Title and company."""
    channel: Channel | None
    there: ZoneInfo
    """Where the person is, as far as is known."""
    before: Sequence[Past]
    outcomes: Sequence[str]
    """Those of a call, else none."""
    trouble: str | None

    @property
    def is_open(self) -> bool:
        """Whether anything can be done with it."""
        return self.task.status in OPEN


def name_of(fields: Mapping[str, str], address: str) -> str:
    """A person's name; the address where none is known.

    >>> name_of({"first_name": "Ada"}, "ada@example.org")
    'Ada'
    """
    parts = (fields.get("first_name", ""), fields.get("last_name", ""))
    return " ".join(part for part in parts if part.strip()) or address


def day_text(on: date) -> str:
    """`Fri 20 Nov`."""
    return f"{on:%a} {on.day} {on:%b}"


def row_of(task: Row[Any], reader: Reader) -> TaskRow:
    """A task's row."""
    fields = task.fields
    due, small = _due(task, reader)
    return TaskRow(
        id=task.id,
        kind=task.kind,
        name=name_of(fields, task.person),
        company=fields.get("company", ""),
        subject=task.subject,
        campaign=task.campaign_name or "",
        step=task.step,
        steps=_beats(task.plan, task.standing, task.step),
        due=due,
        small=small,
        is_late=task.status in OPEN and group_of(task, reader.today) is Group.OVERDUE,
        is_high=task.priority == Priority.HIGH,
        writes=task.kind == "email" and task.step is not None and task.status in OPEN,
        person_id=task.person_id,
        rep=task.rep_name,
    )


def forecast_rows(
    found: Sequence[Row[Any]],
    campaigns: Mapping[str, Campaign],
    until: datetime,
    *,
    kind: str,
    priority: str,
    most: int,
) -> list[TaskRow]:
    """The tasks that will open by themselves, in order.

    Args:
        found: Enrollments, as `lists.tasks.coming` gives them.
        campaigns: Their versions.
        until: UTC.
        kind: Only of this kind; empty: of all.
        priority: Only of this priority; empty: of both.
        most: At most so many.
    """
    rows: list[tuple[datetime, TaskRow]] = []
    for one in found:
        campaign = campaigns.get(one.version)
        if campaign is None:
            continue
        plan = Plan.model_validate_json(one.plan)
        standing = Standing.model_validate_json(one.standing)
        rep_zone = ZoneInfo(one.rep_zone) if one.rep_zone else None
        for coming in coming_tasks(plan, standing, one.step or 1, one.next_at, until, rep_zone):
            step = campaign.step(coming.step)
            if kind not in ("", step.kind) or priority not in ("", step.priority):
                continue
            row = TaskRow(
                id="",
                kind=step.kind,
                name=name_of(one.fields, one.person),
                company=one.fields.get("company", ""),
                subject=step.title,
                campaign=one.campaign_name,
                step=coming.step,
                steps=_beats(one.plan, one.standing, coming.step),
                due=day_text(coming.due),
                small=texts()("tasks.forecast"),
                is_late=False,
                is_high=step.priority is Priority.HIGH,
                writes=False,
                person_id=one.person_id,
                is_forecast=True,
            )
            rows.append((coming.at, row))
    rows.sort(key=lambda pair: pair[0])
    return [row for _, row in rows[:most]]


def pane_of(
    task: Row[Any],
    reader: Reader,
    happened: Sequence[Row[Any]],
    campaign: Campaign | None,
) -> Pane:
    """A task's pane.

    Args:
        task: With the columns of `lists.tasks.shown`.
        reader: Who reads it.
        happened: What happened with the person, newest first.
        campaign: The version of the task's enrollment; None: it has none.
    """
    t = texts()
    fields = task.fields
    outcomes: Sequence[str] = ()
    if task.kind == "call":
        given = campaign.settings.call_outcomes if campaign is not None else ()
        outcomes = given or tuple(t("tasks.outcomes").split("|"))
    return Pane(
        task=task,
        row=row_of(task, reader),
        headline=_headline(task, reader),
        about=", ".join(part for part in (fields.get("title"), fields.get("company")) if part),
        channel=channel(task.kind, task.person, fields),
        there=_there(task, reader),
        before=[past for one in happened if (past := _past(one, campaign, task)) is not None],
        outcomes=outcomes,
        trouble=explain(Why.model_validate(task.trouble)) if task.trouble else None,
    )


def working_days(since: date, until: date) -> int:
    """Mondays to Fridays after a date, the last one included.

    >>> working_days(date(2026, 11, 20), date(2026, 11, 24))
    2
    """
    days = (until - since).days
    return sum((since + timedelta(days=n)).weekday() < 5 for n in range(1, min(days, 400) + 1))


def _due(task: Row[Any], reader: Reader) -> tuple[str, str]:
    """When a task is due, in two short lines."""
    t = texts()
    if task.status == TaskStatus.SCHEDULED and task.send_at is not None:
        there = _zone(task) or reader.zone
        at = task.send_at.astimezone(there)
        city = there.key.rsplit("/", 1)[-1].replace("_", " ")
        return day_text(at.date()), f"{at:%H:%M} {city}"
    if task.status not in OPEN:
        on = (task.closed_at or task.opened_at).astimezone(reader.zone)
        return day_text(on.date()), t(f"tasks.status_{task.status}")
    today = reader.today
    match group_of(task, today):
        case Group.ANSWER:
            at = task.opened_at.astimezone(reader.zone)
            day = t("tasks.today_small") if at.date() == today else day_text(at.date())
            return f"{at:%H:%M}", day
        case Group.OVERDUE:
            days = working_days(task.due, today)
            word = {0: "days_late_none", 1: "days_late_one"}.get(days, "days_late")
            return day_text(task.due), t(f"tasks.{word}", n=days)
        case Group.TODAY:
            return t("tasks.today"), ""
        case _:
            return day_text(task.due), ""


def _headline(task: Row[Any], reader: Reader) -> str:
    t = texts()
    kind = t(f"kinds.{task.kind}")
    if task.status == TaskStatus.SCHEDULED:
        return t("tasks.leaves", kind=kind)
    if task.kind == REPLY:
        return kind
    if task.due == reader.today:
        return t("tasks.due_today", kind=kind)
    word = "was_due" if task.due < reader.today or task.status not in OPEN else "due_on"
    return t(f"tasks.{word}", kind=kind, day=day_text(task.due))


def _zone(task: Row[Any]) -> ZoneInfo | None:
    """The enrollment's zone."""
    zone = json.loads(task.plan).get("zone") if task.plan else None
    return ZoneInfo(zone) if zone else None


def _there(task: Row[Any], reader: Reader) -> ZoneInfo:
    """The person's zone, else the enrollment's, else the reader's."""
    if task.person_zone:
        return ZoneInfo(task.person_zone)
    return _zone(task) or reader.zone


def _past(event: Row[Any], campaign: Campaign | None, task: Row[Any]) -> Past | None:
    is_itself = event.detail.get("task") == task.id or (
        task.step is not None
        and (event.enrollment_id, event.step) == (task.enrollment_id, task.step)
    )
    if event.what not in TOLD or is_itself:
        return None
    t = texts()
    is_same = event.campaign == task.campaign and task.campaign_name
    title = (task.campaign_name if is_same else event.campaign) or ""
    lead = t(f"tasks.did_{event.what}")
    if event.what in (What.SENT, What.SENT_ELSEWHERE, What.TASK_COMPLETED, What.TASK_SKIPPED):
        title = ""
        if event.step is not None and campaign is not None and event.version == task.version:
            step = campaign.step(event.step)
            title = step.title
            if event.what == What.TASK_COMPLETED:
                lead = f"{t(f'kinds.{step.kind}')}:"
        if event.what == What.TASK_COMPLETED and event.detail.get("outcome"):
            title = event.detail["outcome"]
    return Past(event.at, lead, title)


def _beats(plan: str | None, standing: str | None, at: int | None) -> list[Beat]:
    """The bars of a beat track; `at` is the step that is now."""
    if plan is None or at is None:
        return []
    skipped = set(json.loads(standing or "{}").get("skipped", ()))
    bars = []
    for step in json.loads(plan).get("steps", ()):
        number = step["number"]
        how: BeatState = "now" if number == at else "done" if number < at else "next"
        if number in skipped:
            how = "skip"
        is_email = step["kind"] == "email"
        bars.append(Beat(step["day"], is_email, how))
    return bars
