"""`mailbox`, as typed."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from drumbeat.actions import telling
from drumbeat.cli import mailbox
from drumbeat.store.engine import Store
from tests.activities.world import Walk, World, call, campaign, email
from tests.cli.conftest import REPS, Typed
from tests.mail.servers import ScriptedServer, refused_port

GRACE = "grace@example.com"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs: waiting for one would only take time."""

    async def at_once(store: Store, told: telling.Told) -> int:
        return await telling.unconfirmed(store, told, wait=timedelta(0))

    monkeypatch.setattr(mailbox, "unconfirmed", at_once)


@pytest.fixture
async def ada(command_world: World) -> Walk:
    return await command_world.enroll(campaign(email(), call()))


async def test_list_shows_use_against_each_limit(ada: Walk, typed: Typed) -> None:
    done = await typed("mailbox", "list")
    assert (done.status, done.err) == (0, "")
    assert "0 of 25 in 45 s; 0 of 1000 in 24 h" in done.out
    [shown] = json.loads((await typed("mailbox", "list", "--json")).out)
    assert shown | {"first_emails": None} == {
        "rep": "Grace Hopper",
        "address": GRACE,
        "server": "127.0.0.1:1",
        "limits": [
            {"limit": 25, "seconds": 45, "used": 0},
            {"limit": 1000, "seconds": 86400, "used": 0},
        ],
        "first_emails": None,
        "places": 0,
        "last_place_at": None,
        "holds": [],
        "trouble": None,
        "proved_at": None,
    }


async def test_a_mailbox_is_proved_and_the_proof_is_shown(
    command_store: Store, typed: Typed, tmp_path: Path
) -> None:
    async with ScriptedServer() as server:
        port = server.mailbox().smtp.port
        (tmp_path / "reps.yaml").write_text(REPS.format(port=port))
        done = await typed("mailbox", "check", GRACE)
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith(f"{GRACE} works: 127.0.0.1:{port}: connected")
        assert server.received == []
    [shown] = json.loads((await typed("mailbox", "list", "--json")).out)
    assert shown["proved_at"] is not None


async def test_a_mailbox_that_does_not_work_says_why(
    command_store: Store, typed: Typed, tmp_path: Path
) -> None:
    port = await refused_port()
    (tmp_path / "reps.yaml").write_text(REPS.format(port=port))
    done = await typed("mailbox", "check", GRACE)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"{GRACE} does not work: 127.0.0.1:{port}: ")
    done = await typed("mailbox", "check", GRACE, "--json")
    assert (done.status, json.loads(done.out)["ok"]) == (1, False)


async def test_a_mailbox_is_held_and_released(ada: Walk, typed: Typed) -> None:
    done = await typed("mailbox", "hold", GRACE, "--reason", "moving")
    assert done.out.splitlines() == [
        f"held: {GRACE}; 1 enrollment waits",
        "recorded, not yet confirmed by 1",
    ]
    assert "by Grace Hopper: moving" in (await typed("mailbox", "list")).out
    done = await typed("mailbox", "release", "--all")
    assert done.out.splitlines()[0] == f"released: {GRACE}; 1 enrollment goes on"
    done = await typed("mailbox", "release", "--all")
    assert (done.status, done.err) == (1, f"nothing holds the mailbox of {GRACE}\n")


async def test_deciding_commands_print_json_too(ada: Walk, typed: Typed) -> None:
    told = {"addresses": [GRACE], "enrollments": 1, "not_yet_confirmed": 1}
    done = await typed("mailbox", "hold", GRACE, "--json")
    assert json.loads(done.out) == told | {"until": None}
    done = await typed("mailbox", "release", "--all", "--json")
    assert json.loads(done.out) == told


async def test_what_is_wrong_is_one_clear_line(
    command_store: Store, typed: Typed, tmp_path: Path
) -> None:
    for arguments, line in (
        (("check", "bob@example.com"), "no rep has the address bob@example.com"),
        (("hold", "bob@example.com"), "no rep has the address bob@example.com"),
        (("hold",), "give a rep's address, or --all"),
        (("release", GRACE, "--all"), "give a rep's address, or --all"),
        (("hold", GRACE, "--until", "2020-01-01T09:00"), "has passed already"),
    ):
        done = await typed("mailbox", *arguments)
        assert (done.status, done.out) == (1, ""), arguments
        assert line in done.err and len(done.err.splitlines()) == 1, arguments
    (tmp_path / "reps.yaml").write_text("reps: 7")
    done = await typed("mailbox", "list")
    assert (done.status, done.err.startswith("reps.yaml:1:")) == (1, True)


async def test_every_command_has_help_with_an_example(typed: Typed) -> None:
    for name in ("list", "check", "hold", "release"):
        done = await typed("mailbox", name, "--help")
        assert done.status == 0
        assert f"starter.py mailbox {name}" in done.out.partition("Example:")[2]
