"""`task`, as typed, with real workflows."""

import asyncio
import email
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from drumbeat.campaign.model import TaskStep
from drumbeat.store.engine import Store
from tests.actions.desks import ALAN, CALL, GRACE, alan, campaign, letter, task_id
from tests.cli.conftest import Typed
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office, grace, open_office
from tests.temporal_server import TemporalServer

ADA = "ada@example.org"
REPS = """
reps:
  - email: grace@example.com
    name: Grace Hopper
    timezone: America/New_York
    signature: "Grace Hopper\\nExample Inc."
    mailbox: {smtp: "smtp://127.0.0.1:1"}
  - email: alan@example.com
    name: Alan Turing
    timezone: Europe/Berlin
    mailbox: {smtp: "smtp://127.0.0.1:1"}
"""


@pytest.fixture
def mailer() -> MemoryMailer:
    return MemoryMailer()


@pytest.fixture
async def office(
    command_store: Store,
    tmp_path: Path,
    temporal_client: Client,
    temporal_server: TemporalServer,
    mailer: MemoryMailer,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Office]:
    """Grace and Alan at work on the database of the commands."""
    (tmp_path / "reps.yaml").write_text(REPS)
    for name, value in temporal_server.environment.items():
        monkeypatch.setenv(name, value)
    url = f"sqlite:///{tmp_path / 'drumbeat.db'}"
    async with open_office(url, temporal_client, mailer, grace(), alan()) as opened:
        yield opened


async def at(office: Office, *steps: Any, fields: dict[str, str] | None = None) -> Enrolled:
    given = fields or {"first_name": "Ada", "last_name": "Lovelace", "phone": "+1 555 010 0199"}
    enrolled = await office.enroll(campaign(*steps, call_outcomes=("Connected",)), fields=given)
    await office.until_task(enrolled, 1)
    return enrolled


async def test_list_prints_the_contract_as_json(office: Office, typed: Typed) -> None:
    enrolled = await at(office, CALL)
    row = await office.task(enrolled, 1)
    assert row is not None
    expected = {
        "id": task_id(enrolled, 1),
        "enrollment": enrolled.id,
        "workflow_id": enrolled.handle.id,
        "campaign": row.campaign,
        "step": 1,
        "kind": "call",
        "subject": "Introduce yourself",
        "person": ADA,
        "rep": GRACE,
        "due": row.due.isoformat(),
        "priority": "normal",
        "status": "open",
    }
    done = await typed("task", "list", "--json")
    assert (done.status, json.loads(done.out), done.err) == (0, [expected], "")
    assert json.loads((await typed("task", "list", "--as", GRACE, "--json")).out) == [expected]
    assert json.loads((await typed("task", "list", "--as", ALAN, "--json")).out) == []


async def test_list_is_a_table_for_people_and_may_be_filtered(office: Office, typed: Typed) -> None:
    enrolled = await at(office, CALL)
    await at_bob(office)
    everything = (await typed("task", "list")).out.splitlines()
    assert everything[0].split() == [
        *("id", "due", "priority", "kind", "subject", "person", "rep", "campaign", "status")
    ]
    assert len(everything) == 3
    row = await office.task(enrolled, 1)
    assert row is not None
    for narrow in (("--person", "Ada@Example.org"), ("--campaign", row.campaign)):
        [_, only] = (await typed("task", "list", *narrow)).out.splitlines()
        assert task_id(enrolled, 1) in only
    await typed("task", "complete", task_id(enrolled, 1))
    assert "completed" not in (await typed("task", "list")).out
    assert "completed" in (await typed("task", "list", "--all")).out
    assert (await typed("task", "list", "--as", ALAN)).out == "no tasks\n"


async def at_bob(office: Office) -> Enrolled:
    bob = await office.enroll(campaign(CALL), "bob@example.org")
    await office.until_task(bob, 1)
    return bob


async def test_show_of_a_call_has_a_link_that_can_be_called(office: Office, typed: Typed) -> None:
    enrolled = await at(office, CALL)
    done = await typed("task", "show", task_id(enrolled, 1))
    assert done.status == 0
    assert "tel:+15550100199" in done.out
    assert "Ask about the migration." in done.out
    assert "Ada Lovelace, ada@example.org" in done.out
    shown = json.loads((await typed("task", "show", task_id(enrolled, 1), "--json")).out)
    assert shown["channel"]["link"] == "tel:+15550100199"
    assert (shown["notes"], shown["fields"]["last_name"]) == (CALL.notes, "Lovelace")
    assert shown["email"] is None


async def test_show_says_what_the_person_lacks(office: Office, typed: Typed) -> None:
    inmail = TaskStep(kind="inmail", subject="Connect")
    enrolled = await at(office, inmail)
    done = await typed("task", "show", task_id(enrolled, 1))
    assert "the person has no linkedin address" in done.out


async def test_show_of_an_email_has_text_prompts_and_both_links(
    office: Office, typed: Typed
) -> None:
    enrolled = await at(office, letter(body="<p>Dear {{ first_name }}, {{! a word }}</p>"))
    done = await typed("task", "show", task_id(enrolled, 1))
    assert done.status == 0
    assert f"To:      {ADA}\nSubject: Hello Ada\n" in done.out
    assert "To be replaced: a word" in done.out
    assert "It may not leave as it stands: replace the field prompt" in done.out
    assert "Gmail:   https://mail.google.com/" in done.out
    assert "Outlook: https://outlook.office.com/" in done.out
    assert "HTML, attachments and the thread cannot travel" in done.out
    email = json.loads((await typed("task", "show", task_id(enrolled, 1), "--json")).out)["email"]
    assert (email["to"], email["subject"], email["prompts"]) == (ADA, "Hello Ada", ["a word"])


async def test_show_of_an_email_that_lacks_data_says_so(office: Office, typed: Typed) -> None:
    enrolled = await at(office, letter(body="<p>In {{ industry }}</p>"))
    done = await typed("task", "show", task_id(enrolled, 1))
    assert (done.status, "missing data: industry" in done.out) == (0, True)


async def test_complete_says_what_was_done_and_json_holds_the_task(
    office: Office, typed: Typed
) -> None:
    enrolled = await at(office, CALL, CALL)
    task = task_id(enrolled, 1)
    wrong = await typed("task", "complete", task, "--outcome", "Lost")
    assert (wrong.status, wrong.out) == (1, "")
    assert wrong.err.endswith("it is one of Connected\n")
    done = await typed("task", "complete", task, "--outcome", "connected", "--note", "-", "--json")
    printed = json.loads(done.out)
    assert (done.status, printed["id"], printed["status"]) == (0, task, "completed")
    assert (printed["done"], printed["shown"]) == ("completed", True)
    again = await typed("task", "complete", task)
    assert (again.status, again.out) == (1, "")
    assert again.err.startswith(f"task {task} is over: completed by Grace Hopper, ")
    assert again.err.count("\n") == 1
    shown = await typed("task", "show", task)
    assert "completed" in shown.out
    assert "Grace Hopper" in shown.out


async def test_an_edited_email_is_sent_with_the_reps_text(
    office: Office, typed: Typed, mailer: MemoryMailer, tmp_path: Path
) -> None:
    enrolled = await at(office, letter())
    task = task_id(enrolled, 1)
    file = tmp_path / "letter.txt"
    file.write_text("Grüße aus Köln.\n", encoding="utf-8")
    edited = await typed(
        *("task", "edit", task, "--email-subject", "Friday", "--body-file", str(file))
    )
    assert (edited.status, edited.out) == (0, f"task {task} is changed\n")
    shown = await typed("task", "show", task)
    assert "Subject: Friday" in shown.out
    assert "This is a rep's draft." in shown.out
    sent = await typed("task", "send", task)
    assert (sent.status, sent.err) == (0, "")
    assert sent.out.startswith(f"the email of task {task} is sent: ")
    assert "America/New_York" in sent.out
    [received] = mailer.received
    assert b"Subject: Friday" in received.content
    assert (await typed("task", "list")).out == "no tasks\n"


async def test_a_file_is_sent_with_the_email(
    office: Office, typed: Typed, mailer: MemoryMailer, tmp_path: Path
) -> None:
    enrolled = await at(office, letter())
    for name in ("offer.pdf", "plan.txt"):
        (tmp_path / name).write_text(f"This is {name}.")
    files = [str(tmp_path / "offer.pdf"), str(tmp_path / "plan.txt")]
    sent = await typed(
        "task", "send", task_id(enrolled, 1), "--attach", files[0], "--attach", files[1]
    )
    assert (sent.status, sent.err) == (0, "")
    message = email.message_from_bytes(mailer.received[0].content)
    names = [part.get_filename() for part in message.walk() if part.get_filename()]
    assert names == ["offer.pdf", "plan.txt"]


async def test_a_text_that_may_not_be_sent_is_kept_and_the_command_refused(
    office: Office, typed: Typed, mailer: MemoryMailer
) -> None:
    enrolled = await at(office, letter())
    task = task_id(enrolled, 1)
    done = await typed("task", "send", task, "--body", "Hi {{ first_name }}")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"the email of task {task} is not sent, the task stays open: ")
    assert done.err.endswith("so write the text itself; the text is kept as a draft\n")
    shown = json.loads((await typed("task", "show", task, "--json")).out)
    assert shown["why"]["code"] == "token_left"
    assert "Hi {{ first_name }}" in (await typed("task", "show", task)).out
    assert (await typed("task", "send", task)).status == 1
    for typed_text in ((), ("--body", "Bye {{ first_name }}")):
        done = await typed("task", "schedule", task, "--at", "2099-11-24T09:30", *typed_text)
        assert (done.status, "not scheduled" in done.err) == (1, True)
    assert "Bye {{ first_name }}" in (await typed("task", "show", task)).out
    assert not mailer.received


async def test_schedule_and_unschedule_echo_the_moment_in_both_zones(
    office: Office, typed: Typed
) -> None:
    enrolled = await at(office, letter())
    task = task_id(enrolled, 1)
    await typed("task", "reassign", task, "--to", ALAN)
    done = await typed("task", "schedule", task, "--at", "2099-11-24T09:30")
    assert done.out == (
        f"the email of task {task} leaves "
        "Tue 24 Nov 2099, 09:30 America/New_York (15:30 Europe/Berlin)\n"
    )
    [listed] = json.loads((await typed("task", "list", "--json")).out)
    assert (listed["status"], listed["rep"]) == ("scheduled", ALAN)
    shown = json.loads((await typed("task", "show", task, "--json")).out)
    assert shown["send_at"] == "2099-11-24T14:30:00Z"
    done = await typed("task", "unschedule", task)
    assert (done.status, "open" in done.out) == (0, True)
    late = await typed("task", "schedule", task, "--at", "2020-01-01T09:30Z")
    assert (late.status, "has passed" in late.err) == (1, True)


async def test_skip_snooze_reassign_and_edit(office: Office, typed: Typed) -> None:
    enrolled = await at(office, CALL)
    task = task_id(enrolled, 1)
    to = (datetime.now(UTC) + timedelta(days=4)).date()
    snoozed = json.loads((await typed("task", "snooze", task, "--to", str(to), "--json")).out)
    assert (snoozed["due"], snoozed["done"]) == (str(to), "snoozed")
    reassigned = await typed("task", "reassign", task, "--to", ALAN)
    assert reassigned.out == f"task {task} is Alan Turing's (alan@example.com)\n"
    await typed("task", "edit", task, "--subject", "Call her", "--priority", "high")
    [listed] = json.loads((await typed("task", "list", "--as", ALAN, "--json")).out)
    assert (listed["subject"], listed["priority"]) == ("Call her", "high")
    skipped = await typed("task", "skip", task, "--reason", "- met in person", "--as", ALAN)
    assert skipped.out == f"task {task} is skipped\n"
    shown = await typed("task", "show", task)
    assert "- met in person" in shown.out
    assert "Alan Turing" in shown.out
    await enrolled.handle.result()


async def test_a_task_of_ones_own_lives_without_step_or_workflow(
    office: Office, typed: Typed
) -> None:
    await at(office, CALL)
    done = await typed(
        *("task", "add", ADA, "Send the invoice", "--due", "2099-01-01", "--priority", "high"),
        *("--as", ALAN, "--json"),
    )
    own = json.loads(done.out)
    assert (own["enrollment"], own["workflow_id"], own["campaign"], own["step"]) == (None,) * 4
    assert (own["rep"], own["due"], own["kind"], own["person"]) == (
        *(ALAN, "2099-01-01", "custom", ADA),
    )
    listed = json.loads((await typed("task", "list", "--json")).out)
    assert listed[0]["id"] == own["id"]
    assert (await typed("task", "show", own["id"])).status == 0
    assert (await typed("task", "complete", own["id"])).status == 0
    refused = await typed("task", "add", "bob@example.org", "Call")
    assert (refused.status, refused.err.count("\n")) == (1, 1)


async def test_two_who_complete_at_once(office: Office, typed: Typed) -> None:
    enrolled = await at(office, CALL)
    task = task_id(enrolled, 1)
    program = str(Path(__file__).parents[2] / "starter.py")

    started = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, program, "task", "complete", task, "--as", who),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for who in (GRACE, ALAN)
    ]
    ended = [await one.communicate() for one in started]
    assert sorted(one.returncode or 0 for one in started) == [0, 1]
    lost = next(err for (_, err), one in zip(ended, started, strict=True) if one.returncode == 1)
    assert b"completed by " in lost


@pytest.mark.parametrize(
    ("arguments", "status", "wrong"),
    [
        (["show", "nobody-1"], 1, "there is no task nobody-1"),
        (["complete", "nobody-1"], 1, "there is no task nobody-1"),
        (["send", "nobody-1"], 1, "there is no task nobody-1"),
        (["send", "nobody-1", "--body", "Hi"], 1, "there is no task nobody-1"),
        (["list", "--as", "eve@example.com"], 1, "no rep has the address eve@example.com"),
        (["send", "x", "--body", "a", "--body-file", "b"], 1, "give --body or --body-file"),
        (["send", "x", "--body-file", "none.txt"], 1, "none.txt: no such file or directory"),
        (["send", "x", "--attach", "none.pdf"], 1, "none.pdf: no such file or directory"),
        (["edit", "nobody-1"], 1, "nothing to change"),
        (["snooze", "x", "--to", "tomorrow"], 2, "tomorrow"),
        (["schedule", "x", "--at", "noon"], 2, "Write a date and a time"),
        (["edit", "x", "--priority", "urgent"], 2, "urgent"),
        (["complete"], 2, "TASK_ID"),
    ],
)
async def test_what_is_wrong_is_one_line(
    command_store: Store, typed: Typed, arguments: list[str], status: int, wrong: str
) -> None:
    done = await typed("task", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (status, "", 1)
    assert wrong in done.err


async def test_every_command_has_help_with_an_example(typed: Typed) -> None:
    for name in (
        *("list", "show", "add", "complete", "send", "schedule", "unschedule", "skip"),
        *("snooze", "reassign", "edit"),
    ):
        done = await typed("task", name, "--help")
        assert (done.status, f"starter.py task {name}" in done.out) == (0, True)
        assert "Example:" in done.out
