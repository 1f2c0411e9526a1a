"""The files that a rep lets travel with an email, beside or instead of its template's."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from drumbeat.actions.errors import ActionError
from drumbeat.campaign import attachments
from drumbeat.campaign.faults import Unusable
from drumbeat.campaign.model import Attachment
from drumbeat.campaign.templates import clean_subject

MOST_FILES = 20
"""That travel with one email."""
LONGEST_NAME = 150
"""Characters of a file's name, its ending included."""


@dataclass(frozen=True)
class NewFile:
    """A file as a rep gives it."""

    name: str
    """As the browser or the command names it; folders before it are left out."""
    content: bytes = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        """Of its bytes; computed once, as they may be many."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Files:
    """What changes among the files of an email."""

    added: Sequence[NewFile] = ()
    removed: Mapping[int, str] = field(default_factory=dict)
    """Places in the list as it was, from 0 -> the SHA-256 of what is to lie there."""

    @property
    def contents(self) -> Mapping[str, bytes]:
        """The bytes of those that were added, by their SHA-256."""
        return {file.sha256: file.content for file in self.added}

    def change(self, before: Sequence[Attachment]) -> list[Attachment]:
        """The email's files afterwards.

        Raises:
            ActionError: One to be removed is not there, or they are more than an email may carry.
        """
        there = {place: file.sha256 for place, file in enumerate(before)}
        if any(there.get(place) != sha256 for place, sha256 in self.removed.items()):
            raise ActionError("the email has no such file: it may have been removed already")
        kept = [file for place, file in enumerate(before) if place not in self.removed]
        after = kept + [
            Attachment(path=name_of(file.name), sha256=file.sha256, size=len(file.content))
            for file in self.added
        ]
        if len(after) > MOST_FILES:
            raise ActionError(f"an email may carry {MOST_FILES} files, these are {len(after)}")
        try:
            attachments.check_sum(sum(file.size for file in after))
        except Unusable as error:
            raise ActionError(f"the files {error}") from error
        return after


def name_of(given: str) -> str:
    r"""What the recipient sees of a file's name: no folders, nothing that breaks a header.

    >>> name_of("C:\\offers\\Offer\n2027.pdf")
    'Offer 2027.pdf'
    >>> name_of("../..")
    'file'
    """
    name = clean_subject(given.replace("\\", "/").rstrip("/").rpartition("/")[2])
    if not name.strip("."):
        return "file"
    stem, dot, ending = name.rpartition(".")
    if len(name) <= LONGEST_NAME or len(ending) > 10 or not stem:
        return name[:LONGEST_NAME]
    return stem[: LONGEST_NAME - len(dot + ending)] + dot + ending
