"""The public pages in a real browser, as people meet them."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from drumbeat.mail.links import Links
from drumbeat.store.engine import Store, migrate, open_store
from drumbeat.store.schema import suppressions
from tests.web.rows import all_rows, enrolled
from tests.web.serving import KEY, serving

pytestmark = [pytest.mark.slow]

WIDTH = 360
"""Of a small phone, in CSS pixels."""


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    assert program, "Chromium is missing: `apt-get install chromium`, or `make test`"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture(params=["light", "dark"])
async def page(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Page]:
    """A phone without JavaScript; what the browser refuses or misses fails the test."""
    context = await browser.new_context(
        viewport={"width": WIDTH, "height": 740},
        color_scheme=request.param,
        java_script_enabled=False,
    )
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("requestfailed", lambda failed: complaints.append(failed.url))
    yield page
    await context.close()
    assert complaints == []


@pytest.fixture
async def store_and_url(tmp_path: Path) -> AsyncIterator[tuple[Store, str]]:
    url = f"sqlite:///{tmp_path / 'drumbeat.db'}"
    await migrate(url)
    store = await open_store(url)
    yield store, url
    await store.close()


async def test_somebody_with_a_phone_and_no_script_unsubscribes_by_the_button(
    page: Page, store_and_url: tuple[Store, str], tmp_path: Path
) -> None:
    store, database = store_and_url
    enrollment_id = await enrolled(store)
    with serving(database, tmp_path) as (base, _):
        await page.goto(Links(base, [KEY]).unsubscribe_url(enrollment_id))
        button = page.get_by_role("button", name="Unsubscribe")
        await expect(button).to_be_visible()
        await fits(page)
        assert await all_rows(store, suppressions) == []
        await page.get_by_label("Why?").fill("too many emails")
        await button.press("Enter")
        await expect(page.get_by_role("heading")).to_have_text("You are unsubscribed")
        await fits(page)
    [row] = await all_rows(store, suppressions)
    assert (row["value"], row["reason"]) == ("ada@example.org", "too many emails")


async def test_the_sign_in_page_fits_a_phone_and_takes_its_styles(
    page: Page, store_and_url: tuple[Store, str], tmp_path: Path
) -> None:
    with serving(store_and_url[1], tmp_path) as (base, _):
        await page.goto(f"{base}/sign-in")
        await expect(page.get_by_role("heading")).to_have_text("Sign in")
        # The style sheet came through the content security policy.
        await expect(page.locator("main")).to_have_css("display", "grid")
        await fits(page)


async def fits(page: Page) -> None:
    """Nothing is wider than the screen."""
    for element in await page.locator("body *").all():
        box = await element.bounding_box()
        assert box is None or box["x"] + box["width"] <= WIDTH
