"""People in a real browser: found, held, ended and mended by keyboard; on a phone; any name."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect
from sqlalchemy import update
from temporalio.client import Client

from drumbeat.actions.delivery import Delivery
from drumbeat.store.engine import Store
from drumbeat.store.schema import people
from tests.histories import paths
from tests.office import Enrolled
from tests.web.at_work import AtWork, at_work
from tests.web.browser.desk import DESK, PHONE, chromium, faults, fits, looking, served
from tests.web.rows import enrolled
from tests.web.site import make_site
from tests.web.test_people import person_of

pytestmark = [pytest.mark.slow]

ODD_NAMES = ("<script>window.wasRun = true</script>", "A" * 200, "יעל בן־דרור")
HOSTILE = (
    "<p>Dear {{ first_name }}.</p><script>parent.wasRun = true; window.wasRun = true</script>"
    '<img src="x" onerror="parent.wasRun = true"><p onclick="parent.wasRun = true">Click.</p>'
)


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


async def blocked(work: AtWork, slug: str) -> Enrolled:
    """Ada, whose email waits for her industry."""
    one = paths.campaign(slug, (1, paths.email("For {{ industry }}", "choose")))
    ada = await work.office.enroll(one, send_at="now", fields=paths.FIELDS)
    await work.office.until(ada, lambda shown: shown.state == "blocked")
    return ada


async def title(page: Page, text: str) -> None:
    await expect(page.get_by_role("heading", level=1)).to_have_text(text)


async def test_a_person_is_found_held_released_and_ended_by_keyboard_alone(
    browser: Browser, sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        ada = await blocked(work, "keys-hold")
        async with served(work.site) as base, looking(browser) as page:
            await page.goto(f"{base}/tasks")
            await page.keyboard.press("/")
            await page.keyboard.type("lovelace")
            await page.keyboard.press("Enter")
            await title(page, "People")
            await page.keyboard.press("j")
            await page.keyboard.press("Enter")
            await title(page, "Ada Lovelace")
            await page.keyboard.press("h")
            dialog = page.get_by_role("dialog", name="Hold Ada Lovelace?")
            await expect(dialog).to_be_visible()
            await page.keyboard.press("Escape")
            await expect(dialog).to_be_hidden()
            await page.keyboard.press("h")
            await dialog.get_by_label("Why").focus()
            await page.keyboard.type("On leave.")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("status")).to_contain_text("Held")
            await expect(page.locator(".why")).to_contain_text("Grace Hopper: On leave.")
            await page.keyboard.press("h")
            await expect(page.get_by_role("status")).to_contain_text("Released")
            await page.keyboard.press("e")
            dialog = page.get_by_role("dialog", name="End the campaign for Ada Lovelace?")
            await dialog.get_by_label("Why").focus()
            await page.keyboard.type("Met in person.")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("status")).to_contain_text("Ended")
            await deliver(work)
            await ada.handle.result()
            await page.reload()
            await expect(page.locator(".why")).to_contain_text("Ended: ")
            await expect(page.get_by_role("button", name="Hold")).to_have_count(0)


async def test_what_an_email_waits_for_is_mended_and_tried_again_by_keyboard_alone(
    browser: Browser, sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        ada = await blocked(work, "keys-mend")
        async with served(work.site) as base, looking(browser) as page:
            await page.goto(f"{base}/people/{ada.person_id}")
            await expect(page.locator(".why")).to_contain_text("industry has no value")
            await page.get_by_role("button", name="Edit").press("Enter")
            dialog = page.get_by_role("dialog", name="Data of Ada Lovelace")
            await dialog.get_by_label("Industry").focus()
            await page.keyboard.type("Computing")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("status")).to_contain_text("Saved")
            await page.keyboard.press("r")
            await expect(page.get_by_role("status")).to_contain_text("It is tried again")
            await ada.handle.result()
            await page.reload()
            letter = page.frame_locator("iframe").locator("body")
            await expect(letter).to_contain_text("Dear reader.")
            await page.keyboard.press("t")
            await title(page, "Add a task")
            await expect(page.get_by_label("Person")).to_have_value("ada@example.org")


async def test_a_refusal_is_told_on_the_page(
    browser: Browser, sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        ada = await blocked(work, "refused")
        async with served(work.site) as base, looking(browser) as page:
            await page.goto(f"{base}/people/{ada.person_id}")
            await work.office.mend(ada, industry="Computing")
            await page.keyboard.press("r")
            await ada.handle.result()
            await page.goto(f"{base}/people/{ada.person_id}")
            await page.get_by_role("button", name="Edit").click()
            dialog = page.get_by_role("dialog", name="Data of Ada Lovelace")
            await dialog.get_by_label("LinkedIn").fill("no address of LinkedIn")
            await dialog.get_by_role("button", name="Save").click()
            await expect(page.get_by_role("heading", level=1)).to_have_text("Ada Lovelace")


async def test_brackets_lead_to_the_campaign_before_and_after(
    browser: Browser, sqlite_store: Store
) -> None:
    site = await make_site(sqlite_store)
    for slug in ("first", "second", "third"):
        one = await enrolled(sqlite_store, campaign=slug)
    person = await person_of(sqlite_store, one)
    async with served(site) as base, looking(browser) as page:
        await page.goto(f"{base}/people/{person}")
        tabs = await page.locator(".tabs .tab").count()
        assert tabs == 3
        for key, place in (("]", 1), ("]", 2), ("]", 2), ("[", 1), ("[", 0), ("[", 0)):
            await page.keyboard.press(key)
            await expect(page.locator(".tabs .tab").nth(place)).to_have_attribute(
                "aria-current", "page"
            )


async def test_the_sheet_tells_all_keys_and_g_leads_everywhere(
    browser: Browser, sqlite_store: Store
) -> None:
    site = await make_site(sqlite_store)
    async with served(site) as base, looking(browser) as page:
        await page.goto(f"{base}/people")
        await page.keyboard.press("?")
        sheet = page.get_by_role("dialog")
        await expect(sheet).to_be_visible()
        await expect(sheet).to_contain_text("J")
        await page.keyboard.press("Escape")
        await expect(sheet).to_be_hidden()
        for key, name in (
            ("e", "Emails"),
            ("p", "People"),
            ("c", "Campaigns"),
            ("f", "Live feed"),
            ("t", "Tasks"),
        ):
            await page.keyboard.press("g")
            await page.keyboard.press(key)
            await title(page, name)


async def test_a_hostile_template_runs_nothing_in_the_letter(
    browser: Browser, sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        step = paths.email(paths.SUBJECT, "choose", body=HOSTILE)
        ada = await work.office.enroll(paths.campaign("hostile", (1, step)), send_at="now")
        await ada.handle.result()
        async with served(work.site) as base:
            context = await browser.new_context()  # its console tells of what was not loaded
            page = await context.new_page()
            await page.goto(f"{base}/people/{ada.person_id}")
            body = page.frame_locator("iframe").locator("body")
            await expect(body).to_contain_text("Dear Ada.")
            await body.get_by_text("Click.").click()
            assert await page.evaluate("window.wasRun") is None
            await page.get_by_role("link", name="Open", exact=True).click()
            await expect(page.locator("body")).to_contain_text("Dear Ada.")
            assert await page.evaluate("window.wasRun") is None
            await context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
async def test_the_pages_fit_with_any_name_and_can_be_used_by_everybody(
    browser: Browser,
    sqlite_store: Store,
    temporal_client: Client,
    scheme: str,
    viewport: dict[str, int],
) -> None:
    given = {"viewport": viewport, "color_scheme": scheme, "bypass_csp": True}
    async with at_work(sqlite_store, temporal_client) as work:
        letter = paths.email(paths.SUBJECT, "choose")
        one = paths.campaign(f"fits-{scheme}-{viewport['width']}", (1, letter), (1, paths.CALL))
        ada = await work.office.enroll(one, send_at="now")
        await work.office.until_task(ada, 2)
        ids = [ada.person_id]
        for number, name in enumerate(ODD_NAMES):
            address = f"odd{number}@example.org"
            odd = await enrolled(work.site.store, address)
            fields = {"first_name": name, "company": name, "title": name, "industry": name}
            async with work.site.store.write() as tx:
                chosen = update(people).where(people.c.email == address)
                await tx.execute(chosen.values(fields=fields))
            ids.append(await person_of(work.site.store, odd))
        async with served(work.site) as base, looking(browser, **given) as page:
            await page.goto(f"{base}/people")
            await expect(page.locator(".person-row")).to_have_count(4)
            await fits(page)
            assert await faults(page) == []
            for person in ids:
                await page.goto(f"{base}/people/{person}")
                await fits(page)
                assert await faults(page) == []
                for name in ("Hold", "End…", "Edit"):
                    await page.get_by_role("button", name=name).first.click()
                    await expect(page.get_by_role("dialog")).to_be_visible()
                    await fits(page)
                    assert await faults(page) == []
                    await page.keyboard.press("Escape")
                assert await page.evaluate("window.wasRun") is None


async def deliver(work: AtWork) -> None:
    """What the worker's delivery does, once."""
    delivery = Delivery(work.site.store, work.office.client, work.office.task_queue)
    await delivery.drain()
