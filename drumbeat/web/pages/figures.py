"""The shell's figures, for a page that stays open: none is more than 10 s old."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from drumbeat.web.site import TheUser, page

router = APIRouter()


@router.get("/figures")
async def show(request: Request, user: TheUser, section: str = "") -> HTMLResponse:
    """What waits, and how much of the mailbox is used; `section` is where the page stands."""
    return await page(request, user, "shell_figures.html", section=section)
