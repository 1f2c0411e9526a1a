"""`suppress` and `block`, as typed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update

from drumbeat.actions.telling import Told
from drumbeat.cli import block, suppress
from drumbeat.cli.app import main
from drumbeat.store.engine import Store, migrate, open_store
from drumbeat.store.schema import outbox, suppressions
from tests.web.rows import all_rows, enrolled


@dataclass(frozen=True, slots=True)
class Printed:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str


Command = Callable[..., "asyncio.Future[Printed]"]


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """The database that the commands use, too."""
    url = f"sqlite:///{tmp_path / 'drumbeat.db'}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRUMBEAT_DATABASE_URL", url)
    await migrate(url)
    store = await open_store(url)
    yield store
    await store.close()


@pytest.fixture
def starter(capsys: pytest.CaptureFixture[str]) -> Command:
    async def run(*arguments: str) -> Printed:
        capsys.readouterr()
        status = await asyncio.to_thread(main, arguments)
        return Printed(status, *capsys.readouterr())

    return lambda *arguments: asyncio.ensure_future(run(*arguments))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs here: waiting for one would only take time."""

    async def nobody_confirms(store: Store, told: Told) -> int:
        return told.enrollments

    monkeypatch.setattr(suppress, "unconfirmed", nobody_confirms)
    monkeypatch.setattr(block, "unconfirmed", nobody_confirms)


async def confirm_all(store: Store) -> None:
    """What a worker does."""
    while not await all_rows(store, outbox):  # noqa: ASYNC110 (it comes from another thread)
        await asyncio.sleep(0.02)
    async with store.write() as tx:
        now = await store.now(tx)
        await tx.execute(update(outbox).values(delivered_at=now, answer="delivered"))


async def test_suppressing_says_what_it_ended_once_the_workflows_confirm(
    store: Store, starter: Command
) -> None:
    await enrolled(store)
    running = starter("suppress", "add", "Ada@Example.org", "--reason", "- asked by phone")
    await confirm_all(store)
    done = await running
    assert done == Printed(0, "ada@example.org is suppressed; 1 running enrollment ended\n", "")
    [row] = await all_rows(store, suppressions)
    assert row["reason"] == "- asked by phone"


@pytest.mark.usefixtures("impatient")
async def test_what_no_workflow_has_confirmed_in_time_is_said(
    store: Store, starter: Command
) -> None:
    await enrolled(store)
    await enrolled(store, campaign="winter")
    done = await starter("suppress", "add", "ada@example.org")
    assert done.status == 0
    assert done.out == (
        "ada@example.org is suppressed; 2 running enrollments to end: "
        "recorded, not yet confirmed by 2\n"
    )


@pytest.mark.usefixtures("impatient")
async def test_suppressing_is_an_object_as_json(store: Store, starter: Command) -> None:
    await enrolled(store)
    done = await starter("suppress", "add", "ada@example.org", "--json")
    assert json.loads(done.out) == {
        "value": "ada@example.org",
        "new": True,
        "ending": 1,
        "not_yet_confirmed": 1,
    }


async def test_suppressing_somebody_unknown_or_again_is_said(
    store: Store, starter: Command
) -> None:
    first = await starter("suppress", "add", "ada@example.org")
    second = await starter("suppress", "add", "ada@example.org")
    assert first.out == "ada@example.org is suppressed; no enrollment was running\n"
    assert second.out == "ada@example.org is suppressed already; no enrollment was running\n"


async def test_blocking_a_domain_ends_the_enrollments_of_everybody_there(
    store: Store, starter: Command
) -> None:
    await enrolled(store, "ada@example.org")
    await enrolled(store, "charles@example.org")
    await enrolled(store, "eve@notexample.org")
    running = starter("block", "add", "EXAMPLE.org", "--as", "grace@example.com")
    await confirm_all(store)
    done = await running
    assert done.out == "example.org is blocked; 2 running enrollments ended\n"


@pytest.mark.parametrize(
    ("group", "value", "key"),
    [("suppress", "ada@example.org", "address"), ("block", "example.org", "domain")],
)
async def test_what_stands_is_listed_until_it_is_lifted(
    store: Store, starter: Command, group: str, value: str, key: str
) -> None:
    await enrolled(store, "charles@example.com")  # Grace is known by it
    acting = ("--as", "grace@example.com")
    await starter(group, "add", value, "--reason", "[red] wish", *acting)
    table = await starter(group, "list")
    assert value in table.out
    assert "[red] wish" in table.out
    listed = await starter(group, "list", "--json")
    [row] = json.loads(listed.out)
    assert row.pop("at").endswith("Z")
    assert row == {
        key: value,
        "source": "manual",
        "reason": "[red] wish",
        "who": "grace@example.com",
    }
    lifted = await starter(group, "lift", value, "--reason", "they came back", *acting)
    assert lifted == Printed(0, f"{value} may get email again; what has ended stays ended\n", "")
    assert json.loads((await starter(group, "list", "--json")).out) == []


@pytest.mark.parametrize("group", ["suppress", "block"])
async def test_lifting_without_a_reason_is_a_wrong_usage(
    store: Store, starter: Command, group: str
) -> None:
    done = await starter(group, "lift", "example.org")
    assert (done.status, done.out) == (2, "")
    assert "--reason" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("suppress", "add", "ada"), "'ada' is no email address that can be used"),
        (("suppress", "add", "ada@example.org\nBcc: eve@example.org"), "no email address"),
        (("suppress", "lift", "ada@example.org", "--reason", "x"), "is not suppressed"),
        (("suppress", "lift", "ada@example.org", "--reason", " "), "a reason is wanted"),
        (("suppress", "add", "ada@example.org", "--as", "eve@example.com"), "no rep has"),
        (("block", "add", "ada@example.org"), "for one address there is `suppress`"),
        (("block", "add", "exa mple"), "is no domain such as example.com"),
        (("block", "lift", "example.org", "--reason", "x"), "is not blocked"),
    ],
)
async def test_what_cannot_be_done_is_one_line(
    store: Store, starter: Command, arguments: tuple[str, ...], words: str
) -> None:
    done = await starter(*arguments)
    assert (done.status, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert words in done.err


@pytest.mark.parametrize("group", ["suppress", "block"])
@pytest.mark.parametrize("command", ["add", "lift", "list"])
async def test_every_command_has_help_with_an_example(
    starter: Command, group: str, command: str
) -> None:
    done = await starter(group, command, "--help")
    assert done.status == 0
    assert f"starter.py {group} {command}" in done.out.partition("Example")[2]
