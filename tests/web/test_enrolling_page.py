"""Enrolling in four screens: upload, check, first email and times, start."""

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from httpx2 import AsyncClient, Response
from sqlalchemy import select
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from drumbeat.actions import enrolling
from drumbeat.actions.starting import start_enrollment
from drumbeat.campaign.model import Campaign, Day, EmailStep, Send, TaskStep, Template
from drumbeat.campaign.people import PersonRow
from drumbeat.mail.rendering import Renderer
from drumbeat.store import campaigns, keys
from drumbeat.store import people as store_people
from drumbeat.store.engine import Store
from drumbeat.store.schema import drafts, enrollments, events, people
from drumbeat.store.users import Role
from drumbeat.temporal.client import TemporalUnreachable
from drumbeat.web.enroll_desk import EnrollDesk, Job
from drumbeat.web.guarding import LARGEST_UPLOAD
from drumbeat.web.site import Site
from tests.mail.memory import MemoryMailer
from tests.office import grace
from tests.web.at_work import at_work
from tests.web.rows import all_rows
from tests.web.site import make_site, signed_in

ALAN = grace(email="alan@example.com", name="Alan Turing")
HERE = "/campaigns/hello/enroll"
PEOPLE = b"""\
email,first_name,last_name,company,lanes
ada@example.org,Ada,Lovelace,Engines,12
grace.h@example.org,Grace,Hopper,Navy,
not-an-address,No,Body,Nowhere,1
"""


def hello(*, first: Send = Send.CHOOSE, needs: str = "first_name", slug: str = "hello") -> Campaign:
    """An email whose time is chosen, a call, and an email at a fixed time that needs a token."""
    intro = Template(
        name="intro",
        subject="Hello {{ first_name }}",
        body=f"<p>Hello {{{{ {needs} }}}},</p><p>I am {{{{ my_name }}}}.</p>",
        is_html=True,
    )
    lanes = Template(name="lanes", subject="Lanes", body="<p>{{ lanes }} lanes</p>", is_html=True)
    return Campaign(
        slug=slug,
        name="Hello there",
        days=(
            Day(
                day=1,
                steps=(
                    EmailStep(template=intro, send=first),
                    TaskStep(kind="call", subject="Call them"),
                ),
            ),
            Day(
                day=3,
                steps=(
                    EmailStep.model_validate(
                        {"template": lanes, "send": "fixed", "send_time": "09:30"}
                    ),
                ),
            ),
        ),
    )


async def keep(store: Store, campaign: Campaign) -> Campaign:
    async with store.write() as tx:
        await campaigns.save(tx, campaign, {}, await store.now(tx))
    return campaign


@asynccontextmanager
async def visiting(
    store: Store,
    folder: Path,
    role: Role = Role.REP,
    address: str = "grace@example.com",
    campaign: Campaign | None = None,
) -> AsyncIterator[tuple[AsyncClient, Site]]:
    """A browser on a site whose uploads lie in that folder."""
    await keep(store, campaign or hello())
    async with Renderer() as renderer:
        site = await make_site(store, grace(), ALAN, renderer=renderer, uploads=folder / "uploads")
        async with await signed_in(site, address, role) as browser:
            yield browser, site


async def upload(
    browser: AsyncClient, content: bytes = PEOPLE, here: str = HERE, **fields: str
) -> Response:
    return await browser.post(here, data=fields, files={"file": ("people.csv", content)})


async def uploaded(
    browser: AsyncClient, content: bytes = PEOPLE, here: str = HERE, **fields: str
) -> str:
    """The address of the check."""
    answer = await upload(browser, content, here, **fields)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["Location"])


async def test_an_upload_leads_to_the_check_and_writes_nothing(
    store: Store, tmp_path: Path
) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        assert "Upload the people" in (await browser.get(HERE)).text
        check = await uploaded(browser)
        assert re.fullmatch(rf"{HERE}/[A-Za-z0-9_-]{{24}}", check)
        page = (await browser.get(check)).text
        assert "Go on with 2 people" in page
        assert "1 person lacks a token." in page and '<span class="tok">lanes</span>' in page
        assert "malformed address" in page and "not-an-address" in page
        assert "Step 3 would wait for missing data" in page
        assert await all_rows(store, people) == []
        assert "uploads" not in str(browser.cookies) and check[-24:] not in str(browser.cookies)


async def test_a_run_that_ends_while_its_page_is_made_is_no_error(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with visiting(sqlite_store, tmp_path) as (browser, _):
        check = await uploaded(browser)
        asked = iter((True, False, False, False))
        monkeypatch.setattr(Job, "is_running", property(lambda _: next(asked)))
        monkeypatch.setattr(EnrollDesk, "jobs", property(lambda _: Running()), raising=False)
        page = await browser.get(f"{check}/start")
    assert page.status_code == 200
    assert "Enrolling" in page.text


class Running(dict[str, Job]):
    """A run for every upload."""

    def get(self, key: str, default: object = None) -> Job:
        return Job(total=2)


async def test_the_check_is_filtered_by_tabs_in_the_address(store: Store, tmp_path: Path) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        check = await uploaded(browser)
        enrolled = (await browser.get(f"{check}?show=enrolled")).text
        assert "Ada Lovelace" in enrolled and "not-an-address" not in enrolled
        rejected = (await browser.get(f"{check}?show=rejected")).text
        assert "Ada Lovelace" not in rejected and "not-an-address" in rejected


async def test_the_rejected_rows_are_a_file_that_no_spreadsheet_computes(
    store: Store, tmp_path: Path
) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        check = await uploaded(browser, PEOPLE + b"=1+1,x,y,z,1\n")
        answer = await browser.get(f"{check}/rejected.csv")
        assert answer.headers["Content-Disposition"].startswith("attachment")
        lines = answer.text.splitlines()
        assert lines[0] == "line,email,reason"
        assert lines[2].startswith("5,'=1+1,")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"name\nAda\n", "people.csv:1: no column is called email"),
        (b"", "people.csv: it is empty"),
        (b"email\n" + b"a" * (20 * 1024 * 1024), "larger than 20 MiB"),
    ],
)
async def test_a_file_that_cannot_be_used_is_refused_and_not_kept(
    store: Store, tmp_path: Path, content: bytes, why: str
) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        answer = await upload(browser, content)
        assert answer.status_code == 409
        assert why in answer.text.replace("&#39;", "'")
        assert list((tmp_path / "uploads").iterdir()) == []


async def test_more_than_an_upload_may_have_is_413(store: Store, tmp_path: Path) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        answer = await upload(browser, b"a" * (LARGEST_UPLOAD + 1))
        assert answer.status_code == 413
        small = await browser.post(f"{HERE}/x/times", content=b"a" * 70_000)
        assert small.status_code == 413


async def test_too_many_uploads_of_one_user_are_429(store: Store, tmp_path: Path) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        answers = [(await upload(browser, b"x")).status_code for _ in range(25)]
    assert answers[0] == 409 and answers[-1] == 429


async def test_nobody_else_sees_an_upload(store: Store, tmp_path: Path) -> None:
    async with visiting(store, tmp_path) as (browser, site):
        check = await uploaded(browser)
        async with await signed_in(site, "alan@example.com", Role.ADMIN) as other:
            for path in ("", "/emails", "/start", "/rejected.csv", "/letter/2"):
                assert (await other.get(check + path)).status_code == 404
            assert (await other.post(f"{check}/start")).status_code == 404
        assert (await browser.get(check.replace("/hello/", "/other/"))).status_code == 404
        assert (await browser.get(f"{HERE}/..%2f..%2fetc")).status_code == 404


async def test_an_upload_goes_after_a_day_and_where_it_is_thrown_away(
    store: Store, tmp_path: Path
) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        old, new = await uploaded(browser), await uploaded(browser)
        yesterday = time.time() - 90_000
        folder = tmp_path / "uploads" / old[-24:]
        for path in (folder / "state.json", folder):
            os.utime(path, (yesterday, yesterday))
        assert (await browser.get(old)).status_code == 404
        third = await uploaded(browser)
        assert not folder.exists()
        assert new in (await browser.get(HERE)).text
        answer = await browser.post(f"{new}/leave")
        assert answer.headers["Location"] == "/campaigns/hello"
        assert [path.name for path in (tmp_path / "uploads").iterdir()] == [third[-24:]]


async def test_only_its_owner_may_read_what_lies_on_the_disk(store: Store, tmp_path: Path) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        await uploaded(browser)
        for folder in (tmp_path / "uploads", *(tmp_path / "uploads").iterdir()):
            assert folder.stat().st_mode & 0o077 == 0


async def test_a_manager_chooses_who_writes_and_a_rep_writes_alone(
    store: Store, tmp_path: Path
) -> None:
    async with visiting(store, tmp_path) as (browser, site):
        alan = site.reps.id_of(ALAN)
        as_rep = await uploaded(browser, rep=alan)
        assert "from Grace Hopper" in (await browser.get(as_rep)).text
        async with await signed_in(site, "boss@example.com", Role.MANAGER) as boss:
            refused = await upload(boss)
            assert refused.status_code == 409 and "choose who writes" in refused.text
            check = await uploaded(boss, rep=alan)
            assert "from Alan Turing" in (await boss.get(check)).text


async def test_the_first_email_of_each_person_is_shown_isolated(
    store: Store, tmp_path: Path
) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        check = await uploaded(browser)
        page = (await browser.get(f"{check}/emails")).text
        assert "Hello Ada" in page and f"{check}/letter/2" in page and "Grace Hopper" in page
        letter = await browser.get(f"{check}/letter/3")
        assert "Hello Grace," in letter.text
        assert "sandbox" in letter.headers["Content-Security-Policy"]
        assert "default-src 'none'" in letter.headers["Content-Security-Policy"]


async def test_what_a_file_says_never_becomes_a_script(store: Store, tmp_path: Path) -> None:
    evil = b"email,first_name\nada@example.org,<script>alert(1)</script>\n"
    async with visiting(store, tmp_path) as (browser, _):
        check = await uploaded(browser, evil)
        for path in ("", "?show=all", "/emails", "/emails?edit=1", "/letter/2", "/start"):
            assert "<script>alert" not in (await browser.get(check + path)).text, path


async def test_somebody_who_lacks_data_is_told_so_instead_of_a_letter(
    store: Store, tmp_path: Path
) -> None:
    async with visiting(store, tmp_path, campaign=hello(needs="lanes")) as (browser, _):
        check = await uploaded(browser, b"email\nada@example.org\n")
        page = (await browser.get(f"{check}/emails")).text
        assert "This email waits for lanes" in page and "<iframe" not in page


async def test_a_text_of_ones_own_is_kept_for_that_person_only(
    store: Store, tmp_path: Path
) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        check = await uploaded(browser)
        answer = await browser.post(
            f"{check}/emails/2",
            data={"subject": "Dear Ada", "html": "<p>Only you.</p><script>x</script>"},
        )
        assert answer.headers["Location"] == f"{check}/emails?person=2"
        page = (await browser.get(f"{check}/emails?person=2")).text
        assert "Dear Ada" in page and "A text of their own" in page
        letter = (await browser.get(f"{check}/letter/2")).text
        assert "Only you." in letter and "<script" not in letter
        assert "Hello Grace" in (await browser.get(f"{check}/letter/3")).text
        await browser.post(f"{check}/emails/2", data={"reset": "yes"})
        assert "Hello Ada," in (await browser.get(f"{check}/letter/2")).text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"subject": " ", "text": "Hello"}, "the subject is empty"),
        ({"subject": "Hi", "text": " "}, "the text is empty"),
        ({"subject": "Hi", "text": "Hello {{ name }}"}, "may not leave so"),
    ],
)
async def test_a_text_that_may_not_leave_is_refused_and_not_lost(
    store: Store, tmp_path: Path, fields: dict[str, str], why: str
) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        check = await uploaded(browser)
        answer = await browser.post(f"{check}/emails/2", data=fields)
        assert answer.status_code == 409 and why in answer.text
        assert fields["text"] in answer.text
        assert "Back to the template" not in (await browser.get(f"{check}/emails")).text


async def test_times_are_chosen_checked_and_kept(store: Store, tmp_path: Path) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        check = await uploaded(browser)
        late = {"when": "at", "send_at": "2100-01-04T09:00", "step-3": "11:15"}
        answer = await browser.post(f"{check}/times", data={**late, "person": "2"})
        assert answer.headers["Location"] == f"{check}/emails?person=2"
        page = (await browser.get(f"{check}/emails")).text
        assert 'value="2100-01-04T09:00"' in page and 'value="11:15"' in page
        assert "4 Jan 2100, 09:00 New York" in page
        past = {"when": "at", "send_at": "2001-01-04T09:00", "step-3": "09:30"}
        refused = await browser.post(f"{check}/times", data=past)
        assert refused.status_code == 409 and "is in the past" in refused.text
        assert 'value="2001-01-04T09:00"' in refused.text
        none = await browser.post(f"{check}/times", data={"when": "at", "send_at": ""})
        assert none.status_code == 409 and "choose a date" in none.text
        assert 'value="2100-01-04T09:00"' in (await browser.get(f"{check}/emails")).text
        on = await browser.post(f"{check}/times", data={**late, "go": "start"})
        assert on.headers["Location"] == f"{check}/start"


async def test_a_first_email_that_is_a_task_is_shown_but_not_rewritten(
    store: Store, tmp_path: Path
) -> None:
    async with visiting(store, tmp_path, campaign=hello(first=Send.TASK)) as (browser, _):
        check = await uploaded(browser)
        page = (await browser.get(f"{check}/emails")).text
        assert "is a task" in page and "Edit for this person" not in page
        answer = await browser.post(f"{check}/emails/2", data={"subject": "a", "text": "b"})
        assert answer.status_code == 409


async def test_an_archived_campaign_takes_nobody(store: Store, tmp_path: Path) -> None:
    async with visiting(store, tmp_path) as (browser, _):
        async with store.write() as tx:
            await campaigns.archive(tx, "hello", await store.now(tx))
        page = (await browser.get(await uploaded(browser))).text
        assert "is archived" in page and "Go on with" not in page


async def test_without_a_mailbox_password_nobody_is_enrolled(store: Store, tmp_path: Path) -> None:
    async with visiting(store, tmp_path) as (browser, site):
        rep = next(iter(site.reps))
        mailbox = replace(rep.mailbox, password_env="DRUMBEAT_NO_SUCH")
        site.reps._by_id[site.reps.id_of(rep)] = replace(rep, mailbox=mailbox)
        page = (await browser.get(await uploaded(browser))).text
        assert "DRUMBEAT_NO_SUCH" in page and "Go on with" not in page


async def until_over(browser: AsyncClient, check: str) -> str:
    """The page of the last screen once the run is over."""
    async with asyncio.timeout(60):
        while True:
            page = (await browser.get(f"{check}/start")).text
            if 'id="progress"' not in page:
                return page
            await asyncio.sleep(0)


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


async def own_campaign(store: Store) -> str:
    """A campaign of this test alone, as all tests share one Temporal; where people come into it."""
    campaign = await keep(store, hello(slug=f"hello-{secrets.token_hex(4)}"))
    return f"/campaigns/{campaign.slug}/enroll"


async def sent(mailer: MemoryMailer, number: int) -> dict[str, str]:
    """Recipient -> subject, once so many emails have been taken."""
    async with asyncio.timeout(60):
        while len(mailer.received) < number:  # noqa: ASYNC110 (a mailer tells of nothing)
            await asyncio.sleep(0)
    found = {}
    for one in mailer.received:
        message = message_from_bytes(one.content, policy=default)
        found[one.recipients[0]] = str(message["Subject"])
    return found


def set_part(site: Site, name: str, value: object) -> None:
    """Change a part of a site, which is frozen."""
    object.__setattr__(site, name, value)


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


async def test_what_the_rep_lacks_is_not_filled_in_as_a_persons_data(
    sqlite_store: Store, tmp_path: Path
) -> None:
    needs = hello(needs="my_phone")
    async with visiting(sqlite_store, tmp_path, campaign=needs) as (browser, _):
        check = await uploaded(browser)
        page = (await browser.get(check)).text
        assert '<span class="tok">my_phone</span>' in page
        assert 'name="lanes"' in page and 'name="my_phone"' not in page
        typed = {"lanes": "four", "my_phone": ""}
        assert (await browser.post(f"{check}/fill", data=typed)).status_code == 303
        assert 'value="four"' in (await browser.get(check)).text
