"""The Live Feed: what happened, for whom, and without a gap."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from httpx2 import AsyncClient
from sqlalchemy import select

from drumbeat.actions.signing import User
from drumbeat.campaign.record import What
from drumbeat.store import events
from drumbeat.store.engine import Store
from drumbeat.store.lists import feed
from drumbeat.store.schema import enrollments
from drumbeat.store.users import Role
from drumbeat.web.feeding import Feed
from drumbeat.web.pages.feed import _stream
from drumbeat.web.site import Site
from tests.office import grace
from tests.web.rows import enrolled
from tests.web.site import make_site, signed_in

ALAN = grace(email="alan@example.com", name="Alan Turing")


async def happen(store: Store, enrollment_id: str, *keys: str, what: What = What.SENT) -> None:
    async with store.write() as tx:
        wanted = select(enrollments).where(enrollments.c.id == enrollment_id)
        row = (await tx.execute(wanted)).one()
        for key in keys:
            await events.append(
                tx,
                enrollment_id=enrollment_id,
                key=key,
                person_id=row.person_id,
                campaign=row.campaign,
                at=datetime.now(UTC),
                what=what,
                step=1,
            )


async def page_for(site: Site, path: str, address: str, role: Role = Role.REP) -> str:
    client: AsyncClient = await signed_in(site, address, role)
    async with client:
        return (await client.get(path)).text


async def test_it_shows_what_happened_newest_first(store: Store) -> None:
    site = await make_site(store)
    one = await enrolled(store)
    await happen(store, one, "1", what=What.SENT)
    await happen(store, one, "2", what=What.TASK_OPENED)
    page = await page_for(site, "/feed", "grace@example.com", Role.MANAGER)
    assert page.index("has a task") < page.index("was sent")


async def test_a_filter_stands_in_the_address(store: Store) -> None:
    site = await make_site(store)
    one = await enrolled(store)
    await happen(store, one, "1", what=What.SENT)
    await happen(store, one, "2", what=What.REPLIED)
    page = await page_for(site, "/feed?group=replies", "grace@example.com", Role.MANAGER)
    assert "replied" in page
    assert "was sent" not in page


async def test_a_rep_sees_nothing_of_other_reps_people(store: Store) -> None:
    site = await make_site(store, grace(), ALAN)
    one = await enrolled(store)
    await happen(store, one, "1")
    assert "was sent" not in await page_for(site, "/feed", "alan@example.com")
    assert "was sent" in await page_for(site, "/feed", "alan@example.com", Role.MANAGER)


async def batches(live: Feed, after: int | None, wanted: int) -> list[int]:
    """The numbers of the first events that a listener gets."""
    found: list[int] = []
    stream: AsyncIterator[object] = live.listen(after)
    async for batch in stream:
        found += [row.id for row in batch]  # type: ignore[attr-defined]  # rows
        if len(found) >= wanted:
            break
    await stream.aclose()  # type: ignore[attr-defined]  # a generator
    return found


async def test_what_happens_reaches_every_listener(store: Store) -> None:
    one = await enrolled(store)
    await happen(store, one, "before")
    live = Feed(store)
    listening = [asyncio.create_task(batches(live, None, 3)) for _ in range(20)]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        while len(live._listeners) < 20 or live._looking is None:  # noqa: ASYNC110 (they tell nobody)
            await asyncio.sleep(0)
    await happen(store, one, "1", "2")
    await happen(store, one, "3")
    results = await asyncio.wait_for(asyncio.gather(*listening), 20)
    assert all(result == results[0] and len(result) == 3 for result in results)


async def test_a_lost_connection_leaves_no_gap_and_nothing_twice(store: Store) -> None:
    one = await enrolled(store)
    await happen(store, one, "1")
    live = Feed(store)
    await happen(store, one, "2", "3")
    async with store.read() as tx:
        newest = await feed.newest(tx)
    assert await asyncio.wait_for(batches(live, newest - 2, 2), 20) == [newest - 1, newest]


async def test_the_stream_tells_only_numbers_of_what_is_not_for_the_user(store: Store) -> None:
    site = await make_site(store, grace(), ALAN)
    one = await enrolled(store)
    await happen(store, one, "1")
    client = await signed_in(site, "alan@example.com")
    await client.aclose()
    alan = User(site.reps.id_of(ALAN), ALAN.email, ALAN.name, Role.REP)
    lines: list[str] = []
    stream = _stream(Feed(store), alan, ZoneInfo("UTC"), 0, None)
    async for text in stream:
        lines.append(text)
        if "id:" in text:
            break
    await stream.aclose()
    assert "event: passed" in lines[-1]
    assert "ada" not in "".join(lines).lower()
