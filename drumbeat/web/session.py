"""Signing in and out, and the check of where a change comes from (SPEC section 13)."""

from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from drumbeat.actions import signing
from drumbeat.actions.errors import ActionError
from drumbeat.store import users
from drumbeat.web.limiting import FailureLimit
from drumbeat.web.site import PAGES, Site, TheSite, cookie_name, is_htmx, site_of

router = APIRouter()
_tries = FailureLimit(most=30)
"""Failed sign-ins from one address; an account's own lock comes earlier."""


def from_here(request: Request) -> None:
    """Refuse a change that a page of another site has asked for.

    A browser says with every POST where it comes from. Whoever says nothing is no browser with a
    cookie of ours, or an old one.

    Raises:
        HTTPException: 403.
    """
    if request.method in ("GET", "HEAD"):
        return
    origin = request.headers.get("Origin") or request.headers.get("Referer") or ""
    if urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower():
        raise HTTPException(403)


@router.get("/sign-in")
async def show(request: Request, next: str = "/") -> HTMLResponse:
    """The page on which one signs in."""
    return _page(request, next)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    site: TheSite,
    address: str = Form(""),
    password: str = Form(""),
    next: str = Form("/"),
) -> Response:
    """Open a session; a new one each time, whatever cookie came along."""
    from_here(request)
    client = request.client.host if request.client else ""
    try:
        _, cookie = await signing.sign_in(site.store, address, password)
    except signing.Locked as locked:
        return _page(request, next, address, str(locked), 429)
    except ActionError as wrong:
        if _tries.is_exceeded_by(client):
            raise HTTPException(429, headers={"Retry-After": "60"}) from wrong
        return _page(request, next, address, str(wrong), 403)
    old = request.cookies.get(cookie_name(site))
    if old:
        await signing.sign_out(site.store, old)
    return with_cookie(site, RedirectResponse(_local_path(next), 303), cookie)


@router.post("/sign-out")
async def sign_out(request: Request, site: TheSite) -> Response:
    """End the session."""
    from_here(request)
    cookie = request.cookies.get(cookie_name(site))
    if cookie:
        await signing.sign_out(site.store, cookie)
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(cookie_name(site), path="/")
    return answer


async def first_sign_in(request: Request, error: Exception) -> Response:
    """The answer where nobody is signed in: the sign-in page, or under `up` a session."""
    site = site_of(request)
    there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method == "GET" and site.host_user is not None and is_this_machine(request):
        async with site.store.read() as tx:
            row = await users.find(tx, site.host_user)
        if row is not None:
            cookie = await signing.open_session(site.store, row.id)
            return with_cookie(site, RedirectResponse(there, 303), cookie)
    back = there if request.method == "GET" else "/"
    target = "/sign-in" if back == "/" else str(request.url_for("show").path) + _next(back)
    if is_htmx(request):
        return Response(status_code=401, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)


def is_this_machine(request: Request) -> bool:
    """Whether a request comes from here and means here: a name that points here will not do."""
    host = urlsplit(f"//{request.headers.get('Host', '')}").hostname
    client = request.client.host if request.client else ""
    return host in ("127.0.0.1", "localhost") and client in ("127.0.0.1", "::1")


def with_cookie(site: Site, answer: Response, cookie: str) -> Response:
    """An answer that opens a session in the browser."""
    answer.set_cookie(
        cookie_name(site),
        cookie,
        max_age=int(signing.SESSION.total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",
        secure=site.is_secure,
    )
    return answer


def _page(
    request: Request, next: str, address: str = "", error: str | None = None, status: int = 200
) -> HTMLResponse:
    values = {"next": _local_path(next), "address": address, "error": error}
    return PAGES.TemplateResponse(request, "sign_in.html", values, status_code=status)


def _next(path: str) -> str:
    return f"?next={quote(path, safe='')}"


def _local_path(next: str) -> str:
    """A path of this site; whatever leads elsewhere becomes the start page."""
    parts = urlsplit(next)
    is_local = not parts.scheme and not parts.netloc and next.startswith("/")
    return next if is_local and not next.startswith(("//", "/\\")) else "/"
