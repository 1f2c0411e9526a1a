"""Reads the values of a mapping, each with one clear sentence where it cannot be used."""

import re
from collections.abc import Callable, Sequence
from datetime import date, time
from enum import StrEnum
from typing import TypeVar

from drumbeat.campaign.faults import Notes, Place, Unusable, meant, nearest
from drumbeat.campaign.model import Window
from drumbeat.campaign.planning import LaunchError, parse_clock
from drumbeat.campaign.yaml_source import Listing, Mapping, Node, Scalar, Unread

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E", bound=StrEnum)

_NUMBER = re.compile(r"[-+]?[0-9]{1,9}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SHORT_CLOCK = re.compile(r"[0-9]:[0-5][0-9]")
_WINDOW = re.compile(r"(\S+?) ?[-\u2013] ?(\S+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_TOKEN_HINT = "put a text that begins with '{{' in quotes"


def shown(node: Node) -> str:
    """What was written, short enough for a message."""
    if isinstance(node, Listing):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    if not isinstance(node, Scalar) or node.tag == "null":
        return "nothing"
    line = " ".join(node.text.split())
    return f"'{line if len(line) <= 40 else line[:39] + '…'}'"


def text(node: Node) -> str:
    """Any text.

    Raises:
        Unusable: It is none.
    """
    if isinstance(node, Scalar):
        if node.tag == "str":
            return node.text
        if node.tag != "null":
            raise Unusable(f"is to be text: put {shown(node)} in quotes")
    if isinstance(node, Mapping) and node.begins_as_token:
        raise Unusable(f"is to be text, and YAML takes it for a mapping: {_TOKEN_HINT}")
    raise Unusable(f"is to be text, not {shown(node)}")


def line(node: Node, most: int = 200) -> str:
    """One line of text that is not blank, without blanks around it.

    Raises:
        Unusable: It is none, or is longer than `most` characters.
    """
    found = text(node).strip()
    if not found:
        raise Unusable("is to be text, and is blank: fill it in, or leave it out")
    if _CONTROL.search(found):
        raise Unusable("is to be one line of text, without line breaks and control characters")
    if len(found) > most:
        raise Unusable(f"is to have at most {most} characters, not {len(found):,}")
    return found


def flag(node: Node) -> bool:
    """True or false.

    Raises:
        Unusable: It is neither.
    """
    if isinstance(node, Scalar) and node.tag == "bool":
        return node.text.lower() == "true"
    raise Unusable(f"is to be true or false, not {shown(node)}")


def number(node: Node, least: int, most: int) -> int:
    """A whole number.

    Raises:
        Unusable: It is none, or not within the bounds.
    """
    if isinstance(node, Scalar) and node.tag == "int" and _NUMBER.fullmatch(node.text):
        found = int(node.text)
        if least <= found <= most:
            return found
    raise Unusable(f"is to be a whole number from {least} to {most}, not {shown(node)}")


def choice(node: Node, kind: type[E]) -> E:
    """One of an enum's words.

    Raises:
        Unusable: It is none of them.
    """
    words = [str(member) for member in kind]
    if not isinstance(node, Scalar) or node.tag == "null":
        raise Unusable(f"is to be one of {', '.join(words)}, not {shown(node)}")
    if node.text not in words:
        raise Unusable(f"cannot be {shown(node)}: {meant(node.text, words)}")
    return kind(node.text)


def clock(found: str) -> time:
    """The clock time of `HH:MM`.

    Raises:
        Unusable: It is none.
    """
    if _SHORT_CLOCK.fullmatch(found):
        raise Unusable(f"is to be a time HH:MM with two digits each: write '0{found}'")
    try:
        return parse_clock(found)
    except LaunchError:
        raise Unusable(
            f"is to be a time from 00:00 to 23:59, as in '09:30', not '{found}'"
        ) from None


def window(node: Node) -> Window:
    """The sending window of `HH:MM-HH:MM`.

    Raises:
        Unusable: It is none, or does not run forwards.
    """
    found = _WINDOW.fullmatch(text(node).strip())
    if not found:
        raise Unusable(f"is to be two times, as in '08:00-18:00', not {shown(node)}")
    start, end = clock(found[1]), clock(found[2])
    if start >= end:
        raise Unusable(
            f"is to run forwards within one day: {start:%H:%M} is not before {end:%H:%M}"
        )
    return Window(start=start, end=end)


def day_of_year(node: Scalar) -> date | None:
    """The date of `YYYY-MM-DD`; None where it is written otherwise.

    Raises:
        Unusable: There is no such date.
    """
    if not _DATE.fullmatch(node.text):
        return None
    try:
        return date.fromisoformat(node.text)
    except ValueError:
        raise Unusable(f"has {shown(node)}, which is no date of the calendar") from None


class Fields:
    """The keys of a mapping: what is unknown, doubled or lacking is noted when it is opened."""

    def __init__(
        self,
        node: Node,
        notes: Notes,
        what: str,
        known: Sequence[str],
        required: Sequence[str] = (),
    ) -> None:
        """Open a mapping.

        Args:
            node: What should be one.
            notes: Where faults are noted.
            what: What it is called in messages: "a day".
            known: The keys that it may have.
            required: Those of them that it must have.
        """
        self.what = what
        self.place = node.place
        self._notes = notes
        self._known = known
        self._values: dict[str, tuple[Place, Node]] = {}
        self._meant: set[str] = set()
        if isinstance(node, Mapping):
            self._take(node)
            for name in required:
                if name not in self._values and name not in self._meant:
                    notes.fault(node.place, f"{what} lacks '{name}'")
        elif not isinstance(node, Unread):
            wanted = ", ".join(required or known)
            message = f"{what} is to be a mapping with {wanted}, not {shown(node)}"
            notes.fault(node.place, message)

    def _take(self, mapping: Mapping) -> None:
        seen: dict[str, Place] = {}
        for key, value in mapping.entries:
            if not isinstance(key, Scalar):
                if not isinstance(key, Unread):
                    message = f"a key of {self.what} is to be a word, not {shown(key)}"
                    self._notes.fault(key.place, message)
                continue
            name = key.text
            if name in seen:
                first = seen[name].line
                message = f"{shown(key)} stands twice, first in line {first}: leave one out"
                self._notes.fault(key.place, message)
                continue
            seen[name] = key.place
            if name in self._known:
                self._values[name] = (key.place, value)
            else:
                self._unknown(key)

    def _unknown(self, key: Scalar) -> None:
        near = nearest(key.text, self._known)
        if near is not None:
            self._meant.add(near)
        if key.text == "<<":
            hint = "YAML 1.2 does not merge: write the keys out"
        else:
            hint = f"did you mean '{near}'?" if near else f"known are {', '.join(self._known)}"
        self._notes.fault(key.place, f"unknown key {shown(key)} in {self.what}: {hint}")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @property
    def names(self) -> tuple[str, ...]:
        """The known keys that are there, in the file's order."""
        return tuple(self._values)

    def is_meant(self, name: str) -> bool:
        """Whether a key is there, or one whose name is misspelt."""
        return name in self._values or name in self._meant

    def key_place(self, name: str) -> Place:
        """Where a key stands that is there."""
        return self._values[name][0]

    def node(self, name: str) -> Node:
        """The value of a key that is there."""
        return self._values[name][1]

    def value(self, name: str, parse: Callable[[Node], T], default: D) -> T | D:
        """The value of a key; the default where it is left out or has a fault, which is noted."""
        if name not in self._values:
            return default
        key_place, node = self._values[name]
        if isinstance(node, Unread):
            return default
        if isinstance(node, Scalar) and node.tag == "null":
            message = f"'{name}' is empty: fill it in, or leave the line out"
            self._notes.fault(key_place, message)
            return default
        try:
            return parse(node)
        except Unusable as unusable:
            self._notes.fault(node.place, f"'{name}' {unusable}")
            return default

    def items(self, name: str, example: str) -> tuple[Node, ...]:
        """The items of a list; none where it is left out or has a fault, which is noted."""

        def parse(node: Node) -> tuple[Node, ...]:
            if not isinstance(node, Listing):
                raise Unusable(f"is to be a list, as in {example}, not {shown(node)}")
            return node.items

        return self.value(name, parse, ())

    def each(self, name: str, example: str, parse: Callable[[Node], T]) -> list[T]:
        """The items of a list that have no fault; the others' are noted."""
        found: list[T] = []
        for item in self.items(name, example):
            if isinstance(item, Unread):
                continue
            try:
                found.append(parse(item))
            except Unusable as unusable:
                self._notes.fault(item.place, f"'{name}' {unusable}")
        return found
