"""The People page, and one page a person: where they stand, what comes, and letters as sent."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select, update
from temporalio.client import Client

from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments, people
from drumbeat.store.users import Role
from drumbeat.web.site import Site
from tests.histories import paths
from tests.mail.memory import MemoryMailer
from tests.office import Office, open_office
from tests.web.rows import enrolled
from tests.web.site import LINKS, make_site, signed_in


async def page_of(site: Site, path: str, role: Role = Role.MANAGER) -> str:
    async with await signed_in(site, role=role) as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    return answer.text


async def set_fields(store: Store, **fields: str) -> None:
    async with store.write() as tx:
        await tx.execute(update(people).values(fields=fields))


async def person_of(store: Store, enrollment_id: str) -> str:
    async with store.read() as tx:
        wanted = select(enrollments.c.person_id).where(enrollments.c.id == enrollment_id)
        return str((await tx.execute(wanted)).scalar_one())


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("q=lovelace", True),
        ("q=ADA@", True),
        ("q=nobody", False),
        ("q=%C3%A9t%C3%A9", True),
        ("campaign=intro-q4", True),
        ("campaign=other", False),
        ("state=sleeping", True),
        ("state=held", False),
        ("reason=limits", False),
        ("q=%25", False),
    ],
)
async def test_people_are_found_by_what_the_address_says(
    store: Store, query: str, is_found: bool
) -> None:
    site = await make_site(store)
    await enrolled(store)
    await set_fields(store, first_name="Ada", last_name="Lovelace", company="L'été")
    assert ("ada@example.org" in await page_of(site, f"/people?{query}")) == is_found


async def test_a_page_of_people_goes_on_where_the_one_before_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drumbeat.store.lists.people.PAGE", 2)
    site = await make_site(store)
    for number in range(3):
        await enrolled(store, f"person{number}@example.org")
    first = await page_of(site, "/people")
    assert ("person1@" in first, "person2@" in first) == (True, False)
    second = await page_of(site, "/people?after=person1@example.org")
    assert ("person1@example.org" in second.partition("<ul")[2], "person2@" in second) == (
        False,
        True,
    )


async def test_a_search_goes_on_though_the_last_person_has_another_address_now(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drumbeat.store.lists.people.PAGE", 2)
    site = await make_site(store)
    for number in range(5):
        await enrolled(store, f"person{number}@example.org")

    async def listed(query: str) -> list[int]:
        page = await page_of(site, f"/people?q=person{query}")
        return [n for n in range(5) if f"<bdi>person{n}@" in page]

    assert await listed("") == [0, 1]
    assert await listed("&after=person1@example.org") == [2, 3]
    async with store.write() as tx:
        moved = update(people).where(people.c.email == "person1@example.org")
        await tx.execute(moved.values(email="someone@example.org"))
    assert await listed("&after=person1@example.org") == [2, 3]
    assert await listed("&after=person3@example.org") == [4]


async def test_another_reps_person_does_not_exist(store: Store) -> None:
    site = await make_site(store)
    person_id = await person_of(store, await enrolled(store))
    async with await signed_in(site, "new@example.com") as client:
        assert (await client.get(f"/people/{person_id}")).status_code == 404
        assert (await client.post(f"/people/{person_id}/hold")).status_code == 404
        assert "ada@" not in (await client.get("/people")).text
        assert (await client.get("/people/none")).status_code == 404


async def test_what_people_are_called_is_shown_as_text(store: Store) -> None:
    site = await make_site(store)
    person_id = await person_of(store, await enrolled(store))
    await set_fields(store, first_name="<script>alert(1)</script>", last_name="יעל")
    for path in ("/people", f"/people/{person_id}"):
        page = await page_of(site, path)
        assert "<script>alert" not in page
        assert "<bdi>&lt;script&gt;" in page


@pytest.fixture
def mailer() -> MemoryMailer:
    return MemoryMailer()


@pytest.fixture
async def office(
    tmp_path: Path, temporal_client: Client, mailer: MemoryMailer
) -> AsyncIterator[Office]:
    async with open_office(f"sqlite:///{tmp_path / 'd.db'}", temporal_client, mailer) as opened:
        yield opened


def site_of(office: Office) -> Site:
    async def connect() -> Client:
        return office.client

    return Site(office.store, LINKS, office.reps, office.letters, connect)


async def test_a_person_is_held_released_and_ended(office: Office) -> None:
    one = paths.campaign("page", (1, paths.email(paths.SUBJECT, "choose")), (1, paths.CALL))
    ada = await office.enroll(one, send_at="now")
    await office.until(ada, lambda shown: shown.state == "task")
    path = f"/people/{ada.person_id}"
    async with await signed_in(site_of(office)) as client:
        held = await client.post(f"{path}/hold", data={"campaign": "page", "reason": "on leave"})
        # The workflow of this test hears of holds by signals of its own: no outbox is drained.
        page = (await client.get(path)).text
        released = await client.post(f"{path}/release")
        twice = await client.post(f"{path}/release")
    assert (held.status_code, released.status_code, twice.status_code) == (303, 303, 409)
    assert held.headers["location"] == f"{path}?said=held&campaign=page"
    assert "on leave" in page


async def test_missing_data_is_mended_on_the_page(office: Office) -> None:
    one = paths.campaign("mend-page", (1, paths.email("For {{ industry }}", "choose")))
    ada = await office.enroll(one, send_at="now")
    await office.until(ada, lambda shown: shown.state == "blocked")
    path = f"/people/{ada.person_id}"
    async with await signed_in(site_of(office)) as client:
        page = (await client.get(path)).text
        assert 'name="field_industry"' in page
        assert "industry</code>" in page
        bad = await client.post(f"{path}/mend", data={"field_timezone": "Mars/Olympus"})
        mended = await client.post(f"{path}/mend", data={"field_industry": "Computing"})
        retried = await client.post(f"{path}/retry")
    assert (bad.status_code, mended.status_code, retried.status_code) == (409, 303, 303)
    assert (await ada.handle.result()).outcome == "completed"


async def test_a_letter_is_shown_as_it_was_sent_and_runs_nothing(office: Office) -> None:
    body = '<p>Dear {{ first_name }}.</p><script>alert(1)</script><img src="https://x.example/i">'
    one = paths.campaign("letter-page", (1, paths.email(paths.SUBJECT, "choose", body=body)))
    ada = await office.enroll(one, send_at="now")
    await ada.handle.result()
    async with await signed_in(site_of(office)) as client:
        letter = await client.get(f"/letters/{ada.id}-1")
        source = await client.get(f"/letters/{ada.id}-1/source")
        page = (await client.get(f"/people/{ada.person_id}")).text
        assert (await client.get(f"/letters/{ada.id}-2")).status_code == 404
    assert "Dear Ada." in letter.text
    assert "<script" not in letter.text
    assert "sandbox" in letter.headers["content-security-policy"]
    assert "default-src 'none'" in letter.headers["content-security-policy"]
    assert letter.headers["x-frame-options"] == "SAMEORIGIN"
    assert "List-Unsubscribe:" in source.text
    assert f'<iframe sandbox="" loading="lazy" src="/letters/{ada.id}-1"' in page
    async with await signed_in(site_of(office), "other@example.com") as stranger:
        assert (await stranger.get(f"/letters/{ada.id}-1")).status_code == 404
