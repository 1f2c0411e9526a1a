import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from activities import outcomes
from drumbeat.campaign.model import OnReply
from drumbeat.campaign.record import What
from drumbeat.campaign.states import HoldKind, Outcome, State, Why, WhyCode
from drumbeat.temporal import attributes
from tests.workflows.conftest import Handle, Stage
from tests.workflows.plans import ENROLLMENT, call, email, email_task, start
from workflows import messages
from workflows.campaign import CampaignWorkflow
from workflows.messages import CampaignResult, Progress


def task(number: int) -> str:
    return f"{ENROLLMENT}-{number}"


async def events(handle: Handle) -> list[int]:
    return [event.event_type async for event in handle.fetch_history_events()]


def waits_at_task(number: int) -> Callable[[Progress], bool]:
    return lambda progress: (progress.step, progress.state) == (number, State.TASK)


async def test_emails_leave_at_their_local_times_on_their_days(
    stage: Stage, soon: datetime
) -> None:
    given = start(email(1, 1), email(2, 3), email(3, 4, "16:00"), kickoff=soon)
    handle = await stage.start(given)
    await stage.skip(handle, days=10)
    assert await handle.result() == CampaignResult(outcome=Outcome.COMPLETED, steps=3)
    zone = given.plan.zone
    local = {step: at.astimezone(zone) for step, at in stage.stubs.sent_at.items()}
    assert [f"{local[step]:%H:%M}" for step in (1, 2, 3)] == ["09:30", "09:30", "16:00"]
    first = local[1].date()
    assert [(local[step].date() - first).days for step in (1, 2, 3)] == [0, 2, 3]


async def test_an_undisturbed_email_costs_one_timer_one_activity_one_upsert(
    stage: Stage, soon: datetime
) -> None:
    handle = await stage.start(start(*(email(n, n) for n in range(1, 6)), kickoff=soon))
    await stage.skip(handle, days=20)
    await handle.result()
    happened = await events(handle)
    upserts = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
    assert happened.count(EventType.EVENT_TYPE_TIMER_STARTED) == 5
    # One more of each for the end: it is recorded, and shown.
    assert happened.count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED) == 5 + 1
    assert happened.count(upserts) == 5 + 1


async def test_a_task_costs_at_most_one_timer_two_activities_and_two_upserts(
    stage: Stage, soon: datetime
) -> None:
    handle = await stage.start(start(call(1, 1), call(2, 1), kickoff=soon))
    for number in (1, 2):
        await stage.until(handle, waits_at_task(number))
        done = messages.CompleteTask(task_id=task(number))
        await handle.execute_update(CampaignWorkflow.complete_task, done)
    await handle.result()
    happened = await events(handle)
    upserts = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
    assert happened.count(EventType.EVENT_TYPE_TIMER_STARTED) == 2
    assert happened.count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED) == 4
    assert happened.count(upserts) == 2 * 2 + 1


async def test_a_task_is_completed_by_a_plain_signal_with_a_json_payload(
    stage: Stage, soon: datetime
) -> None:
    handle = await stage.start(start(call(1, 1), kickoff=soon))
    await stage.until(handle, lambda p: p.state is State.TASK)
    payload = {"task_id": task(1), "outcome": "Connected", "note": "Call again in May."}
    await handle.signal("complete_task", payload)
    assert (await handle.result()).outcome is Outcome.COMPLETED
    [entry] = [e for e in stage.stubs.records[-1].entries if e.what is What.TASK_COMPLETED]
    assert entry.detail == {"outcome": "Connected", "note": "Call again in May."}


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("complete_task", []),
        ("complete_task", [None]),
        ("complete_task", ["nonsense"]),
        ("complete_task", [{"task_id": "nobody-1"}]),
        ("complete_task", [{"task_id": 7}]),
        ("complete_task", [{"task_id": f"{ENROLLMENT}-1"}, "one too many"]),
        ("complete_task", [{"task_id": f"{ENROLLMENT}-2"}]),
        ("hold", [{"kind": "person"}]),
        ("hold", [{"hold_id": "h1", "kind": "cosmic"}]),
        ("hold", [{"hold_id": "h1", "until": "0001-01-01T00:00:00Z"}]),
        ("hold", [{"hold_id": "h1", "until": "9999-12-31T23:59:00-12:00"}]),
        ("hold", [{"hold_id": "h" * 3_000}]),
        ("bounced", [{"hard": False, "step": 10**30}]),
        ("complete_task", [{"task_id": task(1), "note": "\0"}]),
        ("complete_task", [{"task_id": task(1), "note": "x" * 100_000}]),
        ("end", [{"enrollment_id": "another"}]),
        ("late_answer", [{"step": 1, "at": "never"}]),
        ("no_such_signal", [{"x": 1}]),
        ("no_such_signal", []),
    ],
)
async def test_a_wrong_signal_is_recorded_and_neither_fails_nor_blocks(
    stage: Stage, soon: datetime, name: str, args: list[Any]
) -> None:
    handle = await stage.start(start(call(1, 1), call(2, 1), kickoff=soon))
    await stage.until(handle, lambda p: p.state is State.TASK)
    await handle.signal(name, args=args)
    progress = await stage.until(handle, lambda p: p.happened[-1].what is What.REFUSED)
    assert progress.state is State.TASK
    for number in (1, 2):
        await stage.until(handle, waits_at_task(number))
        await handle.signal("complete_task", {"task_id": task(number)})
    assert (await handle.result()).outcome is Outcome.COMPLETED


async def test_a_hold_with_an_end_ends_while_a_task_is_open(stage: Stage, soon: datetime) -> None:
    handle = await stage.start(start(email_task(1, 1), kickoff=soon))
    await stage.until(handle, lambda p: p.state is State.TASK)
    until = datetime.now(UTC) + timedelta(days=2)
    await handle.signal("hold", {"hold_id": "h1", "until": until.isoformat()})
    await stage.until(handle, lambda p: p.state is State.HELD)
    await stage.skip(handle, days=3)
    progress = await stage.until(handle, lambda p: p.state is State.TASK)
    assert progress.happened[-1].what is What.RELEASED
    send = messages.SendTaskEmail(task_id=task(1))
    await handle.execute_update(CampaignWorkflow.send_task_email, send)
    assert (await handle.result()).outcome is Outcome.COMPLETED


async def test_a_moment_without_an_offset_in_a_plain_signal_is_utc(
    stage: Stage, soon: datetime
) -> None:
    handle = await stage.start(start(call(1, 1), kickoff=soon))
    await stage.until(handle, lambda p: p.state is State.TASK)
    await handle.signal("hold", {"hold_id": "h1", "until": "2200-01-01T09:00:00"})
    progress = await stage.until(handle, lambda p: p.state is State.HELD)
    assert progress.next_at_utc == datetime(2200, 1, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ([], "the message is empty: an object is wanted, {} at least"),
        ([{"task": "ada@example.org"}], "it cannot be read: task_id (missing)"),
        (["ada@example.org"], "it cannot be read: it (model_type)"),
    ],
)
async def test_a_refused_signal_says_what_it_lacks_and_nothing_that_it_held(
    stage: Stage, soon: datetime, args: list[Any], reason: str
) -> None:
    handle = await stage.start(start(call(1, 1), kickoff=soon))
    await handle.signal("complete_task", args=args)
    progress = await stage.until(handle, lambda p: p.happened[-1].what is What.REFUSED)
    assert progress.happened[-1].detail["reason"] == reason


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("complete_task", []),
        ("complete_task", [None]),
        ("complete_task", [{"task_id": task(1)}, 2]),
        ("skip_task", [{"task_id": "nobody-1"}]),
        ("snooze_task", [{"task_id": task(1)}]),
        ("edit_task", [{"task_id": task(1), "draft_id": "d1"}]),
        ("send_task_email", [{"task_id": task(1)}]),
        ("unschedule", [{"task_id": task(1)}]),
        ("edit_email", [{"step": 1, "draft_id": "d1"}]),
        ("move_email", [{"step": 9, "at": "2030-01-01T00:00:00Z"}]),
        ("skip_step", [{"step": 0}]),
        ("retry_step", [{}]),
        ("resolve_doubt", [{"sent": True}]),
        ("mended", [None]),
        ("no_such_update", [{}]),
    ],
)
async def test_a_wrong_update_is_refused_and_leaves_no_event(
    stage: Stage, soon: datetime, name: str, args: list[Any]
) -> None:
    handle = await stage.start(start(call(1, 1), kickoff=soon))
    await stage.until(handle, lambda p: p.state is State.TASK)
    before = await events(handle)
    with pytest.raises((WorkflowUpdateFailedError, RPCError)):
        await handle.execute_update(name, args=args)
    after = await events(handle)
    update_events = {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED,
    }
    assert not update_events & set(after[len(before) :])
    await handle.signal("complete_task", {"task_id": task(1)})
    assert (await handle.result()).outcome is Outcome.COMPLETED


async def test_a_refused_update_says_why(stage: Stage, soon: datetime) -> None:
    handle = await stage.start(start(call(1, 1), kickoff=soon))
    await stage.until(handle, lambda p: p.state is State.TASK)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(
            CampaignWorkflow.send_task_email, messages.SendTaskEmail(task_id=task(1))
        )
    assert "is no email: complete it instead" in str(refused.value.cause)


async def test_of_two_reps_who_complete_a_task_at_once_one_wins_and_the_other_hears_who(
    stage: Stage, soon: datetime
) -> None:
    handle = await stage.start(start(call(1, 1), call(2, 1), kickoff=soon))
    await stage.until(handle, lambda p: p.state is State.TASK)
    both = await asyncio.gather(
        *(
            handle.execute_update(
                CampaignWorkflow.complete_task,
                messages.CompleteTask(task_id=task(1), who=who),
            )
            for who in ("r1", "r2")
        ),
        return_exceptions=True,
    )
    [loser] = [answer for answer in both if isinstance(answer, WorkflowUpdateFailedError)]
    assert "task_completed by r" in str(loser.cause)


async def test_an_update_returns_when_its_effect_is_in_the_tables(
    stage: Stage, soon: datetime
) -> None:
    handle = await stage.start(start(email(1, 1), call(2, 2), kickoff=soon))
    move = messages.MoveEmail(step=1, at=soon + timedelta(days=3))
    await handle.execute_update(CampaignWorkflow.move_email, move)
    assert What.EMAIL_MOVED in [e.what for r in stage.stubs.records for e in r.entries]


@pytest.mark.parametrize(
    ("name", "payload", "outcome"),
    [
        ("replied", {}, Outcome.REPLIED),
        ("bounced", {"hard": True}, Outcome.BOUNCED),
        ("unsubscribed", {}, Outcome.UNSUBSCRIBED),
        ("end", {"success": True}, Outcome.SUCCESS),
        ("end", {}, Outcome.REMOVED),
    ],
)
@pytest.mark.parametrize("first", [email(1, 2), call(1, 1), email_task(1, 1)])
async def test_every_wait_is_interrupted_by_an_end(
    stage: Stage, soon: datetime, name: str, payload: dict[str, Any], outcome: Outcome, first: Any
) -> None:
    handle = await stage.start(start(first, kickoff=soon, on_reply=OnReply.END))
    await stage.until(handle, lambda p: p.state in (State.TASK, State.SLEEPING))
    await handle.signal(name, payload)
    assert (await handle.result()).outcome is outcome
    assert stage.stubs.sends == []
    assert stage.stubs.records[-1].shown.state is State.ENDED


async def test_nothing_leaves_while_held_and_the_step_goes_on_after_the_release(
    stage: Stage, soon: datetime
) -> None:
    handle = await stage.start(start(email(1, 1), kickoff=soon))
    await handle.signal("hold", {"hold_id": "h1", "kind": HoldKind.CAMPAIGN})
    await stage.until(handle, lambda p: p.state is State.HELD)
    await stage.skip(handle, days=5)
    assert stage.stubs.sends == []
    await handle.signal("release", {"hold_id": "h1"})
    await stage.skip(handle, days=2)
    assert (await handle.result()).outcome is Outcome.COMPLETED
    assert len(stage.stubs.sends) == 1


async def test_a_hold_that_only_the_tables_know_holds_too(stage: Stage, soon: datetime) -> None:
    stage.stubs.answers[1] = [outcomes.Held(hold_id="h1", hold_kind=HoldKind.REP)]
    handle = await stage.start(start(email(1, 1), kickoff=soon))
    await stage.skip(handle, days=2)
    await stage.until(handle, lambda p: p.state is State.HELD)
    await handle.signal("release", {"hold_id": "h1"})
    await stage.skip(handle, days=2)
    assert (await handle.result()).outcome is Outcome.COMPLETED
    assert stage.stubs.sends[-1].released == ("h1",)


async def test_an_email_waits_for_the_place_that_it_is_given(stage: Stage, soon: datetime) -> None:
    place = soon + timedelta(days=2)
    why = Why(code=WhyCode.LIMITS, until=place)
    stage.stubs.answers[1] = [outcomes.WaitUntil(at=place, on=place.date(), why=why)]
    handle = await stage.start(start(email(1, 1), kickoff=soon))
    await stage.skip(handle, days=5)
    await handle.result()
    assert place <= stage.stubs.sent_at[1] < place + timedelta(seconds=5)


async def test_a_reps_email_leaves_when_it_is_scheduled_and_then_the_task_is_over(
    stage: Stage, soon: datetime
) -> None:
    handle = await stage.start(start(email_task(1, 1), kickoff=soon))
    await stage.until(handle, lambda p: p.state is State.TASK)
    at = soon + timedelta(hours=7)
    await handle.execute_update(
        CampaignWorkflow.send_task_email,
        messages.SendTaskEmail(task_id=task(1), draft_id="d1", at=at),
    )
    await stage.skip(handle, hours=8)
    assert (await handle.result()).outcome is Outcome.COMPLETED
    [send] = stage.stubs.sends
    assert (send.by_rep, send.draft_id) == (True, "d1")
    assert stage.stubs.sent_at[1] >= at


async def test_search_attributes_and_details_tell_where_it_stands(
    stage: Stage, soon: datetime
) -> None:
    handle = await stage.start(start(email(1, 1), call(2, 2), kickoff=soon))
    await stage.skip(handle, days=3)
    await stage.until(handle, lambda p: p.state is State.TASK)
    described = await handle.describe()
    assert described.typed_search_attributes.get(attributes.STATE) == "task"
    assert described.typed_search_attributes.get(attributes.STEP) == "2"
    assert described.typed_search_attributes.get(attributes.NEXT_ACTION_AT) is None
    await handle.signal("end", {})
    await handle.result()


async def test_the_query_says_state_reason_and_next_time_in_both_zones(
    stage: Stage, soon: datetime
) -> None:
    handle = await stage.start(start(email(1, 1), kickoff=soon))
    progress = await handle.query(CampaignWorkflow.progress)
    assert (progress.state, progress.step, progress.why_text) == (
        State.SLEEPING,
        1,
        "waits for its time",
    )
    assert progress.next_at is not None and progress.next_at_utc is not None
    assert datetime.fromisoformat(progress.next_at) == progress.next_at_utc
    assert progress.next_at[10:16] == "T09:30"
    await handle.signal("end", {})
    await handle.result()
