"""Reads README.md and the pages of docs/: blocks, commands, files, names; and compares loosely."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIRST = ("README.md", "docs/managers.md", "docs/reps.md", "docs/ops.md", "docs/developers.md")
"""The commands of these pages build on each other in this order."""
WRITTEN_ON = date(2026, 11, 26)
"""The day on which the documents are set: their dates are moved to as far from today."""

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"^`([^`\n]+)`\n\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a document shows."""

    place: str
    """Document and line, from 1."""
    text: str
    shown: tuple[str, ...]
    """The lines of its output that are shown, without the ones that stand for others."""


def documents() -> list[Path]:
    """All of them, those that build on each other first."""
    first = [ROOT / name for name in FIRST]
    return first + sorted(path for path in (ROOT / "docs").rglob("*.md") if path not in first)


@cache
def text_of(path: Path) -> str:
    return path.read_text()


def commands() -> list[Command]:
    """What stands in `console` and `sh` blocks, in order."""
    return [command for path in documents() for command in _commands_of(path)]


def _commands_of(path: Path) -> Iterator[Command]:
    text = text_of(path)
    for block in _BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(3)) + 1
        lines = [line.removeprefix(block[1]) for line in block[3].splitlines()]
        if block[2] not in ("console", "sh"):
            continue
        found: list[tuple[int, str, list[str]]] = []
        for number, line in enumerate(lines, first):
            if block[2] == "sh":
                found.append((number, line, []))
            elif line.startswith("$ "):
                found.append((number, line.removeprefix("$ "), []))
            elif line.strip() not in ("", "…"):
                found[-1][2].append(line)
        for number, command, shown in found:
            place = f"{path.relative_to(ROOT)}:{number}"
            yield Command(place, command, tuple(shown))


def files() -> dict[str, str]:
    """The files that a reader is told to make: name -> content."""
    return {found[1]: found[2] for path in documents() for found in _FILE.finditer(text_of(path))}


def code_words() -> Iterator[tuple[str, str]]:
    """What stands between backticks outside of blocks: place, words."""
    for path in documents():
        prose = _BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text_of(path))
        for found in _CODE.finditer(prose):
            line = prose.count("\n", 0, found.start()) + 1
            yield f"{path.relative_to(ROOT)}:{line}", found[1]


def links() -> Iterator[tuple[Path, str]]:
    """Every link and picture: the document, and where it leads."""
    for path in documents():
        for found in _LINK.finditer(_BLOCK.sub("", text_of(path))):
            yield path, found[1]


def anchors(path: Path) -> set[str]:
    """What a link to a heading of this document may name."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def filters() -> list[str]:
    """The list filters of Temporal's UI that ops.md shows."""
    (table,) = re.findall(r"^\| filter .*\n\|[ -|]+\n((?:\|.*\n)+)", text_of(ROOT / FIRST[3]), re.M)
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def dates_moved(command: str, today: date) -> str:
    """The command with its dates as far from today as they are from `WRITTEN_ON`."""

    def move(found: re.Match[str]) -> str:
        return (date.fromisoformat(found[0]) + (today - WRITTEN_ON)).isoformat()

    is_pure = command.startswith(("python starter.py preview", "python starter.py validate"))
    return command if is_pure else re.sub(r"\b\d{4}-\d\d-\d\d(?=\b|T)", move, command)


class Ids:
    """What stands in this run for the ids that the documents show."""

    _ID = re.compile(r"\b(?:[0-9a-f]{16}|t[0-9a-f]{12}|p[0-9a-f]{20})\b")
    # What differs from run to run, in an order in which none spoils another.
    _LOOSE = (
        r"\d+\.\d+\.P\d+Q\d+\.\w+",  # a file of a Maildir
        r"127\.0\.0\.1:\d+",
        r"\d+ of \d+ in",  # a mailbox's use within its limits
        r"\d{4}-\d\d-\d\d",
        r"\((?:\w{3} \d\d \w{3}, )?\d\d:\d\d ",  # elsewhere, with its date where that differs
        r"\w{3} \d\d \w{3} \d{4}",
        r"(?<![\d:])\d\d:\d\d(?![\d:])",
    )

    def __init__(self) -> None:
        self._here: dict[str, str] = {}

    def in_command(self, command: str) -> str:
        """The command with this run's ids.

        Raises:
            KeyError: An id was shown by no command before.
        """
        return self._ID.sub(lambda found: self._here[found[0]], command)

    def finds(self, shown: str, printed: list[str]) -> bool:
        """Whether one of the printed lines is the one shown, but for what differs by the run.

        The ids of that line are remembered.
        """
        names: dict[str, str] = {}
        pattern = self._pattern(_squeezed(shown), names)
        for line in printed:
            if found := re.fullmatch(pattern, _squeezed(line)):
                self._here |= {names[name]: here for name, here in found.groupdict().items()}
                return True
        return False

    def _pattern(self, shown: str, names: dict[str, str]) -> str:
        """A regular expression for a shown line; a group's name -> the id of the documents."""
        parts: list[tuple[str, str]] = []

        def keep(pattern: str) -> str:
            mark = f"\x00{len(parts)}\x00"
            parts.append((mark, pattern))
            return mark

        def an_id(found: re.Match[str]) -> str:
            if found[0] in self._here:
                return keep(re.escape(self._here[found[0]]))
            if found[0] in names.values():
                (name,) = (name for name, value in names.items() if value == found[0])
                return keep(f"(?P={name})")
            name = f"id{len(names)}"
            names[name] = found[0]
            start = found[0][0] if len(found[0]) != 16 else ""
            return keep(f"(?P<{name}>{start}[0-9a-f]{{{len(found[0]) - len(start)}}})")

        text = self._ID.sub(an_id, shown)
        for loose in self._LOOSE:
            text = re.sub(loose, lambda _, pattern=loose: keep(pattern), text)  # type: ignore[misc]  # mypy infers no default
        text = re.escape(text)
        for mark, pattern in reversed(parts):
            text = text.replace(re.escape(mark), pattern)
        return text


def _squeezed(line: str) -> str:
    return " ".join(line.split())
