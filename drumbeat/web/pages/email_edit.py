"""One automatic email, rewritten for its person before it leaves."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from drumbeat.actions import access, drafting, steering
from drumbeat.actions.asking import Answer
from drumbeat.actions.drafting import EmailShown
from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.signing import User
from drumbeat.campaign import templates
from drumbeat.campaign.states import MessageState
from drumbeat.store.lists import emails
from drumbeat.temporal.client import TemporalUnreachable
from drumbeat.web.letter_frame import editor, framed
from drumbeat.web.pages.emails import case_of, done, shown, way_back
from drumbeat.web.site import Site, TheSite, TheUser, page

router = APIRouter(prefix="/emails")
Text = Annotated[str, Form()]

EDITABLE = (MessageState.SCHEDULED, MessageState.BLOCKED, MessageState.FAILED)


@router.get("/{email_id}/edit")
async def show(
    request: Request, site: TheSite, user: TheUser, email_id: str, back: str = ""
) -> HTMLResponse:
    """The email as it would leave, to be rewritten."""
    return await _page(request, site, user, email_id, back)


@router.get("/{email_id}/letter")
async def show_letter(
    site: TheSite, user: TheUser, email_id: str, draft: Annotated[str, Query()] = ""
) -> HTMLResponse:
    """The letter itself, for the frame in which it is edited."""
    case, step = await case_of(site, user, email_id)
    try:
        email = await drafting.show_email(
            site.desk(user), site.letters, case.id, step, draft or None
        )
    except ActionError as error:
        raise NotFound(str(error)) from error
    return framed(
        editor(
            email.html,
            quoted=email.quote.html if email.quote is not None else None,
            unsubscribe_url=site.links.unsubscribe_url(case.id),
            theme=user.theme,
        )
    )


@router.post("/{email_id}/edit")
async def save(
    request: Request,
    site: TheSite,
    user: TheUser,
    email_id: str,
    subject: Text = "",
    html: Text = "",
    text: Text = "",
    back: Text = "",
) -> Response:
    """Let it leave with the text that was typed."""
    case, step = await case_of(site, user, email_id)
    try:
        answer = await steering.edit(
            site.desk(user), site.letters, case, step, subject=subject, body=html or text
        )
    except (ActionError, TemporalUnreachable) as error:
        typed = {"subject": subject, "text": templates.text_of(html) if html else text}
        return await _page(
            request, site, user, email_id, back, status=409, trouble=str(error), typed=typed
        )
    return done(site, user, back, "edited" if answer is Answer.DONE else "not_yet_shown")


async def _page(
    request: Request,
    site: Site,
    user: User,
    email_id: str,
    back: str,
    *,
    status: int = 200,
    trouble: str | None = None,
    typed: dict[str, str] | None = None,
) -> HTMLResponse:
    case, step = await case_of(site, user, email_id)
    async with site.store.read() as tx:
        row = await emails.one(tx, access.own_messages(user), case.id, step)
    if row is None:
        raise NotFound("there is no such email")
    email = shown(row)
    letter: EmailShown | None = None
    may_edit = email.is_automatic and email.is_running and row.state in EDITABLE
    if may_edit:
        try:
            letter = await drafting.show_email(
                site.desk(user), site.letters, case.id, step, row.draft_id
            )
        except ActionError as error:
            trouble = trouble or str(error)
    return await page(
        request,
        user,
        "email_edit.html",
        status=status,
        section="emails",
        email=email,
        letter=letter,
        draft=row.draft_id,
        may_edit=may_edit,
        back=way_back(back),
        trouble=trouble,
        typed=typed,
    )
