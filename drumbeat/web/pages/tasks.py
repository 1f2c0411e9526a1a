"""Tasks: the page on which a rep's day begins."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from drumbeat.web.site import TheUser, page

router = APIRouter(prefix="/tasks")


@router.get("")
async def show(request: Request, user: TheUser) -> HTMLResponse:
    """The queue of whoever is signed in."""
    return await page(request, user, "tasks.html", section="tasks")
