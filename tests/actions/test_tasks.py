import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from drumbeat.actions import asking, own_tasks, tasks
from drumbeat.actions.asking import Answer
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.campaign.model import Priority, TaskStep
from drumbeat.campaign.states import Outcome, State
from drumbeat.store import tasks as queue
from drumbeat.store.schema import audit
from drumbeat.store.schema import tasks as table
from tests.actions.desks import ALAN, CALL, GRACE, campaign, desk_of, letter, task_id, today
from tests.office import Enrolled, Office


async def at_a_call(office: Office, **settings: object) -> Enrolled:
    enrolled = await office.enroll(campaign(CALL, CALL, **settings))
    await office.until_task(enrolled, 1)
    return enrolled


async def test_a_completed_call_is_completed_in_the_tables_and_the_campaign_goes_on(
    office: Office,
) -> None:
    enrolled = await at_a_call(office)
    done = await tasks.complete(
        office.desk, task_id(enrolled, 1), outcome="Connected", note="Call again in May."
    )
    assert (done.what, done.answer) == ("completed", Answer.DONE)
    row = done.task
    assert (row.status, row.outcome, row.text) == ("completed", "Connected", "Call again in May.")
    assert (row.closer, row.closed_at is not None) == (GRACE, True)
    await office.until_task(enrolled, 2)
    await tasks.complete(office.desk, task_id(enrolled, 2))
    assert (await enrolled.handle.result()).outcome is Outcome.COMPLETED
    row = await office.row(enrolled)
    assert (row.state, row.outcome) == (State.ENDED, Outcome.COMPLETED)


async def test_of_two_who_complete_at_once_one_wins_and_the_other_is_told_who_and_when(
    office: Office,
) -> None:
    enrolled = await at_a_call(office)
    task = task_id(enrolled, 1)
    answers = await asyncio.gather(
        tasks.complete(desk_of(office, GRACE), task),
        tasks.complete(desk_of(office, ALAN), task),
        return_exceptions=True,
    )
    [won] = [answer for answer in answers if isinstance(answer, tasks.Done)]
    [lost] = [answer for answer in answers if isinstance(answer, ActionError)]
    name = {GRACE: "Grace Hopper", ALAN: "Alan Turing"}[won.task.closer]
    # By the tables where they know of it already, else by the workflow.
    at = won.task.closed_at
    local = at.astimezone(ZoneInfo("America/New_York"))
    assert f"completed by {name}" in str(lost)
    assert f"{at:%H:%M} UTC" in str(lost) or f"{local:%H:%M} America/New_York" in str(lost)
    assert (await office.timeline(enrolled)).count("task_completed") == 1


async def test_who_comes_later_is_told_by_whom_and_when_in_the_reps_zone(office: Office) -> None:
    enrolled = await at_a_call(office)
    await tasks.complete(desk_of(office, ALAN), task_id(enrolled, 1))
    with pytest.raises(ActionError, match=r"is over: completed by Alan Turing, .* America/New_Y"):
        await tasks.skip(office.desk, task_id(enrolled, 1))


async def test_where_no_worker_answers_a_completion_is_kept_and_carried_out_later(
    quick_office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled = await at_a_call(quick_office)

    async def nobody(*_: object) -> Answer:
        raise asking.NobodyAnswered("no worker took it in time")

    monkeypatch.setattr(asking, "ask", nobody)
    done = await tasks.complete(desk_of(quick_office, ALAN), task_id(enrolled, 1))
    assert done.answer is Answer.NOT_YET_SHOWN
    await quick_office.until_task(enrolled, 2)
    assert (await tasks.find(quick_office.desk, done.task.id)).closer == ALAN
    with pytest.raises(asking.NobodyAnswered):
        await tasks.skip(quick_office.desk, task_id(enrolled, 2))
    await enrolled.handle.signal("end", {})
    await enrolled.handle.result()


async def test_an_outcome_is_one_of_the_campaigns_as_it_writes_it(quick_office: Office) -> None:
    enrolled = await at_a_call(quick_office, call_outcomes=("Connected", "No answer"))
    task = task_id(enrolled, 1)
    with pytest.raises(
        ActionError, match=r"'Hung up' is no outcome of campaign intro-.*: it is one"
    ):
        await tasks.complete(quick_office.desk, task, outcome="Hung up")
    done = await tasks.complete(quick_office.desk, task, outcome="no  ANSWER")
    assert done.task.outcome == "No answer"


async def test_only_a_call_has_an_outcome_and_a_long_one_is_a_note(quick_office: Office) -> None:
    enrolled = await quick_office.enroll(campaign(TaskStep(kind="custom", subject="Invite"), CALL))
    await quick_office.until_task(enrolled, 1)
    with pytest.raises(ActionError, match="only a call has an outcome"):
        await tasks.complete(quick_office.desk, task_id(enrolled, 1), outcome="Connected")
    await tasks.complete(quick_office.desk, task_id(enrolled, 1))
    await quick_office.until_task(enrolled, 2)
    with pytest.raises(ActionError, match="a longer text is a note"):
        await tasks.complete(quick_office.desk, task_id(enrolled, 2), outcome="x" * 61)


async def test_completing_an_email_task_says_that_it_counts_as_sent_elsewhere(
    office: Office,
) -> None:
    enrolled = await office.enroll(campaign(letter(), CALL))
    await office.until_task(enrolled, 1)
    done = await tasks.complete(office.desk, task_id(enrolled, 1))
    assert "counts as sent elsewhere" in done.text
    message = await office.message(enrolled, 1)
    assert message is not None
    assert (message.state, message.elsewhere) == ("sent", True)
    assert message.sent_at == done.task.closed_at


async def test_a_skipped_task_keeps_its_reason_and_stands_in_the_audit_log(office: Office) -> None:
    enrolled = await at_a_call(office)
    done = await tasks.skip(desk_of(office, ALAN), task_id(enrolled, 1), reason="Met in person.")
    assert (done.task.status, done.task.text) == ("skipped", "Met in person.")
    assert (done.task.closer, done.answer) == (ALAN, Answer.DONE)
    await office.until_task(enrolled, 2)
    async with office.store.read() as tx:
        [entry] = (await tx.execute(select(audit))).all()
    assert (entry.action, entry.target, entry.why) == ("skip", done.task.id, "Met in person.")


async def test_a_snoozed_task_moves_its_due_date_and_no_calendar(office: Office) -> None:
    enrolled = await at_a_call(office)
    before = await office.row(enrolled)
    to = today() + timedelta(days=9)
    done = await tasks.snooze(office.desk, task_id(enrolled, 1), to)
    assert (done.task.due, done.task.status) == (to, "open")
    after = await office.row(enrolled)
    assert (after.standing, after.state) == (before.standing, State.TASK)


async def test_a_task_is_not_snoozed_into_the_past(quick_office: Office) -> None:
    enrolled = await at_a_call(quick_office)
    with pytest.raises(ActionError, match=r"2020-01-01 has passed: today is .* in America/New_Yo"):
        await tasks.snooze(quick_office.desk, task_id(enrolled, 1), date(2020, 1, 1))


async def test_a_reassigned_task_lies_in_the_other_reps_queue(office: Office) -> None:
    enrolled = await at_a_call(office)
    done = await tasks.reassign(office.desk, task_id(enrolled, 1), "Alan@Example.com")
    assert (done.task.rep, done.text.split(" is ")[1]) == (ALAN, f"Alan Turing's ({ALAN})")
    assert await tasks.queue(desk_of(office, GRACE)) == []
    [task] = await tasks.queue(desk_of(office, ALAN))
    assert task.id == done.task.id


async def test_nobody_is_given_a_task_who_is_no_rep(quick_office: Office) -> None:
    enrolled = await at_a_call(quick_office)
    with pytest.raises(ActionError, match=r"no rep has the address eve@example\.com"):
        await tasks.reassign(quick_office.desk, task_id(enrolled, 1), "eve@example.com")


async def test_an_edited_task_changes_what_was_named_and_keeps_the_rest(office: Office) -> None:
    enrolled = await at_a_call(office)
    task = task_id(enrolled, 1)
    due = today() + timedelta(days=3)
    done = await tasks.edit(
        office.desk, task, subject=" Call\nagain ", due=due, priority=Priority.HIGH
    )
    row = done.task
    assert (row.subject, row.due, row.priority) == ("Call again", due, "high")
    assert row.notes == CALL.notes
    assert (await tasks.edit(office.desk, task, notes=" ")).task.notes == ""


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, "nothing to change"),
        ({"subject": " "}, "the subject is empty"),
        ({"subject": "x" * 256}, "longer than 255 characters"),
        ({"draft_id": "d1"}, "is no email: it takes no draft"),
    ],
)
async def test_an_edit_that_cannot_be_is_refused(
    quick_office: Office, changes: dict[str, Any], wrong: str
) -> None:
    enrolled = await at_a_call(quick_office)
    with pytest.raises(ActionError, match=wrong):
        await tasks.edit(quick_office.desk, task_id(enrolled, 1), **changes)


async def test_an_unknown_task_and_an_unknown_rep_are_one_clear_line(quick_office: Office) -> None:
    with pytest.raises(NotFound, match="there is no task 0123456789abcdef-1: `task list`"):
        await tasks.complete(quick_office.desk, "0123456789abcdef-1")
    with pytest.raises(ActionError, match=r"no rep has the address eve@example\.com"):
        await tasks.queue(desk_of(quick_office, "eve@example.com"))


async def test_the_tasks_of_an_ended_enrollment_are_closed_and_who_acts_is_told(
    office: Office,
) -> None:
    enrolled = await at_a_call(office)
    await enrolled.handle.signal("end", {"success": True})
    await enrolled.handle.result()
    with pytest.raises(ActionError, match=r"task .*-1 is over: cancelled"):
        await tasks.complete(office.desk, task_id(enrolled, 1))


async def test_the_queue_begins_with_replies_then_high_priority_then_the_oldest_due(
    office: Office,
) -> None:
    enrolled = await office.enroll(campaign(CALL, CALL))
    await office.until_task(enrolled, 1)
    on = today()

    async def own(kind: str, days: int, priority: Priority = Priority.NORMAL) -> str:
        async with office.store.write() as tx:
            return await own_task(office, tx, enrolled, kind, on + timedelta(days=days), priority)

    late = await own("custom", 5)
    soon = await own("custom", -5)
    high = await own("call", 3, Priority.HIGH)
    reply = await own("reply", 9)
    found = [task.id for task in await tasks.queue(office.desk)]
    assert found == [reply, high, soon, task_id(enrolled, 1), late]
    page = await tasks.queue(office.desk, limit=2, offset=1)
    assert [task.id for task in page] == [high, soon]
    async with office.store.read() as tx:
        assert await queue.count(tx) == 5
        assert await queue.count(tx, table.c.kind == "call") == 2


async def own_task(
    office: Office, tx: Any, enrolled: Enrolled, kind: str, due: date, priority: Priority
) -> str:
    rep = office.reps.by_address(GRACE)
    assert rep is not None
    return await own_tasks.insert_own(
        tx,
        person_id=enrolled.person_id,
        rep_id=office.reps.id_of(rep),
        who=office.reps.id_of(rep),
        kind=kind,
        subject="Own",
        due=due,
        priority=priority,
        notes=None,
        now=datetime.now(UTC),
    )


async def test_tasks_of_ones_own_belong_to_no_step_and_survive_the_enrollments_end(
    office: Office,
) -> None:
    enrolled = await at_a_call(office)
    done = await tasks.add(office.desk, "Ada@Example.org", "Send the invoice", notes="No. 7")
    row = done.task
    assert (row.step, row.enrollment_id, row.campaign, row.rep) == (None, None, None, GRACE)
    assert (row.kind, row.notes, row.status) == ("custom", "No. 7", "open")
    await enrolled.handle.signal("end", {})
    await enrolled.handle.result()
    before = await office.timeline(enrolled)
    to = today() + timedelta(days=30)
    assert (await tasks.snooze(office.desk, row.id, to)).task.due == to
    assert (await tasks.reassign(office.desk, row.id, ALAN)).task.rep == ALAN
    edited = await tasks.edit(office.desk, row.id, subject="Send it", priority=Priority.HIGH)
    assert (edited.task.subject, edited.task.priority) == ("Send it", "high")
    closed = await tasks.complete(desk_of(office, ALAN), row.id, note="Sent.")
    assert (closed.task.status, closed.task.closer, closed.task.text) == (
        "completed",
        ALAN,
        "Sent.",
    )
    with pytest.raises(ActionError, match="is over: completed by Alan Turing"):
        await tasks.skip(office.desk, row.id)
    assert await office.timeline(enrolled) == before


async def test_of_two_who_close_a_task_of_ones_own_at_once_one_wins(office: Office) -> None:
    await at_a_call(office)
    task = (await tasks.add(office.desk, "ada@example.org", "Send the invoice")).task.id
    answers = await asyncio.gather(
        tasks.complete(desk_of(office, GRACE), task),
        tasks.skip(desk_of(office, ALAN), task),
        return_exceptions=True,
    )
    [lost] = [answer for answer in answers if isinstance(answer, ActionError)]
    assert "is over: " in str(lost)
    assert len([answer for answer in answers if isinstance(answer, tasks.Done)]) == 1


async def test_whose_task_it_is_must_be_known(quick_office: Office) -> None:
    await at_a_call(quick_office)
    desk = desk_of(quick_office, ALAN)
    assert (await tasks.add(desk, "ada@example.org", "Call")).task.rep == ALAN
    with pytest.raises(NotFound, match=r"nobody has the address bob@example\.org"):
        await tasks.add(desk, "bob@example.org", "Call")
    with pytest.raises(ActionError, match="'fax' is no kind of task"):
        await tasks.add(desk, "ada@example.org", "Call", kind="fax")
