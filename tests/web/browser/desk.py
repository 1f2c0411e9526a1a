"""A real browser before the pages: a server in this process, Chromium, axe."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from drumbeat.actions import signing
from drumbeat.actions.errors import ActionError
from drumbeat.store.users import Role
from drumbeat.web.app import create_app
from drumbeat.web.site import Site
from tests.ports import free_port

AXE = Path(__file__).parents[1] / "vendor" / "axe-4.14.1.min.js"
PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1280, height=800)


@asynccontextmanager
async def served(
    site: Site, address: str = "grace@example.com", port: int | None = None
) -> AsyncIterator[str]:
    """The site's address while it is served; whoever looks is signed in as that rep."""
    port = port or free_port()
    with suppress(ActionError):  # signed up by a test before
        await signing.add_user(site.store, address, "Grace Hopper", Role.REP, None)
    config = uvicorn.Config(
        create_app(replace(site, host_user=address)),
        port=port,
        log_level="critical",  # it would tell of each stream that it ends
        lifespan="off",
        timeout_graceful_shutdown=0,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # uvicorn tells nobody when it is ready
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running
        left = set(server.server_state.tasks)  # streams that are on their way out
        if left:
            _, late = await asyncio.wait(left, timeout=5)
            for task in late:
                task.cancel()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    program = shutil.which("chromium")
    assert program, "Chromium is missing: `apt-get install chromium`, or `make test`"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def looking(browser: Browser, **given: Any) -> AsyncIterator[Page]:
    """A page whose console stays silent, and whose scripts do not fail."""
    context = await browser.new_context(**{"viewport": DESK, **given})
    page = await context.new_page()
    page.set_default_timeout(15_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await context.close()
    # An answer of 409, and none at all, are told on the page.
    told = [text for text in complaints if not re.search("409|ERR_CONNECTION|to fetch", text)]
    assert told == [], told


async def fits(page: Page) -> None:
    """The page never scrolls sideways."""
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(wide) <= 0


async def faults(page: Page) -> list[str]:
    """What axe finds that is serious."""
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:120]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
