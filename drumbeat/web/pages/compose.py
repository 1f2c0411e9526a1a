"""The compose window: a rep's email as it will leave, edited, sent or scheduled."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy import Row

from drumbeat.actions import access, drafting, task_emails, tasks
from drumbeat.actions.attaching import Files, NewFile
from drumbeat.actions.channels import channel
from drumbeat.actions.desk import moment
from drumbeat.actions.drafting import EmailShown
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.people import local_moment
from drumbeat.actions.signing import User
from drumbeat.campaign import attachments, calendar, templates
from drumbeat.campaign.calendar import Plan, PlannedStep, Standing
from drumbeat.campaign.states import TaskStatus
from drumbeat.mail.composing import clean_draft
from drumbeat.store.lists import tasks as lists
from drumbeat.temporal.client import TemporalUnreachable
from drumbeat.web.letter_frame import editor, framed
from drumbeat.web.site import Site, TheSite, TheUser, octets, page
from drumbeat.web.task_answers import list_asked, sentence_of
from drumbeat.web.task_list import Wanted, read_pane, reader_of, wanted_of
from drumbeat.web.task_rows import Pane, Reader, day_text
from drumbeat.web.texts import texts
from drumbeat.web.uploading import uploaded

router = APIRouter(prefix="/tasks")

Text = Annotated[str, Form()]
_COPIES = re.compile(r"[,;\s]+")


@dataclass(frozen=True, slots=True)
class Written:
    """What a rep has typed, as the form sends it."""

    subject: str
    cc: str
    body: str | None
    """HTML; None: as it was."""

    @property
    def copies(self) -> list[str]:
        """The addresses of the copies."""
        return [one for one in _COPIES.split(self.cc) if one]


@dataclass(frozen=True, slots=True)
class Plans:
    """When the email can leave, and what follows it."""

    zone: ZoneInfo
    """The enrollment's."""
    day: int
    campaign: str
    sent_before: datetime | None
    following: PlannedStep | None
    following_on: date | None


@router.get("/{task_id}/compose")
async def show(request: Request, site: TheSite, user: TheUser, task_id: str) -> Response:
    """The window."""
    wanted = wanted_of(request.query_params, user, site)
    return await _window(request, site, user, task_id, wanted)


@router.get("/{task_id}/compose/letter")
async def show_letter(
    site: TheSite, user: TheUser, task_id: str, draft: Annotated[str, Query()] = ""
) -> Response:
    """The letter itself, for the frame in which it is edited."""
    task = await _email_task(site, user, task_id)
    email = await _email(site, user, task, draft or None)
    return framed(
        editor(
            email.html,
            quoted=email.quote.html if email.quote is not None else None,
            unsubscribe_url=site.links.unsubscribe_url(task.enrollment_id),
            theme=user.theme,
        )
    )


@router.get("/{task_id}/compose/when")
async def show_when(
    site: TheSite, user: TheUser, task_id: str, at: Annotated[str, Query()] = ""
) -> Response:
    """A moment that was typed, in both zones; or what is wrong with it."""
    task = await _email_task(site, user, task_id)
    async with site.store.read() as tx:
        reader = await reader_of(tx, site, user)
    try:
        instant = local_moment(at, [task])
        if instant <= reader.now:
            raise ActionError(f"{moment(instant, tasks.zone_of(task), reader.zone)} has passed")
    except ActionError as error:
        return JSONResponse({"text": str(error), "ok": False})
    text = moment(instant, tasks.zone_of(task), reader.zone)
    return JSONResponse({"text": text, "ok": True})


@router.post("/{task_id}/draft")
async def save(
    site: TheSite,
    user: TheUser,
    task_id: str,
    subject: Text = "",
    cc: Text = "",
    body: Text = "",
    draft: Text = "",
) -> Response:
    """Save what is typed, while it is typed."""
    await _email_task(site, user, task_id)
    written = Written(subject, cc, body)
    try:
        saved = await _save(site, user, task_id, written, draft or None)
    except ActionError as error:
        return JSONResponse({"error": sentence_of(error)}, 409)
    async with site.store.read() as tx:
        reader = await reader_of(tx, site, user)
    task = await _email_task(site, user, task_id)
    email = await _email(site, user, task, saved)
    shown_text = " ".join(templates.text_of(email.html).split())
    typed_text = " ".join(templates.text_of(clean_draft(body)).split())
    return JSONResponse(
        {
            "draft": saved,
            "at": f"{reader.now.astimezone(reader.zone):%H:%M}",
            "prompts": len(email.prompts),
            "trouble": email.trouble,
            "gmail": email.gmail,
            "outlook": email.outlook,
            "as_typed": shown_text == typed_text,
        }
    )


@router.post("/{task_id}/attach")
async def attach(request: Request, site: TheSite, user: TheUser, task_id: str) -> Response:
    """Let a file travel with the email."""
    await _email_task(site, user, task_id)
    async with uploaded(request, user) as sent:
        if sent.content is None:
            return JSONResponse({"error": texts()("compose.no_file")}, 409)
        file = NewFile(sent.name, sent.content.read())
        draft = sent.fields.get("draft")
    return await _with_files(site, user, task_id, draft or None, Files(added=[file]))


@router.post("/{task_id}/detach")
async def detach(
    site: TheSite,
    user: TheUser,
    task_id: str,
    place: Annotated[int, Form()],
    sha256: Text = "",
    draft: Text = "",
) -> Response:
    """Let a file stay behind."""
    await _email_task(site, user, task_id)
    return await _with_files(site, user, task_id, draft or None, Files(removed={place: sha256}))


@router.post("/{task_id}/keep")
async def keep(
    request: Request, site: TheSite, user: TheUser, task_id: str, draft: Text = ""
) -> Response:
    """Make a draft the task's, so that it leaves as it is now wherever it is sent from."""
    await _email_task(site, user, task_id)
    try:
        await tasks.edit(site.desk(user), task_id, draft_id=draft or None)
    except (ActionError, TemporalUnreachable) as error:
        return JSONResponse({"error": sentence_of(error)}, 409)
    return JSONResponse({"text": texts()("compose.kept")})


@router.post("/{task_id}/template")
async def start_over(site: TheSite, user: TheUser, task_id: str, at: Text = "") -> Response:
    """Go back to the template: its text becomes the newest draft."""
    task = await _email_task(site, user, task_id)
    await drafting.save_draft(
        site.desk(user),
        site.letters,
        task.enrollment_id,
        task.step,
        None,
        subject=None,
        body=None,
        who=user.id,
    )
    return RedirectResponse(f"/tasks/{task_id}/compose?{_query(at, user, site)}", 303)


@router.post("/{task_id}/send")
async def send(
    request: Request,
    site: TheSite,
    user: TheUser,
    task_id: str,
    subject: Text = "",
    cc: Text = "",
    body: Annotated[str | None, Form()] = None,
    text: Annotated[str | None, Form()] = None,
    draft: Text = "",
    at: Text = "",
) -> Response:
    """Send what is shown, now."""
    return await _leave(request, site, user, task_id, (subject, cc, body, text), draft, at, None)


@router.post("/{task_id}/schedule")
async def schedule(
    request: Request,
    site: TheSite,
    user: TheUser,
    task_id: str,
    subject: Text = "",
    cc: Text = "",
    body: Annotated[str | None, Form()] = None,
    text: Annotated[str | None, Form()] = None,
    draft: Text = "",
    at: Text = "",
    when: Text = "",
) -> Response:
    """Let what is shown leave at a moment, local to the enrollment's zone."""
    return await _leave(request, site, user, task_id, (subject, cc, body, text), draft, at, when)


@router.post("/{task_id}/unschedule")
async def unschedule(
    request: Request, site: TheSite, user: TheUser, task_id: str, at: Text = ""
) -> Response:
    """The email does not leave by itself any more."""
    await _email_task(site, user, task_id)
    try:
        await task_emails.unschedule(site.desk(user), task_id)
    except (ActionError, TemporalUnreachable) as error:
        wanted = list_asked(at, user, site)
        return await _window(request, site, user, task_id, wanted, trouble=sentence_of(error))
    site.figures.pop(user.id, None)
    return RedirectResponse(f"/tasks/{task_id}/compose?{_query(at, user, site)}", 303)


# What they share


async def _with_files(
    site: Site, user: User, task_id: str, draft: str | None, files: Files
) -> Response:
    """Change the files of a draft; the window goes on with the draft that is made of it."""
    try:
        saved, _ = await task_emails.write_draft(
            site.desk(user), site.letters, task_id, draft_id=draft, files=files
        )
    except ActionError as error:
        return JSONResponse({"error": sentence_of(error)}, 409)
    async with site.store.read() as tx:
        reader = await reader_of(tx, site, user)
    email = await _email(site, user, await _email_task(site, user, task_id), saved)
    return JSONResponse(
        {
            "draft": saved,
            "at": f"{reader.now.astimezone(reader.zone):%H:%M}",
            "files": [
                {"name": file.filename, "size": octets(file.size), "sha256": file.sha256}
                for file in email.attachments
            ],
        }
    )


async def _leave(
    request: Request,
    site: Site,
    user: User,
    task_id: str,
    typed: tuple[str, str, str | None, str | None],
    draft: str,
    at: str,
    when: str | None,
) -> Response:
    """Save what is shown, then send it; what does not leave is shown again with the reason."""
    wanted = list_asked(at, user, site)
    subject, cc, body, text = typed
    task = await _email_task(site, user, task_id)
    saved: str | None = draft or None
    written = Written(subject, cc, body)
    try:
        if body is None and text is not None:
            written = replace(written, body=await _if_changed(site, user, task, saved, text))
        saved = await _save(site, user, task_id, written, saved)
        email = await _email(site, user, task, saved)
        if email.trouble is not None:
            raise ActionError(email.trouble)
        desk = site.desk(user)
        if when is None:
            await task_emails.send(desk, task_id, draft_id=saved)
        else:
            await task_emails.schedule(desk, task_id, when, draft_id=saved)
    except (ActionError, TemporalUnreachable) as error:
        return await _window(
            request,
            site,
            user,
            task_id,
            wanted,
            draft=saved,
            trouble=sentence_of(error),
            written=written,
        )
    site.figures.pop(user.id, None)
    query = wanted.query(task="")
    return RedirectResponse(f"/tasks?did={task_id}{'&' if query else ''}{query}", 303)


async def _window(
    request: Request,
    site: Site,
    user: User,
    task_id: str,
    wanted: Wanted,
    *,
    draft: str | None = None,
    trouble: str | None = None,
    written: Written | None = None,
) -> Response:
    pane, reader = await read_pane(site, user, task_id)
    task = pane.task
    if not pane.is_open or not pane.row.writes:
        return RedirectResponse(wanted.to(task=task_id), 303)
    email: EmailShown | None = None
    async with site.store.read() as tx:
        newest = await lists.newest_draft(tx, task.enrollment_id, task.step)
        plans = await _plans(tx, task, reader)
    chosen = draft or (newest.id if newest is not None else task.draft_id)
    try:
        email = await _email(site, user, task, chosen)
    except ActionError as error:
        trouble = trouble or sentence_of(error)
    return await page(
        request,
        user,
        "compose.html",
        status=200 if written is None and email is not None else 409,
        section="tasks",
        pane=pane,
        task=task,
        email=email,
        draft=chosen if email is not None and email.is_draft else "",
        drafted_at=newest.at if newest is not None else None,
        trouble=trouble,
        written=written,
        plans=plans,
        facts=_facts(pane),
        phone=channel("call", task.person, task.fields),
        quick=_quick(reader, plans.zone),
        wanted=wanted,
        today=reader.today,
        is_scheduled=task.status == TaskStatus.SCHEDULED,
        day_text=day_text,
        most_bytes=attachments.MOST_BYTES,
    )


async def _plans(tx: Any, task: Row[Any], reader: Reader) -> Plans:
    plan = Plan.model_validate_json(task.plan)
    standing = Standing.model_validate_json(task.standing)
    step = plan.step(task.step)
    at = max(task.send_at or reader.now, reader.now)
    following, following_on = None, None
    if task.step < len(plan.steps):
        following = plan.step(task.step + 1)
        after = calendar.after(plan, standing, step, at, "sent_by_rep")
        following_on = calendar.due(plan, after, following, at).on
    sent_before = await lists.last_sent(tx, task.enrollment_id, task.step)
    return Plans(
        plan.zone, step.day, task.campaign_name or "", sent_before, following, following_on
    )


async def _email_task(site: Site, user: User, task_id: str) -> Row[Any]:
    """A task with an email that the user may work.

    Raises:
        NotFound: There is none, or it is somebody else's.
    """
    async with site.store.read() as tx:
        task = await lists.one(tx, access.own_tasks(user), task_id)
    if task is None or task.kind != "email" or task.step is None:
        raise NotFound("there is no such email")
    return task


async def _email(site: Site, user: User, task: Row[Any], draft: str | None) -> EmailShown:
    return await drafting.show_email(
        site.desk(user), site.letters, task.enrollment_id, task.step, draft or task.draft_id
    )


async def _save(site: Site, user: User, task_id: str, written: Written, draft: str | None) -> str:
    saved, _ = await task_emails.write_draft(
        site.desk(user),
        site.letters,
        task_id,
        subject=written.subject,
        body=written.body,
        cc=written.copies,
        draft_id=draft,
    )
    return saved


async def _if_changed(
    site: Site, user: User, task: Row[Any], draft: str | None, text: str
) -> str | None:
    """What was typed without a script; None where it is the text that was shown."""
    email = await _email(site, user, task, draft)
    same = " ".join(email.text.split()) == " ".join(text.split())
    return None if same else text


def _facts(pane: Pane) -> Sequence[tuple[str, str]]:
    """What else is known of the person, some lines of it."""
    known = ("first_name", "last_name", "email", "title", "company", "phone", "linkedin")
    fields = pane.task.fields
    more = [(name, value) for name, value in fields.items() if name not in known and value]
    return [(name.replace("_", " ").capitalize(), value[:80]) for name, value in more[:6]]


def _quick(reader: Reader, zone: ZoneInfo) -> dict[str, str]:
    """Moments to choose, local to the enrollment's zone, as a field takes them."""
    there = reader.now.astimezone(zone).date()
    monday = there + timedelta(days=7 - there.weekday())
    return {
        "tomorrow": f"{there + timedelta(days=1)}T09:00",
        "next_monday": f"{monday}T09:00",
    }


def _query(at: str, user: User, site: Site) -> str:
    return list_asked(at, user, site).query(task="")
