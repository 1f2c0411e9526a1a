"""What a user may choose for themselves: single keys, and the theme."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from drumbeat.actions import signing
from drumbeat.web.site import TheSite, TheUser, page

router = APIRouter(prefix="/settings")


@router.get("")
async def show(request: Request, user: TheUser, saved: bool = False) -> HTMLResponse:
    """The user's choices."""
    return await page(request, user, "settings.html", section="settings", saved=saved)


@router.post("")
async def save(
    site: TheSite,
    user: TheUser,
    single_keys: Annotated[str, Form()] = "",
    theme: Annotated[str, Form()] = "",
) -> Response:
    """Keep them; a theme that there is none of is the system's."""
    chosen = theme if theme in ("light", "dark") else None
    await signing.choose(site.store, user.id, single_keys=bool(single_keys), theme=chosen)
    return RedirectResponse("/settings?saved=true", 303)
