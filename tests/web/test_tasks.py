"""The Tasks page: its list on both databases, and its actions with real workflows."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import select
from temporalio.client import Client

from drumbeat.actions import tasks as actions
from drumbeat.campaign.model import TaskStep
from drumbeat.store.engine import Store
from drumbeat.store.lists import tasks as lists
from drumbeat.store.schema import enrollments, tasks, texts, users
from drumbeat.store.users import Role
from drumbeat.temporal.client import TemporalUnreachable
from tests.actions.desks import ALAN, CALL, GRACE, alan, campaign, desk_of, task_id
from tests.office import Enrolled, Office, grace
from tests.web.at_work import AtWork, at_work, counted, queued
from tests.web.site import make_site, signed_in

HTMX = {"HX-Request": "true"}


def names(page: Response) -> list[str]:
    """Who stands in the list, in order."""
    found = re.findall(r'<span class="r-who"><b class="clip"><bdi>(.*?)</bdi>', page.text)
    return [unescape(name) for name in found]


def groups(page: Response) -> list[tuple[str, int]]:
    found = re.findall(r'<h2 class="group[^>]*>(.*?) <span class="n">(\d+)</span>', page.text)
    return [(name, int(n)) for name, n in found]


def tab_counts(page: Response) -> list[int]:
    return [int(n) for n in re.findall(r'class="tab".*?<span class="n">(\d+)</span>', page.text)]


# The list


async def test_the_queue_shows_answers_then_overdue_today_and_the_next_days(store: Store) -> None:
    site = await make_site(store)
    await queued(site, 1, fields={"first_name": "Later"}, due=9)
    await queued(site, 2, fields={"first_name": "Soon"}, due=3)
    await queued(site, 3, fields={"first_name": "Normal"})
    await queued(site, 4, fields={"first_name": "High"}, priority="high")
    await queued(site, 5, fields={"first_name": "Late"}, due=-2)
    reply: dict[str, Any] = {"kind": "reply", "step": None, "id": "t0123456789ab"}
    await queued(site, 6, fields={"first_name": "Answer"}, due=3, **reply)
    async with await signed_in(site) as client:
        page = await client.get("/tasks")
    assert names(page) == ["Answer", "Late", "High", "Normal", "Soon", "Later"]
    assert groups(page) == [
        ("To answer", 1),
        ("Overdue", 1),
        ("Today", 2),
        ("Next 7 days", 1),
        ("Later", 1),
    ]
    assert tab_counts(page) == [6, 0]


async def test_a_page_of_fifty_tasks_is_not_long(sqlite_store: Store) -> None:
    site = await make_site(sqlite_store)
    for number in range(60):
        await queued(site, number)
    async with await signed_in(site) as client:
        page = await client.get("/tasks")
        addresses = re.findall(r'(?:src|href)="(/static/[^"]+(?:js|css)[^"]*)"', page.text)
        sizes = [len((await client.get(address)).content) for address in addresses]
    assert (len(names(page)), len(sizes)) == (50, 5)
    assert len(page.content) + sum(sizes) < 200_000


async def test_figures_add_up_whatever_is_filtered(store: Store) -> None:
    site = await make_site(store)
    for number in range(3):
        await queued(site, number)
    await queued(site, 3, kind="custom")
    await queued(site, 4, kind="email", status="scheduled", send_at=datetime.now(UTC))
    async with await signed_in(site) as client:
        page = await client.get("/tasks?kind=call")
        assert (tab_counts(page), groups(page), len(names(page))) == ([4, 1], [("Today", 3)], 3)
        scheduled = await client.get("/tasks?view=scheduled")
    assert len(names(scheduled)) == 1


async def test_hundreds_of_tasks_are_paged_by_key_and_each_shown_once(store: Store) -> None:
    site = await make_site(store)
    for number in range(120):
        await queued(site, number, due=number % 5 - 2, priority=("normal", "high")[number % 2])
    seen: list[str] = []
    async with await signed_in(site) as client:
        address: str | None = "/tasks"
        while address is not None:
            page = await client.get(address)
            seen += names(page)
            more = re.search(r'<p class="more"><a class="btn" href="([^"]+)"', page.text)
            address = unescape(more[1]) if more else None
    assert len(seen) == len(set(seen)) == 120


async def test_done_tasks_stand_in_their_tab_newest_first_with_who_did_it(store: Store) -> None:
    site = await make_site(store)
    now = datetime.now(UTC)
    closed: dict[str, Any] = {
        "status": "completed",
        "closed_by": site.reps.id_of(grace()),
        "outcome": "Connected",
    }
    for number in range(60):
        at = now - timedelta(minutes=number)
        await queued(site, number, closed_at=at, **closed)
    async with await signed_in(site) as client:
        page = await client.get("/tasks?view=done")
        first, more = (
            names(page),
            re.search(r'<p class="more"><a class="btn" href="(.+?)"', page.text),
        )
        assert "Completed by Grace Hopper" in page.text
        assert more is not None
        rest = names(await client.get(unescape(more[1])))
    assert (first[0], first[-1], rest[0], rest[-1]) == (
        "Ada No0",
        "Ada No49",
        "Ada No50",
        "Ada No59",
    )


@pytest.mark.parametrize("q", ["ÉMILE dur", "kessem", "person1@", "introduce", "100%"])
async def test_a_search_finds_names_companies_addresses_and_subjects(
    sqlite_store: Store, q: str
) -> None:
    site = await make_site(sqlite_store)
    fields = {"first_name": "émile".upper(), "last_name": "Durand", "company": "Kessem 100%"}
    await queued(site, 1, fields=fields)
    await queued(site, 2, fields={"first_name": "Other"}, subject="Something else")
    async with await signed_in(site) as client:
        page = await client.get("/tasks", params={"q": q})
        assert names(page) == ["ÉMILE Durand"]
        assert "Clear the filters" in page.text
        page = await client.get("/tasks", params={"q": "nobody at all"})
    assert "No task matches" in page.text


@pytest.mark.parametrize("most", [500, 0])
async def test_everybodys_tasks_are_searched_however_many_people_are_found(
    store: Store, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(lists, "MOST_PEOPLE", most)
    site = await make_site(store, grace(), alan())
    await queued(site, 1, fields={"first_name": "Ada", "company": "Kessem Labs"})
    await queued(site, 2, fields={"first_name": "Émile", "company": "Kessem"}, rep=ALAN)
    await queued(site, 3, fields={"first_name": "Other"}, rep=ALAN)
    async with await signed_in(site, role=Role.MANAGER) as client:
        page = await client.get("/tasks?rep=all", params={"rep": "all", "q": "kessem"})
        assert (sorted(names(page)), tab_counts(page)) == (["Ada", "Émile"], [2, 0])
        page = await client.get("/tasks", params={"rep": "all", "q": "Émile kess"})
        assert names(page) == ["Émile"]
        page = await client.get("/tasks", params={"rep": "all", "q": "introduce"})
    assert len(names(page)) == 3


async def test_every_filter_is_in_the_address_and_survives_opening_a_task(store: Store) -> None:
    site = await make_site(store)
    wanted = await queued(site, 1, priority="high")
    await queued(site, 2)
    async with await signed_in(site) as client:
        page = await client.get("/tasks?campaign=intro-q4&priority=high&kind=call")
        assert names(page) == ["Ada No1"]
        assert "Filters hide the other tasks" in page.text
        address = f"/tasks?kind=call&amp;campaign=intro-q4&amp;priority=high&amp;task={wanted}"
        assert f'data-address="{address}"' in page.text
        form = await client.get("/tasks/filter?campaign=intro-q4&priority=high")
    assert '<option value="high" selected>' in form.text


async def test_a_rep_sees_their_own_tasks_and_a_manager_everybodys(store: Store) -> None:
    site = await make_site(store, grace(), alan())
    await queued(site, 1)
    await queued(site, 2, rep=ALAN)
    async with await signed_in(site) as client:
        assert names(await client.get("/tasks?rep=all")) == ["Ada No1"]
    async with await signed_in(site, role=Role.MANAGER) as client:
        assert names(await client.get("/tasks")) == ["Ada No1"]
        page = await client.get("/tasks?rep=all")
        assert sorted(names(page)) == ["Ada No1", "Ada No2"]
        assert "for Alan Turing" in page.text
        alans = await client.get(f"/tasks?rep={site.reps.id_of(alan())}")
    assert names(alans) == ["Ada No2"]


async def test_somebody_elses_task_does_not_exist(sqlite_store: Store) -> None:
    site = await make_site(sqlite_store, grace(), alan())
    foreign = await queued(site, 1, rep=ALAN)
    async with await signed_in(site) as client:
        for path in ("pane", "skip", "snooze", "reassign", "edit", "complete", "compose"):
            assert (await client.get(f"/tasks/{foreign}/{path}")).status_code == 404
        for path in ("complete", "skip", "snooze", "reassign", "edit", "send", "draft", "keep"):
            assert (await client.post(f"/tasks/{foreign}/{path}")).status_code == 404
        assert (await client.get(f"/tasks?task={foreign}")).status_code == 404
        given = {"do": "skip", "id": foreign}
        answer = await client.post("/tasks/bulk", data=given)
        undo = await client.post("/tasks/undo", data={"snoozed": f"{foreign}:2026-11-24"})
    assert answer.status_code == 303
    assert undo.status_code == 404
    assert await status_of(site.store, foreign) == "open"


async def test_tasks_that_will_open_by_themselves_are_marked_as_forecast(store: Store) -> None:
    site = await make_site(store)
    await queued(site, 1)
    await queued(site, 2, sleeps_until=datetime.now(UTC) + timedelta(hours=20))
    await queued(site, 3, sleeps_until=datetime.now(UTC) + timedelta(days=30))
    async with await signed_in(site) as client:
        page = await client.get("/tasks")
        inmails = await client.get("/tasks?kind=inmail")
    assert names(page) == ["Ada No1", "Ada No2", "Ada No2"]
    assert page.text.count("<small>forecast</small>") == 2
    assert "and 2 forecast" in page.text
    assert names(inmails) == ["Ada No2"]


async def test_the_page_makes_ten_queries_at_most(store: Store) -> None:
    site = await make_site(store)
    for number in range(30):
        await queued(site, number)
    await queued(site, 31, sleeps_until=datetime.now(UTC) + timedelta(hours=20))
    async with await signed_in(site) as client:
        await client.get("/tasks")  # the campaign's version is read once for a process
        site.figures.clear()
        async with counted(store) as made:
            page = await client.get("/tasks")
    assert page.status_code == 200
    assert len(made) <= 10, "\n".join(made)
    assert len(page.content) < 200_000


async def test_what_people_are_called_is_shown_as_it_is(sqlite_store: Store) -> None:
    site = await make_site(sqlite_store)
    script = "<script>alert(1)</script>"
    await queued(site, 1, fields={"first_name": script, "phone": "+1 555 010 0199"}, notes=script)
    await queued(site, 2, fields={"first_name": "יעל", "last_name": "ב" * 200})
    async with await signed_in(site) as client:
        page = await client.get("/tasks")
    assert script not in page.text
    assert names(page) == [script, f"יעל {'ב' * 200}"]
    assert 'href="tel:+15550100199"' in page.text


async def test_a_call_without_a_number_says_so(sqlite_store: Store) -> None:
    site = await make_site(sqlite_store)
    await queued(site, 1)
    async with await signed_in(site) as client:
        page = await client.get("/tasks")
    assert "the person has no phone number" in page.text


async def test_an_empty_queue_says_what_is_done_and_offers_a_way_on(sqlite_store: Store) -> None:
    site = await make_site(sqlite_store)
    async with await signed_in(site) as client:
        page = await client.get("/tasks")
        for view, title in (("scheduled", "No email is scheduled"), ("done", "Nothing done yet")):
            assert title in (await client.get(f"/tasks?view={view}")).text
    assert "All done" in page.text
    assert 'href="/people"' in page.text


async def test_an_address_with_nonsense_shows_the_queue(sqlite_store: Store) -> None:
    site = await make_site(sqlite_store)
    await queued(site, 1)
    async with await signed_in(site) as client:
        page = await client.get("/tasks?view=x&kind=y&priority=z&rep=q&after=none")
    assert names(page) == ["Ada No1"]


async def test_keys_and_theme_are_settings_of_the_user(store: Store) -> None:
    site = await make_site(store)
    async with await signed_in(site) as client:
        assert "Single keys" in (await client.get("/settings")).text
        answer = await client.post("/settings", data={"theme": "dark"})
        assert answer.status_code == 303
        page = await client.get("/tasks")
        assert 'data-single-keys="off"' in page.text
        assert 'data-theme="dark"' in page.text
        await client.post("/settings", data={"theme": "purple", "single_keys": "on"})
    async with store.read() as tx:
        [row] = (await tx.execute(select(users))).all()
    assert (row.single_keys, row.theme) == (True, None)


# Working


async def status_of(store: Store, task: str) -> str:
    async with store.read() as tx:
        return str((await tx.execute(select(tasks.c.status).where(tasks.c.id == task))).scalar())


async def at_a_call(work: AtWork, *more: TaskStep, **settings: object) -> Enrolled:
    office: Office = work.office
    fields = {"first_name": "Ada", "phone": "+1 555 010 0199"}
    enrolled = await office.enroll(campaign(CALL, *more, **settings), fields=fields)
    await office.until_task(enrolled, 1)
    return enrolled


async def test_a_call_is_completed_without_a_script(store: Store, temporal_client: Client) -> None:
    async with at_work(store, temporal_client) as work:
        enrolled = await at_a_call(work, CALL, call_outcomes=["Connected", "No answer"])
        page = await work.grace.get("/tasks")
        assert 'value="No answer" data-key="2"' in page.text
        given = {"outcome": "No answer", "note": "Again on Friday."}
        answer = await work.grace.post(f"/tasks/{task_id(enrolled, 1)}/complete", data=given)
        assert (answer.status_code, answer.headers["location"][:6]) == (303, "/tasks")
        await work.office.until_task(enrolled, 2)
        row = await work.office.task(enrolled, 1)
        assert row is not None
        assert (row.status, row.outcome) == ("completed", "No answer")
        async with store.read() as tx:
            note = select(texts.c.text).where(texts.c.id == row.text_id)
            assert (await tx.execute(note)).scalar() == "Again on Friday."
        page = await work.grace.get("/tasks")
    assert "Call: <b>No answer</b>" in page.text


async def test_the_next_task_opens_by_itself(sqlite_store: Store, temporal_client: Client) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        first = await at_a_call(work)
        await queued(work.site, 1, fields={"first_name": "Before"}, due=-1)
        after = await queued(work.site, 2, fields={"first_name": "After"}, due=2)
        answer = await work.grace.post(f"/tasks/{task_id(first, 1)}/complete", headers=HTMX)
        assert answer.status_code == 200
        assert answer.headers["HX-Replace-Url"] == f"/tasks?task={after}"
        assert f'action="/tasks/{after}/complete"' in answer.text
        assert "Ada: task completed." in answer.text
        assert "/tasks/undo" not in answer.text  # its campaign has walked on
        assert names(answer) == ["Before", "After"]


async def test_of_two_reps_the_slower_one_is_told_who_did_it_and_loses_no_note(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_a_call(work)
        await actions.complete(desk_of(work.office, ALAN), task_id(enrolled, 1))
        path = f"/tasks/{task_id(enrolled, 1)}/complete"
        answer = await work.grace.post(path, data={"note": "Mine."}, headers=HTMX)
        assert answer.status_code == 409
        assert "completed by Alan Turing," in answer.text
        plain = await work.grace.post(path, data={"note": "Mine."})
        assert plain.status_code == 409
        assert "Completed by Alan Turing" in plain.text


async def test_a_task_is_skipped_with_a_reason_without_a_script(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_a_call(work)
        form = await work.grace.get(f"/tasks/{task_id(enrolled, 1)}/skip?kind=call")
        assert 'name="reason"' in form.text
        given = {"reason": "Met in person.", "at": "kind=call"}
        answer = await work.grace.post(f"/tasks/{task_id(enrolled, 1)}/skip", data=given)
        assert answer.headers["location"] == "/tasks?kind=call"
        assert await status_of(sqlite_store, task_id(enrolled, 1)) == "skipped"


async def test_snoozing_and_handing_over_can_be_undone(
    store: Store, temporal_client: Client
) -> None:
    async with at_work(store, temporal_client) as work:
        enrolled = await at_a_call(work)
        task = task_id(enrolled, 1)
        was = await work.office.task(enrolled, 1)
        assert was is not None
        to = (was.due + timedelta(days=3)).isoformat()
        answer = await work.grace.post(f"/tasks/{task}/snooze", data={"to": to}, headers=HTMX)
        assert f'name="snoozed" value="{task}:{was.due}"' in answer.text
        row = await work.office.task(enrolled, 1)
        assert row is not None
        assert row.due.isoformat() == to
        answer = await work.grace.post(f"/tasks/{task}/reassign", data={"rep": ALAN}, headers=HTMX)
        assert f'name="reassigned" value="{task}:{GRACE}"' in answer.text
        undo = {"snoozed": f"{task}:{was.due}", "reassigned": f"{task}:{GRACE}"}
        answer = await work.grace.post("/tasks/undo", data=undo, headers=HTMX)
        assert "Taken back." in answer.text
        row = await work.office.task(enrolled, 1)
        assert row is not None
        assert (row.due, row.rep_id) == (was.due, was.rep_id)


async def test_a_task_is_edited_and_a_slip_loses_nothing_that_was_typed(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_a_call(work)
        path = f"/tasks/{task_id(enrolled, 1)}/edit"
        given = {"subject": "Call again", "due": "soon", "priority": "high", "notes": ""}
        wrong = await work.grace.post(path, data=given, headers=HTMX)
        assert wrong.status_code == 409
        assert 'value="Call again"' in wrong.text
        given["due"] = "2031-01-31"
        assert (await work.grace.post(path, data=given, headers=HTMX)).status_code == 200
        row = await work.office.task(enrolled, 1)
        assert row is not None
        assert (row.subject, row.priority, row.notes) == ("Call again", "high", "")


async def test_a_bulk_action_tells_what_did_not_work(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        works = await at_a_call(work)
        # Rows alone: no workflow answers for this one.
        fails = await queued(work.site, 1, fields={"first_name": "Nobody"})
        given = {"do": "complete", "id": [task_id(works, 1), fails]}
        answer = await work.grace.post("/tasks/bulk", data=given, headers=HTMX)
        assert answer.status_code == 200
        assert "1 task completed. 1 task was left as it is:" in answer.text
        assert "<li>Nobody: Its workflow does not run" in answer.text
        assert await status_of(sqlite_store, task_id(works, 1)) == "completed"
        assert await status_of(sqlite_store, fails) == "open"


async def test_a_bulk_snooze_can_be_undone_as_a_whole(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        ids = []
        for number in (1, 2):
            person = f"person{number}@example.org"
            await queued(work.site, number)
            done = await actions.add(desk_of(work.office, GRACE), person, "Send the invoice")
            ids.append(done.task.id)
        given = {"do": "snooze", "to": "2031-01-31", "id": ids}
        answer = await work.grace.post("/tasks/bulk", data=given, headers=HTMX)
        undo = re.findall(r'name="snoozed" value="([^"]+)"', answer.text)
        assert [one.split(":")[0] for one in undo] == ids
        await work.grace.post("/tasks/undo", data={"snoozed": undo}, headers=HTMX)
        async with sqlite_store.read() as tx:
            found = await tx.execute(select(tasks.c.due).where(tasks.c.id.in_(ids)))
            assert max(found.scalars()).year < 2031


async def test_a_rep_adds_a_task_of_their_own(sqlite_store: Store) -> None:
    site = await make_site(sqlite_store, grace(), alan())
    await queued(site, 1)
    await queued(site, 2, rep=ALAN)
    given = {
        "person": "person1@example.org",
        "subject": "Send the invoice",
        "kind": "custom",
        "due": "2031-01-31",
        "priority": "high",
        "notes": "Without tax.",
    }
    async with await signed_in(site) as client:
        assert (await client.get("/tasks/new")).status_code == 200
        answer = await client.post("/tasks/new", data=given)
        assert answer.status_code == 303
        assert "Send the invoice" in (await client.get(answer.headers["location"])).text
        wrong = await client.post("/tasks/new", data=given | {"subject": " "})
        assert wrong.status_code == 409
        assert "Without tax." in wrong.text
        foreign = await client.post("/tasks/new", data=given | {"person": "person2@example.org"})
        unknown = await client.post("/tasks/new", data=given | {"person": "nobody@example.org"})
    assert (foreign.status_code, unknown.status_code) == (409, 409)
    assert "Nobody has the address person2@example.org" in foreign.text
    assert "Nobody has the address nobody@example.org" in unknown.text


async def test_without_the_workflow_server_nothing_changes_and_nothing_is_lost(
    sqlite_store: Store,
) -> None:
    async def down() -> Client:
        raise TemporalUnreachable("no Temporal server answers")

    site = await make_site(sqlite_store, connect=down)
    task = await queued(site, 1)
    async with await signed_in(site) as client:
        answer = await client.post(f"/tasks/{task}/complete", data={"note": "We talked."})
    assert answer.status_code == 409
    assert "The workflow server does not answer" in answer.text
    assert ">We talked.</textarea>" in answer.text
    async with sqlite_store.read() as tx:
        assert (await tx.execute(select(enrollments.c.step))).scalar() == 2
