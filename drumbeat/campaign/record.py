"""What a workflow tells the tables: what happened to an enrollment and where it stands."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from drumbeat.campaign.calendar import Standing
from drumbeat.campaign.model import Frozen
from drumbeat.campaign.states import Outcome, State, Why


class What(StrEnum):
    """What can happen to an enrollment: the words of its timeline."""

    ENROLLED = "enrolled"
    SENT = "sent"
    SENT_ELSEWHERE = "sent_elsewhere"
    BLOCKED = "blocked"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    NOT_SENT = "not_sent"
    TASK_OPENED = "task_opened"
    TASK_COMPLETED = "task_completed"
    TASK_SKIPPED = "task_skipped"
    TASK_SNOOZED = "task_snoozed"
    TASK_EDITED = "task_edited"
    TASK_SCHEDULED = "task_scheduled"
    TASK_UNSCHEDULED = "task_unscheduled"
    SEND_ASKED = "send_asked"
    EMAIL_EDITED = "email_edited"
    EMAIL_MOVED = "email_moved"
    STEP_SKIPPED = "step_skipped"
    SKIP_ASKED = "skip_asked"
    RETRIED = "retried"
    MENDED = "mended"
    RESOLVED = "resolved"
    HELD = "held"
    RELEASED = "released"
    REPLIED = "replied"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    REFUSED = "refused"
    ENDED = "ended"


class Entry(Frozen):
    """One thing that happened. Ids and codes only: it is kept in the workflow's history."""

    seq: int
    """From 1, without gaps, for each enrollment: recording one twice changes nothing."""
    at: datetime
    """UTC."""
    what: What
    step: int | None = None
    who: str | None = None
    """A user's opaque id; None: Drumbeat itself, or the person."""
    detail: Mapping[str, str] = Field(default_factory=dict)


class Shown(Frozen):
    """Where the enrollment stands, as lists and pages show it."""

    state: State
    outcome: Outcome | None = None
    step: int | None = None
    why: Why | None = None
    next_at: datetime | None = None
    """When something happens by itself, UTC."""


class Record(Frozen):
    """What the tables do not know yet. Applied whole, in one transaction, any number of times."""

    enrollment_id: str
    seq: int
    """The number of the last thing that happened; an older record never overwrites a newer one."""
    shown: Shown
    standing: Standing
    entries: tuple[Entry, ...] = ()
