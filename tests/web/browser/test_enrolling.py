"""Enrolling in a real browser: four screens by keyboard, on a phone, with five hundred rows."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect
from temporalio.client import Client

from drumbeat.mail.rendering import Renderer
from drumbeat.store.engine import Store
from tests.web.at_work import at_work
from tests.web.browser.desk import DESK, PHONE, chromium, faults, fits, looking, served
from tests.web.enrolling import HERE, PEOPLE, hello, keep, sent, set_part
from tests.web.site import make_site

pytestmark = [pytest.mark.slow]

ODD = (
    "email,first_name,last_name,company\n"
    "ada@example.org,<script>alert(1)</script>,Lovelace,Engines\n"
    f"long@example.org,{'Nebuchadnezzar' * 15},X,{'Y' * 200}\n"
    "omer@example.org,עומר,שפירא,Kessem\n"
    "nobody,No,Body,Nowhere\n"
    + "".join(f"p{n}@example.org,Person,Number {n},Example\n" for n in range(500))
).encode()


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


async def choose(page: Page, content: bytes) -> None:
    file = {"name": "people.csv", "mimeType": "text/csv", "buffer": content}
    await page.set_input_files("#file", file)  # type: ignore[arg-type]  # a file's three parts


async def title(page: Page, text: str) -> None:
    await expect(page.get_by_role("heading", level=1)).to_have_text(text)


async def test_people_are_enrolled_by_keyboard_alone_and_one_gets_their_own_text(
    browser: Browser, sqlite_store: Store, temporal_client: Client, tmp_path: Path
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        await keep(sqlite_store, hello())
        set_part(work.site, "uploads", tmp_path / "uploads")
        set_part(work.site, "task_queue", work.office.task_queue)
        async with served(work.site) as base, looking(browser, base_url=base) as page:
            await page.goto("/campaigns/hello")
            await page.keyboard.press("n")
            await title(page, "Upload the people")
            await expect(page.get_by_label("CSV file")).to_be_focused()
            await choose(page, PEOPLE)  # what the system's own dialog does
            await page.keyboard.press("Control+Enter")
            await title(page, "Check the people")
            await page.keyboard.press("5")
            await expect(page.get_by_text("malformed address")).to_be_visible()
            await page.keyboard.press("Control+Enter")
            await title(page, "First email and times")
            letter = page.frame_locator("iframe.letter").locator("#letter")
            await expect(letter).to_contain_text("Hello Ada,")
            await page.keyboard.press("e")
            await expect(letter).to_have_attribute("contenteditable", "true")
            await page.get_by_label("Subject").focus()
            await page.keyboard.press("Control+a")
            await page.keyboard.type("Dear Ada")
            await page.keyboard.press("Tab")
            await expect(letter).to_be_focused()
            await page.keyboard.press("Control+Home")
            await page.keyboard.type("Only you. ")
            await page.keyboard.press("Control+Enter")
            await expect(page.get_by_text("A text of their own", exact=True)).to_be_visible()
            await expect(letter).to_contain_text("Only you. Hello Ada,")
            await page.keyboard.press("j")
            await page.keyboard.press("j")
            await page.keyboard.press("Enter")
            await expect(letter).to_contain_text("Hello Grace,")
            await page.keyboard.press("Control+Enter")
            await title(page, "Start")
            await expect(page.get_by_text("Enroll 2 people")).to_be_visible()
            await page.keyboard.press("Control+Enter")
            await expect(page.get_by_text("2 people will hear from")).to_be_visible(timeout=30_000)
            await page.keyboard.press("Control+Enter")
            await title(page, "Hello there")
        assert await sent(work.mailer, 2) == {
            "ada@example.org": "Dear Ada",
            "grace.h@example.org": "Hello Grace",
        }
        [own] = [one for one in work.mailer.received if one.recipients[0] == "ada@example.org"]
        assert b"Only you. Hello Ada," in own.content


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
async def test_the_screens_fit_and_can_be_used_by_everybody_with_odd_people(
    browser: Browser, sqlite_store: Store, tmp_path: Path, viewport: dict[str, int]
) -> None:
    await keep(sqlite_store, hello())
    async with Renderer() as renderer:
        site = await make_site(sqlite_store, renderer=renderer, uploads=tmp_path / "uploads")
        options = {"viewport": viewport, "bypass_csp": True}
        async with served(site) as base, looking(browser, base_url=base, **options) as page:
            await page.goto(HERE)
            await looks_right(page)
            await choose(page, ODD)
            await page.get_by_role("button", name="Check the people").click()
            await title(page, "Check the people")
            check = page.url
            await page.locator(".fill > summary").click()
            await page.get_by_role("textbox", name="lanes").fill("four")
            await looks_right(page)
            await page.get_by_role("button", name="Fill", exact=True).click()
            await expect(page.get_by_text("Filled for those who lack it")).to_be_visible()
            for path in ("", "?show=all", "?show=enrolled&after=300", "?show=already"):
                await page.goto(check + path)
                await looks_right(page)
            for path in ("/emails", "/emails?person=3", "/emails?person=4&edit=1", "/start"):
                await page.goto(check + path)
                await looks_right(page)
            await page.goto(f"{check}/emails?q=Number+499")
            await page.get_by_role("link", name="Person Number 499").click()
            letter = page.frame_locator("iframe.letter").locator("#letter")
            await expect(letter).to_contain_text("Hello Person,")


async def test_without_a_script_a_text_is_rewritten_in_a_plain_field(
    browser: Browser, sqlite_store: Store, tmp_path: Path
) -> None:
    await keep(sqlite_store, hello())
    async with Renderer() as renderer:
        site = await make_site(sqlite_store, renderer=renderer, uploads=tmp_path / "uploads")
        async with (
            served(site) as base,
            looking(browser, base_url=base, java_script_enabled=False) as page,
        ):
            await page.goto(HERE)
            await choose(page, PEOPLE)
            await page.get_by_role("button", name="Check the people").click()
            await page.get_by_role("link", name="Go on with 2 people").click()
            await page.get_by_role("link", name="Edit for this person").click()
            await page.get_by_label("Email", exact=True).fill("Hello,\n\nonly you.")
            await page.get_by_role("button", name="Keep this text").click()
            letter = page.frame_locator("iframe.letter").locator("#letter")
            await expect(letter.locator("p")).to_have_text(["Hello,", "only you."])


async def looks_right(page: Page) -> None:
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await fits(page)
    assert await faults(page) == [], page.url
