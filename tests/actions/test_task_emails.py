import asyncio
import email
import email.policy
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from drumbeat.actions import task_emails, tasks
from drumbeat.actions.errors import ActionError
from drumbeat.campaign.states import HoldKind, State
from drumbeat.mail.outcomes import Phase
from drumbeat.store import holds
from drumbeat.store.schema import audit
from tests.actions.desks import ALAN, CALL, GRACE, campaign, desk_of, letter, task_id
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office

NEW_YORK = ZoneInfo("America/New_York")


async def at_a_letter(office: Office, *more: object) -> Enrolled:
    enrolled = await office.enroll(campaign(letter(), *more))  # type: ignore[arg-type]
    await office.until_task(enrolled, 1)
    return enrolled


def parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


async def test_a_rep_sends_the_template_as_it_is_rendered(
    office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await at_a_letter(office, CALL)
    done = await task_emails.send(office.desk, task_id(enrolled, 1))
    assert (done.what, done.task.status, done.task.closer) == ("sent", "completed", GRACE)
    [received] = mailer.received
    assert parsed(received.content)["Subject"] == "Hello Ada"
    await office.until_task(enrolled, 2)
    async with office.store.read() as tx:
        [entry] = (await tx.execute(select(audit))).all()
    assert (entry.action, entry.target) == ("send", task_id(enrolled, 1))


async def test_what_was_written_is_what_leaves_and_the_template_is_what_a_follow_up_appends(
    office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await at_a_letter(office, letter(None, "<p>Any news?</p>", follow_up=True))
    task = task_id(enrolled, 1)
    draft, trouble = await task_emails.write_draft(
        office.desk, office.letters, task, subject="Dear Ada", body="My own words.\n\nAt length."
    )
    assert trouble is None
    edited = await tasks.edit(office.desk, task, draft_id=draft)
    shown = await task_emails.see(office.desk, office.letters, edited.task)
    assert (shown.subject, shown.is_draft, "My own words." in shown.text) == (
        "Dear Ada",
        True,
        True,
    )
    await task_emails.send(office.desk, task)
    await office.until_task(enrolled, 2)
    await task_emails.send(office.desk, task_id(enrolled, 2))
    first, second = (parsed(received.content) for received in mailer.received)
    assert first["Subject"] == "Dear Ada"
    assert "My own words.\n\nAt length." in text_of(first)
    assert second["Subject"] == "Re: Dear Ada"
    assert second["In-Reply-To"] == first["Message-ID"]
    assert "Dear Ada, one." in text_of(second)
    assert "My own words" not in text_of(second)


async def test_a_text_may_be_sent_in_one_go(office: Office, mailer: MemoryMailer) -> None:
    enrolled = await at_a_letter(office)
    task = task_id(enrolled, 1)
    draft, _ = await task_emails.write_draft(office.desk, office.letters, task, body="<p>Hi</p>")
    await task_emails.send(desk_of(office, ALAN), task, draft_id=draft)
    [received] = mailer.received
    message = parsed(received.content)
    assert (message["Subject"], str(message["From"])) == (
        "Hello Ada",
        "Grace Hopper <grace@example.com>",
    )
    assert text_of(message).startswith("Hi")


async def test_a_field_prompt_keeps_the_email_and_the_task_open_with_the_reason(
    office: Office, mailer: MemoryMailer
) -> None:
    body = "<p>Dear Ada,</p><p>{{! how you met }}</p>"
    enrolled = await office.enroll(campaign(letter(body=body)))
    await office.until_task(enrolled, 1)
    task = task_id(enrolled, 1)
    with pytest.raises(ActionError, match="is not sent, the task stays open: a field prompt"):
        await task_emails.send(office.desk, task)
    row = await tasks.find(office.desk, task)
    assert (row.status, row.trouble["code"]) == ("open", "prompt_left")
    shown = await task_emails.see(office.desk, office.letters, row)
    assert shown.prompts == ("how you met",)
    draft, trouble = await task_emails.write_draft(
        office.desk, office.letters, task, body="Dear Ada, since the fair."
    )
    assert trouble is None
    assert (await task_emails.send(office.desk, task, draft_id=draft)).what == "sent"
    assert len(mailer.received) == 1


async def test_missing_data_keeps_the_email_until_it_is_mended(
    office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await office.enroll(campaign(letter(body="<p>In {{ industry }}</p>")))
    await office.until_task(enrolled, 1)
    task = task_id(enrolled, 1)
    with pytest.raises(ActionError, match="cannot be shown: missing data: industry"):
        await task_emails.see(office.desk, office.letters, await tasks.find(office.desk, task))
    with pytest.raises(ActionError, match="missing data: industry"):
        await task_emails.send(office.desk, task)
    await office.mend(enrolled, industry="shipping")
    assert (await task_emails.send(office.desk, task)).what == "sent"


async def test_of_two_who_send_at_once_one_email_leaves_and_the_other_is_told_who_sent_it(
    office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await at_a_letter(office)
    task = task_id(enrolled, 1)
    answers = await asyncio.gather(
        task_emails.send(desk_of(office, GRACE), task),
        task_emails.send(desk_of(office, ALAN), task),
        return_exceptions=True,
    )
    [won] = [answer for answer in answers if isinstance(answer, tasks.Done)]
    [lost] = [answer for answer in answers if isinstance(answer, ActionError)]
    assert {GRACE: "Grace Hopper", ALAN: "Alan Turing"}[won.task.closer] in str(lost)
    assert len(mailer.received) == 1


async def test_a_scheduled_email_leaves_at_its_moment_and_only_then_is_its_task_over(
    office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await at_a_letter(office)
    task = task_id(enrolled, 1)
    local = (datetime.now(NEW_YORK) + timedelta(days=2)).replace(second=0, microsecond=0)
    done = await task_emails.schedule(desk_of(office, ALAN), task, f"{local:%Y-%m-%dT%H:%M}")
    assert (done.at, done.task.status, done.task.send_at) == (
        local.astimezone(UTC),
        "scheduled",
        local.astimezone(UTC),
    )
    assert f"{local:%H:%M} America/New_York" in done.text
    assert not mailer.received
    await office.skip_until_sent(enrolled, 1)
    row = await tasks.find(office.desk, task)
    assert (row.status, row.closer, len(mailer.received)) == ("completed", ALAN, 1)


async def test_a_moment_is_echoed_in_the_zone_of_the_enrollment_and_of_the_tasks_rep(
    quick_office: Office,
) -> None:
    enrolled = await at_a_letter(quick_office)
    task = task_id(enrolled, 1)
    await tasks.reassign(quick_office.desk, task, ALAN)
    done = await task_emails.schedule(quick_office.desk, task, "2099-11-24T09:30")
    assert done.text.endswith(
        "leaves Tue 24 Nov 2099, 09:30 America/New_York (15:30 Europe/Berlin)"
    )


@pytest.mark.parametrize(
    ("at", "wrong"),
    [
        ("2020-01-01T09:30", r"Wed 01 Jan 2020, 09:30 America/New_York has passed"),
        ("tomorrow", "'tomorrow' is no date with a time"),
        ("2027-03-14T02:30", "does not exist in America/New_York"),
    ],
)
async def test_a_moment_that_cannot_be_is_refused(
    quick_office: Office, at: str, wrong: str
) -> None:
    enrolled = await at_a_letter(quick_office)
    with pytest.raises(ActionError, match=wrong):
        await task_emails.schedule(quick_office.desk, task_id(enrolled, 1), at)


async def test_an_unscheduled_email_is_an_open_task_again(office: Office) -> None:
    enrolled = await at_a_letter(office)
    task = task_id(enrolled, 1)
    with pytest.raises(ActionError, match="is not scheduled"):
        await task_emails.unschedule(office.desk, task)
    await task_emails.schedule(office.desk, task, "2099-11-24T09:30")
    done = await task_emails.unschedule(office.desk, task)
    assert (done.task.status, done.task.send_at) == ("open", None)


async def test_a_scheduled_email_may_be_sent_at_once(office: Office, mailer: MemoryMailer) -> None:
    enrolled = await at_a_letter(office)
    task = task_id(enrolled, 1)
    await task_emails.schedule(office.desk, task, "2099-11-24T09:30")
    done = await task_emails.send(office.desk, task)
    assert (done.what, len(mailer.received)) == ("sent", 1)


async def test_a_send_is_refused_while_held_before_the_workflow_has_heard_of_it(
    office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await at_a_letter(office)
    async with office.store.write() as tx:
        await holds.insert(
            tx,
            hold_id="h1",
            kind=HoldKind.PERSON,
            target=enrolled.person_id,
            until=None,
            reason="on holiday",
            who=None,
            now=datetime.now(UTC),
        )
    with pytest.raises(ActionError, match=r"is held \(person, on holiday\): nothing leaves"):
        await task_emails.send(office.desk, task_id(enrolled, 1))
    assert (await tasks.complete(office.desk, task_id(enrolled, 1))).task.status == "completed"
    assert not mailer.received


async def test_a_refused_email_says_the_servers_words_and_may_be_sent_again(
    office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await at_a_letter(office)
    task = task_id(enrolled, 1)
    mailer.once(Phase.DATA, 552, "5.3.4 Message too big")
    with pytest.raises(ActionError, match=r"is not sent: the mail server refused it.*too big"):
        await task_emails.send(office.desk, task)
    await office.until(enrolled, lambda p: p.state is State.FAILED)
    assert (await tasks.find(office.desk, task)).status == "open"
    assert (await task_emails.send(office.desk, task)).what == "sent"


async def test_an_email_in_doubt_is_shown_as_such_and_not_sent_again(
    office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await at_a_letter(office)
    task = task_id(enrolled, 1)
    mailer.once(Phase.DATA)
    with pytest.raises(ActionError, match="it may or may not have been sent"):
        await task_emails.send(office.desk, task)
    await office.until(enrolled, lambda p: p.state is State.IN_DOUBT)
    with pytest.raises(ActionError, match="in doubt whether it was sent already"):
        await task_emails.send(office.desk, task)
    assert mailer.attempts == 1


async def test_an_email_that_is_tried_again_says_until_when_it_waits(
    quick_office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await at_a_letter(quick_office)
    mailer.once(Phase.RCPT, 451, "4.3.0 Come back later")
    done = await task_emails.send(quick_office.desk, task_id(enrolled, 1))
    assert (done.what, done.at is not None) == ("waiting", True)
    assert "the mail server could not take it; tried again" in done.text


async def test_only_an_email_of_a_step_is_sent(quick_office: Office) -> None:
    enrolled = await quick_office.enroll(campaign(CALL))
    await quick_office.until_task(enrolled, 1)
    with pytest.raises(ActionError, match=r"is no email \(call\): complete it instead"):
        await task_emails.send(quick_office.desk, task_id(enrolled, 1))
    own = await tasks.add(quick_office.desk, "ada@example.org", "Write", kind="email")
    with pytest.raises(ActionError, match="belongs to no step"):
        await task_emails.send(quick_office.desk, own.task.id)


async def test_a_reassigned_email_still_leaves_from_the_enrollments_mailbox(
    quick_office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await at_a_letter(quick_office)
    task = task_id(enrolled, 1)
    done = await tasks.reassign(quick_office.desk, task, ALAN)
    assert "still leaves from the mailbox of the enrollment's rep" in done.text
    await task_emails.send(desk_of(quick_office, ALAN), task)
    [received] = mailer.received
    assert (received.sender, str(parsed(received.content)["From"])) == (
        GRACE,
        "Grace Hopper <grace@example.com>",
    )


async def test_what_could_not_leave_is_not_scheduled_where_letters_are_looked_at(
    quick_office: Office,
) -> None:
    enrolled = await quick_office.enroll(campaign(letter(body="<p>{{! how you met }}</p>")))
    await quick_office.until_task(enrolled, 1)
    with pytest.raises(ActionError, match=r"is not scheduled: replace the field prompt"):
        await task_emails.schedule(
            quick_office.desk,
            task_id(enrolled, 1),
            "2099-11-24T09:30",
            letters=quick_office.letters,
        )
    assert (await tasks.find(quick_office.desk, task_id(enrolled, 1))).status == "open"
