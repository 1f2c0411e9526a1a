"""Enrolling people from a CSV file, in four screens: upload, check, first email, start."""

import asyncio
import io
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Row

from drumbeat.actions.deciding import Result as What
from drumbeat.actions.enrolling import PersonReport
from drumbeat.actions.errors import ActionError
from drumbeat.actions.rejects import write_rejects
from drumbeat.actions.signing import User
from drumbeat.campaign import templates
from drumbeat.campaign.model import Campaign, EmailStep
from drumbeat.campaign.people import MAX_COLUMNS, field_fault, read_people
from drumbeat.reps import Rep
from drumbeat.store.users import Role
from drumbeat.web.enroll_desk import TROUBLES, Check, enroll_desk
from drumbeat.web.enroll_visit import PAGE, Visit, campaign_of, visit_of
from drumbeat.web.site import PAGES, Site, TheSite, TheUser, is_htmx, page
from drumbeat.web.texts import texts
from drumbeat.web.uploading import uploaded
from drumbeat.web.uploads import Kept

router = APIRouter(prefix="/campaigns/{slug}/enroll")

TABS = ("look", "enrolled", "already", "excluded", "rejected", "all")

Text = Annotated[str, Form()]


# 1 Upload


@router.get("")
async def show_upload(request: Request, site: TheSite, user: TheUser, slug: str) -> HTMLResponse:
    """Where the file is uploaded."""
    return await _upload(request, site, user, await campaign_of(site, slug), {})


@router.post("")
async def take_upload(request: Request, site: TheSite, user: TheUser, slug: str) -> Response:
    """Take the file; what is wrong with it as a whole is said at once."""
    row = await campaign_of(site, slug)
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
    visit = await visit_of(request, site, user, slug, upload)
    if visit.kept.is_begun:
        return visit.to("/start")
    return await _check(visit, show, after)


async def _check(
    visit: Visit,
    show: str,
    after: int,
    *,
    status: int = 200,
    fill_trouble: str | None = None,
    typed: Mapping[str, str] | None = None,
) -> HTMLResponse:
    check = await visit.check()
    missing = dict(check.missing)
    counts = {tab: len(_tab(check, tab)) for tab in TABS}
    tab = show if show in TABS else ("look" if counts["look"] else "enrolled")
    rows = [one for one in _tab(check, tab) if one.line > after]
    return await visit.page(
        "enroll_check.html",
        status=status,
        check=check,
        missing=missing,
        fillable=list(dict.fromkeys([*_fillable(check), *visit.kept.fills])),
        fill_trouble=fill_trouble,
        typed=typed or {},
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
    visit = await visit_of(request, site, user, slug, upload)
    visit.kept.again, visit.kept.also = bool(again), bool(also)
    visit.desk.uploads.write(visit.kept)
    return visit.to()


def _fillable(check: Check) -> list[str]:
    """The tokens that are lacked and are a person's; what the rep lacks stands in the reps file."""
    return [token for token, _ in check.missing if field_fault(token, "") is None]


@router.post("/{upload}/fill")
async def fill(request: Request, site: TheSite, user: TheUser, slug: str, upload: str) -> Response:
    """Give all who lack a token the same text for it; an empty one takes it back."""
    visit = await visit_of(request, site, user, slug, upload)
    form = await request.form(max_files=0, max_fields=MAX_COLUMNS)
    lacked = {*_fillable(await visit.check()), *visit.kept.fills}
    typed = {
        name: value.strip()
        for name, value in form.items()
        if isinstance(value, str) and name in lacked
    }
    for token, text in typed.items():
        fault = field_fault(token, text) if text else None
        if fault is not None:
            return await _check(visit, "", 0, status=409, fill_trouble=fault, typed=typed)
    fills = {**visit.kept.fills, **typed}
    visit.kept.fills = {token: text for token, text in fills.items() if text}
    visit.desk.uploads.write(visit.kept)
    return visit.to()


@router.get("/{upload}/rejected.csv")
async def show_rejected(
    request: Request, site: TheSite, user: TheUser, slug: str, upload: str
) -> Response:
    """The rejected rows as a file."""
    visit = await visit_of(request, site, user, slug, upload)
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
    visit = await visit_of(request, site, user, slug, upload)
    visit.desk.forget(visit.kept)
    return RedirectResponse(f"/campaigns/{slug}", 303)


# 4 Start


@router.get("/{upload}/start")
async def show_start(
    request: Request, site: TheSite, user: TheUser, slug: str, upload: str
) -> HTMLResponse:
    """What will happen, and how far it is."""
    visit = await visit_of(request, site, user, slug, upload)
    return await _start(visit)


@router.get("/{upload}/progress")
async def show_progress(
    request: Request, site: TheSite, user: TheUser, slug: str, upload: str
) -> Response:
    """How far it is, for the page that looks again and again."""
    visit = await visit_of(request, site, user, slug, upload)
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
    visit = await visit_of(request, site, user, slug, upload)
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


# What they share


def _rep(site: Site, user: User, chosen: str) -> Rep | None:
    """Who writes: a manager says it, a rep writes alone."""
    if user.may_as(Role.MANAGER) and chosen:
        return site.reps.by_id(chosen)
    return site.reps.by_id(user.id)


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


def _steps_that_need(campaign: Campaign) -> dict[str, list[int]]:
    """Token -> the steps whose email has it."""
    found: dict[str, list[int]] = {}
    for number, _, step in campaign.steps:
        if isinstance(step, EmailStep):
            for token in templates.missing_tokens(step.template, ()):
                found.setdefault(token, []).append(number)
    return found


def _reason(person: PersonReport) -> str:
    """Why, without the words of the command line."""
    return (person.reason or "").partition("; --")[0]


def _file_name(name: str) -> str:
    """A file's name without its folders, in one line."""
    plain = " ".join(name.replace("\\", "/").rpartition("/")[2].split())
    return plain[:100] or "people.csv"
