"""`campaign`, as typed."""

import json
from datetime import timedelta
from typing import Any

import pytest

from drumbeat.actions import telling
from drumbeat.cli import campaign as commands
from drumbeat.store.engine import Store
from tests.activities.world import MONDAY, Walk, World, call, campaign, email
from tests.cli.conftest import Typed


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs: waiting for one would only take time."""

    async def at_once(store: Store, told: telling.Told) -> int:
        return await telling.unconfirmed(store, told, wait=timedelta(0))

    async def not_ended(store: Store, which: Any) -> int:
        return await telling.not_ended(store, which, wait=timedelta(0))

    monkeypatch.setattr(commands, "unconfirmed", at_once)
    monkeypatch.setattr(commands, "not_ended", not_ended)


@pytest.fixture
async def ada(command_world: World) -> Walk:
    walk = await command_world.enroll(campaign(email(), call()))
    await walk.due().send()
    return walk


async def test_show_prints_the_contract_as_json(
    command_world: World, ada: Walk, typed: Typed
) -> None:
    bob = await command_world.enroll(campaign(email(), call()), "bob@example.org")
    await bob.change_row(ended_at=MONDAY, outcome="replied_success", state="ended")
    done = await typed("campaign", "show", "intro-q4", "--json")
    assert (done.status, done.err) == (0, "")
    nothing = dict.fromkeys(
        (
            *("waiting", "due", "sent", "opened", "clicked", "replied"),
            *("bounced", "unsubscribed", "skipped", "done"),
        ),
        0,
    )
    assert json.loads(done.out) == {
        "campaign": "intro-q4",
        "enrolled": 2,
        "running": 1,
        "ended": {"replied_success": 1},
        # Its time has come long ago: the day of the call is in 2026.
        "steps": [
            nothing | {"step": 1, "sent": 1},
            nothing | {"step": 2, **_at_the_call(done.out)},
        ],
    }


def _at_the_call(out: str) -> dict[str, int]:
    """One person stands at the call: whether it is due hangs on the day on which the test runs."""
    step = json.loads(out)["steps"][1]
    assert step["waiting"] + step["due"] == 1
    return {"waiting": step["waiting"], "due": step["due"]}


async def test_show_prints_a_table_with_a_row_for_each_step(
    command_world: World, ada: Walk, typed: Typed
) -> None:
    await typed("campaign", "hold", "intro-q4", "--reason", "price change")
    bob = await command_world.enroll(campaign(email(), call()), "bob@example.org")
    await bob.change_row(ended_at=MONDAY, outcome="success", state="ended")
    done = await typed("campaign", "show", "intro-q4")
    assert done.status == 0
    for text in (
        "intro-q4: Q4 introduction",
        ": price change",
        "enrolled 2, running 1",
        "ended 1: success 1; success rate 100%",
        "call: Introduce yourself",
    ):
        assert text in done.out


async def test_list_prints_each_campaign_and_hides_archived_ones(ada: Walk, typed: Typed) -> None:
    done = await typed("campaign", "list", "--json")
    assert json.loads(done.out) == [
        {
            "campaign": "intro-q4",
            "name": "Q4 introduction",
            "category": None,
            "enrolled": 1,
            "running": 1,
            "ended": {},
            "held": False,
            "archived": False,
        }
    ]
    assert "intro-q4" in (await typed("campaign", "list")).out
    assert (await typed("campaign", "archive", "intro-q4")).out == "archived\n"
    assert json.loads((await typed("campaign", "list", "--json")).out) == []
    shown = json.loads((await typed("campaign", "list", "--archived", "--json")).out)
    assert [each["archived"] for each in shown] == [True]
    assert (await typed("campaign", "archive", "intro-q4", "--undo")).out == "in use again\n"


async def test_a_campaign_is_held_released_and_ended(ada: Walk, typed: Typed) -> None:
    done = await typed("campaign", "hold", "intro-q4", "--until", "2199-01-01T09:00")
    assert done.out.splitlines() == [
        "held until Tue 01 Jan 2199, 09:00 America/New_York: 1 enrollment",
        "recorded, not yet confirmed by 1",
    ]
    done = await typed("campaign", "release", "intro-q4")
    assert done.out.splitlines()[0] == "released: 1 enrollment"
    done = await typed("campaign", "end", "intro-q4", "--as", "grace@example.com")
    assert done.out.splitlines() == [
        "ended as removed: 1 enrollment",
        "recorded, not yet confirmed by 1",
    ]


async def test_deciding_commands_print_json_too(ada: Walk, typed: Typed) -> None:
    told = {"campaign": "intro-q4", "enrollments": 1, "not_yet_confirmed": 1}
    for arguments, values in (
        (("hold", "intro-q4"), told | {"until": None}),
        (("release", "intro-q4"), told),
        (("end", "intro-q4"), told),
        (("archive", "intro-q4"), {"campaign": "intro-q4", "archived": True}),
    ):
        done = await typed("campaign", *arguments, "--json")
        assert json.loads(done.out) == values, arguments


async def test_what_is_wrong_is_one_clear_line(ada: Walk, typed: Typed) -> None:
    for arguments, line in (
        (("show", "nowhere"), "there is no campaign nowhere"),
        (("hold", "nowhere"), "there is no campaign nowhere"),
        (("release", "intro-q4"), "campaign intro-q4 is not held"),
        (("retry", "intro-q4"), "nothing failed or is blocked in campaign intro-q4"),
        (("archive", "intro-q4", "--undo"), "campaign intro-q4 is not archived"),
        (("end", "intro-q4", "--as", "bob@example.com"), "no rep has the address"),
    ):
        done = await typed("campaign", *arguments)
        assert (done.status, done.out) == (1, ""), arguments
        assert line in done.err and len(done.err.splitlines()) == 1, arguments


async def test_every_command_has_help_with_an_example(typed: Typed) -> None:
    for name in ("list", "show", "hold", "release", "end", "retry", "archive"):
        done = await typed("campaign", name, "--help")
        assert done.status == 0
        assert f"starter.py campaign {name}" in done.out.partition("Example:")[2]
