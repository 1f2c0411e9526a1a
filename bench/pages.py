"""How quickly the Command Center answers with a year's rows, on SQLite and on PostgreSQL."""

import asyncio
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
from playwright.async_api import Error as BrowserError
from playwright.async_api import Response, async_playwright
from sqlalchemy import Engine, event

from bench import cpu, listening
from bench.cluster import cluster
from bench.filling import Filled, fill, reps_file
from bench.report import Figure, Say, percentile, phase
from bench.stage import BenchFailed, environment_of, running
from bench.year import Amounts
from drumbeat.actions import signing
from drumbeat.machine.parts import Part
from drumbeat.machine.temporal import free_ports
from drumbeat.settings import Settings
from drumbeat.store.engine import Store, open_store
from drumbeat.store.lists.emails import Tab
from drumbeat.web.app import create_app
from drumbeat.web.serving import open_site
from drumbeat.web.site import cookie_name

NAME = "pages"
AIM_MS = 100
AIM_QUERIES = 10
AIM_BYTES = 200_000
AIM_PAINT_MS = 1000
ROUNDS = 40
"""How often each page is asked for; each time by another rep or manager, who has no figures yet."""
PAINTS = 5
CHROMIUM = "/usr/bin/chromium"

_NEXT = re.compile(r'href="([^"]*[?&;]after=[^"]*)"')


@dataclass(frozen=True, slots=True)
class Page:
    """A page, and its addresses: one for each round, in turn."""

    title: str
    addresses: Sequence[str]


@dataclass(slots=True)
class Measured:
    """What was measured on one database."""

    name: str
    ms: dict[tuple[str, str], float] = field(default_factory=dict)
    """Page and role -> p95 of its milliseconds."""
    cpu_ms: dict[tuple[str, str], float] = field(default_factory=dict)
    """The same of the CPU time that the application and the database took for it."""
    queries: dict[str, int] = field(default_factory=dict)
    """Page -> the most queries, of a rep and of a manager."""
    first_bytes: int = 0
    paint_ms: float = 0.0
    heard_ms: float = 0.0

    def times(self, title: str) -> list[float]:
        """A page's p95 of both roles."""
        return [ms for (page, _), ms in self.ms.items() if page == title]


@dataclass(frozen=True, slots=True)
class _Served:
    """A web application that runs, over a full database."""

    base: str
    settings: Settings
    store: Store
    filled: Filled
    web: int
    """The process that answers …"""
    postgres: int | None
    """… and the one that has a child for each of its connections."""

    def cpu(self) -> float:
        """CPU milliseconds that the application and its database have taken so far."""
        of_database = cpu.children_of(self.postgres) if self.postgres is not None else set()
        return cpu.ms_of({self.web, *of_database})

    async def browsers(self, ids: Sequence[str]) -> list[dict[str, str]]:
        """The cookies of as many users, who sign in now."""
        return [{"drumbeat": await signing.open_session(self.store, one)} for one in ids]


async def measure(say: Say, amounts: Amounts | None = None) -> list[Figure]:
    """Fill both databases in turn, and ask for every page.

    Raises:
        BenchFailed: PostgreSQL or Chromium is missing, or a page does not answer.
    """
    wanted = amounts or Amounts()
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="drumbeat-bench-") as name:
        folder = Path(name)
        found.append(await _on("SQLite", f"sqlite:///{folder / 'full.db'}", folder, wanted, say))
        with cluster() as (url, postgres):
            found.append(await _on("PostgreSQL", url, folder, wanted, say, postgres))
    return figures(found)


async def _on(
    name: str, url: str, folder: Path, amounts: Amounts, say: Say, postgres: int | None = None
) -> Measured:
    with phase(say, f"{name}: {amounts.enrollments:,} enrollments, {amounts.events:,} events"):
        filled = await asyncio.to_thread(fill, url, amounts, say)
    return await measure_filled(name, url, folder, amounts, filled, say, postgres)


async def measure_filled(
    name: str,
    url: str,
    folder: Path,
    amounts: Amounts,
    filled: Filled,
    say: Say,
    postgres: int | None = None,
) -> Measured:
    """Measure over a database that `fill` has filled; `postgres` is its process, if it has one."""
    measured = Measured(name)
    async with _serving(url, folder, amounts, filled, say, postgres) as served:
        [cookie] = await served.browsers(filled.managers[:1])
        async with httpx2.AsyncClient(base_url=served.base, cookies=cookie, timeout=60) as manager:
            pages = await pages_of(manager, filled)
        with phase(say, f"{name}: {len(pages)} pages, {2 * ROUNDS} times each"):
            for role, ids in (("rep", filled.reps), ("manager", filled.managers)):
                await _time(served, pages, role, list(islice(cycle(ids), ROUNDS)), measured)
        await _count(served, pages, measured)
        with phase(say, f"{name}: {listening.LISTENERS} listeners to the Live Feed"):
            cookies = await served.browsers(filled.managers)
            measured.heard_ms = await listening.slowest(served.base, served.store, cookies)
        with phase(say, f"{name}: the first page in Chromium"):
            await _paint(served, measured)
    return measured


@asynccontextmanager
async def _serving(
    url: str, folder: Path, amounts: Amounts, filled: Filled, say: Say, postgres: int | None
) -> AsyncIterator[_Served]:
    """Run the web application as a process, as `up` does, until the end of the block."""
    [port] = free_ports(1)
    settings = Settings(
        home=folder,
        database_url=url,
        reps=folder / "reps.yaml",
        base_url="",
        tracking_url="",
        secret_key="a-key-of-the-bench-that-signs-no-public-link",
        web_port=port,
        local_smtp="smtp://127.0.0.1:2525",
    )
    settings.reps.write_text(reps_file(amounts))
    (folder / "logs").mkdir(exist_ok=True)
    command = (sys.executable, "-m", "drumbeat.web")
    part = Part("web", command, environment_of(settings), ready_line="web ready")
    async with AsyncExitStack() as stack:
        processes: dict[str, int] = {}
        await stack.enter_async_context(running(part, folder / "logs", say, processes))
        base = f"http://127.0.0.1:{port}"
        store = await open_store(url)
        stack.push_async_callback(store.close)
        yield _Served(base, settings, store, filled, processes["web"], postgres)


async def pages_of(manager: httpx2.AsyncClient, filled: Filled) -> list[Page]:
    """The pages that are measured, with addresses that find something.

    Args:
        manager: The browser of somebody who sees everything.
        filled: What the tables hold.
    """
    second = {
        first: await _second(manager, first)
        for first in ("/tasks?rep=all", "/people", "/emails?tab=sent")
    }
    slugs = filled.campaigns
    return [
        Page("Tasks", ["/tasks"]),
        Page("Tasks of everybody, second page", [second["/tasks?rep=all"]]),
        Page("Tasks, filtered", [f"/tasks?campaign={slug}&kind=call" for slug in slugs]),
        Page("Tasks, search", ["/tasks?q=lovelace", "/tasks?q=nobody+at+all"]),
        Page("People", ["/people"]),
        Page("People, second page", [second["/people"]]),
        Page("People, filtered", [f"/people?campaign={slug}&state=blocked" for slug in slugs]),
        Page("People, rare reason", ["/people?reason=refused", "/people?state=in_doubt"]),
        Page("People, search", ["/people?q=turing", "/people?q=Company+2999", "/people?q=nobody"]),
        Page("A person", []),
        Page("Campaigns", ["/campaigns"]),
        Page("A campaign", [f"/campaigns/{slug}" for slug in slugs]),
        *(Page(f"Emails, {tab}", [f"/emails?tab={tab}"]) for tab in Tab),
        Page("Emails, second page", [second["/emails?tab=sent"]]),
        Page("Emails, search", ["/emails?tab=sent&q=turing", "/emails?tab=scheduled&q=nobody"]),
        Page("Live Feed", ["/feed"]),
        Page("Live Feed, one kind", [f"/feed?group={one}" for one in ("replies", "trouble")]),
    ]


async def _second(browser: httpx2.AsyncClient, first: str) -> str:
    answer = await _ask(browser, first)
    found = _NEXT.findall(answer.text)
    return found[-1].replace("&amp;", "&") if found else first


async def _ask(browser: httpx2.AsyncClient, address: str) -> httpx2.Response:
    answer = await browser.get(address)
    if answer.status_code != 200:
        raise BenchFailed(f"{address} answered {answer.status_code}")
    return answer


def address_of(page: Page, number: int, user: str, role: str, filled: Filled) -> str:
    """A page's address in a round, for a user of a role."""
    if page.addresses:
        return page.addresses[number % len(page.addresses)]
    own = [one for one, rep in islice(filled.people.items(), 5000) if role != "rep" or rep == user]
    return f"/people/{quote(own[number % len(own)])}"


async def _time(
    served: _Served, pages: Sequence[Page], role: str, ids: Sequence[str], measured: Measured
) -> None:
    """Each round asks for every page once, begun by another one; each round is another user's."""
    taken: dict[str, list[float]] = {page.title: [] for page in pages}
    used: dict[str, list[float]] = {page.title: [] for page in pages}
    cookies = await served.browsers(ids)
    async with httpx2.AsyncClient(base_url=served.base, timeout=60) as browser:
        for number, (user, cookie) in enumerate(zip(ids, cookies, strict=True)):
            browser.cookies.clear()
            browser.cookies.update(cookie)
            begin = number % len(pages)
            for page in (*pages[begin:], *pages[:begin]):
                address = address_of(page, number, user, role, served.filled)
                before, began = served.cpu(), time.perf_counter()
                await _ask(browser, address)
                taken[page.title].append((time.perf_counter() - began) * 1000)
                used[page.title].append(served.cpu() - before)
    for page in pages:
        measured.ms[page.title, role] = percentile(taken[page.title], 95)
        measured.cpu_ms[page.title, role] = percentile(used[page.title], 95)


async def _count(served: _Served, pages: Sequence[Page], measured: Measured) -> None:
    """Ask an application in this process, where its queries can be counted."""
    filled = served.filled
    async with open_site(served.settings) as site:
        for role, [one, *_] in (("rep", filled.reps), ("manager", filled.managers)):
            cookie = {cookie_name(site): await signing.open_session(site.store, one)}
            transport = httpx2.ASGITransport(create_app(site), client=("192.0.2.7", 1234))
            async with httpx2.AsyncClient(
                transport=transport, base_url=served.base, cookies=cookie
            ) as browser:
                for page in pages:
                    address = address_of(page, 0, one, role, filled)
                    await _ask(browser, address)  # a version of a campaign is read once
                    site.figures.clear()
                    with counting() as made:
                        await _ask(browser, address)
                    measured.queries[page.title] = max(
                        measured.queries.get(page.title, 0), len(made)
                    )


@contextmanager
def counting() -> Iterator[list[str]]:
    """The statements that this process makes while the block lasts.

    Not counted is what begins and ends a transaction, and the look at PostgreSQL's clock.
    """
    made: list[str] = []

    def note(*given: Any) -> None:
        statement = str(given[2])
        if not statement.startswith(("BEGIN", "SELECT clock_timestamp()")):
            made.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield made
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def _paint(served: _Served, measured: Measured) -> None:
    """Open the first page in a browser that knows nothing yet: its bytes, its largest paint."""
    cookies = await served.browsers(served.filled.reps[:PAINTS])
    paints: list[float] = []
    try:
        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox"]
            )
            for cookie in cookies:
                context = await chromium.new_context(viewport={"width": 1440, "height": 900})
                [(name, value)] = cookie.items()
                await context.add_cookies([{"name": name, "value": value, "url": served.base}])
                page = await context.new_page()
                answers: list[Response] = []

                def keep(answer: Response, kept: list[Response] = answers) -> None:
                    kept.append(answer)

                page.on("response", keep)
                await page.goto(f"{served.base}/tasks", wait_until="load")
                paints.append(await page.evaluate(_LARGEST_PAINT))
                sizes = [
                    (await one.request.sizes())["responseBodySize"]
                    for one in answers
                    if _is_counted(one)
                ]
                measured.first_bytes = max(measured.first_bytes, sum(sizes))
                await context.close()
            await chromium.close()
    except BrowserError as error:
        raise BenchFailed(f"Chromium: {error.message.splitlines()[0]}") from error
    measured.paint_ms = percentile(paints, 50)


_LARGEST_PAINT = """() => new Promise(done => {
  new PerformanceObserver(seen => done(seen.getEntries().at(-1).startTime))
    .observe({type: "largest-contentful-paint", buffered: true});
})"""


def _is_counted(answer: Response) -> bool:
    return answer.ok and answer.request.resource_type in ("document", "stylesheet", "script")


def figures(found: Sequence[Measured]) -> list[Figure]:
    """One figure for each page, then what holds for all of them."""
    shown = []
    for title in dict.fromkeys(title for one in found for title, _ in one.ms):
        numbers = {
            f"{one.name.lower()}_{role}_ms": one.ms[title, role]
            for one in found
            for role in ("rep", "manager")
        }
        numbers |= {
            f"{one.name.lower()}_{role}_cpu_ms": one.cpu_ms[title, role]
            for one in found
            for role in ("rep", "manager")
        }
        measured = "; ".join(
            f"{one.name} {one.ms[title, 'rep']:.0f}, {one.ms[title, 'manager']:.0f} ms "
            f"(CPU {one.cpu_ms[title, 'rep']:.0f}, {one.cpu_ms[title, 'manager']:.0f})"
            for one in found
        )
        queries = max(one.queries[title] for one in found)
        slowest = max(value for one in found for value in one.times(title))
        reached = slowest < AIM_MS and queries <= AIM_QUERIES
        shown.append(
            Figure(
                name=NAME,
                title=title,
                measured=f"{measured}; {queries} queries",
                floor="",
                aim=f"{AIM_MS} ms, {AIM_QUERIES} queries",
                reached=reached,
                bound="p95 of a rep's and of a manager's, on the machine itself, by HTTP.",
                numbers={**numbers, "queries": queries},
            )
        )
    shown.append(
        _of_all("bytes of the first page", found, lambda one: one.first_bytes, AIM_BYTES, "bytes")
    )
    shown.append(
        _of_all("largest contentful paint", found, lambda one: one.paint_ms, AIM_PAINT_MS, "ms")
    )
    title = f"an event reaches {listening.LISTENERS} listeners"
    shown.append(_of_all(title, found, lambda one: one.heard_ms, listening.AIM_MS, "ms"))
    return shown


def _of_all(
    title: str,
    found: Sequence[Measured],
    number: Callable[[Measured], float],
    aim: float,
    unit: str,
) -> Figure:
    return Figure(
        name=NAME,
        title=title,
        measured="; ".join(f"{one.name} {number(one):,.0f} {unit}" for one in found),
        floor="",
        aim=f"{aim:,.0f} {unit}",
        reached=max(number(one) for one in found) < aim,
        bound=_BOUNDS[title.split(maxsplit=1)[0]],
        numbers={f"{one.name.lower()}_{unit}": number(one) for one in found},
    )


_BOUNDS = {
    "bytes": "HTML, style sheet and scripts of Tasks, as they travel, compressed.",
    "largest": "Tasks in Chromium with an empty cache, on the machine itself; the middle of five.",
    "an": "The application looks for new events every half second, once for all listeners.",
}
