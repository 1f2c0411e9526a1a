"""A signal is handled before the activities that a workflow task has answers of, too."""

import asyncio
from datetime import UTC, datetime

import pytest
from temporalio import activity

from activities.outcomes import InDoubt, SendEmail, SendOutcome, SendResult, Sent
from drumbeat.campaign.record import What
from drumbeat.campaign.states import Outcome
from tests.workflows.conftest import Stage
from tests.workflows.plans import NEW_YORK, email, start
from tests.workflows.stubs import Stubs


class Slow(Stubs):
    """The attempt's answer comes after the late one."""

    def __init__(self) -> None:
        super().__init__()
        self.sending = asyncio.Event()
        self.overtaken = asyncio.Event()

    @activity.defn(name="send_email")
    async def send_email(self, send: SendEmail) -> SendResult:
        self.sends.append(send)
        self.sending.set()
        await self.overtaken.wait()
        return SendResult(outcome=self.answers[send.step].pop(0))


@pytest.fixture
def stubs() -> Slow:
    return Slow()


@pytest.mark.parametrize("in_doubt", [True, False])
async def test_a_late_answer_that_overtakes_its_attempt_is_not_lost(
    stage: Stage, stubs: Slow, soon: datetime, in_doubt: bool
) -> None:
    at = datetime.now(UTC)
    outcome: SendOutcome = InDoubt() if in_doubt else Sent(at=at)
    stubs.answers[1].append(outcome)
    due = f"{soon.astimezone(NEW_YORK):%H:%M}"
    handle = await stage.start(start(email(1, 1, due), kickoff=soon))
    await asyncio.wait_for(stubs.sending.wait(), 20)
    await handle.signal("late_answer", {"step": 1, "at": at.isoformat()})
    await stage.until(handle, lambda progress: True)
    stubs.overtaken.set()
    assert (await asyncio.wait_for(handle.result(), 20)).outcome is Outcome.COMPLETED
    assert len(stubs.sends) == 1
    noted = [entry.what for record in stubs.records for entry in record.entries]
    assert noted.count(What.SENT) == in_doubt
    assert What.REFUSED not in noted
