"""A campaign with every kind of step, worked in the browser alone: from its file to its end.

Each screen is kept as a picture in the test's folder, in order.
"""

from collections.abc import Awaitable, Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from sqlalchemy import select
from temporalio.client import Client

from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments
from drumbeat.store.users import Role
from tests.office import Enrolled, Handle
from tests.waiting import until
from tests.web.at_work import AtWork, at_work
from tests.web.browser.desk import chromium, looking, served
from tests.web.enrolling import set_part
from workflows.messages import CampaignResult

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CAMPAIGN = b"""\
campaign: every-step
name: Every kind of step
category: Prospecting
settings:
  call_outcomes: [Connected, Left voicemail]
days:
  - day: 1
    steps:
      - email: {subject: "Hello {{ first_name }}", body: "<p>I read about {{ company }}.</p>"}
        send: choose
      - call: Introduce yourself
        notes: Ask about the migration.
      - inmail: Connect on LinkedIn
      - custom: Invite to the webinar
        priority: high
      - email: {subject: "What you asked", body: "<p>You asked for {{! what }}.</p>"}
        send: task
  - day: 2
    steps:
      - email: {body: "<p>Did you see this?</p>"}
        send: "09:30"
        follow_up: true
  - day: 4
    steps:
      - email: {body: "<p>Shall I close your file?</p>"}
        send: task
        follow_up: true
"""
PEOPLE = b"email,first_name,last_name,company\nada@example.org,Ada,Lovelace,Engines\n"
Shoot = Callable[[str], Awaitable[None]]


async def test_every_kind_of_step_is_worked_from_the_file_to_the_end(
    sqlite_store: Store, temporal_client: Client, tmp_path: Path
) -> None:
    async with (
        at_work(sqlite_store, temporal_client, Role.MANAGER) as work,
        chromium() as browser,
    ):
        set_part(work.site, "uploads", tmp_path / "uploads")
        set_part(work.site, "task_queue", work.office.task_queue)
        async with served(work.site) as base, looking(browser, base_url=base) as page:
            taken = 0

            async def shoot(name: str) -> None:
                nonlocal taken
                taken += 1
                await page.screenshot(path=tmp_path / f"{taken:02}-{name}.png")

            await store_the_campaign(page, shoot)
            await enroll(page, shoot)
            ada = await enrolled(work)
            for step, keys in ((2, "1c"), (3, "c"), (4, "c")):
                await work.office.until_task(ada, step)
                await page.goto("/tasks")
                await expect(page.locator("#task h2 bdi")).to_have_text("Ada Lovelace")
                await shoot(f"step-{step}")
                for key in keys:
                    await page.keyboard.press(key)
                await expect(page.locator(".toast")).to_contain_text("task completed")
            await work.office.until_task(ada, 5)
            await write(page, "the price list", shoot)
            await work.office.skip_until_sent(ada, 6)
            await page.goto("/emails?tab=sent")
            await expect(page.locator("ul.emails li")).to_have_count(3)
            await shoot("emails")
            await work.office.until_task(ada, 7)
            await write(page, None, shoot)
            result = await ada.handle.result()
            assert (result.outcome, result.steps) == ("completed", 7)
            await page.goto(f"/people/{ada.person_id}")
            await expect(page.locator(".why")).to_contain_text("Ended: ")
            await shoot("person")
            await page.goto("/campaigns/every-step")
            await shoot("campaign")
            await page.goto("/feed")
            await shoot("feed")
    first, asked, bump, last = (letter(one.content) for one in work.mailer.received)
    assert [str(one["Subject"]) for one in (first, asked, bump, last)] == [
        "Hello Ada",
        "What you asked",
        "Re: What you asked",
        "Re: What you asked",
    ]
    assert "You asked for the price list." in html(asked)
    # What is appended is the template, never the rep's edit.
    assert "the price list" not in html(bump)
    assert bump["In-Reply-To"] == asked["Message-ID"]
    assert "Shall I close your file?" in html(last) and "Did you see this?" in html(last)
    assert str(last["References"]).split() == [asked["Message-ID"], bump["Message-ID"]]


async def store_the_campaign(page: Page, shoot: Shoot) -> None:
    await page.goto("/campaigns")
    await page.keyboard.press("n")
    await expect(page.get_by_label("File")).to_be_focused()
    await choose(page, "every-step.yaml", "text/yaml", CAMPAIGN)
    await page.keyboard.press("Control+Enter")
    await expect(page.get_by_role("status")).to_contain_text("is stored")
    await shoot("stored")


async def enroll(page: Page, shoot: Shoot) -> None:
    await page.goto("/campaigns/every-step")
    await page.keyboard.press("n")
    await expect(page.get_by_label("CSV file")).to_be_focused()
    await choose(page, "people.csv", "text/csv", PEOPLE)
    await shoot("upload")
    for title in ("Check the people", "First email and times", "Start"):
        await page.keyboard.press("Control+Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text(title)
        await shoot(title.split()[0].lower())
    await page.keyboard.press("Control+Enter")
    await expect(page.get_by_text("1 person will hear from")).to_be_visible(timeout=30_000)
    await shoot("enrolled")


async def write(page: Page, typed: str | None, shoot: Shoot) -> None:
    """Send the email of the one task at hand; its prompt is typed over."""
    await page.goto("/tasks")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    inside = page.frame_locator("#letter-frame").locator("#letter")
    await expect(inside).to_have_attribute("contenteditable", "true")
    if typed is not None:
        await inside.focus()
        await page.keyboard.press("Tab")
        await page.keyboard.type(typed)
        await expect(page.locator("#prompts")).to_be_hidden()
    await shoot("compose")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".toast")).to_contain_text("is sent.")


async def enrolled(work: AtWork) -> Enrolled:
    async with work.office.store.read() as tx:
        [row] = (await tx.execute(select(enrollments))).all()
    handle: Handle = work.office.client.get_workflow_handle(
        row.workflow_id, result_type=CampaignResult
    )
    ada = Enrolled(row.id, row.person_id, handle)
    await until(lambda: len(work.mailer.received) == 1, what="the first email has not left")
    return ada


async def choose(page: Page, name: str, kind: str, content: bytes) -> None:
    file = {"name": name, "mimeType": kind, "buffer": content}
    await page.set_input_files("#file", file)  # type: ignore[arg-type]  # a file's three parts


def letter(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def html(message: EmailMessage) -> str:
    part = message.get_body(("html",))
    assert part is not None
    return str(part.get_content())
