from datetime import timedelta

from temporalio.testing import ActivityEnvironment

from activities.outcomes import Opened, OpenTask
from activities.tasks import Tasks
from drumbeat.campaign.model import Priority
from drumbeat.campaign.states import MessageState, State, TaskStatus
from drumbeat.store.schema import tasks
from tests.activities.world import World, call, campaign, email, local, on
from workflows import handling, messages


async def test_a_task_lies_in_the_queue_with_what_the_campaign_says(world: World) -> None:
    walk = await world.enroll(campaign(call()))
    assert await walk.open_task() == Opened()
    task = await walk.task()
    assert task.id == f"{walk.id}-1"
    assert (task.kind, task.subject, task.notes) == (
        "call",
        "Introduce yourself",
        "Ask about the migration.",
    )
    assert (task.rep_id, task.person_id, task.campaign) == (
        world.rep_id,
        walk.person_id,
        "intro-q4",
    )
    assert (task.due, task.priority, task.status) == (
        on("2026-11-23"),
        Priority.NORMAL,
        TaskStatus.OPEN,
    )
    row = await walk.row()
    assert (row.state, row.step, row.next_at) == (State.TASK, 1, None)
    assert row.why == {"code": "task", "until": None, "detail": ""}
    assert await walk.happened() == ["task_opened"]


async def test_opening_again_changes_nothing(world: World) -> None:
    walk = await world.enroll(campaign(call()))
    await walk.open_task()
    async with world.store.write() as tx:
        await tx.execute(tasks.update().values(notes="Changed meanwhile", status="completed"))
    walk.state.task = None
    walk.state.seq = 0
    assert await walk.open_task() == Opened()
    task = await walk.task()
    assert (task.notes, task.status) == ("Changed meanwhile", "completed")
    assert await walk.happened() == ["task_opened"]


async def test_an_email_task_has_its_emails_row(world: World) -> None:
    walk = await world.enroll(campaign(email(send="task")))
    await walk.open_task()
    message = await walk.message(1)
    assert (message.state, message.due_at, message.mailbox, message.first) == (
        MessageState.SCHEDULED,
        None,
        world.rep_id,
        True,
    )
    assert (await walk.task()).subject == "intro"


async def test_a_tasks_due_date_is_its_day_whenever_it_opens(world: World) -> None:
    walk = await world.enroll(campaign(email(), call(), days=(1, 2)))
    await walk.due().send()
    walk.due()
    assert world.clock() == local("2026-11-24T00:00")
    world.clock.advance(timedelta(hours=3))
    await walk.open_task()
    task = await walk.task(2)
    assert (task.due, task.opened_at) == (on("2026-11-24"), world.clock())


async def test_an_opening_left_over_from_an_earlier_step_changes_nothing(world: World) -> None:
    walk = await world.enroll(campaign(call(), email(), call()))
    left_over = OpenTask(
        record=walk.state.record(),
        step=1,
        due=walk.state.due.on,
        seq=walk.state.seq + 1,
        rep_id=world.rep_id,
    )
    await walk.open_task()
    done = messages.CompleteTask(task_id=f"{walk.id}-1")
    handling.complete_task(walk.state, done, world.clock())
    walk.go_on()
    await walk.record()
    before = await walk.row(), await walk.task(1)
    result = await ActivityEnvironment().run(Tasks(world.store).open_task, left_over)
    assert result.outcome == Opened()
    assert (await walk.row(), await walk.task(1)) == before
    assert await walk.happened() == ["task_opened", "task_completed"]
