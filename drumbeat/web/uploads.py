"""People files between the screens of enrolling: kept on the server, for who uploaded them only.

Each lies in a folder with an id that nobody can guess; what was chosen and written meanwhile lies
beside it. It goes when the enrolling is over, or after a day.
"""

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.actions.first_emails import OwnText
from drumbeat.campaign.people import MAX_BYTES
from drumbeat.campaign.templates import Body

KEPT_FOR = timedelta(days=1)

_ID = re.compile(r"[A-Za-z0-9_-]{24}")
_PEOPLE, _STATE = "people.csv", "state.json"
_CHUNK = 1024 * 1024


@dataclass(slots=True)
class Result:
    """What became of an enrolling that is over."""

    enrolled: int
    updated: int
    already: int
    excluded: int
    rejects: list[tuple[int, str, str | None]]
    """Line, address as written, reason."""


@dataclass(slots=True)
class Kept:
    """What is known of an upload."""

    id: str
    user_id: str
    slug: str
    version: str
    """Of the campaign: what was checked is what people are enrolled in."""
    rep_id: str
    """Who writes to the people."""
    file: str
    """The file's name, as the browser gave it."""
    rows: int
    again: bool = False
    also: bool = False
    fills: dict[str, str] = field(default_factory=dict)
    """Token -> what those get who would be enrolled and lack it."""
    send_at: str | None = None
    times: dict[int, str] = field(default_factory=dict)
    """Step -> clock time, HH:MM."""
    texts: dict[str, OwnText] = field(default_factory=dict)
    """Address -> the first email as it was rewritten."""
    is_begun: bool = False
    """Whether the enrolling was started, by this process or one before it."""
    result: Result | None = None


class Uploads:
    """The uploads of a folder, made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, content: IO[bytes], **known: Any) -> Kept:
        """Keep an upload; those that are older than a day go.

        Args:
            content: The file.
            known: What `Kept` wants to know of it.

        Raises:
            ActionError: It is larger than a people file may be.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sweep()
        kept = Kept(id=secrets.token_urlsafe(18), **known)
        (self._folder / kept.id).mkdir(mode=0o700)
        content.seek(0)
        left = MAX_BYTES
        with self.people(kept).open("wb") as file:
            while chunk := content.read(_CHUNK):
                left -= len(chunk)
                file.write(chunk)
                if left < 0:
                    break
        if left < 0:
            self.remove(kept)
            raise ActionError(f"it is larger than {MAX_BYTES // 1024 // 1024} MiB: divide it")
        self.write(kept)
        return kept

    def read(self, upload_id: str, user_id: str, slug: str) -> Kept:
        """An upload of that user for that campaign.

        Raises:
            NotFound: There is none, it is somebody else's, or it is gone.
        """
        found = self._read(upload_id) if _ID.fullmatch(upload_id) else None
        if found is None or (found.user_id, found.slug) != (user_id, slug):
            raise NotFound("there is no such upload")
        return found

    def write(self, kept: Kept) -> None:
        """Keep what has changed."""
        path = self._folder / kept.id / _STATE
        part = path.with_suffix(f".{secrets.token_hex(4)}")
        values = asdict(kept)
        for address, text in kept.texts.items():
            values["texts"][address]["rendering"] = text.rendering.model_dump()
        part.write_text(json.dumps(values), encoding="utf-8")
        part.replace(path)

    def people(self, kept: Kept) -> Path:
        """Where the file lies."""
        return self._folder / kept.id / _PEOPLE

    def finish(self, kept: Kept, result: Result) -> None:
        """The enrolling is over: the file and what was written go, what became of it stays."""
        kept.result = result
        kept.texts = {}
        self.write(kept)
        self.people(kept).unlink(missing_ok=True)

    def remove(self, kept: Kept) -> None:
        """Forget an upload."""
        shutil.rmtree(self._folder / kept.id, ignore_errors=True)

    def of_user(self, user_id: str, slug: str) -> list[Kept]:
        """A user's uploads for a campaign that are not over, newest first."""
        found = [kept for kept in self._every() if (kept.user_id, kept.slug) == (user_id, slug)]
        open_ones = [kept for kept in found if kept.result is None]
        return sorted(open_ones, key=lambda kept: -self._changed_at(kept.id))

    def _every(self) -> Iterator[Kept]:
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            kept = self._read(path.name) if _ID.fullmatch(path.name) else None
            if kept is not None:
                yield kept

    def _read(self, upload_id: str) -> Kept | None:
        try:
            text = (self._folder / upload_id / _STATE).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        if time.time() - self._changed_at(upload_id) > KEPT_FOR.total_seconds():
            shutil.rmtree(self._folder / upload_id, ignore_errors=True)
            return None
        values = json.loads(text)
        values["times"] = {int(step): clock for step, clock in values["times"].items()}
        for address, own in values["texts"].items():
            rendering = Body.model_validate(own.pop("rendering"))
            values["texts"][address] = OwnText(**own, rendering=rendering)
        if values["result"] is not None:
            values["result"] = Result(**values["result"])
            values["result"].rejects = [tuple(row) for row in values["result"].rejects]
        return Kept(**values)

    def _changed_at(self, upload_id: str) -> float:
        try:
            return (self._folder / upload_id / _STATE).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def sweep(self) -> None:
        """Remove what is older than a day."""
        if not self._folder.is_dir():
            return
        before = time.time() - KEPT_FOR.total_seconds()
        for path in self._folder.iterdir():
            if _ID.fullmatch(path.name) and path.stat().st_mtime < before:
                shutil.rmtree(path, ignore_errors=True)
