"""Tasks: the page on which a rep's day begins."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions import access, tasks
from drumbeat.actions.asking import Answer
from drumbeat.actions.desk import Desk, moment
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.signing import User
from drumbeat.actions.tasks import Done
from drumbeat.campaign.model import Priority
from drumbeat.campaign.states import TaskStatus
from drumbeat.store import campaigns, people
from drumbeat.store.lists import tasks as lists
from drumbeat.store.schema import people as people_rows
from drumbeat.store.users import Role
from drumbeat.temporal.client import TemporalUnreachable
from drumbeat.web.site import Site, TheSite, TheUser, part
from drumbeat.web.task_answers import (
    Toast,
    answer_done,
    answer_failed,
    day_of,
    form_page,
    list_asked,
    own_task,
    pane_values,
    sentence_of,
    whole_page,
)
from drumbeat.web.task_list import (
    read_list,
    read_pane,
    reader_of,
    wanted_of,
)
from drumbeat.web.task_rows import Reader, day_text, name_of
from drumbeat.web.texts import texts

router = APIRouter(prefix="/tasks")

MOST_AT_ONCE = 200
"""Tasks of one bulk action."""
TOGETHER = 8
"""Workflows that are asked at the same time."""

Text = Annotated[str, Form()]


@router.get("")
async def show(request: Request, site: TheSite, user: TheUser) -> HTMLResponse:
    """The queue of whoever is signed in."""
    wanted = wanted_of(request.query_params, user, site)
    listing = await read_list(site, user, wanted)
    toast = None
    if did := request.query_params.get("did"):
        toast = await _became(site, user, did, listing.reader)
    return await whole_page(request, site, user, listing, toast)


@router.get("/filter")
async def show_filter(request: Request, site: TheSite, user: TheUser) -> HTMLResponse:
    """The form of the filters."""
    wanted = wanted_of(request.query_params, user, site)
    async with site.store.read() as tx:
        known = await campaigns.every(tx)
    reps = list(site.reps) if user.may_as(Role.MANAGER) else []
    return await form_page(
        request,
        user,
        "filter",
        wanted=wanted,
        campaigns=known,
        filter_reps=[(site.reps.id_of(rep), rep.name) for rep in reps],
    )


@router.get("/new")
async def show_new(request: Request, site: TheSite, user: TheUser) -> HTMLResponse:
    """The form of a new task."""
    async with site.store.read() as tx:
        reader = await reader_of(tx, site, user)
    typed = {"person": request.query_params.get("person", ""), "due": reader.today.isoformat()}
    wanted = wanted_of(request.query_params, user, site)
    return await form_page(request, user, "new", wanted=wanted, typed=typed)


@router.post("/new")
async def add(
    request: Request,
    site: TheSite,
    user: TheUser,
    person: Text = "",
    subject: Text = "",
    kind: Text = "custom",
    due: Text = "",
    priority: Text = Priority.NORMAL,
    notes: Text = "",
    at: Text = "",
) -> Response:
    """Add a task of the reader's own."""
    wanted = list_asked(at, user, site)
    try:
        async with site.store.read() as tx:
            row = await people.find(tx, person.strip().lower())
            known = select(people_rows.c.id).where(access.own_people(user))
            if row is None or not await _is_among(tx, known, row.id):
                raise ActionError(f"nobody has the address {person.strip() or '(none)'}")
        done = await tasks.add(
            site.desk(user),
            person,
            subject,
            kind=kind,
            due=day_of(due),
            priority=Priority(priority if priority in list(Priority) else Priority.NORMAL),
            notes=notes or None,
        )
    except (ActionError, TemporalUnreachable) as error:
        typed = {
            "person": person,
            "subject": subject,
            "kind": kind,
            "due": due,
            "priority": priority,
            "notes": notes,
        }
        sentence = sentence_of(error)
        return await form_page(
            request, user, "new", 409, wanted=wanted, typed=typed, trouble=sentence
        )
    chosen = replace(wanted, task=done.task.id)
    toast = Toast(texts()("tasks.said_added", name=name_of(done.task.person_fields, person)))
    return await answer_done(request, site, user, chosen, toast)


@router.post("/bulk")
async def bulk(request: Request, site: TheSite, user: TheUser) -> Response:
    """One action on all that are selected; what does not work is told."""
    form = await request.form(max_files=0, max_fields=MOST_AT_ONCE + 20)
    given = {name: value for name, value in form.items() if isinstance(value, str)}
    wanted = list_asked(given.get("at", ""), user, site)
    ids = [value for value in form.getlist("id") if isinstance(value, str)][:MOST_AT_ONCE]
    t = texts()
    try:
        what, act, undo = _bulk_action(site.desk(user), given)
        if not ids:
            raise ActionError(t("tasks.nothing_selected"))
    except ActionError as error:
        return await answer_failed(request, site, user, wanted, error)
    async with site.store.read() as tx:
        own = access.own_tasks(user)
        found = [row for one in ids if (row := await lists.one(tx, own, one)) is not None]
    turns = asyncio.Semaphore(TOGETHER)

    async def try_one(task: Row[Any]) -> str | None:
        async with turns:
            try:
                await act(task)
            except (ActionError, TemporalUnreachable) as error:
                return f"{name_of(task.fields, task.person)}: {sentence_of(error)}"
            return None

    answers = await asyncio.gather(*(try_one(task) for task in found))
    troubles = [answer for answer in answers if answer is not None]
    worked = [task for task, answer in zip(found, answers, strict=True) if answer is None]
    text = _counted("tasks.bulk_said", len(worked), what=t(f"tasks.bulk_{what}"))
    if troubles:
        failed = _counted("tasks.bulk_failed", len(troubles))
        text = f"{text} {failed}" if worked else failed
    fields: list[tuple[str, str]] = []
    if undo is not None:
        fields = [
            (what, undo(task))
            for task in worked
            if what != "reassigned" or _may_take_back(user, task)
        ]
    toast = Toast(text, bool(troubles), fields, troubles)
    return await answer_done(request, site, user, replace(wanted, task=""), toast)


@router.post("/undo")
async def take_back(request: Request, site: TheSite, user: TheUser) -> Response:
    """Take back snoozing and handing over: each task gets what it had before."""
    form = await request.form(max_files=0, max_fields=MOST_AT_ONCE + 20)
    wanted = list_asked(str(form.get("at", "")), user, site)
    desk = site.desk(user)
    last = ""
    try:
        for name, value in form.multi_items():
            task_id, _, was = str(value).partition(":")
            if name not in ("snoozed", "reassigned"):
                continue
            await own_task(site, user, task_id)
            if name == "snoozed":
                await tasks.edit(desk, task_id, due=day_of(was))
            else:
                await tasks.reassign(desk, task_id, was)
            last = task_id
    except NotFound:
        raise
    except (ActionError, TemporalUnreachable) as error:
        return await answer_failed(request, site, user, wanted, error)
    chosen = replace(wanted, task=last)
    return await answer_done(request, site, user, chosen, Toast(texts()("tasks.said_undone")))


@router.get("/{task_id}/pane")
async def show_pane(request: Request, site: TheSite, user: TheUser, task_id: str) -> HTMLResponse:
    """One task, for the pane."""
    pane, reader = await read_pane(site, user, task_id)
    wanted = replace(wanted_of(request.query_params, user, site), task=task_id)
    values = pane_values(site, user, wanted, reader)
    return part(request, user, "tasks_pane.html", pane=pane, **values)


@router.get("/{task_id}/complete")
@router.get("/{task_id}/skip")
@router.get("/{task_id}/snooze")
@router.get("/{task_id}/reassign")
@router.get("/{task_id}/edit")
async def show_form(request: Request, site: TheSite, user: TheUser, task_id: str) -> HTMLResponse:
    """The form of an action as a page of its own, where no script runs."""
    what = request.url.path.rsplit("/", 1)[-1]
    pane, reader = await read_pane(site, user, task_id)
    wanted = replace(wanted_of(request.query_params, user, site), task=task_id)
    values = pane_values(site, user, wanted, reader)
    return await form_page(request, user, what, pane=pane, **values)


@router.post("/{task_id}/complete")
async def complete(
    request: Request,
    site: TheSite,
    user: TheUser,
    task_id: str,
    outcome: Text = "",
    note: Text = "",
    at: Text = "",
) -> Response:
    """The task is done."""

    async def act(desk: Desk) -> Done:
        return await tasks.complete(desk, task_id, outcome=outcome or None, note=note)

    typed = {"outcome": outcome, "note": note}
    return await _act(request, site, user, task_id, at, act, typed)


@router.post("/{task_id}/skip")
async def skip(
    request: Request,
    site: TheSite,
    user: TheUser,
    task_id: str,
    reason: Text = "",
    note: Text = "",
    at: Text = "",
) -> Response:
    """The task is left out."""

    async def act(desk: Desk) -> Done:
        return await tasks.skip(desk, task_id, reason=reason)

    return await _act(request, site, user, task_id, at, act, {"reason": reason, "note": note})


@router.post("/{task_id}/snooze")
async def snooze(
    request: Request,
    site: TheSite,
    user: TheUser,
    task_id: str,
    day: Text = "",
    to: Text = "",
    at: Text = "",
) -> Response:
    """The task's due date moves: to the day of a button, else to the one that was typed."""

    async def act(desk: Desk) -> Done:
        return await tasks.snooze(desk, task_id, day_of(day or to))

    return await _act(request, site, user, task_id, at, act, {"to": to})


@router.post("/{task_id}/reassign")
async def reassign(
    request: Request, site: TheSite, user: TheUser, task_id: str, rep: Text = "", at: Text = ""
) -> Response:
    """The task is another rep's."""

    async def act(desk: Desk) -> Done:
        if not rep:
            raise ActionError(texts()("tasks.no_rep"))
        return await tasks.reassign(desk, task_id, rep)

    return await _act(request, site, user, task_id, at, act, {})


@router.post("/{task_id}/edit")
async def edit(
    request: Request,
    site: TheSite,
    user: TheUser,
    task_id: str,
    subject: Text = "",
    due: Text = "",
    priority: Text = "",
    notes: Text = "",
    at: Text = "",
) -> Response:
    """Subject, due date, priority and notes change; what is the same stays untouched."""
    was = await own_task(site, user, task_id)

    async def act(desk: Desk) -> Done:
        on = day_of(due)
        return await tasks.edit(
            desk,
            task_id,
            subject=None if subject == was.subject else subject,
            due=None if on == was.due else on,
            priority=None if priority in ("", was.priority) else Priority(priority),
            notes=None if notes.strip() == (was.notes or "") else notes,
        )

    typed = {"subject": subject, "due": due, "priority": priority, "notes": notes}
    return await _act(request, site, user, task_id, at, act, typed)


# What the actions share


async def _act(
    request: Request,
    site: Site,
    user: User,
    task_id: str,
    at: str,
    act: Callable[[Desk], Awaitable[Done]],
    typed: dict[str, str],
) -> Response:
    """Do one thing with one task, then show the next one; where it fails, lose nothing typed."""
    wanted = replace(list_asked(at, user, site), task=task_id)
    was = await own_task(site, user, task_id)
    try:
        done = await act(site.desk(user))
    except (ActionError, TemporalUnreachable) as error:
        return await answer_failed(request, site, user, wanted, error, typed)
    t = texts()
    given = {
        "name": name_of(was.fields, was.person),
        "day": day_text(done.task.due),
        "rep": done.task.rep_name,
    }
    text = t(f"tasks.said_{done.what}", **given)
    if done.answer is Answer.NOT_YET_SHOWN:
        text += f" {t('tasks.said_not_shown')}"
    undo: list[tuple[str, str]] = []
    if done.what == "snoozed":
        undo = [("snoozed", f"{task_id}:{was.due.isoformat()}")]
    elif done.what == "reassigned" and _may_take_back(user, was):
        undo = [("reassigned", f"{task_id}:{was.rep}")]
    toast = Toast(text, undo=undo)
    if done.what == "edited":
        return await answer_done(request, site, user, wanted, toast)
    return await answer_done(request, site, user, replace(wanted, task=""), toast, worked=was)


async def _became(site: Site, user: User, task_id: str, reader: Reader) -> Toast | None:
    """What became of an email that was sent or scheduled before this page was asked for."""
    async with site.store.read() as tx:
        task = await lists.one(tx, access.own_tasks(user), task_id)
    if task is None:
        return None
    t = texts()
    name = name_of(task.fields, task.person)
    match task.status:
        case TaskStatus.COMPLETED:
            return Toast(t("compose.sent_to", name=name))
        case TaskStatus.SCHEDULED if task.send_at is not None:
            at = moment(task.send_at, tasks.zone_of(task), reader.zone)
            return Toast(t("compose.leaves_to", name=name, at=at))
        case _:
            return Toast(t("compose.waiting_to", name=name))


async def _is_among(tx: AsyncConnection, known: Select[Any], person_id: str) -> bool:
    """Whether a person is among those that may be seen; who is not does not exist."""
    return (await tx.execute(known.where(people_rows.c.id == person_id))).first() is not None


def _may_take_back(user: User, task: Row[Any]) -> bool:
    """Whether the user still sees a task that another rep has now."""
    return user.may_as(Role.MANAGER) or task.sender_id == user.id


def _counted(key: str, n: int, **values: str) -> str:
    return texts()(f"{key}_one" if n == 1 else key, n=n, **values)


_Act = Callable[[Row[Any]], Awaitable[Done]]


def _bulk_action(
    desk: Desk, given: dict[str, str]
) -> tuple[str, _Act, Callable[[Row[Any]], str] | None]:
    """What is to be done with each: a slug, the action, and what takes it back.

    Raises:
        ActionError: The action lacks something.
    """
    match given.get("do"):
        case "complete":
            return "completed", lambda task: tasks.complete(desk, task.id), None
        case "skip":
            reason = given.get("reason")
            return "skipped", lambda task: tasks.skip(desk, task.id, reason=reason), None
        case "snooze":
            to = day_of(given.get("day") or given.get("to", ""))
            return (
                "snoozed",
                lambda task: tasks.snooze(desk, task.id, to),
                lambda task: f"{task.id}:{task.due.isoformat()}",
            )
        case "reassign" if given.get("rep"):
            rep = given["rep"]
            return (
                "reassigned",
                lambda task: tasks.reassign(desk, task.id, rep),
                lambda task: f"{task.id}:{task.rep}",
            )
        case _:
            raise ActionError(texts()("tasks.no_rep"))
