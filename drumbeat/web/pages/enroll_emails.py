"""Enrolling, the third screen: each person's first email, and when it and each fixed step leave."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from drumbeat.actions import first_emails
from drumbeat.actions.deciding import Result as What
from drumbeat.actions.enrolling import PersonReport
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.first_emails import OwnText, first_email
from drumbeat.campaign import templates
from drumbeat.campaign.model import Campaign, EmailStep, Send
from drumbeat.campaign.planning import LaunchError, parse_clock
from drumbeat.campaign.templates import Body, MissingData
from drumbeat.web.enroll_desk import Check, is_chosen
from drumbeat.web.enroll_visit import PAGE, Visit, visit_of
from drumbeat.web.letter_frame import editor, framed
from drumbeat.web.site import TheSite, TheUser
from drumbeat.web.texts import texts
from drumbeat.web.uploads import Kept

router = APIRouter(prefix="/campaigns/{slug}/enroll")

Text = Annotated[str, Form()]


@router.get("/{upload}/emails")
async def show_emails(
    request: Request,
    site: TheSite,
    user: TheUser,
    slug: str,
    upload: str,
    person: int = 0,
    edit: bool = False,
    q: str = "",
    after: int = 0,
) -> Response:
    """The first email of each person, its send time, and each fixed step's time."""
    visit = await visit_of(request, site, user, slug, upload)
    if visit.kept.is_begun:
        return visit.to("/start")
    return await _emails(visit, person, edit=edit, q=q, after=after)


async def _emails(
    visit: Visit,
    line: int = 0,
    *,
    edit: bool = False,
    q: str = "",
    after: int = 0,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    check = await visit.check()
    people = check.those(What.ENROLLED)
    wanted = q.strip().casefold()
    found = [one for one in people if wanted in f"{name_of(one)} {one.email}".casefold()]
    listed = [one for one in found if one.line > after]
    person = next((one for one in people if one.line == line), None)
    if person is None and listed:
        person = listed[0]
    first = first_email(check.campaign)
    given: dict[str, Any] = {
        "check": check,
        "people": listed[:PAGE],
        "number": len(found),
        "next": listed[PAGE - 1].line if len(listed) > PAGE else None,
        "q": q,
        "find": q,
        "after": after,
        "person": person,
        "name_of": name_of,
        "edit": edit,
        "first": first,
        "may_edit": first is not None and not first[1].is_task,
        "letter": None if person is None or first is None else await _letter(visit, check, person),
        "is_chosen": is_chosen(check.campaign),
        "fixed": _fixed(check.campaign),
        "trouble": check.trouble,
        "text_trouble": None,
        "typed": {},
    }
    return await visit.page("enroll_emails.html", status=status, screen=3, **(given | values))


@router.post("/{upload}/times")
async def choose_times(
    request: Request, site: TheSite, user: TheUser, slug: str, upload: str
) -> Response:
    """When the first email leaves, and each step with a fixed time."""
    visit = await visit_of(request, site, user, slug, upload)
    form = await request.form(max_files=0, max_fields=1100)
    typed = {name: value for name, value in form.items() if isinstance(value, str)}
    before = (visit.kept.send_at, visit.kept.times)
    campaign = (await visit.check()).campaign
    line = int(typed["person"]) if typed.get("person", "").isdecimal() else 0
    trouble = _choose(visit.kept, campaign, typed)
    if trouble is None:
        trouble = (await visit.check()).trouble
    if trouble is not None:
        visit.kept.send_at, visit.kept.times = before
        return await _emails(visit, line, status=409, trouble=trouble, typed=typed)
    visit.desk.uploads.write(visit.kept)
    return visit.to("/start" if typed.get("go") else f"/emails?person={line}")


def _choose(kept: Kept, campaign: Campaign, typed: dict[str, str]) -> str | None:
    """Take the choices over; why they cannot be."""
    kept.times = {}
    for number, _, step in _fixed(campaign):
        clock = typed.get(f"step-{number}", "").strip()[:5]
        try:
            if clock and parse_clock(clock) != step.send_time:
                kept.times[number] = clock
        except LaunchError as error:
            return str(error)
    if is_chosen(campaign):
        kept.send_at = None
        if typed.get("when") == "at":
            kept.send_at = typed.get("send_at", "").strip()[:40]
            if not kept.send_at:
                return texts()("enrolling.no_moment")
    return None


@router.get("/{upload}/letter/{line}")
async def show_letter(
    request: Request, site: TheSite, user: TheUser, slug: str, upload: str, line: int
) -> HTMLResponse:
    """A person's first email, for the frame in which it is shown and rewritten."""
    visit = await visit_of(request, site, user, slug, upload)
    check = await visit.check()
    person = _person(check, line)
    letter = await _letter(visit, check, person)
    if letter.html is None:
        raise NotFound("there is no such email")
    url = visit.site.links.unsubscribe_url(letter.enrollment_id)
    return framed(editor(letter.html, quoted=None, unsubscribe_url=url, theme=user.theme))


@router.post("/{upload}/emails/{line}")
async def rewrite(
    request: Request,
    site: TheSite,
    user: TheUser,
    slug: str,
    upload: str,
    line: int,
    subject: Text = "",
    html: Text = "",
    text: Text = "",
    reset: Text = "",
) -> Response:
    """Keep a person's own text, or go back to the template."""
    visit = await visit_of(request, site, user, slug, upload)
    check = await visit.check()
    person = _person(check, line)
    if reset:
        visit.kept.texts.pop(person.email, None)
    else:
        try:
            visit.kept.texts[person.email] = await _own(visit, check, person, subject, html or text)
        except ActionError as error:
            typed = {"subject": subject, "text": templates.text_of(html) if html else text}
            return await _emails(
                visit, line, edit=True, status=409, text_trouble=str(error), typed=typed
            )
    visit.desk.uploads.write(visit.kept)
    return visit.to(f"/emails?person={line}")


@dataclass(frozen=True, slots=True)
class LetterShown:
    """A person's first email."""

    enrollment_id: str
    subject: str
    html: str | None
    """None: it cannot be made, see `why` and `missing`."""
    text: str = ""
    is_own: bool = False
    missing: tuple[str, ...] = ()
    why: str | None = None


async def _letter(visit: Visit, check: Check, person: PersonReport) -> LetterShown:
    enrollment_id = first_emails.future_id(visit.kept.id, person.email)
    own = visit.kept.texts.get(person.email)
    if own is not None:
        shown = templates.text_of(own.html)
        return LetterShown(enrollment_id, own.subject, own.html, shown, is_own=True)
    try:
        body = await _rendered(visit, check, person)
    except ActionError as error:
        return LetterShown(enrollment_id, "", None, why=str(error))
    if isinstance(body, MissingData):
        return LetterShown(enrollment_id, "", None, missing=body.tokens)
    return LetterShown(enrollment_id, body.subject or "", body.html, body.text)


async def _rendered(visit: Visit, check: Check, person: PersonReport) -> Body | MissingData:
    rep = visit.site.reps.by_id(visit.kept.rep_id)
    if rep is None:
        raise ActionError(texts()("enrolling.no_rep"))
    enrollment_id = first_emails.future_id(visit.kept.id, person.email)
    return await first_emails.render(
        visit.site.letters.renderer,
        check.campaign,
        rep,
        {**person.fields, "email": person.email},
        visit.site.links.unsubscribe_url(enrollment_id),
    )


async def _own(
    visit: Visit, check: Check, person: PersonReport, subject: str, body: str
) -> OwnText:
    rendering = await _rendered(visit, check, person)
    if isinstance(rendering, MissingData):
        missing = ", ".join(rendering.tokens)
        raise ActionError(texts()("enrolling.lacks", tokens=missing))
    enrollment_id = first_emails.future_id(visit.kept.id, person.email)
    return first_emails.rewrite(check.campaign, rendering, enrollment_id, subject, body)


def _person(check: Check, line: int) -> PersonReport:
    found = next((one for one in check.those(What.ENROLLED) if one.line == line), None)
    if found is None:
        raise NotFound("there is nobody on this line")
    return found


def _fixed(campaign: Campaign) -> list[tuple[int, int, EmailStep]]:
    """The steps whose time can be set, with their number and day."""
    return [
        (number, day, step)
        for number, day, step in campaign.steps
        if isinstance(step, EmailStep) and step.send is Send.FIXED
    ]


def name_of(person: PersonReport) -> str:
    """A person's name; empty where none is known."""
    names = (person.fields.get("first_name", ""), person.fields.get("last_name", ""))
    return " ".join(filter(None, names))
