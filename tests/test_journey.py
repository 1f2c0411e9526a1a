"""One person walks a whole campaign in virtual time: real workflow, activities, tables and SMTP."""

import email
import email.policy
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta
from email.message import EmailMessage
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import Client

from drumbeat.campaign.model import (
    Campaign,
    Day,
    EmailStep,
    OnReply,
    Send,
    Settings,
    TaskStep,
    Template,
)
from drumbeat.campaign.states import Outcome, State
from tests.mail.memory import MemoryMailer
from tests.office import Office, open_office

NEW_YORK = ZoneInfo("America/New_York")


def letter(subject: str | None, body: str) -> Template:
    return Template(subject=subject, body=body, is_html=True)


CAMPAIGN = Campaign(
    slug="intro",
    name="Introduction",
    settings=Settings(on_reply=OnReply.END_AS_SUCCESS),
    days=(
        Day(
            day=1,
            steps=(
                EmailStep(
                    template=letter("Hello {{ first_name }}", "<p>Dear {{ first_name }}, one.</p>"),
                    send=Send.CHOOSE,
                ),
                TaskStep(kind="call", subject="Introduce yourself"),
            ),
        ),
        Day(
            day=3,
            steps=(
                EmailStep(
                    template=letter("A case study", "<p>See how others did it.</p>"),
                    send=Send.FIXED,
                    send_time=time(9, 30),
                ),
            ),
        ),
        Day(
            day=4,
            steps=(
                EmailStep(
                    template=letter(None, "<p>And again, {{ first_name }}.</p>"),
                    send=Send.FIXED,
                    send_time=time(9, 30),
                    follow_up=True,
                ),
                EmailStep(
                    template=letter("By hand", "<p>By hand, {{ first_name }}.</p>"),
                    send=Send.TASK,
                ),
                EmailStep(
                    template=letter(None, "<p>After the hand.</p>"),
                    send=Send.SAME_TIME,
                    follow_up=True,
                ),
            ),
        ),
    ),
)


@pytest.fixture
def mailer() -> MemoryMailer:
    return MemoryMailer()


@pytest.fixture
async def office(
    tmp_path: Path, temporal_client: Client, mailer: MemoryMailer
) -> AsyncIterator[Office]:
    url = f"sqlite:///{tmp_path / 'drumbeat.db'}"
    async with open_office(url, temporal_client, mailer) as opened:
        yield opened


def parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


async def test_a_person_walks_the_whole_campaign(office: Office, mailer: MemoryMailer) -> None:
    ada = await office.enroll(CAMPAIGN, send_at="now")
    first = await office.skip_until_sent(ada, 1)
    assert first.why is None
    await office.until(ada, lambda shown: shown.state is State.TASK)
    call = await office.task(ada, 2)
    assert call is not None
    assert (call.kind, call.status, call.subject) == ("call", "open", "Introduce yourself")

    # As `temporal workflow signal` and the Temporal UI send it.
    await ada.handle.signal("complete_task", {"task_id": call.id, "note": "Nice talk"})
    await office.skip_until_sent(ada, 3)
    await office.skip_until_sent(ada, 4)
    await office.until(ada, lambda shown: shown.state is State.TASK)
    assert (await office.task(ada, 2)).status == "completed"  # type: ignore[union-attr]  # it is there

    draft = await office.draft(ada, 5, "By my own hand", "<p>My own words, Ada.</p>")
    await ada.handle.execute_update(
        "send_task_email", {"task_id": f"{ada.id}-5", "draft_id": draft}
    )
    by_hand = await office.skip_until_sent(ada, 5)
    last = await office.skip_until_sent(ada, 6)
    result = await ada.handle.result()
    assert result.outcome is Outcome.COMPLETED

    assert all(received.content.count(b"MIME-Version") == 1 for received in mailer.received)
    letters = [parsed(received.content) for received in mailer.received]
    assert [message["Subject"] for message in letters] == [
        "Hello Ada",
        "A case study",
        "Re: A case study",
        "By my own hand",
        "Re: By my own hand",
    ]
    assert letters[2]["In-Reply-To"] == letters[1]["Message-ID"]
    assert "See how others did it." in text_of(letters[2])
    assert "Grace Hopper wrote:" in text_of(letters[2])
    # A follow-up appends the template, never the rep's edits.
    assert "My own words" in text_of(letters[3])
    assert "By hand, Ada." in text_of(letters[4])
    assert "My own words" not in text_of(letters[4])
    assert letters[4]["In-Reply-To"] == letters[3]["Message-ID"]
    # The copy has the clock time at which the rep really sent, cut to the minute.
    sent = by_hand.sent_at.astimezone(NEW_YORK)
    assert last.sent_at.astimezone(NEW_YORK) >= sent
    row = await office.row(ada)
    assert (row.state, row.outcome) == ("ended", "completed")
    assert row.ended_at is not None


async def test_emails_leave_at_their_local_time(office: Office, mailer: MemoryMailer) -> None:
    ada = await office.enroll(CAMPAIGN, send_at="now")
    await office.skip_until_sent(ada, 1)
    await office.until(ada, lambda shown: shown.state is State.TASK)
    await ada.handle.signal("complete_task", {"task_id": f"{ada.id}-2"})
    third = await office.skip_until_sent(ada, 3)
    local = third.sent_at.astimezone(NEW_YORK)
    started = datetime.now(UTC).astimezone(NEW_YORK)
    assert (local.hour, local.minute) == (9, 30)
    assert local.date() == started.date() + timedelta(days=2)
