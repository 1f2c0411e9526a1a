"""Enrolling in four screens: upload, check, first email and times, start."""

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from drumbeat.campaign.model import Send
from drumbeat.store import campaigns
from drumbeat.store.engine import Store
from drumbeat.store.schema import people
from drumbeat.store.users import Role
from drumbeat.web.enroll_desk import EnrollDesk, Job
from drumbeat.web.guarding import LARGEST_UPLOAD
from tests.web.enrolling import ALAN, HERE, PEOPLE, hello, upload, uploaded, visiting
from tests.web.rows import all_rows
from tests.web.site import signed_in


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
