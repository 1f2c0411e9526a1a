"""What the activities are asked and what they answer: one outcome of a few."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field

from drumbeat.campaign.model import Frozen
from drumbeat.campaign.record import Record
from drumbeat.campaign.states import HoldKind, Outcome, Why

AWAITED = 2
"""The priority key (the default is 3) of an email that has waited for this moment: for its place
within the limits, which does not keep, or because its rep waits now."""


class SendEmail(Frozen):
    """One email of an enrollment that has fallen due, or that its rep wants to leave."""

    record: Record
    step: int
    due_at: datetime
    """When it is due at last, UTC."""
    due_on: date
    """The local date that it has taken."""
    seq: int
    """The number under which what comes of it is recorded."""
    draft_id: str | None = None
    by_rep: bool = False
    """Sent by hand: it waits for no window and no sending day (R10)."""
    released: tuple[str, ...] = ()
    """Holds that were lifted, whatever the tables say yet."""


class Sent(Frozen):
    """The mail server took it."""

    kind: Literal["sent"] = "sent"
    at: datetime


class WaitUntil(Frozen):
    """It may not leave yet; ask again then."""

    kind: Literal["wait_until"] = "wait_until"
    at: datetime
    on: date
    why: Why


class Blocked(Frozen):
    """Something in it has to be mended first."""

    kind: Literal["blocked"] = "blocked"
    why: Why


class Held(Frozen):
    """A hold that the workflow may not know of yet."""

    kind: Literal["held"] = "held"
    hold_id: str
    hold_kind: HoldKind
    until: datetime | None = None


class Failed(Frozen):
    """The mail server refused it for good, or for too long."""

    kind: Literal["failed"] = "failed"
    why: Why


class InDoubt(Frozen):
    """It may or may not have been taken: a person or the mailbox has to say."""

    kind: Literal["in_doubt"] = "in_doubt"


class HardBounce(Frozen):
    """The recipient's address does not exist."""

    kind: Literal["hard_bounce"] = "hard_bounce"


class SoftBounce(Frozen):
    """The recipient's mailbox could not take it."""

    kind: Literal["soft_bounce"] = "soft_bounce"


class NotSent(Frozen):
    """The enrollment is over, whether its workflow has heard of it or not."""

    kind: Literal["not_sent"] = "not_sent"
    why: Why
    outcome: Outcome


SendOutcome = Annotated[
    Sent | WaitUntil | Blocked | Held | Failed | InDoubt | HardBounce | SoftBounce | NotSent,
    Field(discriminator="kind"),
]


class SendResult(Frozen):
    """What came of it."""

    outcome: SendOutcome


class OpenTask(Frozen):
    """A step that is the rep's to do has been reached."""

    record: Record
    step: int
    due: date
    """The local date of its campaign day."""
    seq: int
    """The number under which its opening is recorded."""
    rep_id: str
    released: tuple[str, ...] = ()
    """Holds that were lifted, whatever the tables say yet."""


class Opened(Frozen):
    """The task lies in the rep's queue."""

    kind: Literal["opened"] = "opened"


OpenOutcome = Annotated[Opened | Held | NotSent, Field(discriminator="kind")]


class OpenResult(Frozen):
    """What came of it."""

    outcome: OpenOutcome
