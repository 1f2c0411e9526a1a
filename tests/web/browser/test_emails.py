"""Emails in a real browser: decided, moved and left out by keyboard; on a phone; any name."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, ViewportSize, expect
from sqlalchemy import update
from temporalio.client import Client

from drumbeat.campaign.states import MessageState, Why, WhyCode
from drumbeat.mail.outcomes import Phase
from drumbeat.store.engine import Store
from drumbeat.store.schema import messages, people
from drumbeat.web.site import Site
from tests.histories import paths
from tests.web.at_work import at_work
from tests.web.browser.desk import DESK, PHONE, chromium, faults, fits, looking, served
from tests.web.rows import enrolled
from tests.web.site import make_site

pytestmark = [pytest.mark.slow]

ODD_NAMES = ("<script>window.wasRun = true</script>", "A" * 200, "יעל בן־דרור")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


async def test_a_failed_email_is_tried_again_by_keyboard_alone(
    browser: Browser, sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        work.mailer.once(Phase.DATA, 552, "5.3.4 too big")
        one = paths.campaign("keys-failed", (1, paths.email(paths.SUBJECT, "choose")))
        ada = await work.office.enroll(one, send_at="now")
        await work.office.until(ada, lambda shown: shown.state == "failed")
        async with served(work.site) as base, looking(browser) as page:
            await page.goto(f"{base}/emails")
            await expect(page.locator(".row.email")).to_contain_text("5.3.4 too big")
            await page.keyboard.press("j")
            await page.keyboard.press("Tab")
            await page.keyboard.press("Tab")
            await expect(page.get_by_role("button", name="Try again")).to_be_focused()
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("status")).to_contain_text("It is tried again")
            await ada.handle.result()
            await page.keyboard.press("4")
            await expect(page.locator(".row.email")).to_contain_text("Sent")
            await page.keyboard.press("j")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("heading", level=1)).to_have_text("Ada")
            assert len(work.mailer.received) == 1


async def test_of_an_email_in_doubt_its_rep_says_that_it_was_sent(
    browser: Browser, sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        work.mailer.once(Phase.DATA)
        one = paths.campaign("doubt", (1, paths.email(paths.SUBJECT, "choose")))
        ada = await work.office.enroll(one, send_at="now")
        await work.office.until(ada, lambda shown: shown.state == "in_doubt")
        async with (
            served(work.site) as base,
            looking(browser, java_script_enabled=False, viewport=PHONE) as page,
        ):
            await page.goto(f"{base}/emails")
            await expect(page.locator(".row.email")).to_contain_text("In doubt")
            await page.get_by_role("button", name="It was sent").click()
            await expect(page.get_by_role("status")).to_contain_text("Noted")
            await expect(page.get_by_text("Nothing to decide")).to_be_visible()
            await ada.handle.result()
            assert work.mailer.received == []


BODY = "<p>Dear {{ first_name }}, it costs {{! the price }} a year.</p>"


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
async def test_an_automatic_email_is_rewritten_and_its_prompt_typed_over(
    browser: Browser,
    sqlite_store: Store,
    temporal_client: Client,
    tmp_path: Path,
    viewport: ViewportSize,
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        one = paths.campaign(
            "rewritten",
            (1, paths.email(paths.SUBJECT, "choose")),
            (2, paths.email("Second", "09:30", body=BODY)),
        )
        ada = await work.office.enroll(one, send_at="now")
        await work.office.skip_until_sent(ada, 1)
        await work.office.until(ada, lambda shown: shown.step == 2)
        options = {"viewport": viewport, "bypass_csp": True}
        async with served(work.site) as base, looking(browser, base_url=base, **options) as page:
            await page.goto("/emails?tab=scheduled")
            await page.get_by_role("link", name="Edit").click()
            letter = page.frame_locator("iframe.letter").locator("#letter")
            await expect(letter).to_have_attribute("contenteditable", "true")
            await fits(page)
            assert await faults(page) == []
            await page.screenshot(path=tmp_path / "edit.png")
            await page.keyboard.press("Control+Enter")
            await expect(page.get_by_role("alert")).to_contain_text("type over it")
            await expect(letter).to_be_focused()
            await page.keyboard.type("nothing")
            await expect(letter).to_contain_text("it costs nothing a year")
            await page.get_by_label("Subject").fill("Only for you")
            await page.keyboard.press("Control+Enter")
            await expect(page.get_by_role("status")).to_contain_text("it leaves with this text")
        await work.office.skip_until_sent(ada, 2)
    left = work.mailer.received[-1].content
    assert b"Subject: Only for you" in left
    assert b"it costs nothing a year" in left


async def test_a_scheduled_email_is_moved_and_left_out_by_keyboard_alone(
    browser: Browser, sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        one = paths.campaign(
            "keys-moved",
            (1, paths.email(paths.SUBJECT, "choose")),
            (2, paths.email("Second", "09:30")),
        )
        ada = await work.office.enroll(one, send_at="now")
        await work.office.skip_until_sent(ada, 1)
        await work.office.until(ada, lambda shown: shown.step == 2)
        async with served(work.site) as base, looking(browser) as page:
            await page.goto(f"{base}/emails")
            await page.keyboard.press("2")
            await expect(page.locator(".row.email")).to_have_count(1)
            await page.get_by_role("button", name="Move…").press("Enter")
            moving = page.get_by_role("dialog", name="Move this email")
            await moving.get_by_label("When it is to leave").fill("2030-01-08T10:15")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("status")).to_contain_text("Moved")
            await expect(page.locator(".row.email")).to_contain_text("8 Jan 2030, 10:15 New York")
            await page.get_by_role("button", name="Leave out…").press("Enter")
            await page.get_by_role("dialog").get_by_label("Reason").focus()
            await page.keyboard.type("Not now.")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("status")).to_contain_text("It is left out")
            assert (await ada.handle.result()).outcome == "completed"


async def test_a_refusal_is_told_above_the_list(
    browser: Browser, sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        work.mailer.once(Phase.DATA, 552, "5.3.4 too big")
        one = paths.campaign("refused-twice", (1, paths.email(paths.SUBJECT, "choose")))
        ada = await work.office.enroll(one, send_at="now")
        await work.office.until(ada, lambda shown: shown.state == "failed")
        async with served(work.site) as base, looking(browser) as page, looking(browser) as other:
            await page.goto(f"{base}/emails")
            await other.goto(f"{base}/emails")
            await page.get_by_role("button", name="Try again").click()
            await ada.handle.result()
            await other.get_by_role("button", name="Try again").click()
            await expect(other.get_by_role("alert")).to_be_visible()
            await expect(other.get_by_role("heading", level=1)).to_have_text("Emails")


async def test_a_filter_is_set_and_cleared_by_keyboard_alone(
    browser: Browser, sqlite_store: Store
) -> None:
    site = await make_site(sqlite_store)
    await with_odd_names(site, MessageState.FAILED, WhyCode.REFUSED)
    async with served(site) as base, looking(browser) as page:
        await page.goto(f"{base}/emails")
        await expect(page.locator(".row.email")).to_have_count(3)
        await page.keyboard.press("f")
        await expect(page.get_by_label("Campaign")).to_be_focused()
        await page.get_by_label("Search", exact=True).last.focus()
        await page.keyboard.type("nobody")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Filters are set: nobody.")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator(".row.email")).to_have_count(3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
async def test_the_lists_fit_with_any_name_and_can_be_used_by_everybody(
    browser: Browser, sqlite_store: Store, scheme: str, viewport: dict[str, int]
) -> None:
    site = await make_site(sqlite_store)
    await with_odd_names(site, MessageState.FAILED, WhyCode.REFUSED)
    given = {"viewport": viewport, "color_scheme": scheme, "bypass_csp": True}
    async with served(site) as base, looking(browser, **given) as page:
        for tab, state, why in (
            ("decide", MessageState.FAILED, WhyCode.REFUSED),
            ("decide", MessageState.IN_DOUBT, WhyCode.IN_DOUBT),
            ("decide", MessageState.BLOCKED, WhyCode.MISSING_DATA),
            ("scheduled", MessageState.SCHEDULED, WhyCode.WINDOW),
            ("sent", MessageState.SENT, None),
            ("cancelled", MessageState.CANCELLED, WhyCode.ENDED),
        ):
            await stand(site, state, why)
            await page.goto(f"{base}/emails?tab={tab}")
            await expect(page.locator(".row.email")).to_have_count(3)
            await fits(page)
            assert await faults(page) == [], state
            # What can be done stands beside the names and the reason, not over them.
            boxes = await page.locator(".row.email").evaluate_all(
                "rows => rows.every(row => row.scrollWidth <= row.clientWidth)"
            )
            assert boxes, state
        await page.goto(f"{base}/emails?tab=bounced")
        assert await faults(page) == []
        assert await page.evaluate("window.wasRun") is None


async def with_odd_names(site: Site, state: MessageState, why: WhyCode | None) -> None:
    for number, name in enumerate(ODD_NAMES):
        await enrolled(site.store, f"odd{number}@example.org", sent=1)
        async with site.store.write() as tx:
            chosen = update(people).where(people.c.email == f"odd{number}@example.org")
            await tx.execute(chosen.values(fields={"first_name": name, "company": name}))
            await tx.execute(update(messages).values(subject=name, answer=f"552 {name}"))
    await stand(site, state, why)


async def stand(site: Site, state: MessageState, why: WhyCode | None) -> None:
    """Let every email stand so."""
    reason = Why(code=why, detail="A" * 200).model_dump(mode="json") if why else None
    async with site.store.write() as tx:
        await tx.execute(update(messages).values(state=state, why=reason))
