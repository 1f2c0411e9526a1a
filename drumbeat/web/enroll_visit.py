"""What the screens of enrolling have in common: whose upload is worked on, for which campaign."""

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Row

from drumbeat.actions.errors import NotFound
from drumbeat.actions.signing import User
from drumbeat.store.lists import campaigns as lists
from drumbeat.web.enroll_desk import Check, EnrollDesk, enroll_desk
from drumbeat.web.site import Site, page
from drumbeat.web.uploads import Kept

PAGE = 50
"""Rows of a table or a list."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of the screens after the first."""

    request: Request
    site: Site
    user: User
    row: Row[Any]
    """The campaign's."""
    kept: Kept
    desk: EnrollDesk

    @property
    def here(self) -> str:
        """The address of the check, under which the other screens lie."""
        return f"/campaigns/{self.row.slug}/enroll/{self.kept.id}"

    async def check(self) -> Check:
        """What enrolling would do."""
        return await self.desk.check(self.site, self.user.id, self.kept)

    async def page(self, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A screen."""
        rep = self.site.reps.by_id(self.kept.rep_id)
        given = {"row": self.row, "kept": self.kept, "here": self.here, "rep": rep, **values}
        return await page(
            self.request, self.user, name, status=status, section="campaigns", **given
        )

    def to(self, path: str = "") -> RedirectResponse:
        """To another screen."""
        return RedirectResponse(self.here + path, 303)


async def campaign_of(site: Site, slug: str) -> Row[Any]:
    """A campaign that people can be enrolled in.

    Raises:
        NotFound: There is none.
    """
    async with site.store.read() as tx:
        row = await lists.one(tx, slug)
    if row is None or row.version is None:
        raise NotFound(f"there is no campaign {slug}")
    return row


async def visit_of(request: Request, site: Site, user: User, slug: str, upload: str) -> Visit:
    """An upload of the user for a campaign; nobody else's.

    Raises:
        NotFound: There is no such campaign, or no such upload of theirs.
    """
    row = await campaign_of(site, slug)
    desk = enroll_desk(request, site)
    return Visit(request, site, user, row, desk.uploads.read(upload, user.id, slug), desk)
