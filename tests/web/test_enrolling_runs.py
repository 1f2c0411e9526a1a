"""Enrolling by the screens, with real workflows: who is enrolled, with which text and data."""

import re
from pathlib import Path

import pytest
from sqlalchemy import select
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from drumbeat.actions import enrolling
from drumbeat.actions.starting import start_enrollment
from drumbeat.campaign.people import PersonRow
from drumbeat.store import keys
from drumbeat.store import people as store_people
from drumbeat.store.engine import Store
from drumbeat.store.schema import drafts, enrollments, events, people
from drumbeat.temporal.client import TemporalUnreachable
from tests.web.at_work import at_work
from tests.web.enrolling import PEOPLE, own_campaign, sent, set_part, until_over, uploaded
from tests.web.rows import all_rows
from tests.web.site import signed_in


async def test_everybody_is_enrolled_and_one_gets_a_text_of_their_own(
    store: Store, temporal_client: Client, tmp_path: Path
) -> None:
    async with at_work(store, temporal_client) as work:
        here = await own_campaign(store)
        browser = work.grace
        set_part(work.site, "uploads", tmp_path / "uploads")
        set_part(work.site, "task_queue", work.office.task_queue)
        check = await uploaded(browser, here=here)
        await browser.post(
            f"{check}/emails/2", data={"subject": "Dear Ada", "html": "<p>Only you.</p>"}
        )
        await browser.post(f"{check}/times", data={"when": "now", "step-3": "10:00"})
        page = (await browser.get(f"{check}/start")).text
        assert "Enroll 2 people" in (await browser.get(f"{check}/start")).text
        assert (await browser.post(f"{check}/start")).status_code == 303
        page = await until_over(browser, check)
        assert "2 people will hear from Grace Hopper." in page
        assert await sent(work.mailer, 2) == {
            "ada@example.org": "Dear Ada",
            "grace.h@example.org": "Hello Grace",
        }
        names = [path.name for path in (tmp_path / "uploads" / check[-24:]).iterdir()]
        assert names == ["state.json"]
        assert "not-an-address" in (await browser.get(f"{check}/rejected.csv")).text
        again = await browser.post(f"{check}/start")
        assert again.status_code == 303
        assert len(await all_rows(store, enrollments)) == 2


async def test_an_interrupted_run_goes_on_and_keeps_the_own_text(
    store: Store, temporal_client: Client, tmp_path: Path
) -> None:
    async with at_work(store, temporal_client) as work:
        here = await own_campaign(store)

        async def unreachable() -> Client:
            raise TemporalUnreachable("Temporal does not answer")

        reached = work.site.connect
        set_part(work.site, "uploads", tmp_path / "uploads")
        set_part(work.site, "task_queue", work.office.task_queue)
        check = await uploaded(work.grace, here=here)
        own = {"subject": "Dear Ada", "html": "<p>Only you.</p>"}
        await work.grace.post(f"{check}/emails/2", data=own)
        set_part(work.site, "connect", unreachable)
        await work.grace.post(f"{check}/start")
        page = await until_over(work.grace, check)
        assert "Temporal does not answer" in page and "Go on enrolling" in page
        assert (await work.grace.get(check)).headers["Location"] == f"{check}/start"
        set_part(work.site, "connect", reached)
        # Another process, as after a restart: it knows nothing but what lies on the disk.
        async with await signed_in(work.site) as later:
            assert "was interrupted" in (await later.get(f"{check}/start")).text
            await later.post(f"{check}/start")
            assert "2 people will hear" in await until_over(later, check)
        assert (await sent(work.mailer, 2))["ada@example.org"] == "Dear Ada"


async def test_who_was_written_but_never_started_starts_with_the_own_text(
    store: Store, temporal_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(store, temporal_client) as work:
        here = await own_campaign(store)
        set_part(work.site, "uploads", tmp_path / "uploads")
        set_part(work.site, "task_queue", work.office.task_queue)
        check = await uploaded(work.grace, here=here)
        own = {"subject": "Dear Ada", "html": "<p>Only you.</p>"}
        await work.grace.post(f"{check}/emails/2", data=own)

        async def killed(*_: object) -> bool:
            raise RPCError("gone", RPCStatusCode.UNAVAILABLE, b"")

        with monkeypatch.context() as patched:
            patched.setattr(enrolling, "start_workflow", killed)
            await work.grace.post(f"{check}/start")
            assert "nobody is enrolled twice" in await until_over(work.grace, check)
        rows = await all_rows(store, enrollments)
        assert [row["started_at"] for row in rows] == [None, None]
        for row in rows:  # as the worker does after a minute
            await start_enrollment(
                work.office.store, temporal_client, str(row["id"]), work.site.task_queue
            )
        assert await sent(work.mailer, 2) == {
            "ada@example.org": "Dear Ada",
            "grace.h@example.org": "Hello Grace",
        }
        [draft] = await all_rows(store, drafts)
        assert draft["subject"] == "Dear Ada"
        whats = [str(row["what"]) for row in await all_rows(store, events)]
        assert whats.count("email_edited") == 1


async def test_those_who_lack_a_token_get_what_is_filled_in_for_all_and_nobody_else(
    store: Store, temporal_client: Client, tmp_path: Path
) -> None:
    async with at_work(store, temporal_client) as work:
        here = await own_campaign(store)
        set_part(work.site, "uploads", tmp_path / "uploads")
        set_part(work.site, "task_queue", work.office.task_queue)
        known = PersonRow(1, "known@example.org", {"first_name": "Known", "lanes": "7"})
        async with store.write() as tx:
            key = await keys.people_key(tx)
            await store_people.insert_all(tx, key, [known], await store.now(tx))
        browser = work.grace
        file = PEOPLE + b"known@example.org,Known,Person,Old Inc,\n"
        check = await uploaded(browser, file, here=here)
        assert "1 person lacks it" in (await browser.get(check)).text
        too_long = await browser.post(f"{check}/fill", data={"lanes": "x" * 8001})
        assert too_long.status_code == 409
        assert "has more than 8,000 characters" in too_long.text
        typed = {"lanes": " four ", "first_name": "Nobody", "email": "eve@example.org"}
        assert (await browser.post(f"{check}/fill", data=typed)).status_code == 303
        page = (await browser.get(check)).text
        assert "Filled for those who lack it" in page
        assert "lacks a token" not in page
        assert 'value="four"' in page
        # It can be taken back, and given again.
        await browser.post(f"{check}/fill", data={"lanes": ""})
        assert "1 person lacks a token." in (await browser.get(check)).text
        await browser.post(f"{check}/fill", data=typed)
        await browser.post(f"{check}/times", data={"when": "now"})
        await browser.post(f"{check}/start")
        over = await until_over(browser, check)
        assert re.search(r"Updated</dt>\s*<dd>1<", over), over  # the company of who was known
        async with store.read() as tx:
            found = await tx.execute(select(people.c.email, people.c.fields))
        rows = {address: fields for address, fields in found}
        assert {address: fields["lanes"] for address, fields in rows.items()} == {
            "ada@example.org": "12",
            "grace.h@example.org": "four",
            "known@example.org": "7",
        }
        assert rows["grace.h@example.org"]["first_name"] == "Grace"
