"""Emails: what waits, what left, and what somebody has to decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Row

from drumbeat.actions import access, steering
from drumbeat.actions.asking import Answer
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.signing import User
from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.states import MessageState, Why, WhyCode, explain
from drumbeat.store import campaigns
from drumbeat.store.lists import emails
from drumbeat.store.lists.emails import Tab
from drumbeat.store.users import Role
from drumbeat.temporal.client import TemporalUnreachable
from drumbeat.web.beats import Beat, beats
from drumbeat.web.cursors import pack, unpack
from drumbeat.web.site import Site, TheSite, TheUser, page

_SAID = ("retried", "skipped", "resolved", "moved", "edited", "not_yet_shown")
"""What was done; the address names it, the texts word it."""

router = APIRouter(prefix="/emails")
Text = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class Email:
    """An email as the list shows it."""

    id: str
    enrollment_id: str
    step: int
    person_id: str
    name: str
    company: str
    title: str
    """Its subject, or its template's name where it was not rendered yet."""
    state: str
    why: str | None
    words: str | None
    """The mail server's."""
    at: datetime | None
    zone: ZoneInfo
    campaign: str
    slug: str
    rep: str
    beats: tuple[Beat, ...]
    steps: int
    is_automatic: bool
    is_running: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the address asks for."""

    tab: Tab
    campaign: str | None = None
    rep: str | None = None
    reason: str | None = None
    search: str | None = None
    after: str | None = None

    @property
    def filters(self) -> dict[str, str]:
        """The filters that hide something."""
        given = {"campaign": self.campaign, "rep": self.rep, "reason": self.reason}
        return {name: value for name, value in {**given, "q": self.search}.items() if value}

    def address(self, **changes: str | None) -> str:
        """The page's address with changes; None leaves a part out."""
        parts: dict[str, str | None] = {"tab": self.tab, **self.filters, **changes}
        return "/emails?" + urlencode({name: value for name, value in parts.items() if value})


@router.get("")
async def show(request: Request, site: TheSite, user: TheUser) -> HTMLResponse:
    """The emails of a tab."""
    return await _page(request, site, user, wanted_of(request))


@router.post("/{email_id}/retry")
async def retry(
    request: Request, site: TheSite, user: TheUser, email_id: str, back: Text = ""
) -> Response:
    """Try a failed or blocked email again."""
    case = await case_of(site, user, email_id)
    return await _do(request, site, user, back, "retried", steering.retry(site.desk(user), *case))


@router.post("/{email_id}/skip")
async def skip(
    request: Request,
    site: TheSite,
    user: TheUser,
    email_id: str,
    reason: Text = "",
    back: Text = "",
) -> Response:
    """Leave an email out."""
    case, step = await case_of(site, user, email_id)
    doing = steering.skip(site.desk(user), case, step, reason or None)
    return await _do(request, site, user, back, "skipped", doing)


@router.post("/{email_id}/resolve")
async def resolve(
    request: Request, site: TheSite, user: TheUser, email_id: str, sent: Text, back: Text = ""
) -> Response:
    """Say of an email in doubt whether it was sent."""
    case, step = await case_of(site, user, email_id)
    doing = steering.resolve(site.desk(user), case, step, sent=sent == "yes")
    return await _do(request, site, user, back, "resolved", doing)


@router.post("/{email_id}/move")
async def move(
    request: Request, site: TheSite, user: TheUser, email_id: str, at: Text, back: Text = ""
) -> Response:
    """Let an automatic email leave at another moment, local to its enrollment."""
    case, step = await case_of(site, user, email_id)
    return await _do(
        request, site, user, back, "moved", steering.move(site.desk(user), case, step, at)
    )


def wanted_of(request: Request) -> Wanted:
    """What the address asks for; what makes no sense is left out."""
    given = request.query_params
    tab = given.get("tab", Tab.DECIDE)
    return Wanted(
        tab=Tab(tab) if tab in list(Tab) else Tab.DECIDE,
        campaign=given.get("campaign") or None,
        rep=given.get("rep") or None,
        reason=reason if (reason := given.get("reason")) in list(WhyCode) else None,
        search=(given.get("q") or "").strip()[:200] or None,
        after=given.get("after") or None,
    )


async def _page(
    request: Request,
    site: Site,
    user: User,
    wanted: Wanted,
    *,
    status: int = 200,
    trouble: str | None = None,
) -> HTMLResponse:
    own = access.own_messages(user)
    after = unpack(wanted.after)
    async with site.store.read() as tx:
        rows = await emails.page(
            tx,
            own,
            wanted.tab,
            campaign=wanted.campaign,
            rep=wanted.rep,
            reason=wanted.reason,
            search=wanted.search,
            after=_place(after),
        )
        counts = await emails.counts(tx, own)
        known = await campaigns.every(tx)
    last = rows[-1] if len(rows) == emails.PAGE else None
    reps = list(site.reps) if user.may_as(Role.MANAGER) else []
    return await page(
        request,
        user,
        "emails.html",
        status=status,
        section="emails",
        emails=[shown(row) for row in rows],
        counts=counts,
        tabs=tuple(Tab),
        wanted=wanted,
        campaigns=known,
        reps=[(site.reps.id_of(rep), rep.name) for rep in reps],
        reasons=_reasons(wanted.tab),
        next=pack(last.moment, last.enrollment_id, last.step) if last is not None else None,
        said=said if (said := request.query_params.get("said")) in _SAID else None,
        trouble=trouble,
        q=wanted.search,
    )


def shown(row: Row[Any]) -> Email:
    """An email from its row."""
    plan = Plan.model_validate_json(row.plan)
    step = plan.step(row.step)
    names = (row.fields.get("first_name", ""), row.fields.get("last_name", ""))
    why = Why.model_validate(row.why) if row.why else None
    return Email(
        id=f"{row.enrollment_id}-{row.step}",
        enrollment_id=row.enrollment_id,
        step=row.step,
        person_id=row.person_id,
        name=" ".join(filter(None, names)) or row.email,
        company=row.fields.get("company", ""),
        title=row.subject or step.label or step.kind,
        state="bounced" if row.bounced else row.state,
        why=explain(why) if why else None,
        words=row.answer if row.state != MessageState.SENT else None,
        at=row.sent_at or row.due_at,
        zone=plan.zone,
        campaign=row.campaign_name,
        slug=row.campaign,
        rep=row.rep_name,
        beats=beats(plan, None if row.ended_at else row.step),
        steps=len(plan.steps),
        is_automatic=step.is_automatic,
        is_running=row.ended_at is None,
    )


def _place(after: list[str | int] | None) -> tuple[datetime, str, int] | None:
    if after is None or len(after) != 3:
        return None
    return datetime.fromisoformat(str(after[0])), str(after[1]), int(after[2])


def _reasons(tab: Tab) -> Sequence[WhyCode]:
    """The reasons that emails of a tab can have."""
    match tab:
        case Tab.DECIDE:
            return (
                WhyCode.MISSING_DATA,
                WhyCode.PROMPT_LEFT,
                WhyCode.TOKEN_LEFT,
                WhyCode.TEMPLATE,
                WhyCode.REFUSED,
                WhyCode.GAVE_UP,
                WhyCode.IN_DOUBT,
            )
        case Tab.SCHEDULED:
            return (WhyCode.WINDOW, WhyCode.LIMITS, WhyCode.RETRY, WhyCode.MAILBOX, WhyCode.HOLD)
        case Tab.CANCELLED:
            return (WhyCode.SKIPPED, WhyCode.ENDED, WhyCode.SUPPRESSED, WhyCode.BLOCKED_DOMAIN)
        case _:
            return ()


async def case_of(site: Site, user: User, email_id: str) -> tuple[steering.Case, int]:
    """The enrollment and the step that an email's id names.

    Raises:
        NotFound: There is none, or it is somebody else's.
    """
    enrollment_id, _, number = email_id.rpartition("-")
    async with site.store.read() as tx:
        row = await access.enrollment(tx, user, enrollment_id)
        plan = Plan.model_validate_json(row.plan)
    step = int(number) if number.isdecimal() else 0
    if not 1 <= step <= len(plan.steps):
        raise NotFound("there is no such email")
    zone = None
    rep = site.reps.by_id(row.rep_id)
    if rep is not None and rep.timezone:
        zone = ZoneInfo(rep.timezone)
    return steering.Case(row.id, row.workflow_id, row.campaign, plan, zone, user.id), step


def way_back(back: str) -> str:
    """Where a form says that it came from, if that is a page of this site; else the list."""
    return back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/emails"


def done(site: Site, user: User, back: str, said: str) -> Response:
    """Go back to the list, which says what was done; the shell's figures are counted anew."""
    site.figures.pop(user.id, None)
    there = way_back(back)
    return RedirectResponse(f"{there}{'&' if '?' in there else '?'}said={said}", 303)


async def _do(
    request: Request, site: Site, user: User, back: str, said: str, doing: Any
) -> Response:
    """Carry something out and go back to the list; a refusal is shown above it."""
    try:
        answer = await doing
    except (ActionError, TemporalUnreachable) as error:
        query = way_back(back).partition("?")[2]
        asked = Request({**request.scope, "method": "GET", "query_string": query.encode()})
        return await _page(request, site, user, wanted_of(asked), status=409, trouble=str(error))
    is_shown = getattr(answer, "answer", answer) is Answer.DONE
    return done(site, user, back, said if is_shown else "not_yet_shown")
