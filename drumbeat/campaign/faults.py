"""What is wrong with a file, and where: faults and warnings that are collected, not raised."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple


class Place(NamedTuple):
    """A line and a column of a file, both from 1."""

    line: int
    column: int


START = Place(1, 1)
"""Where a fault lies that has no place of its own, such as one of the whole file."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a file, and what would be right."""

    file: str
    """As it is reached from what was typed."""
    line: int
    column: int
    """Both from 1."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


def warning_line(warning: Fault) -> str:
    """A warning as it is printed (SPEC section 2).

    >>> warning_line(Fault("a.yaml", 2, 9, "it sends at once"))
    'a.yaml:2:9: warning: it sends at once'
    """
    return str(Fault(warning.file, warning.line, warning.column, f"warning: {warning.message}"))


class Unusable(Exception):
    """A value with a fault; the message goes on a sentence that begins with the value's name."""


class Notes:
    """The faults and warnings of one file, each kept once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._faults: dict[Fault, None] = {}
        self._warnings: dict[Fault, None] = {}

    def fault(self, place: Place, message: str) -> None:
        """Note what keeps the file from being used."""
        self._faults[Fault(self.file, *place, message)] = None

    def warn(self, place: Place, message: str) -> None:
        """Note what may not be meant so."""
        self._warnings[Fault(self.file, *place, message)] = None

    @property
    def count(self) -> int:
        """How many faults there are."""
        return len(self._faults)

    @property
    def faults(self) -> list[Fault]:
        """In the order of their places."""
        return sorted(self._faults, key=_place)

    @property
    def warnings(self) -> list[Fault]:
        """In the order of their places."""
        return sorted(self._warnings, key=_place)


def _place(fault: Fault) -> tuple[int, int]:
    return (fault.line, fault.column)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant; None where none is near.

    >>> nearest("follow-up", ["send", "follow_up"])
    'follow_up'
    """
    return _nearest(word, tuple(known))


@lru_cache(maxsize=4096)
def _nearest(word: str, known: tuple[str, ...]) -> str | None:
    # What is longer than this is no word that was misspelt, and comparing takes its square in time.
    short, folded = word[:80], {name.casefold(): name for name in reversed(known)}
    near = get_close_matches(short.casefold(), folded, 1)
    return folded[near[0]] if near else None


def meant(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, else all of them."""
    listed = tuple(known)
    near = nearest(word, listed)
    return f"did you mean '{near}'?" if near else f"write one of {', '.join(listed)}"
