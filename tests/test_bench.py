import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from bench import crowd, enrolling, lateness, previewing, sending, waking
from bench.report import Figure, as_json, bounds, percentile, table, write_json
from bench.stage import BenchFailed
from bench.walks import cost_of_a_step
from drumbeat.campaign.people import read_people
from drumbeat.campaign.reading import read_campaign
from drumbeat.reps import read_reps

AT = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
FLOOR = crowd.Run(100, 1.0, tuple(index / 100 for index in range(1, 101)), {}, {"temporal": 1.0})
OURS = crowd.Run(100, 2.0, tuple(index / 25 for index in range(1, 101)), {}, {"worker": 2.0})


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (99, 99), (100, 100)]
)
def test_a_percentile_is_the_nearest_value_that_was_measured(percent: float, value: int) -> None:
    assert percentile(range(100, 0, -1), percent) == value


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_ratio_below_its_aim_is_missed() -> None:
    assert sending.figure(OURS, FLOOR).reached is False
    assert sending.figure(FLOOR, FLOOR).reached is True
    assert enrolling.figure(OURS, FLOOR).numbers["ratio"] == 0.5


def test_lateness_has_no_aim_and_stands_beside_the_floors() -> None:
    figure = lateness.figure(OURS, FLOOR)
    assert figure.reached is None
    assert (figure.measured, figure.floor) == ("2.0 s, 4.0 s", "0.5 s, 1.0 s")


def test_the_table_says_what_was_reached_and_the_lines_below_what_bounds_it() -> None:
    console = Console(width=200, record=True, file=StringIO())
    console.print(table([sending.figure(OURS, FLOOR), lateness.figure(OURS, FLOOR)]))
    text = console.export_text()
    assert "missed" in text
    assert "20.0 ms in worker" in bounds([sending.figure(OURS, FLOOR)])[0]


def test_the_json_holds_each_figure_and_the_machine(tmp_path: Path) -> None:
    figure = Figure("x", "X", "2/s", "4/s", "0.5", True, "Nothing.", {"per_second": 2.0})
    path = tmp_path / "new" / "bench.json"
    write_json(path, as_json([figure], people=7, seconds=1.26, at=AT))
    content = json.loads(path.read_text())
    assert (content["people"], content["seconds"]) == (7, 1.3)
    assert content["machine"]["cores"] >= 1
    assert content["figures"][0]["numbers"] == {"per_second": 2.0}


def test_the_files_of_the_bench_are_usable(tmp_path: Path) -> None:
    campaign, people, reps = (tmp_path / name for name in ("bench.yaml", "people.csv", "reps.yaml"))
    campaign.write_text(crowd.CAMPAIGN_FILE)
    people.write_text(crowd.people_csv(3))
    reps.write_text(crowd.REPS_FILE)
    reading = read_campaign(campaign)
    assert reading.campaign is not None and not reading.faults
    assert len(read_people(people).people) == 3
    [rep] = read_reps(reps, local_smtp="smtp://127.0.0.1:2525").reps
    assert rep.mailbox.limits == ()


def test_a_preview_is_counted_step_by_step() -> None:
    figure = previewing.measure(people=2)
    assert figure.numbers["people"] == 2
    assert figure.numbers["steps"] == 30


def history(*types: str) -> WorkflowHistory:
    events = [
        HistoryEvent(event_id=number, event_type=EventType.Value(f"EVENT_TYPE_{name}"))
        for number, name in enumerate(types, start=1)
    ]
    return WorkflowHistory("walk", events)


def test_a_step_costs_what_lies_between_two_timers_without_traces_of_virtual_time() -> None:
    walk = history(
        "WORKFLOW_EXECUTION_STARTED",
        "TIMER_STARTED",
        "WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED",
        "TIMER_FIRED",
        "ACTIVITY_TASK_SCHEDULED",
        "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
        "TIMER_STARTED",
    )
    cost = cost_of_a_step(walk.events)
    assert (cost.events, cost.actions) == (4, 3)


def test_a_wake_is_cut_where_a_worker_gets_the_history() -> None:
    walk = history(
        "WORKFLOW_EXECUTION_STARTED",
        "WORKFLOW_TASK_STARTED",
        "TIMER_FIRED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_TASK_STARTED",
        "WORKFLOW_TASK_COMPLETED",
    )
    assert len(waking.at_step(walk, 1).events) == 5
    with pytest.raises(BenchFailed, match="step 2"):
        waking.at_step(walk, 2)
