"""Campaigns in a real browser: by keyboard, on a phone, with odd names, for everybody."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect
from sqlalchemy import update

from drumbeat.actions import signing
from drumbeat.store import campaigns
from drumbeat.store.engine import Store
from drumbeat.store.schema import messages
from drumbeat.store.users import Role
from drumbeat.web.site import Site
from tests.web.browser.desk import DESK, PHONE, chromium, faults, fits, looking, served
from tests.web.rows import enrolled
from tests.web.site import make_site
from tests.web.test_campaigns import FAULTY, stored

pytestmark = [pytest.mark.slow]

LONG = "Nebuchadnezzar " * 13
HEBREW = "קמפיין הסתיו"


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


@pytest.fixture
async def site(sqlite_store: Store) -> Site:
    """Three campaigns with odd names, in one of which two people run and one has ended."""
    await stored(sqlite_store)
    await stored(sqlite_store, slug="long", name=LONG, category="<script>alert(1)</script>")
    await stored(sqlite_store, slug="hebrew", name=HEBREW)
    await enrolled(sqlite_store, sent=1)
    await enrolled(sqlite_store, "b@example.org")
    await enrolled(sqlite_store, "c@example.org", outcome="success")
    made = await make_site(sqlite_store)
    await signing.add_user(sqlite_store, "grace@example.com", "Grace Hopper", Role.MANAGER, None)
    return made


async def test_a_manager_holds_and_releases_a_campaign_by_keyboard(
    browser: Browser, site: Site
) -> None:
    async with served(site) as base, looking(browser, base_url=base) as page:
        await page.goto("/campaigns?q=intro")
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Q4 introduction")
        await page.keyboard.press("h")
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("It holds 2 people who run now")
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await page.keyboard.press("h")
        await dialog.get_by_label("Reason").fill("a fair")
        await page.keyboard.press("Control+Enter")
        await expect(page.get_by_text("Held, for 2 people.")).to_be_visible()
        await expect(page.get_by_text("a fair")).to_be_visible()
        assert page.url.endswith("/campaigns/intro-q4")
        await page.keyboard.press("h")
        await page.keyboard.press("Control+Enter")
        await expect(page.get_by_text("Released, for 2 people.")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page).to_have_url(f"{base}/campaigns")


async def test_a_faulty_file_is_shown_with_its_lines_and_a_mended_one_stored(
    browser: Browser, site: Site
) -> None:
    async with served(site) as base, looking(browser, base_url=base) as page:
        await page.goto("/campaigns")
        await page.keyboard.press("n")
        await expect(page.get_by_label("File")).to_be_focused()
        file = {"name": "intro-q4.yaml", "mimeType": "text/yaml", "buffer": FAULTY}
        await page.set_input_files("#file", file)  # type: ignore[arg-type]  # a file's three parts
        await page.keyboard.press("Control+Enter")
        await expect(page.get_by_role("alert")).to_contain_text("refused: 1 fault")
        await expect(page.locator(".code .hit u")).to_have_text("skip_weekend")
        mended = FAULTY.replace(b"skip_weekend", b"skip_weekends")
        file = {"name": "intro-q4.yaml", "mimeType": "text/yaml", "buffer": mended}
        await page.set_input_files("#file", file)  # type: ignore[arg-type]  # as above
        await page.keyboard.press("Control+Enter")
        await expect(page.get_by_text("Stored. People are enrolled in this")).to_be_visible()
        await expect(page.get_by_text("weekends are skipped")).to_be_visible()
    async with site.store.read() as tx:
        newest = await campaigns.newest(tx, "intro-q4")
    assert newest is not None and newest.settings.skip_weekends


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_every_page_of_campaigns_fits_and_can_be_used_by_everybody(
    browser: Browser, site: Site, viewport: dict[str, int], theme: str
) -> None:
    options = {"viewport": viewport, "color_scheme": theme, "bypass_csp": True}
    async with served(site) as base, looking(browser, base_url=base, **options) as page:
        for path in (
            "/campaigns",
            "/campaigns?q=nothing",
            "/campaigns/intro-q4",
            "/campaigns/long",
            "/campaigns/hebrew",
            "/campaigns/intro-q4/hold",
            "/campaigns/_new",
        ):
            await page.goto(path)
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            await fits(page)
            assert await faults(page) == [], path


async def test_the_figures_of_a_page_that_stays_open_are_counted_anew(
    browser: Browser, site: Site
) -> None:
    async with served(site) as base, looking(browser, base_url=base) as page:
        await page.goto("/campaigns/intro-q4")
        figures = page.locator("#c-figures dd")
        await expect(figures.first).to_have_text("3")
        await page.goto("/campaigns")
        row = page.locator("tr", has_text="intro-q4").locator("td.num").first
        await expect(row).to_have_text("2")
        one = await enrolled(site.store, "d@example.org", sent=1)
        async with site.store.write() as tx:
            await tx.execute(
                update(messages).where(messages.c.enrollment_id == one).values(state="failed")
            )
        undecided = page.locator(".nav .count.bad")
        await expect(undecided).to_have_text("1", timeout=11_000)
        await expect(row).to_have_text("3", timeout=11_000)
        await page.goto("/campaigns/intro-q4")
        await expect(figures.first).to_have_text("4", timeout=11_000)
