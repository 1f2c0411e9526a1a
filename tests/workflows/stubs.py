"""Activities that keep what they were asked and answer what a test wants."""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from temporalio import activity

from activities.outcomes import (
    Opened,
    OpenOutcome,
    OpenResult,
    OpenTask,
    SendEmail,
    SendOutcome,
    SendResult,
    Sent,
)
from drumbeat.campaign.record import Record


def now() -> datetime:
    """The activity's time: virtual where the test skips time."""
    return activity.info().started_time


class Stubs:
    """Stands in for the outside world of a workflow."""

    def __init__(self) -> None:
        self.sends: list[SendEmail] = []
        self.opened: list[OpenTask] = []
        self.records: list[Record] = []
        self.answers: dict[int, list[SendOutcome]] = defaultdict(list)
        """Step -> what sending it answers, one after another; then it is sent."""
        self.openings: dict[int, list[OpenOutcome]] = defaultdict(list)
        self.sent_at: dict[int, datetime] = {}

    @activity.defn(name="send_email")
    async def send_email(self, send: SendEmail) -> SendResult:
        self.sends.append(send)
        if self.answers[send.step]:
            return SendResult(outcome=self.answers[send.step].pop(0))
        self.sent_at[send.step] = now()
        return SendResult(outcome=Sent(at=now()))

    @activity.defn(name="open_task")
    async def open_task(self, task: OpenTask) -> OpenResult:
        self.opened.append(task)
        if self.openings[task.step]:
            return OpenResult(outcome=self.openings[task.step].pop(0))
        return OpenResult(outcome=Opened())

    @activity.defn(name="record")
    async def record(self, record: Record) -> None:
        self.records.append(record)

    @property
    def all(self) -> list[Callable[..., object]]:
        return [self.send_email, self.open_task, self.record]
