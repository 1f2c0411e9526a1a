"""`enroll`, as typed: SPEC sections 7 and 8, and the bad input that issue 3 names."""

import asyncio
import csv
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select
from temporalio.client import Client

from drumbeat.cli import context
from drumbeat.cli.app import main
from drumbeat.store.engine import Store, migrate, open_store
from drumbeat.store.schema import campaigns, enrollments, metadata
from tests.ports import free_port
from tests.temporal_server import TemporalServer

CAMPAIGN = """\
campaign: {slug}
name: Q4 introduction
settings:
  person_timezone: true
days:
  - day: 1
    steps:
      - email: {{subject: Hello, body: "<p>{{{{ first_name }}}}, {{{{ industry }}}}</p>"}}
        send: choose
      - call: Introduce yourself
"""
REPS = """\
reps:
  - email: grace@example.com
    name: Grace Hopper
    timezone: America/New_York
    mailbox: {smtp: "smtp://127.0.0.1:2525"}
  - email: alan@example.com
    name: Alan Turing
    mailbox: {smtp: "smtps://alan@mail.example.com:465", password_env: ALAN_HAS_NO_PASSWORD}
"""
PEOPLE = """\
email,first_name,timezone,industry
ann@example.org,Ann,Europe/Berlin,steel
bob@example.org,Bob,,
"""


@dataclass(frozen=True, slots=True)
class Printed:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert (self.status, self.err) == (0, "")
        printed: dict[str, Any] = json.loads(self.out)
        return printed

    @property
    def refusal(self) -> str:
        """The one line of a command that was refused."""
        assert self.status == 1
        assert self.out == ""
        (line,) = self.err.splitlines()
        return line


def write(name: str, text: str) -> None:
    Path(name).write_text(text)


def rejects() -> list[list[str]] | None:
    """The rows of the rejects file, if it is there."""
    path = Path("people.rejects.csv")
    if not path.exists():
        return None
    with path.open(newline="") as file:
        return list(csv.reader(file))


def names() -> set[str]:
    """The files beside the campaign's, but for those that SQLite keeps while it is open."""
    return {path.name for path in Path().iterdir() if not path.name.startswith("drumbeat.db-")}


Enroll = Callable[..., Awaitable[Printed]]


@pytest.fixture
async def store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporal_server: TemporalServer
) -> AsyncIterator[Store]:
    """The database of the command, beside a campaign, reps and people."""
    url = f"sqlite:///{tmp_path / 'drumbeat.db'}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRUMBEAT_DATABASE_URL", url)
    monkeypatch.delenv("DRUMBEAT_REPS", raising=False)
    for name, value in temporal_server.environment.items():
        monkeypatch.setenv(name, value)
    write("campaign.yaml", CAMPAIGN.format(slug=f"intro-{secrets.token_hex(4)}"))
    write("reps.yaml", REPS)
    write("people.csv", PEOPLE)
    await migrate(url)
    store = await open_store(url)
    yield store
    await store.close()


@pytest.fixture
def enroll(store: Store, capsys: pytest.CaptureFixture[str]) -> Enroll:
    async def run(*arguments: str, rep: str = "grace@example.com", at: str = "now") -> Printed:
        capsys.readouterr()
        command = ["enroll", "campaign.yaml", "--people", "people.csv", "--rep", rep]
        command += ["--send-at", at] if at else []
        status = await asyncio.to_thread(main, [*command, *arguments])
        return Printed(status, *capsys.readouterr())

    return run


async def enrolled(store: Store) -> int:
    async with store.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(enrollments))).scalar_one())


async def test_json_is_as_the_specification_says(enroll: Enroll, store: Store) -> None:
    write("people.csv", PEOPLE + "broken,,,\n")
    printed = (await enroll("--json")).json
    async with store.read() as tx:
        ids = list((await tx.execute(select(enrollments.c.workflow_id))).scalars())
    assert {one["workflow_id"] for one in printed["people"][:2]} == set(ids)
    for one in printed["people"]:
        one["workflow_id"] = one["workflow_id"] and "an id"
    assert printed == {
        "enrolled": 2,
        "updated": 0,
        "already": 0,
        "excluded": 0,
        "rejected": 1,
        "people": [
            {
                "line": 2,
                "email": "ann@example.org",
                "result": "enrolled",
                "reason": None,
                "missing": [],
                "workflow_id": "an id",
            },
            {
                "line": 3,
                "email": "bob@example.org",
                "result": "enrolled",
                "reason": None,
                "missing": ["industry"],
                "workflow_id": "an id",
            },
            {
                "line": 4,
                "email": "broken",
                "result": "rejected",
                "reason": "malformed address: An email address must have an @-sign.",
                "missing": [],
                "workflow_id": None,
            },
        ],
    }


async def test_the_report_says_what_became_of_whom_and_when_it_begins(
    enroll: Enroll, store: Store
) -> None:
    write("people.csv", PEOPLE + "broken,,,\n")
    tomorrow = datetime.now(ZoneInfo("America/New_York")) + timedelta(days=2)
    at = tomorrow.replace(hour=9, minute=30, tzinfo=None)
    done = await enroll(at=at.isoformat(timespec="minutes"))
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("Q4 introduction (intro-")
    assert lines[0].endswith("for Grace Hopper <grace@example.com>")
    day = f"{at:%a %d %b %Y}"
    assert f"First step, email, leaves: {day}, 09:30 America/New_York, 1 person" in lines
    assert any(
        line.startswith(f"First step, email, leaves: {day}, 09:30 Europe/Berlin (")
        and line.endswith(" America/New_York), 1 person")
        for line in lines
    )
    assert "      2  enrolled" in lines
    assert "      1  rejected" in lines
    assert "  line 4: broken: malformed address: An email address must have an @-sign." in lines
    assert "The rejected rows are in people.rejects.csv" in lines
    assert "  industry: bob@example.org (line 3)" in lines
    again = await enroll()
    assert "      2  already enrolled" in again.out.splitlines()
    assert await enrolled(store) == 2


async def test_rejects_go_to_a_file_with_formulas_disarmed_and_a_clean_run_removes_it(
    enroll: Enroll,
) -> None:
    write(
        "people.csv",
        PEOPLE + '"=HYPERLINK(""x"")",,,\n+1,,,\n@x,,,\n"-a\nb",,,\nc@example.org,C,Moon,\n',
    )
    assert (await enroll()).status == 0
    rows = rejects()
    assert rows is not None
    assert rows[0] == ["line", "email", "reason"]
    assert [row[:2] for row in rows[1:]] == [
        ["4", '\'=HYPERLINK("x")'],
        ["5", "'+1"],
        ["6", "'@x"],
        ["7", "'-a\nb"],
        ["9", "c@example.org"],
    ]
    assert rows[5][2].startswith("unknown time zone 'Moon'")
    write("people.csv", PEOPLE)
    assert (await enroll()).status == 0
    assert rejects() is None


async def test_where_every_row_is_rejected_the_status_says_so(enroll: Enroll, store: Store) -> None:
    write("people.csv", 'email\n"ann@example.org\r\nBcc: eve@example.org"\n')
    done = await enroll()
    assert done.status == 1
    assert done.err.startswith("people.csv: nobody could be enrolled: malformed address: ")
    assert len(done.err.splitlines()) == 1
    write("people.csv", "email\nann\nann@\n")
    done = await enroll()
    assert done.status == 1
    assert done.err == "people.csv: nobody could be enrolled: every row is rejected\n"
    assert await enrolled(store) == 0


async def test_a_dry_run_changes_nothing(enroll: Enroll, store: Store) -> None:
    async def counts() -> list[int]:
        async with store.read() as tx:
            return [
                (await tx.execute(select(func.count()).select_from(table))).scalar_one()
                for table in metadata.sorted_tables
            ]

    write("people.csv", PEOPLE + "broken,,,\n")
    before, files = await counts(), names()
    done = await enroll("--dry-run")
    assert (done.status, done.err) == (0, "")
    assert "      2  would be enrolled" in done.out.splitlines()
    assert done.out.endswith("Nothing was changed.\n")
    assert (await enroll("--dry-run", "--json")).json["enrolled"] == 2
    assert await counts() == before
    assert names() == files


async def test_a_dry_run_needs_neither_database_nor_temporal(
    enroll: Enroll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRUMBEAT_DATABASE_URL", "sqlite:///no/such.db")
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    printed = (await enroll("--dry-run", "--json")).json
    assert printed["enrolled"] == 2
    assert "no" not in names()


async def test_a_dry_run_finds_the_reps_that_enrolling_finds(
    enroll: Enroll, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("reps.yaml").unlink()  # noqa: ASYNC240 (a test, nothing waits)
    monkeypatch.delenv("DRUMBEAT_DATABASE_URL")
    monkeypatch.setenv("DRUMBEAT_HOME", str(tmp_path))  # where the store is, as under `up`
    assert (await enroll("--dry-run", "--json")).json["enrolled"] == 2


async def test_faults_of_both_files_are_named_at_once_and_nobody_is_enrolled(
    enroll: Enroll, store: Store
) -> None:
    write("people.csv", "email,my_name\nann@example.org,x\n")
    write("campaign.yaml", CAMPAIGN.format(slug="intro").replace("choose", "sometimes"))
    done = await enroll()
    assert (done.status, done.out) == (1, "")
    first, second = done.err.splitlines()
    assert first.startswith("campaign.yaml:9:15: ")
    assert second.startswith("people.csv:1: the column 'my_name' begins with 'my_'")
    assert await enrolled(store) == 0


@pytest.mark.parametrize(
    ("arguments", "options", "line"),
    [
        (
            [],
            {"rep": "nobody@example.com"},
            "no rep has the address nobody@example.com: "
            "reps.yaml names grace@example.com, alan@example.com",
        ),
        (
            ["--as", "eve@example.com"],
            {},
            "no rep has the address eve@example.com: "
            "reps.yaml names grace@example.com, alan@example.com",
        ),
        (
            [],
            {"rep": "alan@example.com"},
            "the password of alan@example.com is to be in the environment variable "
            "ALAN_HAS_NO_PASSWORD, which is not set",
        ),
        (
            [],
            {"at": ""},
            "the first email says `send: choose`: give its send time (--send-at ISO or now)",
        ),
        (["--at", "1=09:30"], {}, "step 1 is an email with `send: choose`: a time can be set only"),
        (["--at", "2=09:30"], {}, "step 2 is a task (call): a time can be set only"),
        (["--start", "2020-01-01T10:00"], {}, "the start 2020-01-01T10:00:00"),
        ([], {"at": "2020-01-01T10:00"}, "the chosen send time 2020-01-01T10:00:00"),
    ],
)
async def test_what_cannot_be_is_refused_in_one_line_with_nothing_written(
    enroll: Enroll, store: Store, arguments: list[str], options: dict[str, str], line: str
) -> None:
    for more in ([], ["--dry-run"]):
        assert (await enroll(*arguments, *more, **options)).refusal.startswith(line)
    async with store.read() as tx:
        assert (await tx.execute(select(campaigns))).all() == []


async def test_temporal_that_cannot_be_reached_is_one_line_with_nothing_written(
    enroll: Enroll, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    monkeypatch.setattr(context, "PATIENCE", timedelta(seconds=0.2))
    assert (await enroll()).refusal.startswith("Temporal does not answer at 127.0.0.1:")
    async with store.read() as tx:
        assert (await tx.execute(select(campaigns))).all() == []


async def test_rejects_that_cannot_be_written_do_not_undo_the_rest(
    enroll: Enroll, store: Store
) -> None:
    write("people.csv", PEOPLE + "broken,,,\n")
    os.mkdir(".people.rejects.csv.part")
    done = await enroll()
    assert done.status == 0
    assert done.err == "people.rejects.csv: the rejects cannot be written there: is a directory\n"
    assert await enrolled(store) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--at", "1"],
        ["--at", "1=9:30"],
        ["--start", "tomorrow"],
        ["--sendat", "now"],
    ],
)
async def test_a_wrong_call_is_a_matter_of_usage(enroll: Enroll, arguments: list[str]) -> None:
    done = await enroll(*arguments)
    assert (done.status, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["enroll", "--help"]) == 0
    assert "starter.py enroll examples/intro/campaign.yaml" in capsys.readouterr().out


@pytest.mark.slow
async def test_killed_at_any_moment_and_run_again_it_enrolls_everybody_once(
    enroll: Enroll, store: Store, temporal_client: Client
) -> None:
    number = 700
    rows = "".join(f"person{one}@example.org,P,,steel\n" for one in range(number))
    write("people.csv", PEOPLE.splitlines()[0] + "\n" + rows)
    starter = str(Path(__file__).parents[2] / "starter.py")
    command = (starter, "enroll", "campaign.yaml", "--people", "people.csv")
    for written in (1, 250, 450):
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, "--rep", "grace@example.com", "--send-at", "now"
        )
        async with asyncio.timeout(60):
            while await enrolled(store) < written:  # noqa: ASYNC110 (another process writes)
                await asyncio.sleep(0.01)
        process.kill()
        await process.wait()
    assert await enrolled(store) < number
    last = (await enroll("--json")).json
    assert last["enrolled"] + last["already"] == number
    async with store.read() as tx:
        found = (await tx.execute(select(enrollments))).all()
    assert len(found) == len({row.person_id for row in found}) == number
    assert all(row.started_at is not None for row in found)
    assert all(row.round == 1 for row in found)
    for row in found:
        started = await temporal_client.get_workflow_handle(row.workflow_id).describe()
        assert await started.memo_value("enrollment") == row.id
