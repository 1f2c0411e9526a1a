"""How the Tasks page answers: the list as it is now, a form, what was done, what was not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Row

from drumbeat.actions import access
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.signing import User
from drumbeat.store.lists import tasks as lists
from drumbeat.temporal.client import TemporalUnreachable
from drumbeat.web.site import Site, is_htmx, page, part
from drumbeat.web.task_list import Listing, Wanted, days_from, read_list, wanted_of
from drumbeat.web.task_rows import KINDS_SHOWN, Reader
from drumbeat.web.texts import texts


@dataclass(frozen=True, slots=True)
class Toast:
    """A short word on what was done."""

    text: str
    is_bad: bool = False
    undo: Sequence[tuple[str, str]] = ()
    """Fields that take it back, for `/tasks/undo`; empty: it cannot be."""
    details: Sequence[str] = ()
    """What did not work, line by line."""


async def answer_done(
    request: Request,
    site: Site,
    user: User,
    wanted: Wanted,
    toast: Toast,
    *,
    worked: Row[Any] | None = None,
) -> Response:
    """The list as it is now, the next task open; without a script, the way there."""
    site.figures.pop(user.id, None)
    listing = await read_list(site, user, wanted, next_after=worked)
    if not is_htmx(request):
        return RedirectResponse(listing.wanted.to(), 303)
    answer = _main(request, site, user, listing, toast)
    answer.headers["HX-Replace-Url"] = listing.wanted.to()
    return answer


async def answer_failed(
    request: Request,
    site: Site,
    user: User,
    wanted: Wanted,
    error: Exception,
    typed: dict[str, str] | None = None,
) -> Response:
    """The same task again with the reason why nothing changed, and what was typed."""
    listing = await read_list(site, user, wanted)
    toast = Toast(sentence_of(error), is_bad=True)
    if is_htmx(request):
        return _main(request, site, user, listing, toast, typed or {}, status=409)
    return await whole_page(request, site, user, listing, toast, typed or {}, status=409)


async def whole_page(
    request: Request,
    site: Site,
    user: User,
    listing: Listing,
    toast: Toast | None = None,
    typed: dict[str, str] | None = None,
    *,
    status: int = 200,
) -> HTMLResponse:
    """The page around a listing, with a toast where something is to be told."""
    values = _values(site, user, listing)
    toasts = [toast] if toast is not None else []
    given = {**values, "toasts": toasts, "typed": typed or {}}
    return await page(request, user, "tasks.html", status=status, section="tasks", **given)


def _main(
    request: Request,
    site: Site,
    user: User,
    listing: Listing,
    toast: Toast,
    typed: dict[str, str] | None = None,
    *,
    status: int = 200,
) -> HTMLResponse:
    values = _values(site, user, listing)
    given = {**values, "toasts": [toast], "typed": typed or {}, "is_part": True}
    answer = part(request, user, "tasks_main.html", **given)
    answer.status_code = status
    return answer


def _values(site: Site, user: User, listing: Listing) -> dict[str, Any]:
    pane = pane_values(site, user, listing.wanted, listing.reader)
    return {**pane, "listing": listing, "pane": listing.pane, "kinds": KINDS_SHOWN}


def pane_values(site: Site, user: User, wanted: Wanted, reader: Reader) -> dict[str, Any]:
    """What the pane and the forms of its actions need beside the task."""
    return {
        "wanted": wanted,
        "zone": reader.zone,
        "now": reader.now,
        "today": reader.today,
        "days": days_from(reader),
        "reps": [(rep.email, rep.name) for rep in site.reps],
        "rep_shown": _rep_shown(site, wanted),
        "typed": {},
    }


def _rep_shown(site: Site, wanted: Wanted) -> str:
    """Whose tasks the list shows, where they are not the reader's own."""
    if wanted.everybody or wanted.filters.rep == wanted.own_rep:
        return ""
    rep = site.reps.by_id(wanted.filters.rep)
    return texts()("tasks.only_rep", name=rep.name if rep is not None else wanted.filters.rep)


async def form_page(
    request: Request, user: User, form: str, status: int = 200, **values: Any
) -> HTMLResponse:
    """A form: for htmx, what stands in a dialog, else a page."""
    given = {"typed": {}, "trouble": None, "form": form, **values}
    if is_htmx(request):
        answer = part(request, user, "tasks_dialog.html", **given)
        answer.status_code = status
        return answer
    return await page(request, user, "tasks_form.html", status=status, section="tasks", **given)


def list_asked(at: str, user: User, site: Site) -> Wanted:
    """The list to which a form goes back."""
    return wanted_of(dict(parse_qsl(at[:2000])), user, site)


async def own_task(site: Site, user: User, task_id: str) -> Row[Any]:
    """A task that the user may work.

    Raises:
        NotFound: There is none, or it is somebody else's.
    """
    async with site.store.read() as tx:
        row = await lists.one(tx, access.own_tasks(user), task_id)
    if row is None:
        raise NotFound("there is no such task")
    return row


def day_of(text: str) -> date:
    """A date as a form gives it.

    Raises:
        ActionError: It is none.
    """
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ActionError(texts()("tasks.no_day")) from None


def sentence_of(error: Exception) -> str:
    """A reason as a sentence."""
    if isinstance(error, TemporalUnreachable):
        return texts()("tasks.no_temporal")
    text = str(error)
    return text[:1].upper() + text[1:]
