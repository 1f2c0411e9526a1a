"""Enrolling people from a CSV file, in four screens: upload, check, first email, start."""

import asyncio
import io
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Row

from drumbeat.actions import first_emails
from drumbeat.actions.deciding import Result as What
from drumbeat.actions.enrolling import PersonReport
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.first_emails import OwnText, first_email
from drumbeat.actions.rejects import write_rejects
from drumbeat.actions.signing import User
from drumbeat.campaign import templates
from drumbeat.campaign.model import Campaign, EmailStep, Send
from drumbeat.campaign.people import read_people
from drumbeat.campaign.planning import LaunchError, parse_clock
from drumbeat.campaign.templates import Body, MissingData
from drumbeat.reps import Rep
from drumbeat.store.lists import campaigns as lists
from drumbeat.store.users import Role
from drumbeat.web.enroll_desk import TROUBLES, Check, EnrollDesk, enroll_desk, is_chosen
from drumbeat.web.letter_frame import editor, framed
from drumbeat.web.site import PAGES, Site, TheSite, TheUser, is_htmx, page
from drumbeat.web.texts import texts
from drumbeat.web.uploading import uploaded
from drumbeat.web.uploads import Kept

router = APIRouter(prefix="/campaigns/{slug}/enroll")

PAGE = 50
"""Rows of a table or a list."""
TABS = ("look", "enrolled", "already", "excluded", "rejected", "all")

Text = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of the screens after the first."""

    request: Request
    site: Site
    user: User
    row: Row[Any]
    """The campaign's."""
    kept: Kept
    desk: EnrollDesk

    @property
    def here(self) -> str:
        """The address of the check, under which the other screens lie."""
        return f"/campaigns/{self.row.slug}/enroll/{self.kept.id}"

    async def check(self) -> Check:
        """What enrolling would do."""
        return await self.desk.check(self.site, self.user.id, self.kept)

    async def page(self, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A screen."""
        rep = self.site.reps.by_id(self.kept.rep_id)
        given = {"row": self.row, "kept": self.kept, "here": self.here, "rep": rep, **values}
        return await page(
            self.request, self.user, name, status=status, section="campaigns", **given
        )

    def to(self, path: str = "") -> RedirectResponse:
        """To another screen."""
        return RedirectResponse(self.here + path, 303)


# 1 Upload


@router.get("")
async def show_upload(request: Request, site: TheSite, user: TheUser, slug: str) -> HTMLResponse:
    """Where the file is uploaded."""
    return await _upload(request, site, user, await _campaign(site, slug), {})


@router.post("")
async def take_upload(request: Request, site: TheSite, user: TheUser, slug: str) -> Response:
    """Take the file; what is wrong with it as a whole is said at once."""
    row = await _campaign(site, slug)
    desk = enroll_desk(request, site)
    async with uploaded(request, user) as sent:
        rep = _rep(site, user, sent.fields.get("rep", ""))
        kept: Kept | None = None
        try:
            if rep is None:
                raise ActionError(texts()("enrolling.no_rep"))
            if sent.content is None:
                raise ActionError(texts()("enrolling.no_file"))
            kept = await asyncio.to_thread(
                desk.uploads.add,
                sent.content,
                user_id=user.id,
                slug=slug,
                version=row.version,
                rep_id=site.reps.id_of(rep),
                file=_file_name(sent.name),
                rows=0,
                again="again" in sent.fields,
                also="also" in sent.fields,
            )
            path = desk.uploads.people(kept)
            reading = await asyncio.to_thread(read_people, path)
            if reading.faults:
                said = (fault.replace(str(path), kept.file) for fault in reading.faults)
                raise ActionError("\n".join(said))
        except ActionError as error:
            if kept is not None:
                desk.forget(kept)
            return await _upload(request, site, user, row, sent.fields, str(error))
    kept.rows = len(reading.people) + len(reading.rejected)
    desk.uploads.write(kept)
    return RedirectResponse(f"/campaigns/{slug}/enroll/{kept.id}", 303)


async def _upload(
    request: Request,
    site: Site,
    user: User,
    row: Row[Any],
    typed: dict[str, str],
    trouble: str | None = None,
) -> HTMLResponse:
    desk = enroll_desk(request, site)
    is_manager = user.may_as(Role.MANAGER)
    return await page(
        request,
        user,
        "enroll_upload.html",
        status=200 if trouble is None else 409,
        section="campaigns",
        row=row,
        here=f"/campaigns/{row.slug}/enroll",
        typed=typed,
        troubles=trouble.splitlines() if trouble else [],
        reps=[(site.reps.id_of(rep), rep) for rep in site.reps] if is_manager else [],
        mine=site.reps.by_id(user.id),
        waiting=desk.uploads.of_user(user.id, row.slug),
        screen=1,
    )


# 2 Check


@router.get("/{upload}")
async def show_check(
    request: Request,
    site: TheSite,
    user: TheUser,
    slug: str,
    upload: str,
    show: str = "",
    after: int = 0,
) -> Response:
    """Who will be enrolled, who not, and why."""
    visit = await _visit(request, site, user, slug, upload)
    if visit.kept.is_begun:
        return visit.to("/start")
    return await _check(visit, show, after)


async def _check(visit: Visit, show: str, after: int) -> HTMLResponse:
    check = await visit.check()
    counts = {tab: len(_tab(check, tab)) for tab in TABS}
    tab = show if show in TABS else ("look" if counts["look"] else "enrolled")
    rows = [one for one in _tab(check, tab) if one.line > after]
    return await visit.page(
        "enroll_check.html",
        check=check,
        counts=counts,
        tab=tab,
        after=after,
        rows=rows[:PAGE],
        next=rows[PAGE - 1].line if len(rows) > PAGE else None,
        reason=_reason,
        steps_of=_steps_that_need(check.campaign),
        screen=2,
    )


@router.post("/{upload}/options")
async def choose_options(
    request: Request,
    site: TheSite,
    user: TheUser,
    slug: str,
    upload: str,
    again: Text = "",
    also: Text = "",
) -> Response:
    """Whether those may be enrolled who were before, or who are in another campaign."""
    visit = await _visit(request, site, user, slug, upload)
    visit.kept.again, visit.kept.also = bool(again), bool(also)
    visit.desk.uploads.write(visit.kept)
    return visit.to()


@router.get("/{upload}/rejected.csv")
async def show_rejected(
    request: Request, site: TheSite, user: TheUser, slug: str, upload: str
) -> Response:
    """The rejected rows as a file."""
    visit = await _visit(request, site, user, slug, upload)
    if visit.kept.result is not None:
        rows = visit.kept.result.rejects
    else:
        rejected = (await visit.check()).those(What.REJECTED)
        rows = [(one.line, one.email, one.reason) for one in rejected]
    file = io.StringIO(newline="")
    write_rejects(file, rows)
    headers = {"Content-Disposition": 'attachment; filename="rejected.csv"'}
    return Response(file.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/{upload}/leave")
async def leave(request: Request, site: TheSite, user: TheUser, slug: str, upload: str) -> Response:
    """Forget the upload."""
    visit = await _visit(request, site, user, slug, upload)
    visit.desk.forget(visit.kept)
    return RedirectResponse(f"/campaigns/{slug}", 303)


# 3 First email and times


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
    visit = await _visit(request, site, user, slug, upload)
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
    visit = await _visit(request, site, user, slug, upload)
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
    visit = await _visit(request, site, user, slug, upload)
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
    visit = await _visit(request, site, user, slug, upload)
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


# 4 Start


@router.get("/{upload}/start")
async def show_start(
    request: Request, site: TheSite, user: TheUser, slug: str, upload: str
) -> HTMLResponse:
    """What will happen, and how far it is."""
    visit = await _visit(request, site, user, slug, upload)
    return await _start(visit)


@router.get("/{upload}/progress")
async def show_progress(
    request: Request, site: TheSite, user: TheUser, slug: str, upload: str
) -> Response:
    """How far it is, for the page that looks again and again."""
    visit = await _visit(request, site, user, slug, upload)
    job = visit.desk.jobs.get(upload)
    if not is_htmx(request):
        return visit.to("/start")
    if job is None or not job.is_running:
        return Response(status_code=204, headers={"HX-Refresh": "true"})
    return PAGES.TemplateResponse(
        request, "enroll_progress.html", {"job": job, "here": visit.here, "user": user}
    )


@router.post("/{upload}/start")
async def start(request: Request, site: TheSite, user: TheUser, slug: str, upload: str) -> Response:
    """Enroll; once more where it was interrupted."""
    visit = await _visit(request, site, user, slug, upload)
    if visit.kept.result is None:
        check = await visit.check()
        people = len(check.everybody) - len(check.those(What.REJECTED))
        if check.trouble is not None or not (people or visit.kept.is_begun):
            return await _start(visit, 409)
        try:
            await visit.desk.begin(site, user.id, visit.kept, people)
        except TROUBLES as error:
            return await _start(visit, 409, str(error))
    return visit.to("/start")


async def _start(visit: Visit, status: int = 200, trouble: str | None = None) -> HTMLResponse:
    kept = visit.kept
    job = visit.desk.jobs.get(kept.id)
    # Asked once: it may end while the page is made, which is then that of a job that runs.
    is_running = kept.result is None and job is not None and job.is_running
    check = await visit.check() if kept.result is None and not is_running else None
    return await visit.page(
        "enroll_start.html",
        status=status,
        check=check,
        job=job,
        is_running=is_running,
        result=kept.result,
        trouble=trouble or (job.trouble if job is not None else None),
        screen=4,
    )


# Finding and naming


async def _campaign(site: Site, slug: str) -> Row[Any]:
    """A campaign that people can be enrolled in."""
    async with site.store.read() as tx:
        row = await lists.one(tx, slug)
    if row is None or row.version is None:
        raise NotFound(f"there is no campaign {slug}")
    return row


async def _visit(request: Request, site: Site, user: User, slug: str, upload: str) -> Visit:
    row = await _campaign(site, slug)
    desk = enroll_desk(request, site)
    return Visit(request, site, user, row, desk.uploads.read(upload, user.id, slug), desk)


def _rep(site: Site, user: User, chosen: str) -> Rep | None:
    """Who writes: a manager says it, a rep writes alone."""
    if user.may_as(Role.MANAGER) and chosen:
        return site.reps.by_id(chosen)
    return site.reps.by_id(user.id)


def _person(check: Check, line: int) -> PersonReport:
    found = next((one for one in check.those(What.ENROLLED) if one.line == line), None)
    if found is None:
        raise NotFound("there is nobody on this line")
    return found


def _tab(check: Check, tab: str) -> list[PersonReport]:
    match tab:
        case "all":
            return list(check.everybody)
        case "look":
            return [
                one for one in check.everybody if one.result is not What.ENROLLED or one.missing
            ]
        case _:
            return check.those(What(tab))


def _fixed(campaign: Campaign) -> list[tuple[int, int, EmailStep]]:
    """The steps whose time can be set, with their number and day."""
    return [
        (number, day, step)
        for number, day, step in campaign.steps
        if isinstance(step, EmailStep) and step.send is Send.FIXED
    ]


def _steps_that_need(campaign: Campaign) -> dict[str, list[int]]:
    """Token -> the steps whose email has it."""
    found: dict[str, list[int]] = {}
    for number, _, step in campaign.steps:
        if isinstance(step, EmailStep):
            for token in templates.missing_tokens(step.template, ()):
                found.setdefault(token, []).append(number)
    return found


def name_of(person: PersonReport) -> str:
    """A person's name; empty where none is known."""
    names = (person.fields.get("first_name", ""), person.fields.get("last_name", ""))
    return " ".join(filter(None, names))


def _reason(person: PersonReport) -> str:
    """Why, without the words of the command line."""
    return (person.reason or "").partition("; --")[0]


def _file_name(name: str) -> str:
    """A file's name without its folders, in one line."""
    plain = " ".join(name.replace("\\", "/").rpartition("/")[2].split())
    return plain[:100] or "people.csv"
