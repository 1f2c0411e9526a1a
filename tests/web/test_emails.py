"""The Emails page: what is listed where, and what can be done about it."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import select, update
from temporalio.client import Client

from drumbeat.campaign.states import MessageState, Why, WhyCode
from drumbeat.mail.outcomes import Phase
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments, messages, people
from drumbeat.store.users import Role
from drumbeat.web.cursors import pack, unpack
from drumbeat.web.site import Site
from tests.histories import paths
from tests.mail.memory import MemoryMailer
from tests.office import Office, open_office
from tests.web.rows import AT, enrolled
from tests.web.site import LINKS, make_site, signed_in


async def one_email(store: Store, state: MessageState, why: WhyCode | None = None) -> str:
    enrollment_id = await enrolled(store, sent=1)
    reason = Why(code=why).model_dump(mode="json") if why else None
    async with store.write() as tx:
        await tx.execute(update(messages).values(state=state, why=reason, sent_at=None))
    return enrollment_id


async def page_of(site: Site, path: str, role: Role = Role.MANAGER) -> str:
    async with await signed_in(site, role=role) as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    return answer.text


async def walked(site: Site, path: str) -> list[str]:
    """Which of five people the pages of a list show, page after page."""
    seen: list[str] = []
    while path:
        page = await page_of(site, path)
        seen += [f"person{n}" for n in range(5) if f"<bdi>person{n}@" in page]
        more = page.rpartition('<nav class="pager">')[2]
        found = more.rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
        path = found if ">More</a>" in more else ""
    return sorted(seen)


@pytest.mark.parametrize(
    ("state", "tab"),
    [
        (MessageState.FAILED, "decide"),
        (MessageState.IN_DOUBT, "decide"),
        (MessageState.BLOCKED, "decide"),
        (MessageState.SCHEDULED, "scheduled"),
        (MessageState.SENDING, "sending"),
        (MessageState.SENT, "sent"),
        (MessageState.CANCELLED, "cancelled"),
    ],
)
async def test_an_email_is_listed_where_it_stands(
    store: Store, state: MessageState, tab: str
) -> None:
    site = await make_site(store)
    await one_email(store, state)
    if state is MessageState.SENT:
        async with store.write() as tx:
            await tx.execute(update(messages).values(sent_at=AT))
    for name in ("decide", "scheduled", "sending", "sent", "cancelled"):
        assert ("ada@example.org" in await page_of(site, f"/emails?tab={name}")) == (name == tab)


async def test_a_filter_that_hides_something_is_named_and_can_be_cleared(store: Store) -> None:
    site = await make_site(store)
    await one_email(store, MessageState.SCHEDULED, WhyCode.LIMITS)
    limits = await page_of(site, "/emails?tab=scheduled&reason=limits")
    assert "ada@example.org" in limits
    window = await page_of(site, "/emails?tab=scheduled&reason=window")
    assert "ada@example.org" not in window
    assert "Filters are set: window" in window
    assert 'href="/emails?tab=scheduled"' in window


async def test_a_page_goes_on_where_the_one_before_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drumbeat.store.lists.emails.PAGE", 2)
    site = await make_site(store)
    for number in range(5):
        await enrolled(store, f"person{number}@example.org", sent=1)
    assert await walked(site, "/emails?tab=sent") == [f"person{n}" for n in range(5)]


@pytest.mark.parametrize("role", [Role.REP, Role.MANAGER])
@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize(
    ("tab", "state"),
    [
        ("decide", MessageState.FAILED),
        ("scheduled", MessageState.SCHEDULED),
        ("sending", MessageState.SENDING),
        ("sent", MessageState.SENT),
        ("bounced", MessageState.SENT),
        ("cancelled", MessageState.CANCELLED),
    ],
)
async def test_a_search_finds_emails_by_their_person_and_by_their_subject(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    role: Role,
    few: int,
    tab: str,
    state: MessageState,
) -> None:
    # How many are few decides which way they are looked for.
    monkeypatch.setattr("drumbeat.store.lists.emails._FEW", few)
    site = await make_site(store)
    for name in ("ada", "bea", "cora"):
        await enrolled(store, f"{name}@example.org", sent=1)
    where = {"state": state, "bounced": "hard" if tab == "bounced" else None}
    async with store.write() as tx:
        await tx.execute(update(messages).values(subject=None, **where))
        of_bea = select(enrollments.c.id).join(people).where(people.c.email.startswith("bea"))
        named = update(messages).where(messages.c.enrollment_id.in_(of_bea))
        await tx.execute(named.values(subject="About Ada's engines"))
    for words, found in (
        ("ada", {"ada", "bea"}),
        ("ENGINES about", {"bea"}),
        ("cora@example.org", {"cora"}),
        ("nobody", set()),
        ("example.org", {"ada", "bea", "cora"}),
    ):
        for more in ("", "&campaign=intro-q4"):
            page = await page_of(site, f"/emails?tab={tab}&q={quote(words)}{more}", role)
            listed = {name for name in ("ada", "bea", "cora") if f"<bdi>{name}@" in page}
            assert listed == found, (words, more)
    other = await page_of(site, f"/emails?tab={tab}&q=ada&campaign=other", role)
    assert "<bdi>ada@" not in other


async def test_a_search_goes_on_where_the_page_before_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drumbeat.store.lists.emails.PAGE", 2)
    site = await make_site(store)
    for number in range(5):
        await enrolled(store, f"person{number}@example.org", sent=1)
    assert await walked(site, "/emails?tab=sent&q=person") == [f"person{n}" for n in range(5)]


@pytest.mark.parametrize("cursor", ["", "x", "WzFd", "bm90LWpzb24", "eyJhIjogMX0"])
def test_a_broken_cursor_is_the_first_page(cursor: str) -> None:
    assert unpack(cursor) is None


def test_a_cursor_comes_back_as_it_was() -> None:
    assert unpack(pack(AT, "e1", 2)) == [AT.isoformat(), "e1", 2]


async def test_what_the_address_says_is_never_shown_as_it_stands(sqlite_store: Store) -> None:
    site = await make_site(sqlite_store)
    page = await page_of(site, "/emails?said=Your+account+is+closed&q=<script>alert(1)</script>")
    assert "account is closed" not in page
    assert "<script>alert" not in page


async def test_another_reps_email_does_not_exist(store: Store) -> None:
    site = await make_site(store)
    enrollment_id = await one_email(store, MessageState.FAILED)
    async with await signed_in(site, "new@example.com") as client:
        answer = await client.post(f"/emails/{enrollment_id}-1/retry")
        page = await client.get("/emails")
    assert answer.status_code == 404
    assert "ada@example.org" not in page.text


@pytest.fixture
def mailer() -> MemoryMailer:
    return MemoryMailer()


@pytest.fixture
async def office(
    tmp_path: Path, temporal_client: Client, mailer: MemoryMailer
) -> AsyncIterator[Office]:
    async with open_office(f"sqlite:///{tmp_path / 'd.db'}", temporal_client, mailer) as opened:
        yield opened


async def site_of(office: Office) -> Site:
    async def connect() -> Client:
        return office.client

    return Site(office.store, LINKS, office.reps, office.letters, connect)


async def test_a_failed_email_is_tried_again(office: Office, mailer: MemoryMailer) -> None:
    mailer.once(Phase.DATA, 552, "5.3.4 too big")
    one = paths.campaign("failed-page", (1, paths.email(paths.SUBJECT, "choose")))
    ada = await office.enroll(one, send_at="now")
    await office.until(ada, lambda shown: shown.state == "failed")
    site = await site_of(office)
    async with await signed_in(site) as client:
        page = await client.get("/emails")
        assert "5.3.4 too big" in page.text
        answer = await client.post(f"/emails/{ada.id}-1/retry", data={"back": "/emails?tab=decide"})
        assert answer.headers["location"] == "/emails?tab=decide&said=retried"
        again = await client.post(f"/emails/{ada.id}-1/retry")
    assert again.status_code == 409
    assert (await ada.handle.result()).outcome == "completed"
    assert len(mailer.received) == 1


async def test_of_an_email_in_doubt_the_rep_says_that_it_was_sent(
    office: Office, mailer: MemoryMailer
) -> None:
    mailer.once(Phase.DATA)
    one = paths.campaign("doubt-page", (1, paths.email(paths.SUBJECT, "choose")))
    ada = await office.enroll(one, send_at="now")
    await office.until(ada, lambda shown: shown.state == "in_doubt")
    async with await signed_in(await site_of(office)) as client:
        answer = await client.post(f"/emails/{ada.id}-1/resolve", data={"sent": "yes"})
    assert answer.status_code == 303
    assert (await ada.handle.result()).outcome == "completed"
    assert mailer.received == []


async def test_a_doubt_outlives_its_enrollment_and_can_be_resolved(store: Store) -> None:
    site = await make_site(store)
    enrollment_id = await one_email(store, MessageState.IN_DOUBT, WhyCode.IN_DOUBT)
    async with store.write() as tx:
        await tx.execute(update(enrollments).values(ended_at=AT, outcome="removed", state="ended"))
    async with await signed_in(site) as client:
        listed = (await client.get("/emails?tab=decide")).text
        answer = await client.post(f"/emails/{enrollment_id}-1/resolve", data={"sent": "no"})
    assert "It was not sent" in listed
    assert "Send it again" not in listed
    assert answer.status_code == 303
    assert "ada@example.org" in await page_of(site, "/emails?tab=cancelled")


async def test_a_scheduled_email_is_moved_and_left_out(office: Office) -> None:
    one = paths.campaign(
        "moved-page",
        (1, paths.email(paths.SUBJECT, "choose")),
        (2, paths.email("Second", "09:30")),
    )
    ada = await office.enroll(one, send_at="now")
    await office.skip_until_sent(ada, 1)
    await office.until(ada, lambda shown: shown.step == 2)
    async with await signed_in(await site_of(office)) as client:
        moved = await client.post(f"/emails/{ada.id}-2/move", data={"at": "2030-01-08T10:15"})
        bad = await client.post(f"/emails/{ada.id}-2/move", data={"at": "yesterday"})
        skipped = await client.post(f"/emails/{ada.id}-2/skip", data={"reason": "not now"})
    assert (moved.status_code, bad.status_code, skipped.status_code) == (303, 409, 303)
    assert (await ada.handle.result()).outcome == "completed"
