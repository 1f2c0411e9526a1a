import secrets
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update

from drumbeat.actions import mending, people, steering
from drumbeat.actions.asking import Answer
from drumbeat.actions.delivery import Delivery
from drumbeat.actions.desk import keep_text
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.campaign.states import HoldKind, Outcome, State, WhyCode
from drumbeat.mail.rendering import Renderer
from drumbeat.store import ledger, suppressions, users
from drumbeat.store.engine import Store
from drumbeat.store.schema import audit, campaigns, drafts, enrollments, messages
from drumbeat.store.schema import people as people_rows
from tests.actions.tables_only import desk_without_temporal
from tests.activities.world import MONDAY, Clock, Walk, World, call, campaign, email, local
from tests.copying import values_of
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office

ADA = "ada@example.org"


@pytest.fixture
async def world(store: Store) -> World:
    """Tables on both databases, a clock that stands still, and Grace, who writes."""
    clock = Clock()
    store._clock = clock
    async with Renderer() as renderer:
        world = World(store, clock, renderer)
        await world.staff()
        return world


@pytest.fixture
async def ada(world: World) -> Walk:
    walk = await world.enroll(campaign(email(), call()))
    await walk.record()
    return walk


async def shown(world: World, campaign: str | None = None) -> people.PersonShown:
    async with world.store.read() as tx:
        return await people.show(tx, ADA, world.clock(), campaign)


async def again_in(world: World, walk: Walk, slug: str) -> str:
    """The same person in another campaign; the new enrollment's id."""
    row = await walk.row()
    values = values_of(row) | {"id": f"{walk.id[:-1]}x", "campaign": slug}
    async with world.store.write() as tx:
        await tx.execute(insert(campaigns).values(slug=slug, name=slug, created_at=world.clock()))
        await tx.execute(insert(enrollments).values(values))
    return str(values["id"])


# Showing


async def test_a_person_is_shown_with_state_reason_and_next_time(world: World, ada: Walk) -> None:
    ada.state.be(State.SLEEPING, ada.state.why)
    ada.state.note(MONDAY, "mended", who=world.rep_id)  # type: ignore[arg-type]
    await ada.record()
    person = await shown(world)
    [one] = person.enrollments
    assert (person.email, person.fields["company"]) == (ADA, "Engines")
    assert (one.state, one.step, one.outcome) == ("sleeping", 1, None)
    assert one.why is not None and one.why.code is WhyCode.TIME
    assert one.next_at == local("2026-11-23T09:30")
    assert one.step_name == "step 1 of 2 (day 1: email 'intro')"
    assert one.zone.key == "America/New_York" and one.rep.name == "Grace Hopper"
    [message] = one.messages
    assert (message.step, message.state, message.sent_at) == (1, "scheduled", None)
    [event] = one.events
    assert (event.what, event.who) == ("mended", one.rep)


async def test_a_reason_that_was_kept_is_shown_in_its_words(world: World, ada: Walk) -> None:
    async with world.store.write() as tx:
        text_id = await keep_text(tx, "knows it", world.rep_id, MONDAY)
    ada.state.note(MONDAY, "step_skipped", step=1, text=text_id)  # type: ignore[arg-type]
    await ada.record()
    [one] = (await shown(world)).enrollments
    assert [event.detail.get("text") for event in one.events] == ["knows it"]


async def test_a_hold_is_shown_with_who_and_why_before_the_workflow_knows(
    world: World, ada: Walk
) -> None:
    desk = desk_without_temporal(world.store)
    await steering.hold(desk, ADA, reason="on leave")
    [one] = (await shown(world)).enrollments
    [hold] = one.holds
    assert (hold.kind, hold.reason, hold.who) == (HoldKind.PERSON, "on leave", one.rep)


async def test_a_manager_who_is_no_rep_is_shown_by_name(world: World, ada: Walk) -> None:
    async with world.store.write() as tx:
        await users.add(
            tx,
            user_id="r0000000000aa",
            email="mary@example.com",
            name="Mary Jackson",
            role=users.Role.MANAGER,
            now=MONDAY,
        )
    desk = desk_without_temporal(world.store, "mary@example.com")
    await steering.hold(desk, ADA)
    [one] = (await shown(world)).enrollments
    [hold] = one.holds
    assert isinstance(hold.who, people.Rep)
    assert (hold.who.email, hold.who.name) == ("mary@example.com", "Mary Jackson")


async def test_running_enrollments_are_shown_before_ended_ones(world: World, ada: Walk) -> None:
    await again_in(world, ada, "another")
    await ada.change_row(ended_at=MONDAY, outcome="replied", state="ended")
    person = await shown(world)
    assert [one.campaign for one in person.enrollments] == ["another", "intro-q4"]
    [one] = (await shown(world, "intro-q4")).enrollments
    assert (one.outcome, one.holds) == ("replied", [])
    with pytest.raises(NotFound, match="was never in campaign nowhere"):
        await shown(world, "nowhere")


async def test_a_suppressed_person_is_shown_as_such(world: World, ada: Walk) -> None:
    async with world.store.write() as tx:
        await suppressions.add(
            tx,
            kind="address",
            value=ADA,
            source="unsubscribed",
            reason="too many",
            who=None,
            now=MONDAY,
        )
    assert (await shown(world)).suppressed == "unsubscribed, Mon 23 Nov 2026, 13:00 UTC: too many"


# Whom it means


async def test_where_several_campaigns_run_one_must_be_named(world: World, ada: Walk) -> None:
    other = await again_in(world, ada, "another")
    desk = desk_without_temporal(world.store)
    with pytest.raises(ActionError, match=r"runs in 2 campaigns \(another, intro-q4\)"):
        await steering.case_of(desk, ADA, None)
    assert (await steering.case_of(desk, ADA, "another")).id == other
    with pytest.raises(ActionError, match="is not in campaign nowhere"):
        await steering.case_of(desk, ADA, "nowhere")


async def test_a_moment_that_differs_between_zones_needs_an_offset(world: World, ada: Walk) -> None:
    other = await again_in(world, ada, "another")
    plan = ada.state.plan.model_dump_json().replace("America/New_York", "Europe/Berlin")
    async with world.store.write() as tx:
        await tx.execute(update(enrollments).where(enrollments.c.id == other).values(plan=plan))
    desk = desk_without_temporal(world.store)
    with pytest.raises(ActionError, match="is another moment in each of the enrollments' zones"):
        await steering.hold(desk, ADA, until="2026-11-24T09:00")
    done = await steering.hold(desk, ADA, until="2026-11-24T09:00+01:00")
    assert done.until == datetime(2026, 11, 24, 8, tzinfo=UTC)


async def test_mending_changes_the_data_and_tells_the_running_workflows(
    world: World, ada: Walk
) -> None:
    desk = desk_without_temporal(world.store)
    done = await mending.mend(desk, ADA, {"industry": "mining"})
    assert done.told.enrollments == 1
    assert (await shown(world)).fields["industry"] == "mining"
    [row] = await world.outbox()
    assert (row.kind, row.payload["who"]) == ("mended", world.rep_id)
    again = await mending.mend(desk, ADA, {"industry": "mining"})
    assert again.told.keys == ()
    with pytest.raises(ActionError):
        await mending.mend(desk, ADA, {"email": "no address"})


# With the real workflow


async def deliver(office: Office) -> None:
    """Drain the outbox, as the worker does."""
    while await Delivery(office.store, office.client, office.task_queue).drain():
        pass


async def enrolled(office: Office) -> tuple[Enrolled, str]:
    """Somebody whose first email is an hour away, and the address: no other test's."""
    address = f"ada-{secrets.token_hex(4)}@example.org"
    at = datetime.now(UTC) + timedelta(hours=1)
    first = email(send="choose")
    one = await office.enroll(campaign(first, email(), call()), address, send_at=at)
    await office.until(one, lambda p: p.state is State.SLEEPING)
    return one, address


async def test_hold_and_release_reach_the_workflow(office: Office) -> None:
    one, address = await enrolled(office)
    await steering.hold(office.desk, address, reason="on leave")
    await deliver(office)
    await office.until(one, lambda p: p.state is State.HELD)
    await steering.release(office.desk, address)
    await deliver(office)
    await office.until(one, lambda p: p.state is State.SLEEPING)


async def test_an_end_reaches_the_workflow_with_its_outcome(office: Office) -> None:
    one, address = await enrolled(office)
    await steering.end(office.desk, address, success=True, reason="has signed")
    await deliver(office)
    assert (await one.handle.result()).outcome is Outcome.SUCCESS
    row = await office.row(one)
    assert (row.state, row.outcome) == ("ended", "success")


async def test_an_email_moves_to_another_moment(office: Office) -> None:
    one, address = await enrolled(office)
    case = await steering.case_of(office.desk, address, None)
    at = (datetime.now(case.plan.zone) + timedelta(hours=3)).replace(second=0, microsecond=0)
    moved = await steering.move(office.desk, case, 1, at.strftime("%Y-%m-%dT%H:%M"))
    assert (moved.answer, moved.at, moved.leaves_at) == (Answer.DONE, at, at)
    assert (await office.row(one)).next_at == at
    with pytest.raises(ActionError, match="passed already"):
        await steering.move(office.desk, case, 1, "2026-01-01T09:00")
    with pytest.raises(ActionError, match="step 3 is a task"):
        await steering.move(office.desk, case, 3, "2030-01-01T09:00")
    with pytest.raises(ActionError, match="there is no step 4"):
        await steering.move(office.desk, case, 4, "2030-01-01T09:00")


async def test_a_step_is_left_out_and_the_reason_is_kept(office: Office) -> None:
    one, address = await enrolled(office)
    case = await steering.case_of(office.desk, address, None)
    assert await steering.skip(office.desk, case, 1, "knows it") is Answer.DONE
    progress = await office.until(one, lambda p: p.step == 2)
    assert progress.outcome is None
    async with office.store.read() as tx:
        person = await people.show(tx, address, datetime.now(UTC), None)
        noted = (await tx.execute(audit.select())).all()
    [skipped] = [e for e in person.enrollments[0].events if e.what == "step_skipped"]
    assert skipped.detail["text"] == "knows it"
    assert isinstance(skipped.who, people.Rep) and skipped.who.name == "Grace Hopper"
    assert [(row.action, row.target, row.why) for row in noted] == [
        ("skip", f"{one.id}-1", "knows it")
    ]
    with pytest.raises(ActionError, match="over already"):
        await steering.skip(office.desk, case, 1, None)


async def test_a_blocked_email_goes_on_when_the_data_is_mended(
    quick_office: Office, mailer: MemoryMailer
) -> None:
    office = quick_office
    what = campaign(email("<p>{{ industry }}</p>", send="choose"), call())
    one = await office.enroll(what, send_at="now")
    await office.until(one, lambda p: p.state is State.BLOCKED)
    case = await steering.case_of(office.desk, ADA, None)
    assert await steering.retry(office.desk, case) is Answer.DONE  # and is blocked again
    await office.until(one, lambda p: p.state is State.BLOCKED)
    await mending.mend(office.desk, ADA, {"industry": "mining"})
    await deliver(office)
    await office.until(one, lambda p: p.step == 2)
    message = await office.message(one, 1)
    assert message is not None and message.state == "sent"
    with pytest.raises(ActionError, match="neither failed nor is it blocked"):
        await steering.retry(office.desk, case)


async def test_an_email_leaves_with_the_reps_text(quick_office: Office) -> None:
    office = quick_office
    one, address = await enrolled(office)
    case = await steering.case_of(office.desk, address, None)
    answer = await steering.edit(
        office.desk, office.letters, case, 1, subject="A word", body="Dear Ada,\n\nhello."
    )
    assert answer is Answer.DONE
    message = await office.message(one, 1)
    assert message is not None
    async with office.store.read() as tx:
        [draft] = (await tx.execute(drafts.select())).all()
    assert (message.draft_id, draft.subject, draft.step) == (draft.id, "A word", 1)
    with pytest.raises(ActionError, match="may not leave so"):
        await steering.edit(
            office.desk, office.letters, case, 1, subject=None, body="Dear {{ first_name }}"
        )
    with pytest.raises(ActionError, match=f"task edit {one.id}-3"):
        await steering.edit(office.desk, office.letters, case, 3, subject="A word", body=None)


@pytest.mark.parametrize("was_sent", [True, False])
async def test_an_email_in_doubt_is_resolved(
    quick_office: Office, mailer: MemoryMailer, was_sent: bool
) -> None:
    office = quick_office
    one, address = await enrolled(office)
    case = await steering.case_of(office.desk, address, None)
    with pytest.raises(ActionError, match="is not in doubt"):
        await steering.resolve(office.desk, case, 1, sent=True)
    # As an attempt leaves it that died after handing over.
    handed_over_at = datetime.now(UTC)
    async with office.store.write() as tx:
        await tx.execute(
            update(messages)
            .where(messages.c.enrollment_id == one.id, messages.c.step == 1)
            .values(state="sending", attempt=1, handing_over_at=handed_over_at)
        )
    await office.skip(one, hours=2)
    await office.until(one, lambda p: p.state is State.IN_DOUBT)
    before = await office.message(one, 1)
    assert await steering.resolve(office.desk, case, 1, sent=was_sent) is Answer.DONE
    # Where midnight has passed meanwhile, it leaves at its clock time (R9).
    message = await office.skip_until_sent(one, 1)
    assert before is not None
    assert (message.state, message.message_id) == ("sent", before.message_id)
    assert (message.sent_at == handed_over_at) is was_sent
    assert len(mailer.received) == (0 if was_sent else 1)


@pytest.mark.parametrize("was_sent", [True, False])
async def test_an_email_in_doubt_can_be_resolved_after_its_enrollment_has_ended(
    world: World, ada: Walk, was_sent: bool
) -> None:
    desk = desk_without_temporal(world.store)
    now = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
    async with world.store.write() as tx:
        ended = {"state": "ended", "outcome": "unsubscribed", "ended_at": now}
        await tx.execute(update(enrollments).where(enrollments.c.id == ada.id).values(**ended))
    with pytest.raises(ActionError, match="any more"):
        await steering.case_in_doubt(desk, ADA, None, 1)
    async with world.store.write() as tx:
        await ledger.schedule(tx, await ledger.enrollment(tx, ada.id), 1, None, now)
        await tx.execute(
            update(messages)
            .where(messages.c.enrollment_id == ada.id, messages.c.step == 1)
            .values(state="in_doubt", attempt=1, handing_over_at=now)
        )
    case = await steering.case_in_doubt(desk, ADA, None, 1)
    assert case.is_over
    assert await steering.resolve(desk, case, 1, sent=was_sent) is Answer.DONE
    message = await ada.message(1)
    assert message.state == ("sent" if was_sent else "cancelled")
    assert message.sent_at == (now if was_sent else None)
    assert (message.why is None) is was_sent
    assert (await ada.happened())[-1] == "resolved"
    with pytest.raises(ActionError, match="is not in doubt"):
        await steering.resolve(desk, case, 1, sent=was_sent)


async def test_the_person_may_have_any_case_in_the_address(world: World, ada: Walk) -> None:
    desk = desk_without_temporal(world.store)
    assert (await steering.case_of(desk, " ADA@Example.ORG", None)).id == ada.id
    with pytest.raises(ActionError):
        await steering.case_of(desk, "no address", None)
    assert [row.email for row in await world.rows(people_rows)] == [ADA]
