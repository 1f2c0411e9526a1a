"""Letters as they were sent, for the frames in which pages show them."""

import email
import email.policy
from email.message import EmailMessage

import nh3
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from sqlalchemy import select

from drumbeat.actions import access
from drumbeat.actions.errors import NotFound
from drumbeat.actions.signing import User
from drumbeat.store.schema import messages
from drumbeat.web.site import Site, TheSite, TheUser

router = APIRouter(prefix="/letters")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "frame-ancestors 'self'; sandbox"
    ),
    "X-Frame-Options": "SAMEORIGIN",
}
"""A letter runs nothing, loads nothing, and is framed by our own pages only."""

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Letter</title>
<style>body{{margin:0;padding:1rem 1.2rem;font:15px/1.6 Georgia,"Times New Roman",serif;
color:#1b1f23;background:#fff;overflow-wrap:anywhere}}blockquote{{margin:1rem 0 0;
padding-left:.9rem;border-left:2px solid #c9ccd1;color:#444b53}}</style></head>
<body>{body}</body></html>"""


@router.get("/{email_id}")
async def show(site: TheSite, user: TheUser, email_id: str) -> Response:
    """The HTML of an email as it was sent, cleaned; images from elsewhere are left out."""
    message = await _message(site, user, email_id)
    part = message.get_body(("html", "plain"))
    content = "" if part is None else part.get_content()
    if part is not None and part.get_content_type() == "text/plain":
        content = f"<pre>{nh3.clean_text(content)}</pre>"
    body = nh3.clean(content, url_schemes={"http", "https", "mailto", "tel", "data"})
    return HTMLResponse(_PAGE.format(body=body), headers=HEADERS)


@router.get("/{email_id}/source")
async def source(site: TheSite, user: TheUser, email_id: str) -> Response:
    """The bytes as they were stored, attachments left out."""
    return PlainTextResponse(await _stored(site, user, email_id), headers=HEADERS)


async def _message(site: Site, user: User, email_id: str) -> EmailMessage:
    parsed = email.message_from_bytes(
        await _stored(site, user, email_id), policy=email.policy.default
    )
    if not isinstance(parsed, EmailMessage):
        raise NotFound("this email cannot be shown")
    return parsed


async def _stored(site: Site, user: User, email_id: str) -> bytes:
    enrollment_id, _, number = email_id.rpartition("-")
    if not number.isdecimal():
        raise NotFound("there is no such email")
    async with site.store.read() as tx:
        await access.enrollment(tx, user, enrollment_id)
        found = await tx.execute(
            select(messages.c.stored).where(
                messages.c.enrollment_id == enrollment_id, messages.c.step == int(number)
            )
        )
        stored: bytes | None = found.scalar_one_or_none()
    if stored is None:
        raise NotFound("this email was not built yet")
    return stored
