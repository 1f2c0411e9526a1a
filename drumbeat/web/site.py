"""What every page works with: the site's parts, who is signed in, and the shell around a page."""

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from jinja2 import pass_context
from jinja2.runtime import Context
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from activities.letters import Letters
from drumbeat.actions import access
from drumbeat.actions.desk import Desk
from drumbeat.actions.signing import User, whose_session
from drumbeat.mail.links import Links
from drumbeat.reps import Reps
from drumbeat.store.engine import Store
from drumbeat.store.lists import shell
from drumbeat.store.schema import reps
from drumbeat.web.beats import track
from drumbeat.web.texts import texts

HERE = Path(__file__).parent
PAGES = Jinja2Templates(HERE / "templates")
FRESH_FOR = timedelta(seconds=5)
"""The figures of the shell are counted anew after that: none is more than 10 s old."""


@dataclass(frozen=True, slots=True)
class Site:
    """The parts of the web application."""

    store: Store
    links: Links
    reps: Reps
    letters: Letters
    connect: Callable[[], Awaitable[Client]]
    """Gives the open connection to Temporal."""
    task_queue: str = "drumbeat"
    is_secure: bool = False
    """Behind https: cookies travel over that only."""
    host_user: str | None = None
    """Under `up`: the address of who is signed in on this machine without a password."""
    temporal_ui: str | None = None
    uploads: Path = Path("var/uploads")
    """Where people files lie between the screens of enrolling."""
    figures: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)

    def desk(self, user: User) -> Desk:
        """From where a user acts."""
        return Desk(self.store, self.connect, user.email)


class SignInFirst(Exception):
    """Nobody is signed in: the answer is the way to the sign-in page."""


def site_of(request: Request) -> Site:
    """The site's parts."""
    site: Site = request.app.state.site
    return site


def cookie_name(site: Site) -> str:
    """The session's cookie; behind https no other host and no other path can set it."""
    return "__Host-drumbeat" if site.is_secure else "drumbeat"


async def signed_in(request: Request) -> User:
    """Who asks.

    Raises:
        SignInFirst: Nobody is signed in, or the session is over.
    """
    site = site_of(request)
    cookie = request.cookies.get(cookie_name(site))
    user = await whose_session(site.store, cookie) if cookie else None
    if user is None:
        raise SignInFirst
    return user


TheSite = Annotated[Site, Depends(site_of)]
TheUser = Annotated[User, Depends(signed_in)]


async def page(
    request: Request, user: User, name: str, *, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page within the shell: its template gets `user`, `shell`, `zone`, `now` and the values."""
    site = site_of(request)
    around = await _figures(site, user)
    given = {"user": user, "shell": around, "zone": around["zone"], "now": around["now"], **values}
    return PAGES.TemplateResponse(request, name, given, status_code=status)


def part(request: Request, user: User, name: str, **values: Any) -> HTMLResponse:
    """A piece of a page, for htmx: without the shell and its figures."""
    return PAGES.TemplateResponse(request, name, {"user": user, **values})


def is_htmx(request: Request) -> bool:
    """Whether htmx asks, and wants a piece instead of a page."""
    return request.headers.get("HX-Request") == "true"


async def _figures(site: Site, user: User) -> dict[str, Any]:
    """What the shell shows: open tasks, emails that need a decision, the mailbox's use."""
    known = site.figures.get(user.id)
    if known is not None and time.monotonic() - known[0] < FRESH_FOR.total_seconds():
        return known[1]
    async with site.store.read() as tx:
        now = await site.store.now(tx)
        row = await shell.figures(tx, access.own_messages(user), user.id, now)
    figures = {
        "now": now,
        "zone": ZoneInfo(row.zone or "UTC"),
        "tasks": row.tasks,
        "undecided": row.undecided,
        "mailbox": _mailbox(site, user, row),
    }
    if len(site.figures) > 1000:
        site.figures.clear()
    site.figures[user.id] = (time.monotonic(), figures)
    return figures


def _mailbox(site: Site, user: User, row: Row[Any]) -> dict[str, Any] | None:
    rep = site.reps.by_id(user.id)
    if rep is None:
        return None
    return {
        "address": rep.email,
        "used": row.used,
        "waiting": row.waiting,
        "most": rep.mailbox.daily,
        "batch": rep.mailbox.batch,
        "held": row.is_held,
    }


async def zone_of(tx: AsyncConnection, user: User) -> ZoneInfo:
    """Where a user is; UTC where nothing says so."""
    name = (await tx.execute(select(reps.c.timezone).where(reps.c.id == user.id))).scalar()
    return ZoneInfo(name or "UTC")


# What templates use


@pass_context
def _local(context: Context, at: datetime | None, zone: ZoneInfo | None = None) -> str:
    """`Tue 24 Nov, 15:04`; the year where it is another one."""
    if at is None:
        return ""
    there = at.astimezone(zone or context["zone"])
    today = context["now"].astimezone(there.tzinfo)
    year = "" if there.year == today.year else f" {there.year}"
    return f"{there:%a} {there.day} {there:%b}{year}, {there:%H:%M}"


def city(zone: ZoneInfo) -> str:
    """How a zone is called on a page: `New York`.

    >>> city(ZoneInfo("America/New_York"))
    'New York'
    """
    return zone.key.rsplit("/", 1)[-1].replace("_", " ")


def initials(name: str) -> str:
    """The first letters of the first and the last name.

    >>> initials("Grace Brewster Hopper")
    'GH'
    """
    words = name.split()
    return "".join(word[0].upper() for word in (words[:1] + words[1:][-1:]))


def octets(size: int) -> str:
    """How large a file is, as people read it.

    >>> octets(12), octets(183_700), octets(1_250_000)
    ('1 kB', '184 kB', '1.2 MB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 999_500 else f"{max(size / 1000, 1):.0f} kB"


@cache
def static(name: str) -> str:
    """The address of a file under `static/`; it changes with the file, so that it is kept long.

    >>> static("mark.svg").startswith("/static/mark.svg?v=")
    True
    """
    content = (HERE / "static" / name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


PAGES.env.globals.update(t=texts(), beat_track=track, static=static)
PAGES.env.filters.update(local=_local, city=city, initials=initials, octets=octets)
