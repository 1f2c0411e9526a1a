"""What the workflow says of an enrollment, and what it means for the other tables."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from temporalio.testing import ActivityEnvironment

from activities.enrollments import Enrollments
from activities.outcomes import Failed, WaitUntil
from drumbeat.campaign.model import OnReply, Priority
from drumbeat.campaign.record import Record
from drumbeat.campaign.states import MessageState, Outcome, State, TaskStatus
from drumbeat.mail.outcomes import Phase
from drumbeat.reps import Limit, Mailbox
from drumbeat.store.schema import suppressions, texts
from tests.activities.world import NOWHERE, Walk, World, call, campaign, email, local
from workflows import handling, messages


async def apply(world: World, record: Record) -> None:
    await ActivityEnvironment().run(Enrollments(world.store).record, record)


async def keep(world: World, text_id: str, text: str) -> str:
    async with world.store.write() as tx:
        await tx.execute(insert(texts).values(id=text_id, text=text, who=None, at=world.clock()))
    return text_id


async def at_task(world: World, **step: Any) -> Walk:
    walk = await world.enroll(campaign(email(send="task"), email(), **step))
    await walk.open_task()
    return walk


def task_id(walk: Walk) -> str:
    return f"{walk.id}-{walk.state.step}"


async def test_a_record_is_applied_once_however_often_it_comes(world: World) -> None:
    walk = await at_task(world)
    note = await keep(world, "x1", "Left a voicemail")
    done = messages.CompleteTask(task_id=task_id(walk), who="r1", outcome="No answer", note_id=note)
    handling.complete_task(walk.state, done, world.clock())
    walk.go_on()
    record = walk.state.record()
    for _ in range(3):
        await apply(world, record)
    task = await walk.task(1)
    assert (task.status, task.closed_by, task.text_id) == (TaskStatus.COMPLETED, "r1", "x1")
    assert await walk.happened() == ["task_opened", "sent_elsewhere"]
    row = await walk.row()
    assert (row.state, row.step, row.seq) == (State.SLEEPING, 2, walk.state.seq)
    assert row.standing == walk.state.standing.model_dump_json()
    assert (await walk.message(2)).due_at == local("2026-11-24T09:30")


async def test_an_older_record_never_overwrites_a_newer_one(world: World) -> None:
    walk = await at_task(world)
    snooze = messages.SnoozeTask(task_id=task_id(walk), due=date(2026, 11, 30))
    handling.snooze_task(walk.state, snooze, world.clock())
    older = walk.state.record()
    await apply(world, older)
    walk.state.recorded(older)
    done = messages.CompleteTask(task_id=task_id(walk))
    handling.complete_task(walk.state, done, world.clock())
    walk.go_on()
    await walk.record()
    before = await walk.row()
    await apply(world, older)
    assert await walk.row() == before
    assert await walk.happened() == ["task_opened", "task_snoozed", "sent_elsewhere"]


async def test_a_record_without_a_row_says_so_without_personal_data(world: World) -> None:
    walk = await at_task(world)
    stranger = walk.state.record().model_copy(update={"enrollment_id": "f" * 16})
    with pytest.raises(LookupError, match="the tables know no enrollment ffffffffffffffff"):
        await apply(world, stranger)


async def test_snoozing_moves_the_due_date(world: World) -> None:
    walk = await at_task(world)
    snooze = messages.SnoozeTask(task_id=task_id(walk), due=date(2026, 11, 30))
    handling.snooze_task(walk.state, snooze, world.clock())
    await walk.record()
    assert (await walk.task()).due == date(2026, 11, 30)


async def test_editing_a_task_changes_what_is_named(world: World) -> None:
    walk = await at_task(world)
    subject = await keep(world, "x1", "Write to Ada")
    edit = messages.EditTask(
        task_id=task_id(walk), subject_id=subject, priority=Priority.HIGH, due=date(2026, 12, 1)
    )
    handling.edit_task(walk.state, edit, world.clock())
    await walk.record()
    task = await walk.task()
    assert (task.subject, task.priority, task.due) == (
        "Write to Ada",
        Priority.HIGH,
        date(2026, 12, 1),
    )
    assert task.rep_id == world.rep_id


async def test_a_text_that_nobody_kept_changes_nothing_and_does_not_stop_the_record(
    world: World,
) -> None:
    walk = await at_task(world)
    before = await walk.task()
    edit = messages.EditTask(task_id=task_id(walk), subject_id="nope", priority=Priority.HIGH)
    handling.edit_task(walk.state, edit, world.clock())
    await walk.record()
    task = await walk.task()
    assert (task.subject, task.priority) == (before.subject, Priority.HIGH)


async def test_scheduling_and_taking_it_back(world: World) -> None:
    walk = await at_task(world)
    at = local("2026-11-24T16:00")
    ask = messages.SendTaskEmail(task_id=task_id(walk), at=at)
    handling.send_task_email(walk.state, ask, world.clock())
    await walk.record()
    task, message = await walk.task(), await walk.message()
    assert (task.status, task.send_at, message.due_at) == (TaskStatus.SCHEDULED, at, at)
    row = await walk.row()
    assert (row.state, row.next_at) == (State.TASK, at)
    handling.unschedule(walk.state, messages.Unschedule(task_id=task_id(walk)), world.clock())
    await walk.record()
    task, message = await walk.task(), await walk.message()
    assert (task.status, task.send_at, message.due_at) == (TaskStatus.OPEN, None, None)


async def test_skipping_a_step_cancels_its_email_and_gives_its_place_back(world: World) -> None:
    limited = Mailbox(
        "grace@example.com", NOWHERE, batch=Limit(1, timedelta(seconds=45)), daily=None
    )
    await world.staff(limited)
    first = (await world.enroll(campaign(email(), email()), "first@example.org")).due()
    await first.send()
    walk = (await world.enroll(campaign(email(), email()))).due()
    assert isinstance(await walk.send(), WaitUntil)
    assert [mark.handed_over for mark in await world.marks()] == [True, False]
    skip = messages.SkipStep(step=1, who="r1")
    handling.skip_step(walk.state, skip, world.clock())
    walk.go_on()
    await walk.record()
    message = await walk.message(1)
    assert (message.state, message.why["code"]) == (MessageState.CANCELLED, "skipped")
    assert [mark.handed_over for mark in await world.marks()] == [True]
    assert await walk.state_of(2) == MessageState.SCHEDULED


async def test_an_end_cancels_what_waits_and_closes_what_is_open(world: World) -> None:
    walk = await at_task(world)
    handling.end(walk.state, messages.End(success=True, who="r1"), world.clock())
    await walk.record()
    row = await walk.row()
    assert (row.state, row.outcome, row.ended_at) == (State.ENDED, "success", world.clock())
    task = await walk.task(1)
    assert (task.status, task.closed_by) == (TaskStatus.CANCELLED, "r1")
    message = await walk.message(1)
    assert message.state == MessageState.CANCELLED
    assert message.why == {"code": "ended", "until": None, "detail": "success"}


async def test_a_hold_by_plain_signal_gets_a_row_and_its_release_marks_it(world: World) -> None:
    walk = await at_task(world)
    until = local("2026-12-01T09:00")
    handling.hold(walk.state, messages.Hold(hold_id="h1", until=until, who="r1"), world.clock())
    await walk.record()
    [hold] = await world.holds()
    assert (hold.kind, hold.target, hold.until, hold.released_at) == (
        "person",
        walk.id,
        until,
        None,
    )
    row = await walk.row()
    assert (row.state, row.why["detail"], row.next_at) == (State.HELD, "person", until)
    handling.release(walk.state, messages.Release(hold_id="h1", who="r1"), world.clock())
    await walk.record()
    [hold] = await world.holds()
    assert hold.released_at == world.clock()
    assert (await walk.row()).state == State.TASK


async def test_who_unsubscribes_is_suppressed_and_every_other_campaign_is_told(
    world: World,
) -> None:
    walk = await at_task(world)
    handling.unsubscribed(walk.state, messages.Unsubscribed(), world.clock())
    await walk.record()
    [suppressed] = await world.rows(suppressions)
    assert (suppressed.value, suppressed.source) == ("ada@example.org", "unsubscribed")
    assert (await walk.row()).outcome == Outcome.UNSUBSCRIBED
    assert await world.outbox() == []


@pytest.mark.parametrize(
    ("on_reply", "outcome"), [(OnReply.END, Outcome.REPLIED), (OnReply.CONTINUE, None)]
)
async def test_a_reply_is_marked_whether_or_not_it_ends(
    world: World, on_reply: OnReply, outcome: Outcome | None
) -> None:
    walk = await world.enroll(campaign(call(), on_reply=on_reply))
    await walk.open_task()
    handling.replied(walk.state, messages.Replied(), world.clock())
    await walk.record()
    row = await walk.row()
    assert (row.replied_at, row.outcome) == (world.clock(), outcome)


async def test_a_bounce_marks_the_sent_email(world: World) -> None:
    walk = await world.enroll(campaign(email(), email()))
    await walk.due().send()
    handling.bounced(walk.state, messages.Bounced(step=1, hard=False), world.clock())
    await walk.record()
    message = await walk.message(1)
    assert (message.state, message.bounced) == (MessageState.SENT, "soft")
    handling.bounced(walk.state, messages.Bounced(step=1), world.clock())
    await walk.record()
    assert (await walk.message(1)).bounced == "hard"
    row = await walk.row()
    assert (row.outcome, row.bounced_at) == (Outcome.BOUNCED, world.clock())


@pytest.mark.parametrize("how", ["retry", "edit"])
async def test_who_looks_after_a_failed_email_gives_it_its_tries_again(
    world: World, how: str
) -> None:
    walk = (await world.enroll(campaign(email()))).due()
    outcome: object = None
    while not isinstance(outcome, Failed):
        world.memory.once(Phase.RCPT, 450, "4.2.0 Greylisted")
        outcome = await walk.due().send()
    if how == "retry":
        handling.retry_step(walk.state, messages.RetryStep(), world.clock())
    else:
        draft = await walk.draft("Hello", "<p>Again</p>")
        edit = messages.EditEmail(step=1, draft_id=draft)
        handling.edit_email(walk.state, edit, world.clock())
    world.memory.once(Phase.RCPT, 450, "4.2.0 Greylisted")
    assert isinstance(await walk.due().send(), WaitUntil)
    assert (await walk.message(1)).tries == 1


async def test_a_rep_who_sends_again_after_a_failure_has_all_tries_again(world: World) -> None:
    walk = await at_task(world)
    outcome: object = None
    while not isinstance(outcome, Failed):
        world.memory.once(Phase.RCPT, 450, "4.2.0 Greylisted")
        outcome = await walk.send(by_rep=True)
        if isinstance(outcome, WaitUntil):
            world.clock.now = outcome.at
    ask = messages.SendTaskEmail(task_id=task_id(walk))
    handling.send_task_email(walk.state, ask, world.clock())
    world.memory.once(Phase.RCPT, 450, "4.2.0 Greylisted")
    assert isinstance(await walk.send(by_rep=True), WaitUntil)
