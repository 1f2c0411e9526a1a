"""The web application: the public pages, the health address, and the Command Center's pages."""

import asyncio
import logging
import unicodedata
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from fastapi import Depends, FastAPI, Request
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from fastapi.staticfiles import StaticFiles
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from drumbeat.actions.access import Forbidden
from drumbeat.actions.errors import NotFound
from drumbeat.actions.suppressing import unsubscribe_enrollment
from drumbeat.store.errors import StoreError
from drumbeat.store.schema import enrollments
from drumbeat.web import pages, session
from drumbeat.web.guarding import Guard
from drumbeat.web.limiting import FailureLimit, network
from drumbeat.web.session import first_sign_in
from drumbeat.web.site import PAGES, SignInFirst, Site

_LOG = logging.getLogger("drumbeat.web")

_HERE = Path(__file__).parent

LONGEST_REASON = 500
"""Characters of a reason for unsubscribing that are kept."""
HEALTH_TIMEOUT = 3.0
"""Seconds after which a silent database counts as unreachable."""
ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""What a mail program posts (RFC 8058, section 3.2)."""

_READ = ["GET", "HEAD"]
_NOTICES = {
    404: ("Nothing here", "This address leads nowhere, or no longer does."),
    405: ("Not like this", "This address does not take that kind of request."),
    413: ("Too much at once", "Please make it shorter."),
    429: ("Too many tries", "Please wait a minute and try again."),
    503: ("Not just now", "Something is being repaired. Please try again in a few minutes."),
}


def create_app(site: Site, *, failures: FailureLimit | None = None) -> Guard:
    """The application, guarded.

    Args:
        site: Its parts; the caller opens and closes them.
        failures: How many unknown tokens an address may try; default: 20 a minute.
    """
    store, links = site.store, site.links
    # A slash too many leads nowhere: a redirect would repeat the Host header that somebody sent.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    # Nothing in a page is secret to who may read it: no token, so that its length gives none away.
    app.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=5)
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    app.add_exception_handler(HTTPException, _notice)
    app.add_exception_handler(StoreError, _notice)
    app.add_exception_handler(SignInFirst, first_sign_in)
    app.add_exception_handler(NotFound, _not_found)
    app.add_exception_handler(Forbidden, _forbidden)
    app.state.site = site
    app.include_router(session.router)
    for router in pages.ROUTERS:
        app.include_router(router, dependencies=[Depends(session.from_here)])
    failures = failures or FailureLimit()

    @app.api_route("/health", methods=_READ)
    async def health() -> Response:
        """Whether the database answers."""
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT), store.read() as tx:
                await tx.execute(select(1))
        except (StoreError, SQLAlchemyError, OSError, TimeoutError):
            return JSONResponse({"status": "database unreachable"}, 503)
        return JSONResponse({"status": "ok"})

    @app.api_route("/", methods=_READ)
    async def start(request: Request) -> Response:
        """The page on which a rep's day begins."""
        return RedirectResponse("/tasks", 303)

    @app.api_route("/u/{token}", methods=_READ)
    async def ask_to_unsubscribe(request: Request, token: str) -> Response:
        """A page with a button: looking at it changes nothing, as mail gateways look at links."""
        await known_enrollment(request, token)
        return _page(request, "unsubscribe.html", longest_reason=LONGEST_REASON)

    @app.post("/u/{token}")
    async def unsubscribe(request: Request, token: str) -> Response:
        """Unsubscribe: the page's button, or a mail program's one click.

        The token alone decides: no cookie, no origin, and no redirect that a mail program would not
        follow (RFC 8058, section 3.1).
        """
        enrollment_id = await known_enrollment(request, token)
        form = await _form(request)
        try:
            await unsubscribe_enrollment(store, enrollment_id, _reason(form.get("reason")))
        except NotFound:
            raise HTTPException(404) from None
        name, value = ONE_CLICK
        if form.get(name) == value:
            return PlainTextResponse("You are unsubscribed.\n")
        return _page(request, "unsubscribed.html")

    async def known_enrollment(request: Request, token: str) -> str:
        """The enrollment that a token names.

        A good token is read whatever was tried before from the same address: everybody behind one
        mail provider's or office's address must be able to unsubscribe.
        """
        enrollment_id = links.read_unsubscribe(token)
        if enrollment_id is not None:
            async with store.read() as tx:
                found = await tx.execute(
                    select(enrollments.c.id).where(enrollments.c.id == enrollment_id)
                )
                if found.one_or_none() is not None:
                    return enrollment_id
        if failures.is_exceeded_by(network(request.client.host if request.client else "")):
            seconds = str(int(failures.span.total_seconds()))
            raise HTTPException(429, headers={"Retry-After": seconds})
        raise HTTPException(404)

    return Guard(app)


def _page(request: Request, name: str, status: int = 200, **values: object) -> HTMLResponse:
    return PAGES.TemplateResponse(request, name, values, status_code=status)


async def _form(request: Request) -> FormData:
    """The fields that were posted; none where nobody can read them: the token alone decides."""
    try:
        return await request.form(max_files=0, max_fields=20)
    except HTTPException as error:
        if error.status_code != HTTPStatus.BAD_REQUEST:
            raise
        return FormData()


def _reason(posted: object) -> str | None:
    """What the person wrote, in one line, without what no database or terminal should be given."""
    if not isinstance(posted, str):
        return None
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in posted)
    return " ".join(plain.split())[:LONGEST_REASON] or None


async def _not_found(request: Request, error: Exception) -> Response:
    """What does not exist, and what is somebody else's, look alike."""
    return await _notice(request, HTTPException(404))


async def _forbidden(request: Request, error: Exception) -> Response:
    sentence = str(error)
    return _page(request, "notice.html", 403, title="Not allowed", sentence=sentence)


async def _notice(request: Request, error: Exception) -> Response:
    """One neutral page for everything that cannot be answered: it tells nobody what exists."""
    headers: Mapping[str, str] = {}
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers or {}
    elif isinstance(error, StoreError):
        _LOG.error("%s", error)  # it names the database, nothing of the request
        status, headers = 503, {"Retry-After": "60"}
    else:
        raise error
    phrase = HTTPStatus(status).phrase
    title, sentence = _NOTICES.get(status, (phrase, "This request cannot be answered."))
    page = _page(request, "notice.html", status, title=title, sentence=sentence)
    page.headers.update(headers)
    return page
