"""The compose window in a real browser: what is typed is shown, saved, and sent."""

import email
import email.policy
import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest
from playwright.async_api import FilePayload, Page, expect
from temporalio.client import Client

from drumbeat.campaign.model import EmailStep
from drumbeat.store.engine import Store
from tests.actions.desks import campaign, letter, task_id
from tests.office import Enrolled
from tests.web.at_work import AtWork, at_work
from tests.web.browser.desk import PHONE, chromium, faults, fits, looking, served

pytestmark = [pytest.mark.slow]

BODY = (
    '<p style="color:#a30">Dear {{ first_name }}, you said {{! what they said }}.</p>'
    "<p>It costs {{! the price }} a <b>year</b>.</p>"
)


async def at_an_email(work: AtWork, step: EmailStep) -> Enrolled:
    enrolled = await work.office.enroll(campaign(step))
    await work.office.until_task(enrolled, 1)
    return enrolled


def html_of(content: bytes) -> str:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    part = message.get_body(("html",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


async def open_window(page: Page, base: str, enrolled: Enrolled) -> None:
    await page.goto(f"{base}/tasks/{task_id(enrolled, 1)}/compose")
    await expect(page.frame_locator("#letter-frame").locator("#letter")).to_have_attribute(
        "contenteditable", "true"
    )


async def test_prompts_are_filled_with_tab_and_what_is_shown_is_sent(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        enrolled = await at_an_email(work, letter("Hello", BODY))
        async with served(work.site) as base, looking(browser) as page:
            await open_window(page, base, enrolled)
            inside = page.frame_locator("#letter-frame").locator("#letter")
            await expect(page.locator("#prompts")).to_contain_text("2 prompts to fill")
            await page.keyboard.press("Control+Enter")
            assert work.mailer.received == []
            await inside.focus()
            await page.keyboard.press("Tab")
            await page.keyboard.type("a lot & <more>")
            await expect(page.locator("#prompts")).to_contain_text("1 prompt to fill")
            await expect(page.locator("#send")).to_have_attribute("aria-disabled", "true")
            await page.keyboard.press("Tab")
            await page.keyboard.type("12")
            await expect(page.locator("#prompts")).to_be_hidden()
            shown = await inside.inner_html()
            assert '<p style="color:#a30">Dear Ada, you said a lot &amp; &lt;more&gt;.</p>' in shown
            await expect(page.locator("#saved")).to_contain_text("Draft saved")
            await page.keyboard.press("Control+Enter")
            await expect(page.locator(".toast")).to_contain_text("Email to Ada is sent.")
        [received] = work.mailer.received
        assert shown.strip() in html_of(received.content)


async def test_what_was_typed_is_there_again_and_kept_when_one_goes_back(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        enrolled = await at_an_email(work, letter())
        async with served(work.site) as base, looking(browser) as page:
            await open_window(page, base, enrolled)
            inside = page.frame_locator("#letter-frame").locator("#letter")
            await inside.focus()
            await page.keyboard.type("First of all: ")
            await expect(page.locator("#saved")).to_contain_text("Draft saved")
            await page.reload()
            await expect(inside).to_contain_text("First of all: Dear Ada, one.")
            await page.get_by_label("Subject").fill("Another subject")
            await page.keyboard.press("Escape")
            await page.keyboard.press("Escape")
            await expect(page.get_by_role("heading", name="Tasks")).to_be_visible()
            row = await work.office.task(enrolled, 1)
            assert row is not None
            assert row.draft_id is not None
            await open_window(page, base, enrolled)
            await expect(page.get_by_label("Subject")).to_have_value("Another subject")


async def test_an_email_is_scheduled_by_keyboard_and_the_moment_shown_in_both_zones(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        enrolled = await work.office.enroll(campaign(letter(), timezone="Asia/Tokyo"))
        await work.office.until_task(enrolled, 1)
        on = (datetime.now(UTC) + timedelta(days=3)).date()
        async with served(work.site) as base, looking(browser) as page:
            await open_window(page, base, enrolled)
            await page.keyboard.press("Control+Shift+Enter")
            await page.get_by_label("Day and time in Tokyo").fill(f"{on}T09:30")
            told = page.locator("#when-shown")
            await expect(told).to_have_text(re.compile("09:30 Asia/Tokyo .*America/New_York"))
            await page.keyboard.press("Control+Enter")
            await expect(page.locator(".toast")).to_contain_text("leaves")
        row = await work.office.task(enrolled, 1)
        assert row is not None
        assert row.send_at.isoformat() == f"{on}T00:30:00+00:00"


async def test_a_deleted_signature_is_shown_again_before_it_is_sent(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        enrolled = await at_an_email(work, letter())
        async with served(work.site) as base, looking(browser) as page:
            await open_window(page, base, enrolled)
            inside = page.frame_locator("#letter-frame").locator("#letter")
            await inside.focus()
            await page.keyboard.press("Control+a")
            await page.keyboard.type("All my own words.")
            await page.keyboard.press("Control+Enter")
            await expect(page.locator("#signature")).to_be_visible()
            await expect(inside).to_contain_text("Grace Hopper")
            assert work.mailer.received == []
            await page.locator("#send").click()
            await expect(page.locator(".toast")).to_contain_text("is sent")
        [received] = work.mailer.received
        assert "All my own words." in html_of(received.content)
        assert "Grace Hopper" in html_of(received.content)


async def test_a_letter_is_sent_without_a_script(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        enrolled = await at_an_email(work, letter())
        async with (
            served(work.site) as base,
            looking(browser, java_script_enabled=False) as page,
        ):
            await page.goto(f"{base}/tasks/{task_id(enrolled, 1)}/compose")
            await page.get_by_label("Plain text").fill("Plain words.")
            await page.get_by_role("button", name="Send now").click()
            await expect(page.locator(".toast")).to_contain_text("is sent")
        assert "<p>Plain words.</p>" in html_of(work.mailer.received[0].content)


async def test_a_script_in_a_template_never_runs_and_the_window_fits_a_phone(
    sqlite_store: Store, temporal_client: Client
) -> None:
    evil = (
        "<p>Hi<script>parent.wasRun = true</script>"
        '<img src="x" onerror="parent.wasRun = true"></p><div style="width:3000px">wide</div>'
    )
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        enrolled = await at_an_email(work, letter("Hello", evil))
        async with served(work.site) as base:
            context = await browser.new_context(viewport=PHONE)
            page = await context.new_page()
            await open_window(page, base, enrolled)
            assert await page.evaluate("window.wasRun") is None
            await fits(page)
            await context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_serious_fault(
    sqlite_store: Store, temporal_client: Client, scheme: str
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        enrolled = await at_an_email(work, letter("Hello", BODY))
        name = f"{'A very long name of a file ' * 5}.pdf"
        long_name: FilePayload = {"name": name, "mimeType": "application/pdf", "buffer": b"%PDF"}
        async with served(work.site) as base:
            for viewport in (PHONE, {"width": 1280, "height": 800}):
                given = {"viewport": viewport, "color_scheme": scheme, "bypass_csp": True}
                async with looking(browser, **given) as page:
                    await open_window(page, base, enrolled)
                    number = await page.locator("#attached li").count()
                    await page.locator("#file").set_input_files(long_name)
                    await expect(page.locator("#attached li")).to_have_count(number + 1)
                    assert await faults(page) == []
                    await fits(page)


async def test_files_are_attached_removed_and_dropped(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work, chromium() as browser:
        enrolled = await at_an_email(work, letter())
        async with served(work.site) as base, looking(browser) as page:
            await open_window(page, base, enrolled)
            inside = page.frame_locator("#letter-frame").locator("#letter")
            await inside.focus()
            await page.keyboard.type("See below. ")
            files: list[FilePayload] = [
                {"name": f"offer {number}.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"}
                for number in (1, 2)
            ]
            async with page.expect_file_chooser() as choosing:
                await page.get_by_role("button", name="Attach files").click()
            await (await choosing.value).set_files(files)
            attached = page.locator("#attached li")
            await expect(attached).to_have_count(2)
            await page.get_by_role("button", name="Remove offer 1.pdf").click()
            await expect(attached).to_have_count(1)
            await inside.evaluate(
                """(letter) => {
                    const data = new DataTransfer();
                    data.items.add(new File(["dropped"], "note.txt"));
                    letter.dispatchEvent(new DragEvent(
                        "drop", { dataTransfer: data, bubbles: true, cancelable: true }));
                }"""
            )
            await expect(attached).to_have_count(2)
            await fits(page)
            large: FilePayload = {
                "name": "film.mp4",
                "mimeType": "video/mp4",
                "buffer": bytes(20_000_001),
            }
            await page.locator("#file").set_input_files(large)
            told = "film.mp4 is not attached: an email may carry 20 MB"
            await expect(page.locator("#not-attached")).to_have_text(told)
            # A slip elsewhere keeps no file back, and what was told stays.
            await page.get_by_label("Cc").fill("alan")
            await expect(page.locator("#saved")).to_contain_text("Not saved")
            await expect(page.locator("#not-attached")).to_have_text(told)
            await page.locator("#file").set_input_files(files[0])
            await expect(attached).to_have_count(3)
            await expect(page.locator("#not-attached")).to_be_hidden()
            await page.get_by_role("button", name="Remove offer 1.pdf").click()
            await expect(attached).to_have_count(2)
            await page.get_by_label("Cc").fill("")
            await expect(page.locator("#saved")).to_contain_text("Draft saved")
            await page.reload()
            await expect(attached).to_have_text(["offer 2.pdf1 kB", "note.txt1 kB"])
            await expect(inside).to_contain_text("See below.")
            await page.keyboard.press("Control+Enter")
            await expect(page.locator(".toast")).to_contain_text("is sent")
        message = email.message_from_bytes(work.mailer.received[0].content)
        names = [part.get_filename() for part in message.walk() if part.get_filename()]
        assert names == ["offer 2.pdf", "note.txt"]
