"""Enrolling: SPEC section 7, on both databases and a real Temporal server without a worker."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from drumbeat.actions import enrolling, starting
from drumbeat.actions.deciding import Result
from drumbeat.actions.enrolling import Report
from drumbeat.actions.errors import ActionError
from drumbeat.actions.starting import MEMO, Start, start_workflow
from drumbeat.campaign.calendar import Plan, begin
from drumbeat.campaign.model import Send
from drumbeat.campaign.people import Rejected
from drumbeat.campaign.planning import LaunchError
from drumbeat.campaign.states import Outcome
from drumbeat.reps import Mailbox, MailboxError
from drumbeat.store import campaigns, suppressions
from drumbeat.store.engine import Store
from drumbeat.store.schema import (
    audit,
    enrollments,
    events,
    messages,
    outbox,
    people,
)
from drumbeat.temporal import attributes
from tests.actions.clerk import CALL, Clerk, campaign, crowd, letter, nowhere, person
from tests.office import grace
from workflows.messages import CampaignInput


@pytest.fixture
def clerk(store: Store, temporal_client: Client, task_queue: str) -> Clerk:
    return Clerk(store, temporal_client, task_queue)


@pytest.fixture
def quick_clerk(sqlite_store: Store, temporal_client: Client, task_queue: str) -> Clerk:
    """On SQLite alone: for what does not hang on the database."""
    return Clerk(sqlite_store, temporal_client, task_queue)


def results(report: Report) -> list[tuple[str, str | None]]:
    return [(one.result.value, one.reason) for one in report.people]


def counts(report: Report) -> tuple[int, int, int, int]:
    return (
        report.count(Result.ENROLLED),
        report.count(Result.ALREADY),
        report.count(Result.EXCLUDED),
        report.count(Result.REJECTED),
    )


async def test_a_person_is_written_with_the_first_email_and_the_workflow_is_started(
    clerk: Clerk,
) -> None:
    intro = campaign(on_reply="continue", remove_on_bounce=False)
    report = await clerk.enroll(intro, person("ann", first_name="Ann"))

    ann = await clerk.person("ann")
    row = await clerk.enrollment("ann")
    assert (ann.fields, ann.revision) == ({"first_name": "Ann"}, 1)
    assert row.workflow_id == f"campaign/{intro.slug}/{ann.id}"
    assert (row.state, row.step, row.round, row.version) == ("sleeping", 1, 1, intro.version)
    assert row.started_at is not None
    assert row.next_at == row.kickoff
    assert row.why["code"] == "time"
    plan = Plan.model_validate_json(row.plan)
    assert plan.chosen == plan.kickoff == row.kickoff
    assert plan.zone == ZoneInfo("America/New_York")
    assert row.standing == begin(plan).model_dump_json()

    message = await clerk.the(messages)
    assert (message.enrollment_id, message.step, message.state) == (row.id, 1, "scheduled")
    assert message.due_at == row.next_at
    assert message.first
    event = await clerk.the(events)
    assert (event.key, event.what, event.who) == ("enrolled", "enrolled", row.rep_id)
    order = await clerk.the(outbox)
    assert (order.kind, order.key, order.payload) == ("start", f"start/{row.id}", {})
    assert order.delivered_at is not None
    assert (await clerk.the(audit)).action == "enroll"

    started = await clerk.describe(row.workflow_id)
    assert await started.memo_value(MEMO) == row.id
    assert await started.static_summary() == f"{intro.slug} · {ann.id}"
    found = started.typed_search_attributes
    assert found[attributes.CAMPAIGN] == intro.slug
    assert found[attributes.REP] == row.rep_id
    assert found[attributes.STEP] == "1"
    assert found[attributes.STATE] == "sleeping"
    assert found[attributes.NEXT_ACTION_AT] == row.next_at
    handle = clerk.client.get_workflow_handle(row.workflow_id)
    history = await handle.fetch_history()
    (payload,) = history.events[0].workflow_execution_started_event_attributes.input.payloads
    (given,) = await clerk.client.data_converter.decode([payload], [CampaignInput])
    assert given == CampaignInput(
        enrollment_id=row.id,
        campaign=intro.slug,
        rep_id=row.rep_id,
        rep_zone=ZoneInfo("America/New_York"),
        plan=plan,
        on_reply="continue",
        remove_on_bounce=False,
    )
    text = history.to_json()
    assert "ann@" not in text
    assert "example.org" not in text

    assert counts(report) == (1, 0, 0, 0)
    (shown,) = report.people
    assert (shown.line, shown.email, shown.workflow_id) == (2, "ann@example.org", row.workflow_id)


async def test_a_first_step_that_the_rep_sends_has_its_row_without_a_time(
    quick_clerk: Clerk,
) -> None:
    await quick_clerk.enroll(campaign(letter(Send.TASK)), person("ann"))
    assert (await quick_clerk.the(messages)).due_at is None


async def test_a_first_step_that_is_no_email_has_no_row(quick_clerk: Clerk) -> None:
    await quick_clerk.enroll(campaign(CALL, letter(Send.TASK)), person("ann"))
    assert await quick_clerk.rows(messages) == []


async def test_who_is_enrolled_stays_so_when_the_file_comes_again(clerk: Clerk) -> None:
    intro = campaign()
    await clerk.enroll(intro, person("ann"))
    before = await clerk.counts()
    report = await clerk.enroll(intro, person("ann"), person("bob", 3))
    assert counts(report) == (1, 1, 0, 0)
    assert report.people[0].workflow_id == (await clerk.enrollment("ann")).workflow_id
    after = await clerk.counts()
    assert after["enrollments"] == before["enrollments"] + 1
    assert after["audit"] == 2  # once a run


async def test_a_run_that_is_killed_before_the_starts_is_completed_by_the_next(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: object) -> bool:
        raise asyncio.CancelledError

    intro = campaign()
    with monkeypatch.context() as patch:
        patch.setattr(enrolling, "start_workflow", killed)
        with pytest.raises(asyncio.CancelledError):
            await clerk.enroll(intro, *crowd(3))
    rows = await clerk.rows(enrollments)
    assert [row.started_at for row in rows] == [None, None, None]
    waiting = await clerk.rows(outbox, delivered_at=None)
    assert {row.key for row in waiting} == {f"start/{row.id}" for row in rows}

    report = await clerk.enroll(intro, *crowd(4))
    assert counts(report) == (4, 0, 0, 0)
    again = await clerk.rows(enrollments)
    assert len(again) == 4
    assert {row.id for row in rows} < {row.id for row in again}
    assert await clerk.rows(outbox, delivered_at=None) == []
    for row in again:
        assert row.started_at is not None
        assert await (await clerk.describe(row.workflow_id)).memo_value(MEMO) == row.id


async def test_a_run_that_is_killed_before_it_notes_the_starts_starts_nobody_twice(
    clerk: Clerk,
) -> None:
    intro = campaign()
    await clerk.enroll(intro, *crowd(2))
    runs = [(await clerk.describe(row.workflow_id)).run_id for row in await clerk.rows(enrollments)]
    async with clerk.store.write() as tx:
        await tx.execute(update(enrollments).values(started_at=None))
        await tx.execute(update(outbox).values(delivered_at=None))
    report = await clerk.enroll(intro, *crowd(2))
    assert counts(report) == (0, 2, 0, 0)
    rows = await clerk.rows(enrollments)
    assert [(await clerk.describe(row.workflow_id)).run_id for row in rows] == runs
    assert all(row.started_at is not None for row in rows)


async def test_two_runs_at_once_enroll_everybody_once(clerk: Clerk) -> None:
    intro = campaign()
    everybody = crowd(450)
    reports = await asyncio.gather(
        clerk.enroll(intro, *everybody), clerk.enroll(intro, *reversed(everybody))
    )
    assert len(await clerk.rows(enrollments)) == 450
    assert len(await clerk.rows(people)) == 450
    assert await clerk.rows(enrollments, started_at=None) == []
    assert await clerk.rows(outbox, delivered_at=None) == []
    for report in reports:
        enrolled, already, *others = counts(report)
        assert (enrolled + already, others) == (450, [0, 0])
    assert sum(report.count(Result.ENROLLED) for report in reports) >= 450


async def test_what_two_runs_at_once_say_of_a_person_is_all_kept(clerk: Clerk) -> None:
    intro = campaign()
    await asyncio.gather(
        clerk.enroll(intro, person("ann", title="CTO")),
        clerk.enroll(intro, person("ann", company="Acme")),
    )
    assert (await clerk.person("ann")).fields == {"title": "CTO", "company": "Acme"}


async def test_one_person_gets_into_one_of_two_campaigns_that_enroll_at_once(clerk: Clerk) -> None:
    reports = await asyncio.gather(
        *(clerk.enroll(campaign(), *crowd(50)) for _ in range(2)),
    )
    assert len(await clerk.rows(enrollments)) == 50
    assert sum(report.count(Result.ENROLLED) for report in reports) == 50
    assert sum(report.count(Result.EXCLUDED) for report in reports) == 50


async def test_again_enrolls_once_more_after_the_end_and_only_then(clerk: Clerk) -> None:
    intro = campaign()
    await clerk.enroll(intro, person("ann"))
    first = await clerk.enrollment("ann")
    assert counts(await clerk.enroll(intro, person("ann"), again=True)) == (0, 1, 0, 0)

    await clerk.end("ann", Outcome.REPLIED_SUCCESS)
    report = await clerk.enroll(intro, person("ann"))
    assert results(report) == [
        ("already", "enrolled before, ended: replied success; --again enrolls once more")
    ]
    assert counts(await clerk.enroll(intro, person("ann"), again=True)) == (1, 0, 0, 0)
    second = await clerk.enrollment("ann", ended_at=None)
    assert (second.round, second.workflow_id) == (2, first.workflow_id)
    assert second.id != first.id
    assert second.started_at is not None
    assert await (await clerk.describe(second.workflow_id)).memo_value(MEMO) == second.id


async def test_whoever_must_not_be_written_to_is_excluded_with_the_reason(clerk: Clerk) -> None:
    async with clerk.store.write() as tx:
        for name, source in (("una", "unsubscribed"), ("bo", "bounced"), ("max", "manual")):
            await suppressions.add(
                tx,
                kind="address",
                value=f"{name}@example.org",
                source=source,
                reason=None,
                who=None,
                now=datetime.now(UTC),
            )
        await suppressions.add(
            tx,
            kind="domain",
            value="example.net",
            source="manual",
            reason=None,
            who=None,
            now=datetime.now(UTC),
        )
    blocked = replace(person("dee", 5), email="dee@example.net")
    report = await clerk.enroll(
        campaign(), person("una", 2), person("bo", 3), person("max", 4), blocked, person("ok", 6)
    )
    assert results(report) == [
        ("excluded", "unsubscribed"),
        ("excluded", "bounced"),
        ("excluded", "suppressed"),
        ("excluded", "blocked domain: example.net"),
        ("enrolled", None),
    ]
    assert [row.email for row in await clerk.rows(people)] == ["ok@example.org"]


async def test_who_is_active_in_another_campaign_is_excluded_unless_also(clerk: Clerk) -> None:
    other, intro = campaign(), campaign()
    await clerk.enroll(other, person("ann"))
    report = await clerk.enroll(intro, person("ann"))
    assert results(report) == [
        ("excluded", f"in another campaign: {other.slug}; --also enrolls here, too")
    ]
    assert counts(await clerk.enroll(intro, person("ann"), also=True)) == (1, 0, 0, 0)
    await clerk.end_all("ann")
    assert counts(await clerk.enroll(campaign(), person("ann"))) == (1, 0, 0, 0)


async def test_who_bounced_is_excluded_unless_again(clerk: Clerk) -> None:
    await clerk.enroll(campaign(), person("ann"))
    await clerk.end("ann", Outcome.BOUNCED)
    intro = campaign()
    report = await clerk.enroll(intro, person("ann"))
    assert results(report)[0][1] is not None
    assert str(results(report)[0][1]).startswith("bounced; --again ")
    assert counts(await clerk.enroll(intro, person("ann"), again=True)) == (1, 0, 0, 0)


async def test_a_row_updates_what_it_fills_and_running_enrollments_are_told(clerk: Clerk) -> None:
    intro = campaign()
    await clerk.enroll(
        intro, person("ann", title="CTO", first_name="Ann"), person("bob", 3, title="CFO")
    )
    report = await clerk.enroll(
        intro,
        person("ann", 2, "Europe/Berlin", first_name="Anna", industry="steel"),
        person("bob", 3, title="CFO"),
    )
    assert counts(report) == (0, 2, 0, 0)
    assert report.updated == 1
    ann, bob = await clerk.person("ann"), await clerk.person("bob")
    assert ann.fields == {"title": "CTO", "first_name": "Anna", "industry": "steel"}
    assert (ann.timezone, ann.revision) == ("Europe/Berlin", 2)
    assert bob.revision == 1
    told = await clerk.the(outbox, kind="mended")
    assert told.enrollment_id == (await clerk.enrollment("ann")).id


async def test_an_excluded_person_who_is_known_is_updated_all_the_same(clerk: Clerk) -> None:
    await clerk.enroll(campaign(), person("ann"))
    report = await clerk.enroll(campaign(), person("ann", title="CTO"))
    assert counts(report) == (0, 0, 1, 0)
    assert report.updated == 1
    assert (await clerk.person("ann")).fields == {"title": "CTO"}


async def test_who_lacks_a_token_is_enrolled_and_reported(quick_clerk: Clerk) -> None:
    intro = campaign(
        letter(body="<p>{{ first_name }} {{ industry }} {{ size | default('big') }}</p>"),
        letter(Send.TASK, body="<p>{{ industry }} {{ need }} {{ my_name }} {{ email }}</p>"),
    )
    report = await quick_clerk.enroll(
        intro, person("ann", industry="steel"), person("bob", 3, need="rest"), person("cy", 4)
    )
    assert counts(report) == (3, 0, 0, 0)
    assert [one.missing for one in report.people] == [
        ("need",),
        ("industry",),
        ("industry", "need"),
    ]
    # What is known from before counts.
    report = await quick_clerk.enroll(intro, person("ann", need="tea"))
    assert report.people[0].missing == ()


async def test_rejected_rows_of_the_file_stand_in_the_report_by_line(quick_clerk: Clerk) -> None:
    rejected = (Rejected(3, "x", "malformed address"),)
    report = await quick_clerk.enroll(
        campaign(), person("ann", 2), person("bob", 4), rejected=rejected
    )
    assert [(one.line, one.result) for one in report.people] == [
        (2, Result.ENROLLED),
        (3, Result.REJECTED),
        (4, Result.ENROLLED),
    ]


def in_two_hours() -> str:
    """Local to New York: past in Tokyo, still to come in Los Angeles."""
    at = datetime.now(ZoneInfo("America/New_York")) + timedelta(hours=2)
    return at.replace(tzinfo=None).isoformat(timespec="minutes")


async def test_a_moment_that_is_past_in_some_zones_rejects_those_rows_only(clerk: Clerk) -> None:
    intro = campaign(person_timezone=True)
    everybody = (
        person("tom", 2, "Asia/Tokyo", title="x"),
        person("lea", 3, "America/Los_Angeles"),
        person("noa", 4),
    )
    report = await clerk.enroll(intro, *everybody, send_at=in_two_hours())
    assert counts(report) == (2, 0, 0, 1)
    assert "is in the past" in str(report.people[0].reason)
    assert "+09:00" in str(report.people[0].reason)
    assert {row.email for row in await clerk.rows(people)} == {
        "lea@example.org",
        "noa@example.org",
    }
    lea = Plan.model_validate_json((await clerk.enrollment("lea")).plan)
    noa = Plan.model_validate_json((await clerk.enrollment("noa")).plan)
    assert lea.chosen is not None
    assert noa.chosen is not None
    assert lea.chosen - noa.chosen == timedelta(hours=3)


async def test_a_known_persons_zone_counts_where_the_file_names_none(clerk: Clerk) -> None:
    await clerk.enroll(campaign(), person("tom", 2, "Asia/Tokyo"))
    intro = campaign(person_timezone=True)
    report = await clerk.enroll(
        intro, person("tom"), person("noa", 3), send_at=in_two_hours(), also=True
    )
    assert counts(report) == (1, 0, 0, 1)
    with pytest.raises(LaunchError, match="is in the past"):
        await clerk.enroll(intro, person("tom"), send_at=in_two_hours(), also=True)


async def test_a_later_start_is_the_kickoff(quick_clerk: Clerk) -> None:
    start = datetime.now(ZoneInfo("America/New_York")) + timedelta(days=3)
    await quick_clerk.enroll(
        campaign(CALL), person("ann"), start=start.replace(tzinfo=None).isoformat()
    )
    row = await quick_clerk.enrollment("ann")
    assert row.kickoff == start.astimezone(UTC)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"send_at": None}, "give its send time"),
        ({"send_at": "2020-01-01T09:00"}, "is in the past"),
        ({"start": "2020-01-01T09:00"}, "is in the past"),
        ({"start": "2020-01-01"}, "is no date with a time"),
    ],
)
async def test_a_launch_that_can_begin_nowhere_is_refused_and_changes_nothing(
    quick_clerk: Clerk, choices: dict[str, str | None], message: str
) -> None:
    before = await quick_clerk.counts()
    reps = await quick_clerk.reps()
    order = quick_clerk.order(campaign(), person("ann"), **choices)  # type: ignore[arg-type]  # they vary
    with pytest.raises(LaunchError, match=message):
        await enrolling.enroll(quick_clerk.store, nowhere, order, reps, task_queue="none")
    with pytest.raises(LaunchError, match=message):
        await enrolling.rehearse(quick_clerk.store, order)
    with pytest.raises(LaunchError, match=message):
        await enrolling.rehearse(None, order)
    assert await quick_clerk.counts() == before


async def test_an_archived_campaign_takes_nobody(quick_clerk: Clerk) -> None:
    intro = campaign()
    await quick_clerk.enroll(intro, person("ann"))
    async with quick_clerk.store.write() as tx:
        await campaigns.archive(tx, intro.slug, datetime.now(UTC))
    before = await quick_clerk.counts()
    for attempt in (
        quick_clerk.enroll(intro, person("bob")),
        enrolling.rehearse(quick_clerk.store, quick_clerk.order(intro, person("bob"))),
    ):
        with pytest.raises(ActionError, match="is archived and takes nobody new"):
            await attempt
    assert await quick_clerk.counts() == before


async def test_a_mailbox_without_its_password_enrolls_nobody(quick_clerk: Clerk) -> None:
    smtp = grace().mailbox.smtp
    rep = grace(mailbox=Mailbox("grace@example.com", smtp, password_env="NO_SUCH_PASSWORD"))
    before = await quick_clerk.counts()
    with pytest.raises(MailboxError, match="NO_SUCH_PASSWORD, which is not set"):
        await quick_clerk.enroll(campaign(), person("ann"), rep=rep)
    assert await quick_clerk.counts() == before


async def test_nothing_is_written_where_temporal_cannot_be_reached(quick_clerk: Clerk) -> None:
    async def unreachable() -> Client:
        raise ConnectionError

    order, reps = quick_clerk.order(campaign(), person("ann")), await quick_clerk.reps()
    before = await quick_clerk.counts()
    with pytest.raises(ConnectionError):
        await enrolling.enroll(quick_clerk.store, unreachable, order, reps, task_queue="none")
    assert await quick_clerk.counts() == before


async def test_where_temporal_stops_answering_the_next_run_completes_it(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def ten_times(client: Client, start: Start, task_queue: str) -> bool:
        nonlocal asked
        asked += 1
        if asked > 10:
            raise RPCError("gone", RPCStatusCode.UNAVAILABLE, b"")
        return await start_workflow(client, start, task_queue)

    intro = campaign()
    with monkeypatch.context() as patch:
        patch.setattr(enrolling, "start_workflow", ten_times)
        with pytest.raises(ActionError, match=r"did not start everybody \(UNAVAILABLE\)"):
            await clerk.enroll(intro, *crowd(250))
    rows = await clerk.rows(enrollments)
    assert len(rows) == enrolling.BATCH
    assert sum(row.started_at is not None for row in rows) == 10
    assert asked <= 10 + enrolling.AT_ONCE

    assert counts(await clerk.enroll(intro, *crowd(250))) == (240, 10, 0, 0)
    assert await clerk.rows(enrollments, started_at=None) == []


async def test_a_workflow_that_the_tables_do_not_know_keeps_its_person_out(clerk: Clerk) -> None:
    intro = campaign()
    await clerk.enroll(intro, person("ann"))
    async with clerk.store.write() as tx:  # as if from a backup
        for table in (outbox, events, messages, enrollments):
            await tx.execute(table.delete())
    report = await clerk.enroll(intro, person("ann"), person("bob", 3))
    assert counts(report) == (1, 0, 0, 1)
    assert "that the database does not know" in str(report.people[0].reason)
    assert report.people[0].workflow_id is None
    assert [row.person_id for row in await clerk.rows(enrollments)] == [
        (await clerk.person("bob")).id
    ]
    for table in (outbox, events, messages):
        assert len(await clerk.rows(table)) == 1


async def test_the_workflow_of_the_round_before_may_still_be_closing(
    clerk: Clerk,
) -> None:
    intro = campaign()
    await clerk.enroll(intro, person("ann"))
    first = await clerk.enrollment("ann")
    async with clerk.store.write() as tx:  # its end is recorded, the workflow itself still open
        await tx.execute(
            update(enrollments).values(ended_at=datetime.now(UTC), outcome="completed")
        )
    report = await clerk.enroll(intro, person("ann"), again=True)
    assert results(report) == [("enrolled", "starts when the enrollment before it has closed")]
    second = await clerk.enrollment("ann", ended_at=None)
    assert second.started_at is None
    with pytest.raises(RPCError, match="not closed yet"):
        await starting.start_enrollment(clerk.store, clerk.client, second.id, clerk.task_queue)
    await clerk.client.get_workflow_handle(first.workflow_id).terminate()
    await starting.start_enrollment(clerk.store, clerk.client, second.id, clerk.task_queue)
    assert (await clerk.enrollment("ann", ended_at=None)).started_at is not None
    assert await (await clerk.describe(first.workflow_id)).memo_value(MEMO) == second.id


async def test_a_person_is_known_under_the_first_address_after_it_was_mended(clerk: Clerk) -> None:
    await clerk.enroll(campaign(), person("ann"))
    async with clerk.store.write() as tx:
        await tx.execute(update(people).values(email="anna@example.org"))
    report = await clerk.enroll(
        campaign(), person("ann", 2, title="CTO"), person("anna", 3), also=True
    )
    assert results(report) == [
        ("enrolled", None),
        ("already", "the same person as on line 2"),
    ]
    (ann,) = await clerk.rows(people)
    assert (ann.email, ann.fields) == ("anna@example.org", {"title": "CTO"})


async def test_a_rehearsal_says_the_same_and_changes_nothing(clerk: Clerk) -> None:
    other, intro = campaign(), campaign(person_timezone=True)
    await clerk.enroll(other, person("ann"))
    order = clerk.order(
        intro,
        person("ann", 2, title="CTO"),
        person("bob", 3),
        person("tom", 4, "Asia/Tokyo"),
        send_at=in_two_hours(),
    )
    before = await clerk.counts()
    rehearsed = await enrolling.rehearse(clerk.store, order)
    assert await clerk.counts() == before
    assert counts(rehearsed) == (1, 0, 1, 1)
    assert rehearsed.updated == 1
    done = await enrolling.enroll(
        clerk.store, clerk.connect, order, await clerk.reps(), task_queue=clerk.task_queue
    )
    assert results(done) == results(rehearsed)


async def test_a_rehearsal_needs_no_database(quick_clerk: Clerk) -> None:
    order = quick_clerk.order(campaign(), person("ann"), rejected=(Rejected(3, "x", "no"),))
    assert counts(await enrolling.rehearse(None, order)) == (1, 0, 0, 1)


async def test_without_people_nothing_is_written(quick_clerk: Clerk) -> None:
    order = quick_clerk.order(campaign(), rejected=(Rejected(2, "x", "no"),))
    reps = await quick_clerk.reps()
    before = await quick_clerk.counts()
    report = await enrolling.enroll(quick_clerk.store, nowhere, order, reps, task_queue="none")
    assert counts(report) == (0, 0, 0, 1)
    assert await quick_clerk.counts() == before
