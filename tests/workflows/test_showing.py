from datetime import datetime, timedelta

from temporalio.api.enums.v1 import EventType
from temporalio.worker.workflow_sandbox import SandboxRestrictions
from temporalio.worker.workflow_sandbox._importer import Importer
from temporalio.worker.workflow_sandbox._restrictions import RestrictionContext

import workflows.messages
from drumbeat.actions.starting import Start, start_workflow
from drumbeat.campaign import calendar
from drumbeat.campaign.states import State
from tests.workflows.conftest import Handle, Stage
from tests.workflows.plans import KICKOFF, call, email, local, start
from workflows import handling, messages, showing
from workflows.enrollment import Enrollment
from workflows.messages import CampaignResult


def test_the_page_shows_each_step_with_its_date_and_local_time() -> None:
    enrollment = Enrollment.begin(start(email(1, 1), call(2, 3), email(3, 8, "16:05")))
    enrollment.reach(enrollment.plan.step(1), local(2026, 11, 23, 8, 0))
    assert showing.details(enrollment).splitlines() == [
        "**sleeping**: waits for its time, until Mon 23 Nov 2026 09:30 America/New_York",
        "",
        "| step | what | when |",
        "| --- | --- | --- |",
        "| 1 | day 1: email 'intro' | → now (sleeping), Mon 23 Nov 2026 09:30 America/New_York |",
        "| 2 | day 3: call | Wed 25 Nov 2026 |",
        "| 3 | day 8: email 'intro' | Mon 30 Nov 2026 at 16:05 |",
    ]


def test_the_page_gives_no_date_that_a_moved_step_before_rules_out() -> None:
    enrollment = Enrollment.begin(start(email(1, 1), email(2, 2), call(3, 3), call(4, 30)))
    enrollment.reach(enrollment.plan.step(1), local(2026, 11, 23, 8, 0))
    moved = messages.MoveEmail(step=1, at=local(2026, 12, 1, 10, 0))
    handling.move_email(enrollment, moved, local(2026, 11, 23, 8, 1))
    handling.skip_step(enrollment, messages.SkipStep(step=3), local(2026, 11, 23, 8, 2))
    assert showing.details(enrollment).splitlines()[4:] == [
        "| 1 | day 1: email 'intro' | → now (sleeping), Tue 01 Dec 2026 10:00 America/New_York |",
        "| 2 | day 2: email 'intro' | once step 1 is over |",
        "| 3 | day 3: call | to be left out |",
        "| 4 | day 30: call | Tue 22 Dec 2026 |",
    ]


def test_every_date_of_a_year_is_written_as_strftime_would() -> None:
    for days in range(366):
        on = (KICKOFF + timedelta(days=days)).date()
        assert showing._date(on) == f"{on:%a %d %b %Y}"


def test_a_run_in_the_sandbox_shares_the_models_of_the_process() -> None:
    # Built anew for each run, they cost more than all else that a workflow does.
    context = RestrictionContext()
    importer = Importer(SandboxRestrictions.default, context)
    with importer.applied():
        import workflows.campaign as sandboxed
    assert vars(sandboxed)["messages"] is workflows.messages


async def test_search_attributes_that_the_start_has_set_are_not_set_again(
    stage: Stage, soon: datetime
) -> None:
    given = start(email(1, 1), email(2, 2), kickoff=soon)
    due = calendar.due(given.plan, calendar.begin(given.plan), given.plan.step(1), soon)
    begun = Start(
        enrollment_id=given.enrollment_id,
        workflow_id=f"campaign/{given.campaign}/{stage.task_queue}",
        campaign=given.campaign,
        person_id="p0123456789abcdef0123",
        rep_id=given.rep_id,
        rep_zone=None,
        round=1,
        plan=given.plan,
        on_reply=given.on_reply,
        remove_on_bounce=given.remove_on_bounce,
        due_at=due.at,
    )
    await start_workflow(stage.client, begun, stage.task_queue)
    handle: Handle = stage.client.get_workflow_handle(begun.workflow_id, result_type=CampaignResult)
    await stage.until(handle, lambda progress: progress.state is State.SLEEPING)
    happened = [event.event_type async for event in handle.fetch_history_events()]
    assert EventType.EVENT_TYPE_TIMER_STARTED in happened
    assert EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES not in happened
    await handle.signal("end", {})
    await handle.result()
