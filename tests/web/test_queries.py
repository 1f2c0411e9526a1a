"""How many queries each page makes: as few with a hundred thousand people as with these."""

import asyncio

from bench.cast import rep_address
from bench.filling import fill
from bench.pages import AIM_QUERIES, address_of, counting, pages_of
from bench.year import Amounts
from drumbeat.store.engine import Store
from drumbeat.store.users import Role
from tests.office import grace
from tests.web.site import make_site, signed_in

AMOUNTS = Amounts(
    campaigns=3, reps=2, managers=1, people=150, enrollments=200, tasks=600, events=2000
)


async def test_no_page_makes_more_than_ten_queries(store: Store) -> None:
    url = store._url.render_as_string(hide_password=False)
    filled = await asyncio.to_thread(fill, url, AMOUNTS, lambda _: None)
    site = await make_site(
        store, *(grace(email=rep_address(number)) for number in range(AMOUNTS.reps))
    )
    made: dict[tuple[str, str], list[str]] = {}
    async with await signed_in(site, "boss@example.com", Role.MANAGER) as manager:
        pages = await pages_of(manager, filled)
        async with await signed_in(site, "rep0@example.com") as rep:
            for browser, user, role in ((rep, filled.reps[0], "rep"), (manager, "", "manager")):
                for page in pages:
                    address = address_of(page, 0, user, role, filled)
                    await browser.get(address)  # a version of a campaign is read once
                    site.figures.clear()
                    with counting() as queries:
                        answer = await browser.get(address)
                    assert answer.status_code == 200, address
                    made[page.title, role] = queries
    numbers = {page: len(queries) for page, queries in made.items()}
    assert {page: number for page, number in numbers.items() if number > AIM_QUERIES} == {}
