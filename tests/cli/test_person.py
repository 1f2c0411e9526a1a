"""`person`, as typed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update
from temporalio.client import Client

from drumbeat.actions import telling
from drumbeat.actions.delivery import Delivery
from drumbeat.campaign.states import State
from drumbeat.cli import person
from drumbeat.store import ledger
from drumbeat.store.engine import Store
from drumbeat.store.schema import campaigns, enrollments, holds, messages
from tests.activities.world import Walk, World, call, campaign, email
from tests.cli.conftest import Typed
from tests.copying import values_of
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office, open_office
from tests.temporal_server import TemporalServer

ADA = "ada@example.org"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs: waiting for one would only take time."""

    async def at_once(store: Store, told: telling.Told) -> int:
        return await telling.unconfirmed(store, told, wait=timedelta(0))

    async def not_ended(store: Store, which: Any) -> int:
        return await telling.not_ended(store, which, wait=timedelta(0))

    monkeypatch.setattr(person, "unconfirmed", at_once)
    monkeypatch.setattr(person, "not_ended", not_ended)


@pytest.fixture
async def ada(command_world: World) -> Walk:
    walk = await command_world.enroll(campaign(email(), call()))
    await walk.due().send()
    return walk


async def test_show_prints_the_contract_as_json(ada: Walk, typed: Typed) -> None:
    done = await typed("person", "show", "Ada@Example.org", "--json")
    assert (done.status, done.err) == (0, "")
    shown = json.loads(done.out)
    message = await ada.message(1)
    assert shown == {
        "person": ADA,
        "enrollments": [
            {
                "enrollment": ada.id,
                "workflow_id": f"campaign/intro-q4/{ada.person_id}",
                "campaign": "intro-q4",
                "state": "sleeping",
                "outcome": None,
                "step": 2,
                "why": {
                    "code": "time",
                    "text": "waits for its time",
                    "until": "2026-11-24T05:00:00Z",
                },
                "next_at": "2026-11-24T00:00:00-05:00",
                "next_at_utc": "2026-11-24T05:00:00Z",
                "messages": [
                    {
                        "step": 1,
                        "state": "sent",
                        "message_id": message.message_id,
                        "sent_at": "2026-11-23T14:30:00Z",
                        "why": None,
                    }
                ],
                "events": [
                    {
                        "at": "2026-11-23T14:30:00Z",
                        "what": "sent",
                        "step": 1,
                        "who": None,
                        "detail": {},
                    }
                ],
            }
        ],
    }


async def test_show_tells_people_where_somebody_stands(
    ada: Walk, typed: Typed, impatient: None
) -> None:
    await typed("person", "hold", ADA, "--reason", "on leave")
    done = await typed("person", "show", ADA)
    assert done.status == 0
    for text in (
        "intro-q4, with Grace Hopper <grace@example.com>",
        "at       step 2 of 2 (day 2: call)",
        "why      waits for its time, until Tue 24 Nov 2026, 00:00 America/New_York",
        "next     Tue 24 Nov 2026, 00:00 America/New_York",
        "by Grace Hopper: on leave",
        "company: Engines",
        "2026-11-23 09:30",
    ):
        assert text in done.out


async def test_a_hold_without_a_worker_is_recorded_and_says_so(
    ada: Walk, typed: Typed, impatient: None
) -> None:
    done = await typed("person", "hold", ADA, "--until", "2199-01-01T09:00")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "held until Tue 01 Jan 2199, 09:00 America/New_York: 1 running enrollment",
        "recorded, not yet confirmed by 1",
    ]
    done = await typed("person", "release", ADA)
    assert done.out.splitlines() == [
        "released: 1 running enrollment",
        "recorded, not yet confirmed by 1",
    ]
    done = await typed("person", "end", ADA, "--success", "--reason", "- has signed")
    assert done.out.splitlines() == [
        "ended as success: intro-q4",
        "recorded, not yet confirmed by 1",
    ]


async def test_deciding_commands_print_json_too(ada: Walk, typed: Typed, impatient: None) -> None:
    for arguments, values in (
        (("hold", ADA, "--until", "2199-01-01T09:00Z"), {"until": "2199-01-01T09:00:00Z"}),
        (("release", ADA), {}),
        (("mend", ADA, "industry=mining"), {"changed": True}),
        (("end", ADA), {}),
    ):
        done = await typed("person", *arguments, "--json")
        told = {"enrollments": [ada.id], "not_yet_confirmed": 1}
        assert json.loads(done.out) == told | values, arguments
    done = await typed("person", "end", ADA, "--success")
    assert done.out.splitlines()[0] == "intro-q4 was ending as removed already"


async def test_what_is_wrong_is_one_clear_line(ada: Walk, typed: Typed) -> None:
    for arguments, status, line in (
        (("show", "bob@example.org"), 1, "nobody has the address bob@example.org"),
        (("show", ADA, "--campaign", "nowhere"), 1, "was never in campaign nowhere"),
        (("hold", ADA, "--until", "tomorrow"), 2, "Write a date and a time"),
        (("hold", ADA, "--until", "2020-01-01T09:00"), 1, "has passed already"),
        (("hold", ADA, "--as", "bob@example.com"), 1, "no rep has the address bob@example.com"),
        (("release", ADA), 1, "is not held as a person"),
        (("mend", ADA), 1, "nothing to mend"),
        (("mend", ADA, "industry"), 1, "'industry' is not of the form FIELD=VALUE"),
        (("mend", ADA, "a=1", "a=2"), 1, "field a is given twice"),
        (("mend", ADA, "email=nonsense"), 1, "malformed address"),
        (("edit", ADA, "--step", "1"), 1, "nothing to change"),
        (("edit", ADA, "--step", "1", "--body", "x", "--body-file", "y"), 1, "not both"),
        (("edit", ADA, "--step", "1", "--body-file", "missing.html"), 1, "missing.html: no such"),
        (("edit", ADA, "--step", "2", "--body", "x"), 1, f"task edit {ada.id}-2"),
        (("move", ADA, "--step", "7", "--at", "2199-01-01T09:00"), 1, "there is no step 7"),
        (("move", ADA, "--step", "1", "--at", "soon"), 1, "is no date with a time"),
        (("skip", ADA, "--step", "0"), 1, "there is no step 0"),
        (("skip", ADA), 2, "--step"),
        (("resolve", ADA, "--step", "1"), 1, "--sent or --not-sent"),
        (("resolve", ADA, "--step", "1", "--sent", "--not-sent"), 1, "--sent or --not-sent"),
        (("retry", ADA, "--campaign", "nowhere"), 1, "is not in campaign nowhere"),
    ):
        done = await typed("person", *arguments)
        assert (done.status, done.out) == (status, ""), arguments
        assert line in done.err, arguments
        assert len(done.err.splitlines()) == 1, arguments


async def test_where_several_campaigns_run_the_error_names_them(
    command_world: World, ada: Walk, typed: Typed
) -> None:
    values = values_of(await ada.row()) | {"id": "another", "campaign": "another"}
    async with command_world.store.write() as tx:
        now = command_world.clock()
        row = {"slug": "another", "name": "Another", "created_at": now}
        await tx.execute(insert(campaigns).values(row))
        await tx.execute(insert(enrollments).values(values))
    done = await typed("person", "skip", ADA, "--step", "2")
    assert done.status == 1
    assert done.err == (
        f"{ADA} runs in 2 campaigns (another, intro-q4): say which with --campaign\n"
    )


async def test_a_doubt_is_resolved_where_the_enrollment_is_over(
    command_world: World, ada: Walk, typed: Typed
) -> None:
    now = command_world.clock()
    async with command_world.store.write() as tx:
        row = await ledger.enrollment(tx, ada.id)
        await ledger.schedule(tx, row, 1, None, now)
        ended = {"state": "ended", "outcome": "removed", "ended_at": now}
        await tx.execute(update(enrollments).where(enrollments.c.id == ada.id).values(**ended))
        in_doubt = {"state": "in_doubt", "attempt": 1, "handing_over_at": now}
        mine = (messages.c.enrollment_id == ada.id) & (messages.c.step == 1)
        await tx.execute(update(messages).where(mine).values(**in_doubt))
    done = await typed("person", "resolve", ADA, "--step", "1", "--not-sent")
    assert (done.status, done.err) == (0, "")
    assert done.out == "step 1 is cancelled: the enrollment is over\n"


async def test_every_command_has_help_with_an_example(typed: Typed) -> None:
    for name in (
        *("show", "hold", "release", "end", "mend"),
        *("retry", "edit", "move", "skip", "resolve"),
    ):
        done = await typed("person", name, "--help")
        assert done.status == 0
        assert f"starter.py person {name} ada@example.org" in done.out


# With a worker


@pytest.fixture
async def office(
    command_store: Store,
    temporal_client: Client,
    temporal_server: TemporalServer,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Office]:
    """A worker beside the commands, on their database."""
    for name, value in temporal_server.environment.items():
        monkeypatch.setenv(name, value)
    url = command_store._url.render_as_string(hide_password=False)
    async with open_office(url, temporal_client, MemoryMailer()) as opened:
        yield opened


@asynccontextmanager
async def delivering(office: Office) -> AsyncIterator[None]:
    """The outbox is drained, as the worker does."""
    stop = asyncio.Event()
    running = asyncio.create_task(
        Delivery(office.store, office.client, office.task_queue).run(stop)
    )
    yield
    stop.set()
    await running


async def enrolled(office: Office) -> Enrolled:
    at = datetime.now(UTC) + timedelta(hours=1)
    one = await office.enroll(campaign(email(send="choose"), email(), call()), ADA, send_at=at)
    await office.until(one, lambda p: p.state is State.SLEEPING)
    return one


async def test_commands_say_it_is_done_when_the_workflow_has_confirmed(
    office: Office, typed: Typed
) -> None:
    one = await enrolled(office)
    async with delivering(office):
        done = await typed("person", "hold", ADA)
        assert done.out == "held: 1 running enrollment\n"
        await office.until(one, lambda p: p.state is State.HELD)
        done = await typed("person", "release", ADA)
        assert done.out == "released: 1 running enrollment\n"
        done = await typed("person", "mend", ADA, "industry=mining", "title=Countess")
        assert done.out == "mended industry, title: 1 running enrollment\n"
        done = await typed("person", "end", ADA)
        assert done.out == "ended as removed: intro-q4\n"
    shown = json.loads((await typed("person", "show", ADA, "--json")).out)
    [enrollment] = shown["enrollments"]
    assert (enrollment["state"], enrollment["outcome"]) == ("ended", "removed")
    whos = {event["what"]: event["who"] for event in enrollment["events"]}
    assert whos["held"] == whos["released"] == whos["ended"] == "grace@example.com"


async def test_steps_are_moved_edited_and_left_out(
    office: Office, typed: Typed, tmp_path: Path
) -> None:
    one = await enrolled(office)
    done = await typed("person", "move", ADA, "--step", "1", "--at", "2199-06-03T10:15")
    assert (done.status, done.err) == (0, "")
    assert done.out == "step 1 moved to Mon 03 Jun 2199, 10:15 America/New_York\n"
    (tmp_path / "letter.html").write_text("<p>Dear Ada, hello.</p>")
    done = await typed(
        "person", "edit", ADA, "--step", "1", "--subject", "- A word", "--body-file", "letter.html"
    )
    assert (done.status, done.out) == (0, "step 1 leaves with your text\n")
    done = await typed("person", "skip", ADA, "--step", "1", "--reason", "knows it", "--json")
    assert json.loads(done.out) == {
        "enrollment": one.id,
        "campaign": "intro-q4",
        "step": 1,
        "shown": True,
    }
    progress = await office.until(one, lambda p: p.step == 2)
    assert progress.outcome is None
    done = await typed("person", "skip", ADA, "--step", "1")
    assert done.status == 1
    assert "step 1 is over already: step_skipped by Grace Hopper at" in done.err
    done = await typed("person", "retry", ADA)
    assert (done.status, "neither failed nor is it blocked" in done.err) == (1, True)
    async with office.store.read() as tx:
        assert (await tx.execute(holds.select())).all() == []


async def test_without_temporal_what_needs_it_is_refused_in_one_line(
    ada: Walk, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drumbeat.cli import context

    monkeypatch.setattr(context, "PATIENCE", timedelta(0))
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    done = await typed("person", "skip", ADA, "--step", "2")
    assert done.status == 1
    assert done.err.startswith("Temporal does not answer at 127.0.0.1:1")
