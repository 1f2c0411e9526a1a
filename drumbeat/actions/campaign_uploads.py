"""A campaign that is uploaded, as a file or as a zip of its folder: checked, then stored."""

import asyncio
import os
import re
import stat
import tempfile
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO

from drumbeat.actions.desk import Desk
from drumbeat.actions.errors import ActionError
from drumbeat.campaign.reading import Fault, Reading, read_campaign
from drumbeat.store import audit, campaigns

MOST_FILES = 200
"""In a zip; folders are not counted."""
MOST_BYTES = 25_000_000
"""Of all its files together, unpacked."""

_YAML = (".yaml", ".yml")
_LITTER = re.compile(r"(?:^|/)(?:__MACOSX/|\.DS_Store$|Thumbs\.db$|\._)")
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The line on which a fault stands, with those around it."""

    number: int
    """From 1."""
    text: str
    mark: tuple[int, int] | None = None
    """Where the fault begins and ends in it, from 0; None: another line."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A fault or a warning with the lines where it stands."""

    fault: Fault
    lines: tuple[Excerpt, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What an upload holds."""

    file: str
    """The campaign file, by its path in the upload."""
    reading: Reading
    faults: tuple[Shown, ...]
    warnings: tuple[Shown, ...]


@dataclass(slots=True)
class _Room:
    """What a zip may still unpack to."""

    left: int = MOST_BYTES
    names: set[str] = field(default_factory=set)


async def check(name: str, content: IO[bytes]) -> Checked:
    """Read an upload and check it; nothing of it is kept.

    Args:
        name: The file's name, as the browser gave it.
        content: What it holds.

    Raises:
        ActionError: It is neither a campaign file nor a usable zip.
    """
    return await asyncio.to_thread(_check, PurePosixPath(name.replace("\\", "/")).name, content)


async def store(desk: Desk, checked: Checked) -> str:
    """Store a campaign without faults as the version that is used from now on; gives its slug.

    Raises:
        ActionError: It has faults, or nobody has the acting address.
    """
    campaign = checked.reading.campaign
    if campaign is None:
        raise ActionError(f"{checked.file} has faults: mend them first")
    async with desk.store.write() as tx:
        now = await desk.store.now(tx)
        who = await desk.who(tx, None)
        version = await campaigns.save(tx, campaign, checked.reading.attachments, now)
        action = "store_campaign"
        await audit.append(
            tx, who=who, action=action, target=campaign.slug, why=f"version {version}", now=now
        )
    return campaign.slug


def _check(name: str, content: IO[bytes]) -> Checked:
    with tempfile.TemporaryDirectory(prefix="drumbeat-") as made:
        folder = Path(made)
        content.seek(0)
        is_zip = zipfile.is_zipfile(content)
        content.seek(0)
        if is_zip:
            _unpack(content, folder)
            path = _campaign_file(folder)
        elif name.lower().endswith(_YAML):
            path = folder / "campaign.yaml"
            path.write_bytes(content.read(MOST_BYTES))
        else:
            raise ActionError(
                f"{_short(name)} is neither a campaign file (.yaml) nor a zip of its folder"
            )
        reading = read_campaign(path)
        called = path.name if is_zip else name

        def shown(fault: Fault) -> Shown:
            there = Path(fault.file)
            at = called if there == path else os.path.relpath(there, path.parent)
            return Shown(replace(fault, file=at), _lines(there, fault))

        return Checked(
            file=called,
            reading=reading,
            faults=tuple(shown(fault) for fault in reading.faults),
            warnings=tuple(shown(warning) for warning in reading.warnings),
        )


def _unpack(content: IO[bytes], folder: Path) -> None:
    """Unpack what may be unpacked: plain files within the folder, within the limits."""
    try:
        with zipfile.ZipFile(content) as archive:
            room = _Room()
            entries = [one for one in archive.infolist() if not _LITTER.search(one.filename)]
            files = [one for one in entries if not one.is_dir()]
            if len(files) > MOST_FILES:
                raise ActionError(f"the zip holds {len(files):,} files: at most {MOST_FILES}")
            for entry in files:
                _unpack_one(archive, entry, folder, room)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ActionError("the zip cannot be read: make it anew, without a password") from error


def _unpack_one(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, room: _Room
) -> None:
    name = entry.filename
    parts = PurePosixPath(name).parts
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise ActionError(f"the zip holds {_short(name)}, which is no plain file: leave it out")
    if (
        "\\" in name
        or ":" in name
        or name.startswith("/")
        or not parts
        or any(part in ("..", ".") or len(part) > 200 for part in parts)
    ):
        raise ActionError(f"the zip holds {_short(name)}, a path that leads out of its folder")
    if name.casefold() in room.names:
        raise ActionError(f"the zip holds {_short(name)} twice: leave one out")
    room.names.add(name.casefold())
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("xb") as made:
        # What the zip says of sizes is not believed: what comes out is counted.
        while chunk := source.read(_CHUNK):
            room.left -= len(chunk)
            if room.left < 0:
                raise ActionError(
                    f"the zip unpacks to more than {MOST_BYTES // 1_000_000} MB:"
                    " make its attachments smaller"
                )
            made.write(chunk)


def _campaign_file(folder: Path) -> Path:
    """The campaign file: in the zip itself, or in the only folder that it holds."""
    inside = list(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir():
        folder = inside[0]
    found = sorted(one for one in folder.iterdir() if one.is_file() and one.suffix in _YAML)
    named = [one for one in found if one.stem == "campaign"]
    if len(named) == 1:
        return named[0]
    if len(found) != 1:
        names = ", ".join(_short(one.name) for one in found[:5])
        raise ActionError(
            "the zip holds no campaign file: put campaign.yaml into it, beside templates/"
            if not found
            else f"the zip holds several campaign files, {names}: name one campaign.yaml"
        )
    return found[0]


def _lines(path: Path, fault: Fault) -> tuple[Excerpt, ...]:
    """The fault's line and its neighbours; none where the file is no text."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    first = max(fault.line - 1, 1)
    return tuple(
        Excerpt(number, _cut(lines[number - 1]), _mark(lines[number - 1], fault.column))
        if number == fault.line
        else Excerpt(number, _cut(lines[number - 1]))
        for number in range(first, min(fault.line + 1, len(lines)) + 1)
    )


def _cut(line: str, most: int = 300) -> str:
    return line if len(line) <= most else f"{line[:most]}…"


def _mark(line: str, column: int) -> tuple[int, int]:
    """Where the word at a column begins and ends.

    >>> _mark("  skip_weekend: true", 3)
    (2, 14)
    """
    start = min(column - 1, len(line))
    word = re.compile(r"\{\{.*?\}\}|[\w-]+|\S+").match(line, start)
    return (start, word.end() if word else len(line))


def _short(name: str) -> str:
    plain = " ".join(name.split())
    return plain if len(plain) <= 60 else f"{plain[:59]}…"
