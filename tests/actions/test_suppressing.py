import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest
from sqlalchemy import select, update

from activities.guarding import guard
from activities.outcomes import NotSent
from drumbeat.actions.delivery import Delivery
from drumbeat.actions.desk import Desk
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.suppressing import (
    block_domain,
    lift,
    normalise_domain,
    standing,
    suppress_address,
    unsubscribe_enrollment,
)
from drumbeat.actions.telling import unconfirmed
from drumbeat.campaign.states import Outcome, State
from drumbeat.store.engine import Store
from drumbeat.store.schema import audit, enrollments, events, outbox, suppressions, texts
from tests.activities.world import call, campaign, email
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office
from tests.web.rows import GRACE, all_rows, enrolled
from workflows import messages

TABLES = (audit, enrollments, events, outbox, suppressions, texts)
AT_ONCE = timedelta(0)


def desk_of(store: Store, acting: str | None = None) -> Desk:
    async def nobody() -> NoReturn:
        raise AssertionError("suppressing needs no Temporal server")

    return Desk(store, nobody, acting)


async def told(store: Store) -> dict[object, object]:
    """Enrollment -> kind of what it is told."""
    return {row["enrollment_id"]: row["kind"] for row in await all_rows(store, outbox)}


async def end_all(store: Store) -> None:
    async with store.write() as tx:
        now = await store.now(tx)
        await tx.execute(update(enrollments).values(ended_at=now, outcome="removed"))


async def test_unsubscribing_suppresses_the_address_and_tells_every_running_enrollment(
    store: Store,
) -> None:
    clicked = await enrolled(store, campaign="intro-q4")
    other = await enrolled(store, campaign="winter")
    await enrolled(store, campaign="spring", outcome="completed")
    await enrolled(store, "charles@example.org")
    assert await unsubscribe_enrollment(store, clicked, "too many emails")
    [row] = await all_rows(store, suppressions)
    assert (row["kind"], row["value"]) == ("address", "ada@example.org")
    assert (row["source"], row["reason"], row["who"]) == ("unsubscribed", "too many emails", None)
    assert await told(store) == {clicked: "unsubscribed", other: "unsubscribed"}
    for waiting in await all_rows(store, outbox):
        message = messages.Unsubscribed.model_validate(waiting["payload"])
        assert message.enrollment_id in (None, waiting["enrollment_id"])


async def test_no_email_leaves_from_the_moment_of_unsubscribing(store: Store) -> None:
    clicked = await enrolled(store)
    await unsubscribe_enrollment(store, clicked, None)
    async with store.write() as tx:
        row = (await tx.execute(select(enrollments))).one()
        answer = await guard(tx, row, "ada@example.org", (), await store.now(tx))
    assert isinstance(answer, NotSent)
    assert answer.outcome is Outcome.UNSUBSCRIBED


async def test_it_is_noted_once_in_timeline_and_audit_log_under_the_last_sent_step(
    store: Store,
) -> None:
    clicked = await enrolled(store, sent=2, outcome="completed")
    await unsubscribe_enrollment(store, clicked, "  no longer there  ")
    [event] = await all_rows(store, events)
    assert (event["enrollment_id"], event["what"], event["step"]) == (clicked, "unsubscribed", 2)
    assert (event["who"], event["campaign"]) == (None, "intro-q4")
    [text] = await all_rows(store, texts)
    assert text["text"] == "no longer there"
    assert event["detail"] == {"text": text["id"]}
    [noted] = await all_rows(store, audit)
    assert (noted["action"], noted["who"], noted["why"]) == ("unsubscribe", None, "no longer there")
    assert "ada" not in str(noted["target"])


async def test_a_running_workflow_is_told_step_and_reason_and_says_so_in_the_timeline(
    store: Store,
) -> None:
    clicked = await enrolled(store, sent=2)
    await unsubscribe_enrollment(store, clicked, "enough")
    assert await all_rows(store, events) == []
    [text] = await all_rows(store, texts)
    [waiting] = await all_rows(store, outbox)
    message = messages.Unsubscribed.model_validate(waiting["payload"])
    assert (message.step, message.reason_id) == (2, text["id"])


async def test_unsubscribing_again_changes_nothing(store: Store) -> None:
    clicked = await enrolled(store, sent=1)
    other = await enrolled(store, campaign="winter")
    await unsubscribe_enrollment(store, clicked, "enough")
    before = [await all_rows(store, table) for table in TABLES]
    assert not await unsubscribe_enrollment(store, clicked, None)
    assert not await unsubscribe_enrollment(store, other, "really")
    assert [await all_rows(store, table) for table in TABLES] == before


async def test_ten_clicks_at_once_are_one(store: Store) -> None:
    clicked = await enrolled(store)
    clicks = [unsubscribe_enrollment(store, clicked, f"click {n}") for n in range(10)]
    assert sum(await asyncio.gather(*clicks)) == 1
    counts = [len(await all_rows(store, table)) for table in (suppressions, events, outbox, audit)]
    assert counts == [1, 0, 1, 1]


async def test_the_link_of_an_ended_enrollment_still_unsubscribes(store: Store) -> None:
    ended = await enrolled(store, outcome="completed", sent=3)
    running = await enrolled(store, campaign="winter")
    assert await unsubscribe_enrollment(store, ended, None)
    assert len(await all_rows(store, suppressions)) == 1
    assert await told(store) == {running: "unsubscribed"}
    [event] = await all_rows(store, events)
    assert (event["enrollment_id"], event["detail"]) == (ended, {})


async def test_an_unknown_enrollment_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await unsubscribe_enrollment(store, "0123456789abcdef", None)


async def test_a_manual_suppression_gives_way_to_the_persons_own_wish(store: Store) -> None:
    clicked = await enrolled(store)
    await suppress_address(desk_of(store), "ada@example.org", "for now")
    assert await unsubscribe_enrollment(store, clicked, None)
    assert [row.source for row in await standing(store, "address")] == ["unsubscribed"]
    rows = await all_rows(store, suppressions)
    [old] = [row for row in rows if row["source"] == "manual"]
    assert old["lifted_why"] == "the person unsubscribed, which stands in its place"


async def test_the_persons_wish_stands_whoever_suppresses_the_address_at_the_same_time(
    store: Store,
) -> None:
    for number in range(5):
        address = f"ada{number}@example.org"
        clicked = await enrolled(store, address)
        await asyncio.gather(
            suppress_address(desk_of(store), address, None),
            unsubscribe_enrollment(store, clicked, None),
            suppress_address(desk_of(store), address, None),
        )
    rows = await standing(store, "address")
    assert [row.source for row in rows] == ["unsubscribed"] * 5


async def test_after_a_lift_the_same_link_unsubscribes_anew(store: Store) -> None:
    clicked = await enrolled(store)
    await unsubscribe_enrollment(store, clicked, None)
    await end_all(store)
    await lift(desk_of(store), "address", "ada@example.org", "asked to come back")
    again = await enrolled(store)
    assert await unsubscribe_enrollment(store, clicked, None)
    assert await told(store) == {clicked: "unsubscribed", again: "unsubscribed"}
    assert len(await all_rows(store, events)) == 1


async def test_suppressing_an_address_tells_its_running_enrollments_to_end_as_removed(
    store: Store,
) -> None:
    first, second = await enrolled(store), await enrolled(store, campaign="winter")
    await enrolled(store, campaign="spring", outcome="completed")
    await enrolled(store, "charles@example.org")
    done = await suppress_address(desk_of(store, "grace@example.com"), " ADA@Example.ORG ", "wish")
    assert (done.value, done.is_new, done.told.enrollments) == ("ada@example.org", True, 2)
    assert await told(store) == {first: "end", second: "end"}
    for row in await all_rows(store, outbox):
        end = messages.End.model_validate(row["payload"])
        assert (end.success, end.who) == (False, GRACE)
        assert end.reason_id in [text["id"] for text in await all_rows(store, texts)]
    [suppressed] = await all_rows(store, suppressions)
    [noted] = await all_rows(store, audit)
    assert (noted["action"], noted["who"], noted["why"]) == ("suppress", GRACE, "wish")
    assert noted["target"] == suppressed["id"]


async def test_what_was_suppressed_counts_as_told_when_every_message_is_confirmed(
    store: Store,
) -> None:
    await enrolled(store)
    await enrolled(store, "charles@example.org")
    done = await suppress_address(desk_of(store), "ada@example.org", None)
    await suppress_address(desk_of(store), "charles@example.org", None)
    assert await unconfirmed(store, done.told, wait=AT_ONCE) == 1
    async with store.write() as tx:
        now = await store.now(tx)
        mine = outbox.c.key.startswith(done.told.keys[0])
        await tx.execute(update(outbox).where(mine).values(delivered_at=now))
    assert await unconfirmed(store, done.told, wait=AT_ONCE) == 0


async def test_suppressing_again_adds_no_row_and_tells_nobody_twice(store: Store) -> None:
    await enrolled(store)
    await suppress_address(desk_of(store), "ada@example.org", None)
    done = await suppress_address(desk_of(store), "ada@example.org", None)
    assert (done.is_new, done.told.enrollments) == (False, 1)
    assert len(await all_rows(store, suppressions)) == len(await all_rows(store, outbox)) == 1


async def test_an_address_that_nobody_enrolled_can_be_suppressed(store: Store) -> None:
    done = await suppress_address(desk_of(store), "nobody@example.org", None)
    assert done.is_new
    assert done.told.enrollments == 0


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.org\r\nBcc: eve@example.org",
        "ada\n@example.org",
        "ada\x00@example.org",
        "ada",
        "",
        "ada@",
        "a" * 400 + "@example.org",
    ],
)
async def test_a_malformed_address_is_refused_in_one_line(
    sqlite_store: Store, address: str
) -> None:
    with pytest.raises(ActionError) as raised:
        await suppress_address(desk_of(sqlite_store), address, None)
    assert str(raised.value).isprintable()
    assert await all_rows(sqlite_store, suppressions) == []


async def test_a_rep_who_is_not_known_cannot_act(sqlite_store: Store) -> None:
    with pytest.raises(ActionError, match="no rep has the address eve@example"):
        await suppress_address(desk_of(sqlite_store, "eve@example.com"), "ada@example.org", None)
    assert await all_rows(sqlite_store, suppressions) == []


async def test_blocking_a_domain_ends_everybody_there_and_nobody_elsewhere(store: Store) -> None:
    ada = await enrolled(store, "ada@example.org")
    charles = await enrolled(store, "charles@example.org", campaign="winter")
    for other in ("eve@notexample.org", "eve@mail.example.org", "example.org@example.com"):
        await enrolled(store, other)
    done = await block_domain(desk_of(store), "Example.ORG", "a competitor")
    assert (done.value, done.told.enrollments) == ("example.org", 2)
    assert await told(store) == {ada: "end", charles: "end"}
    assert [noted["action"] for noted in await all_rows(store, audit)] == ["block"]


async def test_nothing_leaves_to_a_blocked_domain_or_what_is_written_as_unicode(
    store: Store,
) -> None:
    await enrolled(store, "ada@xn--bcher-kva.example")
    await block_domain(desk_of(store), "bücher.example", None)
    async with store.write() as tx:
        row = (await tx.execute(select(enrollments))).one()
        now = await store.now(tx)
        answer = await guard(tx, row, "ada@xn--bcher-kva.example", (), now)
        elsewhere = await guard(tx, row, "ada@mail.xn--bcher-kva.example", (), now)
    assert isinstance(answer, NotSent)
    assert answer.outcome is Outcome.REMOVED
    assert elsewhere is None


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        ("example.com", "example.com"),
        (" @EXAMPLE.com. ", "example.com"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("mail.example.co.uk", "mail.example.co.uk"),
    ],
)
def test_a_domain_is_compared_as_addresses_are_stored(written: str, domain: str) -> None:
    assert normalise_domain(written) == domain


@pytest.mark.parametrize(
    "written",
    ["", "@", "ada@example.com", "example..com", "exa mple.com", "*.example.com", "a\r\nb.example"],
)
def test_what_is_no_domain_is_refused_in_one_line(written: str) -> None:
    with pytest.raises(ActionError) as raised:
        normalise_domain(written)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("reason", ["", "  \n"])
async def test_lifting_wants_a_reason(sqlite_store: Store, reason: str) -> None:
    await suppress_address(desk_of(sqlite_store), "ada@example.org", None)
    with pytest.raises(ActionError, match="a reason is wanted"):
        await lift(desk_of(sqlite_store), "address", "ada@example.org", reason)
    assert len(await standing(sqlite_store, "address")) == 1


async def test_a_lift_is_kept_with_who_and_why(store: Store) -> None:
    await enrolled(store)
    await suppress_address(desk_of(store), "ada@example.org", None)
    acting = desk_of(store, "grace@example.com")
    assert await lift(acting, "address", "Ada@example.org", "asked") == "ada@example.org"
    assert await standing(store, "address") == []
    [row] = await all_rows(store, suppressions)
    assert (row["lifted_by"], row["lifted_why"]) == (GRACE, "asked")
    noted = (await all_rows(store, audit))[-1]
    assert (noted["action"], noted["who"], noted["why"]) == ("lift", GRACE, "asked")
    assert noted["target"] == row["id"]


async def test_what_was_lifted_can_be_suppressed_again_and_ends_whoever_runs_then(
    store: Store,
) -> None:
    await enrolled(store)
    await suppress_address(desk_of(store), "ada@example.org", None)
    await end_all(store)
    await lift(desk_of(store), "address", "ada@example.org", "asked")
    again = await enrolled(store)
    done = await suppress_address(desk_of(store), "ada@example.org", None)
    assert (done.is_new, done.told.enrollments) == (True, 1)
    assert (await told(store))[again] == "end"


async def test_what_does_not_stand_cannot_be_lifted(sqlite_store: Store) -> None:
    desk = desk_of(sqlite_store)
    with pytest.raises(ActionError, match=r"^ada@example.org is not suppressed$"):
        await lift(desk, "address", "ada@example.org", "asked")
    with pytest.raises(ActionError, match=r"^example.org is not blocked$"):
        await lift(desk, "domain", "example.org", "asked")
    await block_domain(desk, "example.org", None)
    with pytest.raises(ActionError, match="its domain is blocked"):
        await lift(desk, "address", "ada@example.org", "asked")


async def test_what_stands_is_listed_oldest_first_with_who_asked(store: Store) -> None:
    clicked = await enrolled(store)
    await unsubscribe_enrollment(store, clicked, "enough")
    await suppress_address(desk_of(store, "grace@example.com"), "charles@example.org", None)
    await block_domain(desk_of(store), "example.net", "a competitor")
    rows = await standing(store, "address")
    assert [(row.value, row.source, row.reason, row.who) for row in rows] == [
        ("ada@example.org", "unsubscribed", "enough", None),
        ("charles@example.org", "manual", None, "grace@example.com"),
    ]
    assert [row.value for row in await standing(store, "domain")] == ["example.net"]


# With the real workflow


async def sleeping(office: Office) -> tuple[Enrolled, str]:
    """Somebody whose first email is an hour away, and the address: no other test's."""
    address = f"ada@{secrets.token_hex(6)}.example.org"
    at = datetime.now(UTC) + timedelta(hours=1)
    one = await office.enroll(campaign(email(send="choose"), call()), address, send_at=at)
    await office.until(one, lambda progress: progress.state is State.SLEEPING)
    return one, address


async def deliver(office: Office) -> None:
    """Drain the outbox, as the worker does."""
    while await Delivery(office.store, office.client, office.task_queue).drain():
        pass


async def test_a_running_workflow_ends_as_unsubscribed_and_sends_nothing(
    office: Office, mailer: MemoryMailer
) -> None:
    one, address = await sleeping(office)
    await unsubscribe_enrollment(office.store, one.id, "enough")
    await deliver(office)
    assert (await one.handle.result()).outcome is Outcome.UNSUBSCRIBED
    row = await office.row(one)
    assert (row.state, row.outcome) == ("ended", "unsubscribed")
    assert [stands.value for stands in await standing(office.store, "address")] == [address]
    assert await all_rows(office.store, outbox) != []
    assert not mailer.received
    before = [await all_rows(office.store, table) for table in TABLES]
    assert not await unsubscribe_enrollment(office.store, one.id, "once more")
    assert [await all_rows(office.store, table) for table in TABLES] == before


@pytest.mark.parametrize("how", ["suppress", "block"])
async def test_a_running_workflow_ends_as_removed_with_the_reason(office: Office, how: str) -> None:
    one, address = await sleeping(office)
    if how == "suppress":
        done = await suppress_address(office.desk, address, "asked by phone")
    else:
        done = await block_domain(office.desk, address.partition("@")[2], "asked by phone")
    assert done.told.enrollments == 1
    await deliver(office)
    assert await unconfirmed(office.store, done.told, wait=AT_ONCE) == 0
    assert (await one.handle.result()).outcome is Outcome.REMOVED
    row = await office.row(one)
    assert (row.state, row.outcome) == ("ended", "removed")
