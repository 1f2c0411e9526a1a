"""Reads the files that travel with an email, which lie in the campaign's folder."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from drumbeat.campaign.faults import Unusable, nearest
from drumbeat.campaign.model import Attachment

MOST_BYTES = 20_000_000
"""Of all attachments of one email (SPEC section 2)."""


class AttachmentFiles:
    """The attachments of one campaign, each read once."""

    def __init__(self, folder: str) -> None:
        """Take the campaign's folder, as it was reached."""
        self._folder = Path(folder)
        self._by_path: dict[str, Attachment] = {}
        self.contents: dict[str, bytes] = {}
        """The bytes of those that were read, by their SHA-256."""

    def find(self, path: str) -> int:
        """The size of an attachment in bytes.

        Args:
            path: As written: relative to the campaign file, its parts parted by '/'.

        Raises:
            Unusable: It is no file of the campaign's folder.
        """
        if "\\" in path:
            raise Unusable(f"has '{path}': write '/' between folders and files")
        outside = f"has '{path}', which leaves the campaign's folder: put the file into it"
        if path.startswith(("/", "~")):
            raise Unusable(outside)
        try:
            found = (self._folder / path).resolve()
            # Asked of where links lead, so that none of them leaves the folder either.
            if not found.is_relative_to(self._folder.resolve()):
                raise Unusable(outside)
            if not found.is_file():
                raise Unusable(f"has '{path}', which is no file{self._near(path)}")
            if not os.access(found, os.R_OK):
                raise Unusable(f"has '{path}', which may not be read")
            return found.stat().st_size
        except (OSError, RuntimeError, ValueError) as error:  # links in a circle; a name too long
            raise Unusable(f"has '{path}', which cannot be read") from error

    def _near(self, path: str) -> str:
        """The end of a message: a file whose name is like the one that is missing."""
        before, _, name = path.rpartition("/")
        beside = self._folder / before
        if not beside.is_dir():
            return f": there is no folder '{before}' beside the campaign file"
        names = sorted(file.name for file in beside.iterdir() if file.is_file())
        near = nearest(name, names)
        where = f"{before}/" if before else ""
        return f": did you mean '{where}{near}'?" if near else " beside the campaign file"

    def read(self, paths: Iterable[str]) -> tuple[Attachment, ...]:
        """The attachments of one email, for paths that `find` has found.

        Raises:
            Unusable: One cannot be read, or they are more than an email may carry.
        """
        read = tuple(self._read(path) for path in paths)
        check_sum(sum(attachment.size for attachment in read))
        return read

    def _read(self, path: str) -> Attachment:
        if path not in self._by_path:
            try:
                with (self._folder / path).open("rb") as file:
                    content = file.read(MOST_BYTES + 1)
            except OSError as error:
                reason = (error.strerror or type(error).__name__).lower()
                raise Unusable(f"has '{path}', which cannot be read: {reason}") from error
            sha256 = hashlib.sha256(content).hexdigest()
            self.contents.setdefault(sha256, content)
            self._by_path[path] = Attachment(path=path, sha256=sha256, size=len(content))
        return self._by_path[path]


def check_sum(octets: int) -> None:
    """Refuse what is more than one email may carry.

    Raises:
        Unusable: It is.
    """
    if octets > MOST_BYTES:
        raise Unusable(f"have {octets:,} bytes together: an email may carry {MOST_BYTES:,}")
