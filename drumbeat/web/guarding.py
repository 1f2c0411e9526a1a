"""What stands around every request: security headers, a bound on its size, a clean log."""

import logging
import re
import traceback

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG = logging.getLogger("drumbeat.web")

LARGEST_BODY = 64 * 1024
"""Bytes of a request: a reason for unsubscribing is the longest that anybody sends."""
LARGEST_UPLOAD = 21 * 1024 * 1024
"""Bytes of an upload, the form around its file included; a CSV may have 20 MiB (SPEC section 7)."""
UPLOADS = re.compile(r"/campaigns/(?:_new|[a-z0-9-]{1,100}/enroll)|/tasks/[^/]{1,64}/attach")
"""Where files are uploaded; the page reads nothing before it knows who sends it."""
LARGEST_LETTER = 4 * 1024 * 1024
"""Bytes of a form with a letter: a rendered one has up to a million characters."""
LETTERS = re.compile(
    r"/tasks/[^/]{1,64}/(?:draft|send|schedule)"
    r"|/emails/[^/]{1,64}/edit"
    r"|/campaigns/[a-z0-9-]{1,100}/enroll/[^/]{1,64}/(?:emails/\d{1,9}|fill)"
)
"""Where a rep's letters are saved and sent."""

STATIC = "/static/"
STATIC_CACHE = "public, max-age=3600"
VERSION_CACHE = "public, max-age=31536000, immutable"
"""Of a static file whose address names its content."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # An address may hold a token. Not `no-referrer`: with it, browsers say `Origin: null` where a
    # form is posted, which is no proof of where a change comes from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """An ASGI application around another one.

    It is the outermost, so that answers to errors and refusals carry the headers too.
    """

    def __init__(self, app: ASGIApp, *, largest_body: int = LARGEST_BODY) -> None:
        self._app = app
        self._largest = largest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                # What is not static says something about one person.
                headers.setdefault("Cache-Control", _cache(scope, message["status"]))
            await send(message)

        largest = max(self._largest, _largest_form(scope))
        if _length(scope) > largest:
            refusal = PlainTextResponse("That is too much at once.\n", 413)
            await refusal(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, _counted(receive, largest), send_guarded)
        except ClientDisconnect:
            return
        except Exception as error:
            # It is answered already, and raised again to be logged. Its own words, and those of the
            # request, may hold a token or an address.
            where = "".join(traceback.format_tb(error.__traceback__)[-6:])
            _LOG.error("a request failed: %s\n%s", type(error).__name__, where)


def _cache(scope: Scope, status: int) -> str:
    """How long an answer may be kept, and by whom."""
    if not scope["path"].startswith(STATIC) or status >= 400:
        return "no-store"
    return VERSION_CACHE if scope["query_string"].startswith(b"v=") else STATIC_CACHE


def _counted(receive: Receive, largest: int) -> Receive:
    """The request's body, which ends in an error where it grows too long."""
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > largest:
            raise HTTPException(413)
        return message

    return counted


def _largest_form(scope: Scope) -> int:
    """Bytes that a form may have where it holds a file, or a letter; else 0."""
    if scope["method"] != "POST":
        return 0
    if UPLOADS.fullmatch(scope["path"]):
        return LARGEST_UPLOAD
    return LARGEST_LETTER if LETTERS.fullmatch(scope["path"]) else 0


def _length(scope: Scope) -> int:
    """What the request says of its body's size, in bytes; 0 where it says nothing."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
