"""The storm: its plan follows from its seed, its sum finds what is wrong, and a short one holds."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from drumbeat.store.engine import open_store
from storm.inbox import Inbox
from storm.plan import Blow, Plan, make_plan
from storm.reckoning import Sum, reckon
from storm.scenery import REPS
from storm.storming import storm

TWENTY_MINUTES = timedelta(minutes=20)


def plan(
    seed: int = 1, people: int = 500, kills: int = 30, lasts: timedelta = TWENTY_MINUTES
) -> Plan:
    return make_plan(seed, lasts, people, kills, reps=len(REPS))


def test_the_same_seed_gives_the_same_storm() -> None:
    assert plan(seed=7) == plan(seed=7)
    assert plan(seed=7) != plan(seed=8)


def test_it_kills_as_often_as_asked_and_ends_with_a_calm() -> None:
    blows = [event.blow for event in plan(kills=30).events]
    kills = blows.count(Blow.WORKER_KILLED) + blows.count(Blow.WORKERS_KILLED)
    assert kills == 30
    assert blows.count(Blow.TEMPORAL_KILLED) == 5
    assert set(blows) == set(Blow)
    moments = [event.after for event in plan(kills=30).events]
    assert moments == sorted(moments)
    assert moments[-1] < TWENTY_MINUTES * 0.9


def test_everybody_is_enrolled_once() -> None:
    enrolled = [person for party in plan(people=43).parties for person in party.people]
    assert sorted(enrolled) == list(range(1, 44))


@pytest.fixture(scope="module")
async def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sum, Path]:
    """A storm of half a minute, and the folder in which everything still lies."""
    folder = tmp_path_factory.mktemp("storm")
    lasts = timedelta(seconds=18)
    return await storm(plan(1, people=40, kills=6, lasts=lasts), folder, print), folder


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_in_a_short_storm_every_email_is_accounted_for_once(short: tuple[Sum, Path]) -> None:
    total, _ = short
    assert total.holds, f"{total.faults}\n{total.table()}"
    assert total.expected == 120
    assert total.blows[Blow.WORKER_KILLED] + total.blows[Blow.WORKERS_KILLED] == 6


async def _reckoned(folder: Path, change: Callable[[list[str]], list[str]]) -> Sum:
    """The sum of the short storm, had the mail server's log been another."""
    lines = (folder / "accepted.jsonl").read_text().splitlines()
    log = folder / "changed.jsonl"
    log.write_text("".join(f"{line}\n" for line in change(lines)))
    store = await open_store(f"sqlite:///{folder / 'var' / 'drumbeat.db'}")
    try:
        return await reckon(store, Inbox(log), expected_people=40, doubts=[], left_at={}, deaths=[])
    finally:
        await store.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_sum_finds_a_second_copy_and_a_lost_email(short: tuple[Sum, Path]) -> None:
    _, folder = short
    assert (await _reckoned(folder, lambda lines: lines)).holds
    doubled = await _reckoned(folder, lambda lines: [*lines, lines[0]])
    assert len(doubled.duplicates) >= 1
    assert not doubled.holds
    lost = await _reckoned(folder, lambda lines: lines[1:])
    assert len(lost.lost) == 1
    assert not lost.holds
    strange = json.dumps({"at": 0.0, "message_id": "<strange@example.com>", "to": "x@example.org"})
    assert (await _reckoned(folder, lambda lines: [*lines, strange])).untrue
