"""The tables are spoilt behind the workflows' back, as a backup or a crash would leave them."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, update

from drumbeat.actions import checking, rebuilding
from drumbeat.actions.checking import Kind, Report
from drumbeat.actions.delivery import Delivery
from drumbeat.actions.errors import ActionError
from drumbeat.campaign.model import Campaign
from drumbeat.campaign.states import Outcome, State
from drumbeat.store.schema import (
    drafts,
    enrollments,
    events,
    messages,
    outbox,
    suppressions,
    tasks,
)
from tests.activities.world import call, campaign, email
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Handle, Office
from tests.workflows import plans
from workflows.campaign import CampaignWorkflow
from workflows.messages import CampaignResult, CompleteTask, SkipTask


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "BETWEEN_LOOKS", timedelta(milliseconds=20))


async def enrolled(office: Office, *, task_first: bool = False) -> tuple[Enrolled, str]:
    """Somebody at the first step: an email an hour away, or an open task."""
    address = f"ada-{secrets.token_hex(4)}@example.org"
    if task_first:
        one = await office.enroll(campaign(call(), email(), call()), address)
        await office.until(one, lambda p: p.state is State.TASK)
        return one, address
    at = datetime.now(UTC) + timedelta(hours=1)
    one = await office.enroll(campaign(email(send="choose"), call()), address, send_at=at)
    await office.until(one, lambda p: p.state is State.SLEEPING)
    async with office.store.write() as tx:  # as enrolling writes it
        await tx.execute(update(enrollments).where(enrollments.c.id == one.id).values(next_at=at))
    return one, address


async def check(office: Office) -> Report:
    """A check, without the workflows of other tests on the same server."""
    report = await checking.check(office.desk, office.task_queue)
    ours = [each for each in report.differences if each.kind not in _OTHERS or _is_ours(each)]
    return Report(report.checked, ours)


_OTHERS = (Kind.UNKNOWN, Kind.UNKNOWN_CLOSED)
_ours: set[str] = set()


def _is_ours(difference: checking.Difference) -> bool:
    return difference.enrollment in _ours


async def set_row(office: Office, one: Enrolled, **values: object) -> None:
    async with office.store.write() as tx:
        await tx.execute(update(enrollments).where(enrollments.c.id == one.id).values(**values))


async def test_nothing_is_different_where_all_is_well(office: Office) -> None:
    await enrolled(office)
    await enrolled(office, task_first=True)
    report = await check(office)
    assert (report.checked, report.differences, report.left) == (2, [], 0)


async def test_tables_that_are_behind_take_over_what_the_workflow_says(office: Office) -> None:
    one, address = await enrolled(office)
    before = await office.row(one)
    await set_row(office, one, step=2, state="task", next_at=None)
    [difference] = (await check(office)).differences
    assert (difference.kind, difference.mended, difference.person) == (Kind.BEHIND, True, address)
    assert difference.tables == "task at step 2"
    assert difference.workflow.startswith("sleeping at step 1, next ")
    after = await office.row(one)
    assert (after.step, after.state, after.next_at) == (1, "sleeping", before.next_at)
    assert (await check(office)).differences == []


async def test_events_that_were_lost_on_the_way_come_back(quick_office: Office) -> None:
    office = quick_office
    one, _ = await enrolled(office, task_first=True)
    async with office.store.write() as tx:  # the row is up to date again, the timeline is not
        await tx.execute(delete(events).where(events.c.enrollment_id == one.id))
        await tx.execute(delete(tasks).where(tasks.c.enrollment_id == one.id))
    [difference] = (await check(office)).differences
    assert (difference.kind, difference.mended) == (Kind.BEHIND, True)
    assert difference.workflow == "task at step 1; lost events: 1; behind: task 1"
    assert await office.timeline(one) == ["task_opened"]
    assert await office.task(one, 1) is not None
    assert (await check(office)).differences == []


async def test_a_workflow_that_outlives_its_enrollment_is_told_to_end(
    quick_office: Office,
) -> None:
    office = quick_office
    one, _ = await enrolled(office, task_first=True)
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    await set_row(office, one, state="ended", outcome="removed", ended_at=long_ago)
    [difference] = await unknown(office, one)
    assert (difference.kind, difference.mended) == (Kind.RUNS_ON, True)
    await Delivery(office.store, office.client, office.task_queue).drain()
    assert (await one.handle.result()).outcome is Outcome.REMOVED


async def test_an_end_that_was_lost_comes_back_with_its_suppression(
    office: Office, mailer: MemoryMailer
) -> None:
    one, _ = await enrolled(office)
    before = await office.row(one)
    await one.handle.signal("unsubscribed", {})
    assert (await one.handle.result()).outcome is Outcome.UNSUBSCRIBED
    async with office.store.write() as tx:  # as a backup from before knows it
        await tx.execute(delete(events).where(events.c.enrollment_id == one.id))
        await tx.execute(delete(suppressions))
        values = {"state": "sleeping", "outcome": None, "ended_at": None, "seq": before.seq}
        await tx.execute(update(enrollments).where(enrollments.c.id == one.id).values(values))
    [difference] = (await check(office)).differences
    assert (difference.kind, difference.mended) == (Kind.CLOSED, True)
    row = await office.row(one)
    assert (row.state, row.outcome, row.ended_at is not None) == ("ended", "unsubscribed", True)
    async with office.store.read() as tx:
        assert len((await tx.execute(suppressions.select())).all()) == 1
    report = await check(office)
    assert (report.checked, report.differences) == (0, [])


async def test_what_was_sent_and_the_open_task_come_back(
    quick_office: Office, mailer: MemoryMailer
) -> None:
    office = quick_office
    one = await office.enroll(campaign(email(send="choose"), call()), send_at="now")
    await office.skip_until_sent(one, 1)
    await office.until_task(one, 2)
    sent = await office.message(one, 1)
    async with office.store.write() as tx:  # as a backup from before knows it
        await tx.execute(delete(events).where(events.c.enrollment_id == one.id))
        await tx.execute(delete(tasks).where(tasks.c.enrollment_id == one.id))
        await tx.execute(
            update(messages)
            .where(messages.c.enrollment_id == one.id)
            .values(state="scheduled", sent_at=None)
        )
        values = {"state": "sleeping", "step": 1, "seq": 0}
        await tx.execute(update(enrollments).where(enrollments.c.id == one.id).values(values))
    [difference] = (await check(office)).differences
    assert (difference.kind, difference.mended) == (Kind.BEHIND, True)
    message, task = await office.message(one, 1), await office.task(one, 2)
    assert message is not None and sent is not None and task is not None
    assert message.state == "sent"
    assert abs(message.sent_at - sent.sent_at) < timedelta(seconds=2)
    assert (task.status, task.kind) == ("open", "call")
    assert await office.timeline(one) == ["sent", "task_opened"]
    done = CompleteTask(task_id=f"{one.id}-2")
    await one.handle.execute_update("complete_task", done)
    assert (await one.handle.result()).outcome is Outcome.COMPLETED


async def test_an_enrollment_whose_workflow_id_serves_a_later_one_is_over(
    quick_office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = quick_office
    one, _ = await enrolled(office, task_first=True)
    await one.handle.signal("end", {"success": True})
    await one.handle.result()
    await office.client.start_workflow(  # --again, of which a backup from before knows nothing
        CampaignWorkflow.run,
        plans.start(plans.email(1, 1), kickoff=datetime.now(UTC), enrollment_id="later"),
        id=one.handle.id,
        task_queue=office.task_queue,
        memo={"enrollment": "later"},
    )
    query = f'WorkflowId = "{one.handle.id}"'
    while len([run async for run in office.client.list_workflows(query)]) < 2:
        pass  # the list of workflows lags a little
    for kind, outcome in ((Kind.CLOSED, "success"), (Kind.TAKEN, "removed")):
        async with office.store.write() as tx:
            await tx.execute(delete(events).where(events.c.enrollment_id == one.id))
        await set_row(office, one, state="task", outcome=None, ended_at=None, seq=0)
        [difference] = (await check(office)).differences
        row = await office.row(one)
        assert (difference.kind, difference.mended) == (kind, True)
        assert (row.state, row.outcome) == ("ended", outcome)
        monkeypatch.setattr(checking, "WORKFLOW_TYPE", "Forgotten")
    await office.client.get_workflow_handle(one.handle.id).terminate()


async def test_a_workflow_that_was_stopped_by_hand_ends_its_enrollment(office: Office) -> None:
    one, _ = await enrolled(office, task_first=True)
    await set_row(office, one, seq=0)  # its event is there already
    await one.handle.terminate()
    [difference] = (await check(office)).differences
    assert (difference.kind, difference.mended) == (Kind.CLOSED, True)
    row = await office.row(one)
    assert (row.state, row.outcome, row.ended_at is not None) == ("ended", "removed", True)
    assert (await check(office)).differences == []


async def not_in_temporal(office: Office, what: Campaign, **values: object) -> Enrolled:
    """An enrollment at its first step whose workflow was lost with its server."""
    address = f"ada-{secrets.token_hex(4)}@example.org"
    at = datetime.now(UTC) + timedelta(hours=1)
    one = await office.enroll(what, address, send_at=at)
    await one.handle.terminate()
    fresh = f"{what.slug}/{secrets.token_hex(4)}"
    workflow_id = f"campaign/{fresh}"
    await set_row(office, one, workflow_id=workflow_id, next_at=at, **values)
    handle: Handle = office.client.get_workflow_handle(workflow_id, result_type=CampaignResult)
    return Enrolled(one.id, one.person_id, handle)


async def test_a_workflow_that_was_never_started_is_started_by_the_worker(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    what = campaign(email(send="choose"), call())
    one = await not_in_temporal(office, what, started_at=None, kickoff=long_ago)
    monkeypatch.setattr(checking, "START_PATIENCE", timedelta(0))
    [difference] = (await check(office)).differences
    assert (difference.kind, difference.mended) == (Kind.NOT_STARTED, False)
    assert difference.text == "its start waits for a worker"
    await Delivery(office.store, office.client, office.task_queue).drain()
    await office.until(one, lambda p: p.state is State.SLEEPING)
    assert (await check(office)).differences == []


async def test_somebody_who_is_just_being_enrolled_is_no_difference(office: Office) -> None:
    what = campaign(email(send="choose"), call())
    one = await not_in_temporal(office, what, started_at=None)
    async with office.store.write() as tx:
        await rebuilding.order_start(tx, one.id, datetime.now(UTC))
    assert (await check(office)).differences == []


async def test_a_lost_workflow_goes_on_from_where_the_tables_say_it_stood(
    quick_office: Office, mailer: MemoryMailer
) -> None:
    office = quick_office
    what = campaign(email(send="choose"), call())
    one = await not_in_temporal(office, what, step=2)
    async with office.store.write() as tx:
        await tx.execute(
            update(messages)
            .where(messages.c.enrollment_id == one.id)
            .values(state="sent", sent_at=datetime.now(UTC))
        )
    [difference] = (await check(office)).differences
    assert (difference.kind, difference.mended) == (Kind.MISSING, True)
    progress = await office.until(one, lambda p: p.step == 2)
    assert progress.outcome is None
    await office.until_task(one, 2)
    await one.handle.execute_update("skip_task", SkipTask(task_id=f"{one.id}-2"))
    result = await one.handle.result()
    assert (result.outcome, result.steps) == (Outcome.COMPLETED, 2)
    assert mailer.received == []


async def forget(office: Office, one: Enrolled) -> None:
    """Delete an enrollment, as a backup from before it does not know it."""
    async with office.store.write() as tx:
        for table in (outbox, events, tasks, drafts, messages):
            await tx.execute(delete(table).where(table.c.enrollment_id == one.id))
        await tx.execute(delete(enrollments).where(enrollments.c.id == one.id))


async def unknown(office: Office, one: Enrolled) -> list[checking.Difference]:
    """What is said of one enrollment's workflow; visibility lags a little."""
    for _ in range(100):
        report = await checking.check(office.desk, office.task_queue)
        found = [each for each in report.differences if each.enrollment == one.id]
        if found:
            return found
    raise AssertionError("it is never listed")


async def test_a_workflow_without_a_row_is_reported(quick_office: Office) -> None:
    office = quick_office
    one, address = await enrolled(office)
    await forget(office, one)
    [difference] = await unknown(office, one)
    assert (difference.kind, difference.mended) == (Kind.UNKNOWN, False)
    assert (difference.person, difference.campaign) == (address, "intro-q4")
    assert "terminate it" in difference.text
    await one.handle.terminate()


async def test_a_lost_suppression_is_read_back_from_an_ended_workflow(
    quick_office: Office,
) -> None:
    office = quick_office
    one, address = await enrolled(office)
    await one.handle.signal("unsubscribed", {})
    await one.handle.result()
    await forget(office, one)
    async with office.store.write() as tx:
        await tx.execute(delete(suppressions))
    found = await unknown(office, one)
    assert [each.kind for each in found] == [Kind.UNKNOWN_CLOSED]
    async with office.store.read() as tx:
        [row] = (await tx.execute(suppressions.select())).all()
    assert (row.value, row.source) == (address, "unsubscribed")


async def test_no_worker_is_one_clear_error(
    quick_office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "UNANSWERED_AT_MOST", 1)
    monkeypatch.setattr(checking, "QUERY_TIMEOUT", timedelta(seconds=1))
    office = quick_office
    office.task_queue = f"nobody-{secrets.token_hex(4)}"
    what = campaign(email(send="choose"), call())
    one = await office.enroll(what, send_at=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(ActionError, match="no worker answers"):
        await check(office)
    await one.handle.terminate()
