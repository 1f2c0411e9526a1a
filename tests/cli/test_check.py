"""`check`, as typed."""

import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from temporalio.client import Client

from drumbeat.actions import checking
from drumbeat.campaign.states import State
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments
from tests.activities.world import call, campaign
from tests.cli.conftest import Typed
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office, open_office
from tests.temporal_server import TemporalServer


@pytest.fixture
async def office(
    command_store: Store,
    temporal_client: Client,
    temporal_server: TemporalServer,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Office]:
    """A worker beside the command, on its database."""
    for name, value in temporal_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(checking, "BETWEEN_LOOKS", timedelta(milliseconds=20))
    # Other tests leave workflows behind that these tables do not know.
    monkeypatch.setattr(checking, "WORKFLOW_TYPE", "None")
    url = command_store._url.render_as_string(hide_password=False)
    async with open_office(url, temporal_client, MemoryMailer()) as opened:
        monkeypatch.setenv("DRUMBEAT_TASK_QUEUE", opened.task_queue)
        yield opened


@pytest.fixture
async def ada(office: Office) -> Enrolled:
    address = f"ada-{secrets.token_hex(4)}@example.org"
    one = await office.enroll(campaign(call(), call()), address)
    await office.until(one, lambda p: p.state is State.TASK)
    return one


async def spoil(office: Office, one: Enrolled, **values: object) -> None:
    async with office.store.write() as tx:
        await tx.execute(update(enrollments).where(enrollments.c.id == one.id).values(**values))


async def test_a_clean_check_ends_well(office: Office, ada: Enrolled, typed: Typed) -> None:
    done = await typed("check")
    assert (done.status, done.err) == (0, "")
    assert done.out == "checked 1 running enrollment: nothing is different\n"


async def test_a_difference_is_printed_and_mended(
    office: Office, ada: Enrolled, typed: Typed
) -> None:
    await spoil(office, ada, state="failed", step=2)
    done = await typed("check")
    assert done.status == 0
    lines = done.out.splitlines()
    assert "in intro-q4: behind: the tables say failed at step 2" in lines[0]
    assert "the workflow task at step 1: the tables are mended" in lines[0]
    assert lines[1] == "checked 1 running enrollment: 1 different, 1 settled, 0 left"
    assert (await office.row(ada)).state == "task"


async def test_json_lists_the_differences_and_what_is_left(
    office: Office, ada: Enrolled, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "START_PATIENCE", timedelta(0))
    lost = f"campaign/intro-q4/{secrets.token_hex(4)}"
    kickoff = datetime.now(UTC) - timedelta(days=1)
    await spoil(office, ada, workflow_id=lost, started_at=None, kickoff=kickoff)
    done = await typed("check", "--json")
    assert done.status == 1
    found = json.loads(done.out)
    assert (found["checked"], found["left"]) == (1, 1)
    [difference] = found["differences"]
    assert (difference["kind"], difference["enrollment"]) == ("not_started", ada.id)
    assert (difference["workflow_id"], difference["mended"]) == (lost, False)


async def test_help_has_an_example(typed: Typed) -> None:
    done = await typed("check", "--help")
    assert "starter.py check" in done.out.partition("Example:")[2]
