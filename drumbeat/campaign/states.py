"""The states, outcomes and reasons that every part of Drumbeat shares, and how they are worded."""

from datetime import datetime
from enum import StrEnum

from drumbeat.campaign.model import Frozen


class State(StrEnum):
    """Where an enrollment stands; of several that hold, the first in this order is shown."""

    ENDED = "ended"
    HELD = "held"
    IN_DOUBT = "in_doubt"
    FAILED = "failed"
    BLOCKED = "blocked"
    TASK = "task"
    SENDING = "sending"
    SLEEPING = "sleeping"


class Outcome(StrEnum):
    """How an enrollment ended; the first end wins."""

    COMPLETED = "completed"
    REPLIED = "replied"
    REPLIED_SUCCESS = "replied_success"
    SUCCESS = "success"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    REMOVED = "removed"


class MessageState(StrEnum):
    """Where one email stands."""

    SCHEDULED = "scheduled"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


class TaskStatus(StrEnum):
    """Where a rep's task stands."""

    OPEN = "open"
    SCHEDULED = "scheduled"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class HoldKind(StrEnum):
    """What a hold hangs on."""

    PERSON = "person"
    CAMPAIGN = "campaign"
    REP = "rep"
    MAILBOX = "mailbox"
    OUT_OF_OFFICE = "out_of_office"


class WhyCode(StrEnum):
    """Why an enrollment or an email waits, or why an email did not leave."""

    TIME = "time"
    WINDOW = "window"
    LIMITS = "limits"
    RETRY = "retry"
    HOLD = "hold"
    TASK = "task"
    MISSING_DATA = "missing_data"
    PROMPT_LEFT = "prompt_left"
    TOKEN_LEFT = "token_left"
    TEMPLATE = "template"
    REFUSED = "refused"
    GAVE_UP = "gave_up"
    IN_DOUBT = "in_doubt"
    MAILBOX = "mailbox"
    SKIPPED = "skipped"
    BOUNCED = "bounced"
    SOFT_BOUNCE = "soft_bounce"
    SUPPRESSED = "suppressed"
    BLOCKED_DOMAIN = "blocked_domain"
    REPLIED = "replied"
    ENDED = "ended"
    ELSEWHERE = "elsewhere"


class Why(Frozen):
    """A reason that may travel through Temporal: codes, ids, token names; no personal data."""

    code: WhyCode
    until: datetime | None = None
    """When the wait ends by itself, UTC; None: something else has to happen first."""
    detail: str = ""
    """The hold's kind, the tokens' names, a reply code: whatever the code needs to be clear."""


_TEXTS = {
    WhyCode.TIME: "waits for its time",
    WhyCode.WINDOW: "waits for the sending window",
    WhyCode.LIMITS: "waits for a place within the mailbox's limits",
    WhyCode.RETRY: "the mail server could not take it; tried again",
    WhyCode.HOLD: "held",
    WhyCode.TASK: "waits for the rep's task",
    WhyCode.MISSING_DATA: "missing data",
    WhyCode.PROMPT_LEFT: "a field prompt is still to be replaced",
    WhyCode.TOKEN_LEFT: "the text still holds '{{', which would be sent as it stands",
    WhyCode.TEMPLATE: "the template cannot be rendered",
    WhyCode.REFUSED: "the mail server refused it",
    WhyCode.GAVE_UP: "the mail server did not take it in 24 hours",
    WhyCode.IN_DOUBT: "it may or may not have been sent: say which",
    WhyCode.MAILBOX: "trouble of the mailbox",
    WhyCode.SKIPPED: "skipped",
    WhyCode.BOUNCED: "the address bounced",
    WhyCode.SOFT_BOUNCE: "the recipient's mailbox could not take it",
    WhyCode.SUPPRESSED: "the address is suppressed",
    WhyCode.BLOCKED_DOMAIN: "the domain is blocked",
    WhyCode.REPLIED: "the person replied",
    WhyCode.ENDED: "the enrollment ended",
    WhyCode.ELSEWHERE: "sent elsewhere by the rep",
}


def explain(why: Why) -> str:
    """The reason as a reader sees it, without its moment: 'missing data: industry'.

    >>> explain(Why(code=WhyCode.MISSING_DATA, detail="industry"))
    'missing data: industry'
    """
    return f"{_TEXTS[why.code]}: {why.detail}" if why.detail else _TEXTS[why.code]
