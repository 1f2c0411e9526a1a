"""The Tasks page in a real browser: by keyboard, on a phone, without a script, by two reps."""

import pytest
from playwright.async_api import expect
from temporalio.client import Client

from drumbeat.actions import tasks as actions
from drumbeat.store.engine import Store
from tests.actions.desks import ALAN, CALL, campaign, desk_of, task_id
from tests.office import Enrolled
from tests.ports import free_port
from tests.web.at_work import AtWork, at_work, queued
from tests.web.browser.desk import PHONE, chromium, faults, fits, looking, served
from tests.web.site import make_site

pytestmark = [pytest.mark.slow]


async def at_a_call(work: AtWork, address: str = "ada@example.org", name: str = "Ada") -> Enrolled:
    fields = {"first_name": name, "phone": "+1 555 010 0199"}
    enrolled = await work.office.enroll(campaign(CALL, CALL), address, fields)
    await work.office.until_task(enrolled, 1)
    return enrolled


async def test_a_days_calls_are_worked_by_keyboard_alone(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        first = await at_a_call(work)
        await at_a_call(work, "bea@example.org", "Bea")
        async with served(work.site) as base, looking(browser) as page:
            await page.goto(f"{base}/tasks")
            heading = page.locator("#task h2 bdi")
            row = page.locator(f"#row-{task_id(first, 1)}")
            await expect(page.locator("#tasks-list .row")).to_have_count(2)
            while await row.get_attribute("aria-current") is None:
                await page.keyboard.press("j")
                await expect(page.locator("#tasks-list .row[data-at]")).to_have_attribute(
                    "aria-current", "true"
                )
            await expect(heading).to_have_text("Ada")
            await page.keyboard.press("2")
            await page.keyboard.press("c")
            await expect(page.locator(".toast")).to_contain_text("Ada: task completed.")
            await expect(heading).to_have_text("Bea")
            done = await work.office.task(first, 1)
            assert done is not None
            assert (done.status, done.outcome) == ("completed", "Left voicemail")
            await page.keyboard.press("z")
            await page.keyboard.press("3")
            await expect(page.locator(".toast")).to_contain_text("Bea: snoozed to")
            await page.keyboard.press("u")
            await expect(page.locator(".toast")).to_contain_text("Taken back.")
            await page.keyboard.press("s")
            await page.keyboard.type("Met in person.")
            await page.keyboard.press("Enter")
            await expect(page.locator(".toast")).to_contain_text("Bea: task skipped.")


async def test_several_are_selected_and_handed_over_by_keyboard(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        await at_a_call(work)
        await at_a_call(work, "bea@example.org", "Bea")
        async with served(work.site) as base, looking(browser) as page:
            await page.goto(f"{base}/tasks")
            await page.keyboard.press("x")
            await page.keyboard.press("j")
            await page.keyboard.press("x")
            await expect(page.locator("#bulk-bar")).to_contain_text("2 selected")
            await page.keyboard.press("a")
            await page.locator("#bulk-rep").select_option(ALAN)
            await page.keyboard.press("Control+Enter")
            await expect(page.locator(".toast")).to_contain_text("2 tasks handed over.")
            await expect(page.locator("#tasks-list .row")).to_have_count(0)
            await page.keyboard.press("u")
            await expect(page.locator("#tasks-list .row")).to_have_count(2)


async def test_of_two_reps_the_slower_one_is_told_on_the_page(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        enrolled = await at_a_call(work)
        async with served(work.site) as base, looking(browser) as page:
            await page.goto(f"{base}/tasks")
            await actions.complete(desk_of(work.office, ALAN), task_id(enrolled, 1))
            await page.keyboard.press("c")
            await expect(page.locator(".toast.bad")).to_contain_text("completed by Alan Turing")


async def test_completing_and_skipping_need_no_script(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        first = await at_a_call(work)
        async with (
            served(work.site) as base,
            looking(browser, java_script_enabled=False, viewport=PHONE) as page,
        ):
            await page.goto(f"{base}/tasks")
            await page.get_by_role("link", name="Ada").first.click()
            await page.get_by_label("Connected").check()
            await page.get_by_label("Note", exact=True).fill("Talked.")
            await page.get_by_role("button", name="Complete, next").click()
            await work.office.until_task(first, 2)
            await page.goto(f"{base}/tasks?task={task_id(first, 2)}")
            await page.get_by_role("link", name="Skip", exact=True).click()
            await page.get_by_label("Why").fill("Enough.")
            await page.get_by_role("button", name="Skip").click()
            await expect(page.get_by_role("heading", name="All done")).to_be_visible()
            await fits(page)
        for step, status in ((1, "completed"), (2, "skipped")):
            row = await work.office.task(first, step)
            assert row is not None
            assert row.status == status


async def test_a_page_that_was_open_while_the_server_restarted_still_works(
    sqlite_store: Store, temporal_client: Client
) -> None:
    port = free_port()
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        enrolled = await at_a_call(work)
        async with looking(browser) as page:
            async with served(work.site, port=port) as base:
                await page.goto(f"{base}/tasks")
            await page.get_by_label("Note", exact=True).fill("We talked.")
            await page.get_by_role("button", name="Complete, next").click()
            await expect(page.locator(".toast.bad")).to_contain_text("does not answer")
            await expect(page.get_by_label("Note", exact=True)).to_have_value("We talked.")
            async with served(work.site, port=port):
                await page.get_by_role("heading", name="Tasks").click()
                await page.keyboard.press("c")
                await expect(page.locator(".toast")).to_contain_text("task completed")
        row = await work.office.task(enrolled, 1)
        assert row is not None
        assert row.status == "completed"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_serious_fault(sqlite_store: Store, scheme: str) -> None:
    site = await make_site(sqlite_store)
    await queued(site, 1, fields={"first_name": "Ada", "phone": "+1 555 010 0199"}, due=-2)
    await queued(site, 2, priority="high")
    async with served(site) as base, chromium() as browser:
        for viewport in (PHONE, {"width": 1280, "height": 800}):
            given = {"viewport": viewport, "color_scheme": scheme, "bypass_csp": True}
            async with looking(browser, **given) as page:
                await page.goto(f"{base}/tasks")
                await expect(page.locator("#tasks-list .row")).to_have_count(2)
                assert await faults(page) == []
                await page.get_by_text("Ada", exact=True).first.click()
                await page.keyboard.press("s")
                await expect(page.locator("#task-skip")).to_be_visible()
                assert await faults(page) == []
                await page.goto(f"{base}/settings")
                assert await faults(page) == []


async def test_five_hundred_tasks_and_any_name_fit_a_phone_and_run_nothing(
    sqlite_store: Store,
) -> None:
    site = await make_site(sqlite_store)
    script = "<script>window.wasRun = true</script>"
    for number in range(497):
        await queued(site, number)
    for number, name in enumerate((script, "A" * 200, "יעל בן־דרור"), 500):
        await queued(site, number, fields={"first_name": name, "company": name}, priority="high")
    async with (
        served(site) as base,
        chromium() as browser,
        looking(browser, viewport=PHONE) as page,
    ):
        await page.goto(f"{base}/tasks")
        await expect(page.locator("#tasks-list .row")).to_have_count(50)
        await expect(page.locator(".tab .n").first).to_have_text("500")
        await fits(page)
        await page.get_by_text("A" * 200).first.click()
        await expect(page.locator("#task h2 bdi")).to_be_visible()
        await fits(page)
        await page.go_back()
        await expect(page.locator("#task h2 bdi")).to_be_hidden()
        await page.get_by_text("A" * 200).first.click()
        await page.get_by_label("Back").click()
        await page.get_by_role("button", name="Select").click()
        await page.locator("#tasks-list .row input").first.check()
        await expect(page.locator("#bulk-bar")).to_contain_text("1 selected")
        assert await page.evaluate("window.wasRun") is None


async def test_a_list_that_stays_open_says_that_it_has_changed(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        await at_a_call(work)
        async with served(work.site) as base, looking(browser) as page:
            await page.goto(f"{base}/tasks")
            changed = page.get_by_text("The list has changed")
            rows = page.locator("#tasks-list .row")
            await expect(rows).to_have_count(1)
            await expect(changed).to_be_hidden()
            await at_a_call(work, "bea@example.org", "Bea")
            await expect(changed).to_be_visible(timeout=20_000)
            await expect(rows).to_have_count(1)
            await page.keyboard.press(".")
            await expect(rows).to_have_count(2)
            await expect(changed).to_be_hidden()
