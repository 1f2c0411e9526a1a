"""Campaigns: all of them by category, and each with its figures, calendar, steps and people."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions import access, campaign_uploads, campaigns
from drumbeat.actions.campaign_uploads import Checked
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.signing import User
from drumbeat.store import campaigns as table
from drumbeat.store.lists import campaigns as lists
from drumbeat.store.users import Role
from drumbeat.web.campaign_view import FigureCache, calendar_shown, steps_shown
from drumbeat.web.site import Site, TheSite, TheUser, page
from drumbeat.web.texts import texts
from drumbeat.web.uploading import uploaded

router = APIRouter(prefix="/campaigns")

ACTIONS = ("hold", "release", "end", "retry", "archive", "unarchive")
"""What a manager can do to a whole campaign; each asks before."""
LARGEST_REASON = 500

Text = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a manager typed into a form of `ACTIONS`."""

    until: str = ""
    reason: str = ""
    success: str = ""


@router.get("")
async def show_all(
    request: Request,
    site: TheSite,
    user: TheUser,
    q: str = "",
    show: str = "",
    after: str | None = None,
) -> HTMLResponse:
    """All campaigns by category."""
    wanted = lists.Wanted(q.strip()[:200], show == "archived", after)
    async with site.store.read() as tx:
        now = await site.store.now(tx)
        rows = await lists.page(tx, access.own_enrollments(user), now, wanted)
        others = await lists.count(tx, wanted.text, is_archived=not wanted.is_archived)
    shown = rows[: lists.PAGE]
    groups = [
        (category, list(of_it))
        for category, of_it in groupby(shown, key=lambda row: row.category or "")
    ]
    return await page(
        request,
        user,
        "campaigns.html",
        section="campaigns",
        groups=groups,
        wanted=wanted,
        others=others,
        next=shown[-1].slug if len(rows) > lists.PAGE else None,
        is_manager=user.may_as(Role.MANAGER),
    )


@router.get("/_new")
async def show_new(request: Request, site: TheSite, user: TheUser, of: str = "") -> HTMLResponse:
    """Where a campaign file is uploaded."""
    access.require(user, Role.MANAGER)
    return await _new(request, user, of=of)


@router.post("/_new")
async def take_new(request: Request, site: TheSite, user: TheUser) -> Response:
    """Check an uploaded campaign, and store it where it has no faults."""
    access.require(user, Role.MANAGER)
    async with uploaded(request, user) as sent:
        of = sent.fields.get("of", "")
        try:
            if sent.content is None:
                raise ActionError(texts()("campaigns.no_file"))
            checked = await campaign_uploads.check(sent.name, sent.content)
            campaign = checked.reading.campaign
            if campaign is not None and of and campaign.slug != of:
                raise ActionError(
                    texts()("campaigns.other_campaign", slug=campaign.slug, wanted=of)
                )
        except ActionError as error:
            return await _new(request, user, of=of, status=409, trouble=str(error))
        if campaign is None:
            return await _new(request, user, of=of, status=409, checked=checked)
        slug = await campaign_uploads.store(site.desk(user), checked)
    if checked.warnings:
        return await _new(request, user, of=of, checked=checked, stored=slug)
    return RedirectResponse(f"/campaigns/{slug}?said=stored", 303)


async def _new(
    request: Request,
    user: User,
    *,
    of: str,
    status: int = 200,
    trouble: str | None = None,
    checked: Checked | None = None,
    stored: str | None = None,
) -> HTMLResponse:
    return await page(
        request,
        user,
        "campaign_new.html",
        status=status,
        section="campaigns",
        of=of,
        trouble=trouble,
        checked=checked,
        stored=stored,
        most_files=campaign_uploads.MOST_FILES,
        most_mb=campaign_uploads.MOST_BYTES // 1_000_000,
    )


@router.get("/{slug}")
async def show(
    request: Request, site: TheSite, user: TheUser, slug: str, said: str = "", n: int = 0
) -> HTMLResponse:
    """One campaign."""
    async with site.store.read() as tx:
        values = await _read(request, site, user, tx, slug)
    return await page(request, user, "campaign.html", said=_said(said, n), **values)


@router.get("/{slug}/{action}")
async def ask(
    request: Request, site: TheSite, user: TheUser, slug: str, action: str
) -> HTMLResponse:
    """The form of an action as a page of its own, where no script runs."""
    if action not in ACTIONS:
        raise NotFound("there is no such page")
    access.require(user, Role.MANAGER)
    return await _ask(request, site, user, slug, action, Asked())


@router.post("/{slug}/{action}")
async def act(
    request: Request,
    site: TheSite,
    user: TheUser,
    slug: str,
    action: str,
    until: Text = "",
    reason: Text = "",
    success: Text = "",
) -> Response:
    """Hold, release, end, retry, archive a campaign, or bring it back."""
    if action not in ACTIONS:
        raise NotFound("there is no such page")
    access.require(user, Role.MANAGER)
    asked = Asked(until, reason[:LARGEST_REASON], success)
    async with site.store.read() as tx:
        await _found(tx, slug)
    try:
        number = await _act(site, user, slug, asked)[action]()
    except ActionError as error:
        return await _ask(request, site, user, slug, action, asked, str(error))
    _cache(request).forget(slug)
    return RedirectResponse(f"/campaigns/{slug}?said={action}&n={number}", 303)


def _act(
    site: Site, user: User, slug: str, asked: Asked
) -> dict[str, Callable[[], Awaitable[int]]]:
    desk = site.desk(user)
    reason = asked.reason.strip() or None

    async def hold() -> int:
        told, _, _ = await campaigns.hold(
            desk, slug, until=asked.until.strip() or None, reason=reason
        )
        return told.enrollments

    async def release() -> int:
        return (await campaigns.release(desk, slug, reason=reason)).enrollments

    async def end() -> int:
        is_success = asked.success == "yes"
        return (await campaigns.end(desk, slug, success=is_success, reason=reason)).enrollments

    async def retry() -> int:
        return (await campaigns.retry(desk, slug)).enrollments

    async def archive() -> int:
        await campaigns.archive(desk, slug, undo=False)
        return 0

    async def unarchive() -> int:
        await campaigns.archive(desk, slug, undo=True)
        return 0

    acts = (hold, release, end, retry, archive, unarchive)
    return dict(zip(ACTIONS, acts, strict=True))


async def _ask(
    request: Request,
    site: Site,
    user: User,
    slug: str,
    action: str,
    asked: Asked,
    trouble: str | None = None,
) -> HTMLResponse:
    async with site.store.read() as tx:
        values = await _read(request, site, user, tx, slug)
    status = 200 if trouble is None else 409
    return await page(
        request,
        user,
        "campaign_ask.html",
        status=status,
        action=action,
        asked=asked,
        trouble=trouble,
        **values,
    )


async def _read(
    request: Request, site: Site, user: User, tx: AsyncConnection, slug: str
) -> dict[str, Any]:
    """What the page of a campaign shows."""
    row = await _found(tx, slug)
    now = await site.store.now(tx)
    campaign = await table.load(tx, row.version) if row.version else None
    figures = await _cache(request).read(tx, user, slug, now)
    held = await lists.holds_of(tx, slug, now)
    rep = site.reps.by_id(user.id) or next(iter(site.reps), None)
    rep_zone = rep.timezone if rep is not None else None
    stuck = sum(number for state, number in figures.running if state in ("failed", "blocked"))
    return {
        "section": "campaigns",
        "row": row,
        "campaign": campaign,
        "figures": figures,
        "held": held,
        "stuck": stuck,
        "steps": steps_shown(campaign, figures),
        "calendar": calendar_shown(campaign, now, rep_zone) if campaign is not None else None,
        "is_manager": user.may_as(Role.MANAGER),
    }


async def _found(tx: AsyncConnection, slug: str) -> Row[Any]:
    row = await lists.one(tx, slug)
    if row is None:
        raise NotFound(f"there is no campaign {slug}")
    return row


def _said(said: str, number: int) -> str | None:
    """The word on what was done, which stands in the address after it."""
    if said not in (*ACTIONS, "stored"):
        return None
    t = texts()
    if said in ("hold", "release", "end", "retry"):
        return t(f"campaigns.said_{said}", people=counted("people", max(number, 0)))
    return t(f"campaigns.said_{said}")


def counted(what: str, number: int) -> str:
    """A number with its noun: `1 person`, `1,240 people`."""
    return texts()(f"campaigns.{what}_{'one' if number == 1 else 'many'}", n=f"{number:,}")


def _cache(request: Request) -> FigureCache:
    state = request.app.state
    if not hasattr(state, "campaign_figures"):
        state.campaign_figures = FigureCache()
    cache: FigureCache = state.campaign_figures
    return cache
