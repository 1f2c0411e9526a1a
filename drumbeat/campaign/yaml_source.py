"""Reads YAML 1.2 into nodes that know where they stand, whatever was written."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver

from drumbeat.campaign.faults import START, Notes, Place
from drumbeat.campaign.text_files import control_character, no_text

MOST_ALIASED_NODES = 10_000
MOST_ALIASED_BYTES = 1 << 20
DEEPEST = 40
"""Lists and mappings within each other; a campaign has five."""

_CORE = "tag:yaml.org,2002:"
_HINTS = {
    "mapping values are not allowed here": "put a text that holds ': ' in quotes",
    "found character '\\t' that cannot start any token": "indent with spaces, not with tabs",
}
_TOKEN_UNQUOTED = re.compile(r"(?:^|[:,\[-])\s*\{\{")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value as it was written."""

    place: Place
    tag: str
    """What YAML 1.2 takes it for: str, int, float, bool, null or timestamp."""
    text: str
    starts: tuple[Place, ...] = field(default=(), repr=False)
    """Where each line of the text begins in the file; empty where its places cannot be told."""

    def place_of(self, line: int, column: int) -> Place:
        """Where a place within the text, both from 1, stands in the file."""
        if line > len(self.starts):
            return self.place
        start = self.starts[line - 1]
        return Place(start.line, start.column + column - 1)


@dataclass(frozen=True, slots=True)
class Listing:
    """A list."""

    place: Place
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys with their values, in order, those that stand twice included."""

    place: Place
    entries: tuple[tuple["Node", "Node"], ...]
    begins_as_token: bool = False
    """Whether it was meant as text: YAML reads an unquoted `{{ first_name }}` as a mapping."""


@dataclass(frozen=True, slots=True)
class Unread:
    """What has a fault that is noted already."""

    place: Place


Node = Scalar | Listing | Mapping | Unread


def read_yaml(text: str, notes: Notes, *, first_line: int = 1) -> Node | None:
    """Read one YAML document.

    Args:
        text: The document, its lines parted by line feeds alone.
        notes: Where faults are noted.
        first_line: The line of the file at which the text begins.

    Returns:
        The document; None where it is empty or is no YAML at all (which is noted).
    """
    places = Places(text, first_line)
    if found := control_character(text):
        notes.fault(places.at(found.start()), f"{no_text(found[0])}: this is no text file")
        return None
    try:
        return _Builder(text, places, notes).build(_events(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = places.at(mark.index) if mark else START
        notes.fault(place, _explained(error, text, mark))
    except YAMLError as error:
        notes.fault(places.at(0), f"this is no YAML: {str(error).splitlines()[0]}")
    except _TooDeep as error:
        notes.fault(error.place, f"nested more than {DEEPEST} deep: this is no campaign file")
    return None


def _events(text: str) -> Iterator[Event]:
    # Not the round-trip reader: it marks the folds of a text with characters of its own.
    yaml = YAML(typ="safe", pure=True)
    events: Iterator[Event] = yaml.parse(text)
    return events


def _explained(error: MarkedYAMLError, text: str, mark: StringMark | None) -> str:
    problem = str(error.problem or error.context)
    message = f"this is no YAML: {problem}"
    if problem in _HINTS:
        return f"{message}: {_HINTS[problem]}"
    if mark is not None:
        line = text[: mark.index].rpartition("\n")[2] + text[mark.index :].partition("\n")[0]
        if _TOKEN_UNQUOTED.search(line):
            return f"{message}: put a text that begins with '{{{{' in quotes"
    return message


class _TooDeep(Exception):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.place = place


class Places:
    """Turns offsets into lines and columns of the file."""

    def __init__(self, text: str, first_line: int = 1) -> None:
        # Counted here: the YAML reader also counts breaks that editors do not.
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._first_line = first_line

    def at(self, offset: int) -> Place:
        """The place of the character with that offset from the text's beginning."""
        line = bisect_right(self._starts, offset)
        return Place(line - 1 + self._first_line, offset - self._starts[line - 1] + 1)


@dataclass(slots=True)
class _Size:
    """How much a node is once its aliases are written out."""

    nodes: int = 0
    octets: int = 0

    def add(self, other: "_Size") -> None:
        self.nodes += other.nodes
        self.octets += other.octets


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read."""

    start: CollectionStartEvent
    children: list[Node]
    size: _Size


class _Builder:
    """Makes nodes of events, without recursion."""

    def __init__(self, text: str, places: Places, notes: Notes) -> None:
        self._text = text
        self._places = places
        self._notes = notes
        self._resolver = VersionedResolver((1, 2))
        self._anchored: dict[str, tuple[Node, _Size] | None] = {}
        """None: not read to its end."""
        self._aliased = _Size()
        self._open: list[_Open] = []
        self._root: Node | None = None

    def build(self, events: Iterator[Event]) -> Node | None:
        for event in events:
            if isinstance(event, DocumentStartEvent):
                if self._root is not None:
                    self._fault(event, "a file holds one document: leave the second one out")
                    break
                if event.version and tuple(event.version) != (1, 2):
                    self._fault(event, "YAML 1.2 is read: leave the '%YAML' line out")
            elif isinstance(event, AliasEvent):
                self._alias(event)
            elif isinstance(event, ScalarEvent):
                self._close(event, self._scalar(event), _Size(1, len(event.value.encode())))
            elif isinstance(event, (SequenceStartEvent, MappingStartEvent)):
                self._begin(event)
            elif isinstance(event, CollectionEndEvent):
                self._end()
        return self._root

    def _place(self, event: Event) -> Place:
        return self._places.at(event.start_mark.index)

    def _fault(self, event: Event, message: str) -> None:
        self._notes.fault(self._place(event), message)

    def _begin(self, event: CollectionStartEvent) -> None:
        if len(self._open) >= DEEPEST:
            raise _TooDeep(self._place(event))
        if event.anchor:
            self._anchored[event.anchor] = None
        self._open.append(_Open(event, [], _Size(1)))

    def _end(self) -> None:
        done = self._open.pop()
        place = self._place_of_collection(done)
        node: Node
        if isinstance(done.start, SequenceStartEvent):
            node = Listing(place, tuple(done.children))
        else:
            pairs = zip(done.children[::2], done.children[1::2], strict=True)
            is_token = self._text.startswith("{{", done.start.start_mark.index)
            node = Mapping(place, tuple(pairs), is_token)
        self._close(done.start, node, done.size)

    def _place_of_collection(self, done: _Open) -> Place:
        if not (done.start.anchor or done.start.tag):
            return self._place(done.start)
        # The event begins at the anchor or tag; what is named by it begins behind.
        if not done.start.flow_style and done.children:
            return done.children[0].place
        bracket = "[" if isinstance(done.start, SequenceStartEvent) else "{"
        return self._places.at(max(0, self._text.find(bracket, done.start.start_mark.index)))

    def _close(self, event: ScalarEvent | CollectionStartEvent, node: Node, size: _Size) -> None:
        tag = event.tag
        if tag and not (tag.startswith(_CORE) and isinstance(event, ScalarEvent)):
            self._fault(event, f"the tag '{tag}' is not read: leave it out")
            node = Unread(node.place)
        if event.anchor:
            self._anchored[event.anchor] = (node, size)
        self._add(node, size)

    def _add(self, node: Node, size: _Size) -> None:
        if self._open:
            self._open[-1].children.append(node)
            self._open[-1].size.add(size)
        else:
            self._root = node

    def _alias(self, event: AliasEvent) -> None:
        place = self._place(event)
        if event.anchor not in self._anchored:
            self._fault(event, f"'*{event.anchor}' stands for nothing: no '&{event.anchor}' before")
            return self._add(Unread(place), _Size(1))
        target = self._anchored[event.anchor]
        if target is None:
            self._fault(event, f"'*{event.anchor}' holds itself: write out what is meant")
            return self._add(Unread(place), _Size(1))
        node, size = target
        was_too_much = self._is_too_much()
        self._aliased.add(size)
        if self._is_too_much():
            if not was_too_much:
                self._fault(
                    event,
                    f"the aliases expand to more than {MOST_ALIASED_NODES:,} nodes or 1 MiB: "
                    "write out what is meant",
                )
            return self._add(Unread(place), _Size(1))
        self._add(replace(node, place=place), size)

    def _is_too_much(self) -> bool:
        return self._aliased.nodes > MOST_ALIASED_NODES or self._aliased.octets > MOST_ALIASED_BYTES

    def _scalar(self, event: ScalarEvent) -> Scalar:
        tag = event.tag or self._resolver.resolve(ScalarNode, event.value, event.implicit)
        return Scalar(
            self._place(event), str(tag).removeprefix(_CORE), event.value, self._starts(event)
        )

    def _starts(self, event: ScalarEvent) -> tuple[Place, ...]:
        """Where the lines of a scalar begin, if they stand in the file as they are in the text."""
        begin, end = event.start_mark.index, event.end_mark.index
        if event.style != "|":
            inner = self._text.find(event.value, begin, end)
            is_plain = (
                inner >= 0 and "\n" not in event.value and end - begin <= len(event.value) + 2
            )
            return (self._places.at(inner),) if is_plain else ()
        # A block begins on the line below its '|'; each of its lines is indented alike.
        lines = event.value.split("\n")
        offset = self._text.find("\n", begin) + 1
        indent = _indent(self._text[offset:end], lines)
        if offset == 0 or indent is None:
            return ()
        first = self._places.at(offset)
        return tuple(Place(first.line + number, indent + 1) for number in range(len(lines)))


def _indent(block: str, lines: list[str]) -> int | None:
    """By how many characters a block is indented; None where it holds no text."""
    for written, line in zip(block.split("\n"), lines, strict=False):
        if line:
            return len(written) - len(line)
    return None
