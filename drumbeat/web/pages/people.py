"""People: who is in which campaign, and one page for each."""

import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Row

from drumbeat.actions import access, mending, people, steering
from drumbeat.actions.errors import ActionError
from drumbeat.actions.people import EnrollmentShown, EventShown, PersonShown
from drumbeat.actions.signing import User
from drumbeat.campaign import calendar
from drumbeat.campaign.calendar import Plan, Standing
from drumbeat.campaign.states import MessageState, Outcome, State, Why, WhyCode, explain
from drumbeat.store import campaigns
from drumbeat.store.lists import people as listing
from drumbeat.store.users import Role
from drumbeat.temporal.client import TemporalUnreachable
from drumbeat.web.beats import Beat, beats
from drumbeat.web.site import Site, TheSite, TheUser, page

router = APIRouter(prefix="/people")
Text = Annotated[str, Form()]
_SAID = ("held", "released", "ended", "mended", "retried")
_FIELDS = ("first_name", "last_name", "title", "company", "phone", "linkedin")
_OVER = ("sent", "sent_elsewhere", "task_completed", "task_skipped", "step_skipped", "resolved")


@dataclass(frozen=True, slots=True)
class Stands:
    """Where a person stands in one campaign, for a row of the list."""

    campaign: str
    slug: str
    state: str
    outcome: str | None
    why: str | None
    next_at: datetime | None
    zone: ZoneInfo
    rep: str
    beats: tuple[Beat, ...]


@dataclass(frozen=True, slots=True)
class Next:
    """A step to come, for the person's page."""

    number: int
    kind: str
    label: str
    is_now: bool
    is_task: bool
    follow_up: bool
    on: date
    at: datetime | None


@router.get("")
async def show_list(request: Request, site: TheSite, user: TheUser) -> HTMLResponse:
    """People, with where they stand."""
    given = request.query_params
    names = ("q", "campaign", "state", "reason", "rep", "step", "outcome")
    filters = {name: given[name].strip()[:200] for name in names if given.get(name, "").strip()}
    if not re.fullmatch("[0-9]{1,4}", filters.get("step", "")):
        filters.pop("step", None)
    if filters.get("outcome") not in list(Outcome):
        filters.pop("outcome", None)
    which = listing.wanted_enrollments(
        access.own_enrollments(user),
        **{name: filters.get(name) for name in ("campaign", "state", "reason", "rep", "outcome")},
        step=int(filters["step"]) if filters.get("step") else None,
    )
    is_filtered = any(name in filters for name in names[1:])
    async with site.store.read() as tx:
        rows = await listing.page(
            tx,
            access.own_people(user),
            which if is_filtered else None,
            search=filters.get("q"),
            after=given.get("after") or None,
        )
        standings = await listing.standings(tx, which, [row.id for row in rows])
        known = await campaigns.every(tx)
    by_person: dict[str, list[Stands]] = {}
    for row in standings:
        by_person.setdefault(row.person_id, []).append(_standing(row))
    return await page(
        request,
        user,
        "people.html",
        section="people",
        people=[(row, by_person.get(row.id, [])) for row in rows],
        filters=filters,
        campaigns=known,
        states=tuple(State),
        reasons=tuple(WhyCode),
        reps=_reps(site, user),
        next=rows[-1].email if len(rows) == listing.PAGE else None,
        address=lambda **changes: "/people?" + urlencode({**filters, **changes}),
        after=given.get("after"),
        q=filters.get("q"),
    )


@router.get("/{person_id}")
async def show(
    request: Request, site: TheSite, user: TheUser, person_id: str, campaign: str | None = None
) -> HTMLResponse:
    """One person: the sentence, what comes next, and everything that happened."""
    return await _person(request, site, user, person_id, campaign)


@router.post("/{person_id}/hold")
async def hold(
    request: Request,
    site: TheSite,
    user: TheUser,
    person_id: str,
    campaign: Text = "",
    until: Text = "",
    reason: Text = "",
) -> Response:
    """Let nothing open or leave for a person, in one campaign or in all."""
    doing = steering.hold(
        site.desk(user),
        await _address(site, user, person_id),
        campaign or None,
        until=until or None,
        reason=reason or None,
    )
    return await _do(request, site, user, person_id, campaign, "held", doing)


@router.post("/{person_id}/release")
async def release(
    request: Request, site: TheSite, user: TheUser, person_id: str, campaign: Text = ""
) -> Response:
    """Let it go on."""
    address = await _address(site, user, person_id)
    doing = steering.release(site.desk(user), address, campaign or None)
    return await _do(request, site, user, person_id, campaign, "released", doing)


@router.post("/{person_id}/end")
async def end(
    request: Request,
    site: TheSite,
    user: TheUser,
    person_id: str,
    campaign: Text = "",
    success: Text = "",
    reason: Text = "",
) -> Response:
    """Remove a person from a campaign, or from all."""
    doing = steering.end(
        site.desk(user),
        await _address(site, user, person_id),
        campaign or None,
        success=success == "yes",
        reason=reason or None,
    )
    return await _do(request, site, user, person_id, campaign, "ended", doing)


@router.post("/{person_id}/retry")
async def retry(
    request: Request, site: TheSite, user: TheUser, person_id: str, campaign: Text = ""
) -> Response:
    """Try the failed or blocked step again."""
    address = await _address(site, user, person_id)

    async def doing() -> object:
        desk = site.desk(user)
        return await steering.retry(desk, await steering.case_of(desk, address, campaign or None))

    return await _do(request, site, user, person_id, campaign, "retried", doing())


@router.post("/{person_id}/mend")
async def mend(request: Request, site: TheSite, user: TheUser, person_id: str) -> Response:
    """Change a person's data; what waits for it goes on."""
    address = await _address(site, user, person_id)
    form = await request.form(max_files=0, max_fields=300)
    campaign = str(form.get("campaign", ""))
    fields = {
        name.removeprefix("field_"): str(value)
        for name, value in form.items()
        if name.startswith("field_")
    }
    doing = mending.mend(site.desk(user), address, fields)
    return await _do(request, site, user, person_id, campaign, "mended", doing)


async def _person(
    request: Request,
    site: Site,
    user: User,
    person_id: str,
    campaign: str | None,
    *,
    status: int = 200,
    trouble: str | None = None,
) -> HTMLResponse:
    async with site.store.read() as tx:
        row = await access.person(tx, user, person_id)
        now = await site.store.now(tx)
        # A rep sees the campaigns of other reps' work by name only where they may see them.
        person = await people.show_row(tx, row, now, own=access.own_enrollments(user))
        shown = list(person.enrollments)
        names = {one.campaign: one.campaign_name for one in shown}
        first = shown[0] if shown else None
        chosen = next((one for one in shown if one.campaign == campaign), first)
        titles: dict[int, str] = {}
        if chosen is not None:
            version = await campaigns.load(tx, chosen.version)
            titles = {number: step.called for number, _, step in version.steps}
    happened = _timeline(chosen) if chosen else []
    said = request.query_params.get("said")
    return await page(
        request,
        user,
        "person.html",
        status=status,
        section="people",
        person=person,
        called=name_of(person),
        enrollments=shown,
        chosen=chosen,
        names=names,
        tracks={one.id: _track(one) for one in shown},
        coming=_coming(chosen, chosen.standing) if chosen else [],
        titles=titles,
        days=happened,
        sent={m.step: m for m in chosen.messages} if chosen else {},
        why=explain(chosen.why) if chosen and chosen.why else None,
        there=chosen.zone if chosen else None,
        known_fields=_FIELDS,
        others=sorted(set(person.fields) - set(_FIELDS)),
        missing=_missing(chosen),
        counts=_counts(shown),
        said=said if said in _SAID else None,
        trouble=trouble,
        can_retry=chosen is not None and chosen.state in (State.FAILED, State.BLOCKED),
    )


def name_of(person: PersonShown) -> str:
    """How a person is called: the name, else the address."""
    names = (person.fields.get("first_name", ""), person.fields.get("last_name", ""))
    return " ".join(filter(None, names)) or person.email


def _standing(row: Row[Any]) -> Stands:
    plan = Plan.model_validate_json(row.plan)
    return Stands(
        campaign=row.campaign_name,
        slug=row.campaign,
        state=row.state,
        outcome=row.outcome,
        why=explain(Why.model_validate(row.why)) if row.why and not row.ended_at else None,
        next_at=row.next_at,
        zone=plan.zone,
        rep=row.rep_name,
        beats=beats(plan, None if row.ended_at else row.step),
    )


def _track(one: EnrollmentShown) -> tuple[Beat, ...]:
    skipped = {event.step for event in one.events if event.what in ("step_skipped", "task_skipped")}
    return beats(one.plan, None if one.ended_at else one.step, {s for s in skipped if s})


def _coming(one: EnrollmentShown, standing: str) -> list[Next]:
    """The steps that are not over, each at its place in the calendar as it stands now."""
    if one.ended_at is not None:
        return []
    place = Standing.model_validate_json(standing)
    over = {event.step for event in one.events if event.what in _OVER}
    coming = []
    for step in one.plan.steps:
        if step.number in over:
            continue
        slot = calendar.slot(one.plan, place, step)
        is_now = step.number == one.step
        at = slot.at if step.is_automatic and slot.clock is not None else None
        coming.append(
            Next(
                number=step.number,
                kind=step.kind,
                label=step.label or step.kind,
                is_now=is_now,
                is_task=step.is_task,
                follow_up=step.follow_up,
                on=slot.on,
                at=(one.next_at or at) if is_now and step.is_automatic else at,
            )
        )
    return coming


def _timeline(one: EnrollmentShown) -> list[tuple[date, list[EventShown]]]:
    """What happened, newest day first, newest first."""
    days: dict[date, list[EventShown]] = {}
    for event in sorted(one.events, key=lambda event: event.at, reverse=True):
        days.setdefault(event.at.astimezone(one.zone).date(), []).append(event)
    return list(days.items())


def _missing(one: EnrollmentShown | None) -> tuple[str, ...]:
    """The tokens for which the enrollment waits."""
    if one is None or one.why is None or one.why.code is not WhyCode.MISSING_DATA:
        return ()
    return tuple(filter(None, one.why.detail.split(", ")))


def _counts(shown: Sequence[EnrollmentShown]) -> dict[str, int]:
    emails = [message for one in shown for message in one.messages]
    done = [e for one in shown for e in one.events if e.what == "task_completed"]
    return {
        "sent": sum(1 for message in emails if message.state == MessageState.SENT),
        "done": len(done),
        "open": sum(1 for one in shown if one.task is not None),
    }


def _reps(site: Site, user: User) -> list[tuple[str, str]]:
    if not user.may_as(Role.MANAGER):
        return []
    return [(site.reps.id_of(rep), rep.name) for rep in site.reps]


async def _address(site: Site, user: User, person_id: str) -> str:
    async with site.store.read() as tx:
        return str((await access.person(tx, user, person_id)).email)


async def _do(
    request: Request,
    site: Site,
    user: User,
    person_id: str,
    campaign: str,
    said: str,
    doing: Awaitable[object],
) -> Response:
    try:
        await doing
    except (ActionError, TemporalUnreachable) as error:
        return await _person(
            request, site, user, person_id, campaign or None, status=409, trouble=str(error)
        )
    site.figures.pop(user.id, None)
    query = {"said": said, **({"campaign": campaign} if campaign else {})}
    return RedirectResponse(f"/people/{person_id}?{urlencode(query)}", 303)
