"""The Live Feed: what happened, as it happens, and the tasks due today and tomorrow."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from sqlalchemy import Row

from drumbeat.actions import access
from drumbeat.actions.signing import User
from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.record import What
from drumbeat.store.lists import feed
from drumbeat.store.lists.queue import due_between
from drumbeat.web.beats import Beat, beats
from drumbeat.web.feeding import Feed
from drumbeat.web.site import PAGES, Site, TheSite, TheUser, page, zone_of

router = APIRouter(prefix="/feed")

_ICONS = {
    What.ENROLLED: "people",
    What.SENT: "send",
    What.SENT_ELSEWHERE: "send",
    What.BLOCKED: "ban",
    What.FAILED: "alert",
    What.IN_DOUBT: "doubt",
    What.NOT_SENT: "ban",
    What.REPLIED: "reply",
    What.BOUNCED: "bounce",
    What.UNSUBSCRIBED: "out",
    What.HELD: "pause",
    What.RELEASED: "clock",
    What.ENDED: "stop",
    What.MENDED: "check",
    What.RETRIED: "send",
    What.RESOLVED: "check",
}
_TASKS = "tasks"
_MOST_RENDERED = 500


@dataclass(frozen=True, slots=True)
class Shown:
    """An event as the page shows it."""

    id: int
    at: datetime
    icon: str
    person_id: str
    name: str
    what: What
    step: str
    """What the step is called; empty where the event is about none."""
    number: int | None
    actor: str | None
    detail: dict[str, str]
    campaign: str
    slug: str | None
    beats: tuple[Beat, ...]


@router.get("")
async def show(
    request: Request,
    site: TheSite,
    user: TheUser,
    group: str | None = None,
    before: int | None = None,
    tab: str = "events",
) -> HTMLResponse:
    """What happened so far; the page then listens for what happens."""
    known = group if group in feed.GROUPS else None
    async with site.store.read() as tx:
        newest = await feed.newest(tx)
        rows = await feed.page(tx, access.own_events(user), group=known, before=before)
        now, zone = await site.store.now(tx), await zone_of(tx, user)
        today = now.astimezone(zone).date()
        tasks = await due_between(
            tx, access.own_tasks(user), user.id, today, today + timedelta(days=1)
        )
    return await page(
        request,
        user,
        "feed.html",
        section="feed",
        days=_by_day([shown(row) for row in rows], zone),
        newest=newest,
        next=rows[-1].id if len(rows) == feed.PAGE else None,
        group=known,
        groups=tuple(feed.GROUPS),
        before=before,
        tab=tab,
        tasks=tasks,
        today=today,
    )


@router.get("/events")
async def events(
    request: Request, site: TheSite, user: TheUser, after: int, group: str | None = None
) -> StreamingResponse:
    """A stream of rows for the page's list, as server-sent events.

    The number of each event goes with it, and comes back where the connection was lost.
    """
    last = request.headers.get("Last-Event-ID", "")
    start = int(last) if last.isdigit() else after
    async with site.store.read() as tx:
        zone = await zone_of(tx, user)
    live = _feed_of(request, site)
    return StreamingResponse(
        _stream(live, user, zone, start, group),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _stream(
    live: Feed, user: User, zone: ZoneInfo, start: int, group: str | None
) -> AsyncGenerator[str, None]:
    yield "retry: 2000\n: open\n\n"
    async with aclosing(live.listen(start)) as batches:
        async for batch in batches:
            if not batch:
                yield ": quiet\n\n"
            for text in _messages(batch, user, zone, group, live.rendered):
                yield text


def _messages(
    batch: Sequence[Row[Any]],
    user: User,
    zone: ZoneInfo,
    group: str | None,
    rendered: dict[tuple[int, str], str],
) -> Iterator[str]:
    template = PAGES.get_template("feed_row.html")
    for row in batch:
        if access.sees(user, row.rep_id) and _is_in(group, row.what):
            lines = rendered.get((row.id, zone.key))
            if lines is None:
                html = template.render(event=shown(row), zone=zone, now=row.at, fresh=True)
                lines = "".join(f"data: {line}\n" for line in html.splitlines() if line.strip())
                if len(rendered) > _MOST_RENDERED:
                    rendered.clear()
                rendered[row.id, zone.key] = lines
            yield f"id: {row.id}\n{lines}\n"
        else:
            # Its number all the same: what was not for this user is not asked for again.
            yield f"id: {row.id}\nevent: passed\ndata:\n\n"


def _feed_of(request: Request, site: Site) -> Feed:
    state = request.app.state
    if not hasattr(state, "feed"):
        state.feed = Feed(site.store)
    live: Feed = state.feed
    return live


def _is_in(group: str | None, what: str) -> bool:
    return group not in feed.GROUPS or what in feed.GROUPS[group or ""]


def shown(row: Row[Any]) -> Shown:
    """An event from its row."""
    what = What(row.what)
    plan = Plan.model_validate_json(row.plan) if row.plan else None
    names = (row.fields.get("first_name", ""), row.fields.get("last_name", ""))
    step = plan.step(row.step) if plan is not None and row.step else None
    return Shown(
        id=row.id,
        at=row.at,
        icon=_ICONS.get(what, _TASKS),
        person_id=row.person_id,
        name=" ".join(filter(None, names)) or row.email,
        what=what,
        step=(step.label or step.kind) if step is not None else "",
        number=row.step,
        actor=row.actor,
        detail=dict(row.detail),
        campaign=row.campaign_name or row.campaign or "",
        slug=row.campaign,
        beats=beats(plan, row.step) if plan is not None else (),
    )


def _by_day(events: list[Shown], zone: ZoneInfo) -> list[tuple[date, list[Shown]]]:
    days: dict[date, list[Shown]] = {}
    for event in events:
        days.setdefault(event.at.astimezone(zone).date(), []).append(event)
    return list(days.items())
