"""Files that a browser sends: read only for who is signed in, not too many, not too large."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from drumbeat.actions.signing import User
from drumbeat.web.limiting import FailureLimit

MOST_FIELDS = 20

MOST_IN_A_MINUTE = 20
"""Uploads of one user."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What came."""

    name: str
    """The file's name; empty where none was chosen."""
    content: IO[bytes] | None
    fields: dict[str, str]


@asynccontextmanager
async def uploaded(request: Request, user: User) -> AsyncIterator[Sent]:
    """The form of an upload with its file, called `file`, while the block lasts.

    Raises:
        HTTPException: 429 where the user sends too many, 400 where it cannot be read.
    """
    limit = _limit(request)
    if limit.is_exceeded_by(user.id):
        wait = str(int(limit.span.total_seconds()))
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": wait})
    async with request.form(max_files=1, max_fields=MOST_FIELDS) as form:
        file = form.get("file")
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        if isinstance(file, UploadFile) and file.filename:
            yield Sent(file.filename, file.file, fields)
        else:
            yield Sent("", None, fields)


def _limit(request: Request) -> FailureLimit:
    state = request.app.state
    if not hasattr(state, "upload_limit"):
        state.upload_limit = FailureLimit(MOST_IN_A_MINUTE)
    limit: FailureLimit = state.upload_limit
    return limit
