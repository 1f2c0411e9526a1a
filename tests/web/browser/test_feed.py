"""The Live Feed in a real browser: what happens comes by itself, once, and without a gap."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect
from sqlalchemy import update

from drumbeat.actions import signing
from drumbeat.campaign.record import What
from drumbeat.store.engine import Store
from drumbeat.store.schema import events, people
from drumbeat.web.site import Site
from tests.ports import free_port
from tests.web.browser.desk import DESK, PHONE, chromium, faults, fits, looking, served
from tests.web.rows import AT, enrolled
from tests.web.site import make_site
from tests.web.test_feed import happen

pytestmark = [pytest.mark.slow]

PASSWORD = "correct horse battery"
SOON = 3_000  # milliseconds
ODD_NAMES = ("<script>window.wasRun = true</script>", "A" * 200, "יעל בן־דרור")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


async def opened(page: Page, base: str, path: str = "/feed") -> None:
    """The feed, once it listens."""
    async with page.expect_response(lambda answer: "/feed/events" in answer.url):
        await page.goto(f"{base}{path}")
    await expect(page.locator("#lost")).to_be_hidden()


async def with_odd_names(site: Site) -> list[str]:
    ids = []
    for number, name in enumerate(ODD_NAMES):
        ids.append(await enrolled(site.store, f"odd{number}@example.org"))
        async with site.store.write() as tx:
            chosen = update(people).where(people.c.email == f"odd{number}@example.org")
            await tx.execute(chosen.values(fields={"first_name": name, "company": name}))
    return ids


async def test_an_event_is_on_the_page_soon_after_it_happened(
    browser: Browser, sqlite_store: Store
) -> None:
    site = await make_site(sqlite_store)
    one = await enrolled(sqlite_store)
    async with served(site) as base, looking(browser) as page:
        await opened(page, base)
        await expect(page.get_by_role("heading", name="Nothing has happened")).to_be_visible()
        await happen(sqlite_store, one, "1", what=What.REPLIED)
        row = page.locator("#events .feed-row")
        await expect(row).to_contain_text("replied", timeout=SOON)
        await expect(page.get_by_role("heading", name="Nothing has happened")).to_be_hidden()
        await expect(page.get_by_role("heading", name="Today")).to_be_visible()
        time = await row.locator("time").text_content()
        await expect(page.locator("#live")).to_have_text(f"Live, last event {time}")
        await happen(sqlite_store, one, "2", what=What.ENDED)
        await expect(row).to_have_count(2, timeout=SOON)
        await expect(row.first).to_contain_text("ended")


async def test_new_events_stand_above_the_days_before(
    browser: Browser, sqlite_store: Store
) -> None:
    site = await make_site(sqlite_store)
    one = await enrolled(sqlite_store)
    await happen(sqlite_store, one, "1")
    async with sqlite_store.write() as tx:
        await tx.execute(update(events).values(at=AT))
    async with served(site) as base, looking(browser) as page:
        await opened(page, base)
        await expect(page.get_by_role("heading", name="Today")).to_be_hidden()
        await happen(sqlite_store, one, "2", what=What.REPLIED)
        await expect(page.locator(".feed-row")).to_have_count(2, timeout=SOON)
        await expect(page.locator(".feed-row").first).to_contain_text("replied")
        await expect(page.get_by_role("heading", name="Today")).to_be_visible()


async def test_the_feed_is_worked_by_keyboard_alone(browser: Browser, sqlite_store: Store) -> None:
    site = await make_site(sqlite_store)
    one = await enrolled(sqlite_store)
    await happen(sqlite_store, one, "1")
    async with served(site) as base, looking(browser) as page:
        await opened(page, base)
        await page.keyboard.press("p")
        await expect(page.get_by_role("button", name="Go on")).to_be_visible()
        await happen(sqlite_store, one, "2", "3")
        await expect(page.locator("#newer")).to_contain_text("2 new", timeout=SOON)
        await expect(page.locator(".feed-row")).to_have_count(1)
        await page.keyboard.press("p")
        await expect(page.locator(".feed-row")).to_have_count(3)
        await expect(page.locator("#newer")).to_be_hidden()
        await page.keyboard.press("2")
        await expect(page.get_by_text("Nothing is due today or tomorrow")).to_be_visible()
        await page.keyboard.press("1")
        await expect(page.locator(".feed-row")).to_have_count(3)
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="ada@example.org")).to_be_visible()


async def test_who_reads_further_down_is_not_disturbed_and_goes_to_the_newest_with_a_key(
    browser: Browser, sqlite_store: Store
) -> None:
    site = await make_site(sqlite_store)
    one = await enrolled(sqlite_store)
    await happen(sqlite_store, one, *(f"old {n}" for n in range(49)))
    async with served(site) as base, looking(browser) as page:
        await opened(page, base)
        rows = page.locator(".feed-row")
        await rows.last.scroll_into_view_if_needed()
        await happen(sqlite_store, one, "new", what=What.REPLIED)
        await expect(page.locator("#newer")).to_contain_text("1 new", timeout=SOON)
        await expect(rows).to_have_count(49)
        await page.keyboard.press(".")
        await expect(rows).to_have_count(50)
        await expect(rows.first).to_contain_text("replied")
        await expect(rows.first).to_be_in_viewport()


async def test_a_restarted_server_leaves_no_gap_and_shows_nothing_twice(
    browser: Browser, sqlite_store: Store
) -> None:
    site = await make_site(sqlite_store)
    one = await enrolled(sqlite_store)
    await happen(sqlite_store, one, "before")
    port = free_port()
    context = await browser.new_context(viewport=DESK)  # its console tells of the lost connection
    page = await context.new_page()
    async with served(site, port=port) as base:
        await opened(page, base)
        await happen(sqlite_store, one, "live")
        await expect(page.locator(".feed-row")).to_have_count(2, timeout=SOON)
    await expect(page.locator("#lost")).to_be_visible()
    await happen(sqlite_store, one, *(f"away {n}" for n in range(5)))
    async with served(site, port=port):
        await expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
        await happen(sqlite_store, one, "back")
        await expect(page.locator(".feed-row")).to_have_count(8, timeout=SOON)
        ids = await page.locator(".feed-row").evaluate_all("rows => rows.map(r => +r.dataset.id)")
        assert ids == list(range(8, 0, -1))
    await context.close()


async def test_an_answer_that_is_no_stream_is_asked_for_again(
    browser: Browser, sqlite_store: Store
) -> None:
    site = await make_site(sqlite_store)
    one = await enrolled(sqlite_store)
    context = await browser.new_context(viewport=DESK)
    page = await context.new_page()
    asked: list[str] = []

    async def answer(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            await route.fulfill(status=502, body="The server is starting.")
        else:
            await route.continue_()

    await page.route("**/feed/events**", answer)
    async with served(site) as base:
        await page.goto(f"{base}/feed")
        await expect(page.locator("#lost")).to_be_visible()
        await happen(sqlite_store, one, "meanwhile")
        await expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
        await expect(page.locator(".feed-row")).to_have_count(1, timeout=SOON)
        await context.close()


async def test_more_than_a_stream_gives_at_once_comes_all_the_same(
    browser: Browser, sqlite_store: Store
) -> None:
    site = await make_site(sqlite_store)
    one = await enrolled(sqlite_store)
    await happen(sqlite_store, one, *(f"many {n}" for n in range(620)))
    async with served(site) as base, looking(browser) as page:
        await page.goto(f"{base}/tasks")
        told = await page.evaluate(
            """() => new Promise((done) => {
              const ids = new Set();
              const source = new EventSource("/feed/events?after=0");
              source.onmessage = (event) => {
                ids.add(event.lastEventId);
                if (event.lastEventId === "620") { source.close(); done(ids.size); }
              };
            })"""
        )
        assert told == 620


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
async def test_the_feed_fits_with_any_name_and_can_be_used_by_everybody(
    browser: Browser, sqlite_store: Store, scheme: str, viewport: dict[str, int]
) -> None:
    site = await make_site(sqlite_store)
    kinds = list(What)
    for one in await with_odd_names(site):
        for what in kinds[:12]:
            await happen(sqlite_store, one, what, what=what)
    given = {"viewport": viewport, "color_scheme": scheme, "bypass_csp": True}
    async with served(site) as base, looking(browser, **given) as page:
        await opened(page, base)
        for what in kinds[12:]:
            await happen(sqlite_store, one, what, what=what)
        shown = 3 * 12 + len(kinds) - 12 - 1  # wrong messages are not shown
        await expect(page.locator(".feed-row")).to_have_count(shown, timeout=SOON)
        await fits(page)
        assert await faults(page) == []
        assert await page.evaluate("window.wasRun") is None
        await page.goto(f"{base}/feed?tab=tasks")
        await fits(page)
        assert await faults(page) == []
        await page.goto(f"{base}/feed?group=replies")
        assert await faults(page) == []


async def test_signing_in_needs_no_script(browser: Browser, sqlite_store: Store) -> None:
    site = await make_site(sqlite_store)
    async with served(site) as base:
        # Its console tells of the refusal.
        context = await browser.new_context(java_script_enabled=False, viewport=PHONE)
        page = await context.new_page()
        await signing.set_password(sqlite_store, "grace@example.com", PASSWORD, None)
        # By another name than this machine's own, nobody is signed in without a password.
        base = base.replace("127.0.0.1", "desk.localhost")
        await page.goto(f"{base}/feed?group=replies")
        await expect(page).to_have_title("Sign in")
        await page.get_by_label("Address").fill("grace@example.com")
        await page.get_by_label("Password").fill("not it")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await expect(page.get_by_label("Address")).to_have_value("grace@example.com")
        await fits(page)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_url(f"{base}/feed?group=replies")
        await page.get_by_label("Settings").click()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page).to_have_title("Sign in")
        await context.close()
