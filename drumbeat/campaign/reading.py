"""Reads a campaign file, or says everything that is wrong with it, each with its place (SPEC 2)."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from zoneinfo import available_timezones

import holidays

from drumbeat.campaign.attachments import AttachmentFiles
from drumbeat.campaign.faults import START, Fault, Notes, Unusable, nearest, warning_line
from drumbeat.campaign.model import Campaign, Day, OnReply, Settings, Step
from drumbeat.campaign.planning import LaunchError, parse_zone
from drumbeat.campaign.step_reading import StepRead, StepReader
from drumbeat.campaign.step_rules import check_days, check_steps
from drumbeat.campaign.template_files import TemplateFiles
from drumbeat.campaign.text_files import read_text_file
from drumbeat.campaign.values import (
    Fields,
    choice,
    day_of_year,
    flag,
    line,
    number,
    shown,
    text,
    window,
)
from drumbeat.campaign.yaml_source import Listing, Node, Scalar, read_yaml

__all__ = ["Fault", "Reading", "read_campaign", "warning_line"]

LAST_DAY = 365
MOST_CALL_OUTCOMES = 15
MOST_STEPS = 1000
"""Of a campaign: one workflow walks them, and its history has a bound."""
_LONGEST_SLUG = 100
_KEYS = ("campaign", "name", "category", "settings", "days")
_SETTINGS = (
    "timezone",
    "person_timezone",
    "skip_weekends",
    "holidays",
    "sending_window",
    "on_reply",
    "remove_on_bounce",
    "call_outcomes",
    "track",
)
_SLUG = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a campaign file says."""

    campaign: Campaign | None
    """None where the file has faults."""
    faults: tuple[Fault, ...]
    """All of them, in order: the campaign file's, then each template's as they are named."""
    warnings: tuple[Fault, ...]
    """In the same order."""
    attachments: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The bytes of the attachments, by their SHA-256."""


def read_campaign(path: Path | str) -> Reading:
    """Read and check a campaign file with its templates and attachments; no fault stops it.

    Args:
        path: The file, as typed; templates and attachments lie beside it.
    """
    reader = _Reader(os.fspath(path))
    campaign = reader.read()
    files = [reader.notes, *reader.templates.notes]
    faults = tuple(fault for notes in files for fault in notes.faults)
    warnings = tuple(warning for notes in files for warning in notes.warnings)
    if campaign is None or faults:
        return Reading(None, faults, warnings)
    return Reading(campaign, (), warnings, reader.attachments.contents)


class _Reader:
    """Reads one campaign file."""

    def __init__(self, file: str) -> None:
        self.notes = Notes(file)
        folder = os.path.dirname(file)
        self.attachments = AttachmentFiles(folder)
        self.templates = TemplateFiles(folder, self.attachments)

    def read(self) -> Campaign | None:
        root = self._root()
        if root is None:
            return None
        required = ("campaign", "name", "days")
        fields = Fields(root, self.notes, "the file", _KEYS, required)
        slug = fields.value("campaign", _slug, "")
        name = fields.value("name", line, "")
        category = fields.value("category", line, None)
        settings = self._settings(fields)
        days = self._days(fields, settings)
        if self.notes.count or days is None:
            return None
        return Campaign(slug=slug, name=name, category=category, settings=settings, days=days)

    def _root(self) -> Node | None:
        try:
            content = read_text_file(self.notes.file, instead="name the campaign file in it")
        except Unusable as unusable:
            self.notes.fault(START, str(unusable))
            return None
        root = read_yaml(content, self.notes)
        is_empty = root is None or (isinstance(root, Scalar) and root.tag == "null")
        if is_empty and not self.notes.count:
            root = None
            self.notes.fault(START, "the file is empty: it is to hold campaign, name and days")
        return root

    def _settings(self, outer: Fields) -> Settings:
        if "settings" not in outer:
            return Settings()
        node = outer.node("settings")
        if isinstance(node, Scalar) and node.tag == "null":
            return Settings()  # all its lines are left out
        fields = Fields(node, self.notes, "the settings", _SETTINGS)
        off = fields.each("holidays", "[US, 2026-12-24]", _holiday)
        return Settings(
            timezone=fields.value("timezone", _zone, None),
            person_timezone=fields.value("person_timezone", flag, False),
            skip_weekends=fields.value("skip_weekends", flag, False),
            holiday_countries=tuple(one for one in off if isinstance(one, str)),
            holiday_dates=tuple(one for one in off if isinstance(one, date)),
            sending_window=fields.value("sending_window", window, None),
            on_reply=fields.value("on_reply", lambda node: choice(node, OnReply), OnReply.END),
            remove_on_bounce=fields.value("remove_on_bounce", flag, True),
            call_outcomes=self._call_outcomes(fields),
            track=fields.value("track", flag, False),
        )

    def _call_outcomes(self, fields: Fields) -> tuple[str, ...]:
        found: dict[str, None] = {}

        def outcome(node: Node) -> None:
            name = line(node, most=100)
            if name in found:
                raise Unusable(f"has {shown(node)} twice: leave one out")
            found[name] = None

        example = "[Connected, No answer]"
        fields.each("call_outcomes", example, outcome)
        items = fields.items("call_outcomes", example)
        if len(items) > MOST_CALL_OUTCOMES:
            place = items[MOST_CALL_OUTCOMES].place
            message = f"'call_outcomes' has {len(items)} outcomes: at most {MOST_CALL_OUTCOMES}"
            self.notes.fault(place, message)
        return tuple(found)

    def _days(self, outer: Fields, settings: Settings) -> tuple[Day, ...] | None:
        """The days; None where one of them has a fault."""
        numbers: list[tuple[int | None, Node]] = []
        steps: list[StepRead] = []
        reader = StepReader(self.notes, self.templates)
        for position, node in enumerate(outer.value("days", _days, ())):
            fields = Fields(node, self.notes, "a day", ("day", "steps"), ("day", "steps"))
            day = fields.value("day", lambda node: number(node, 1, LAST_DAY), None)
            numbers.append((day, fields.node("day") if "day" in fields else node))
            for step in fields.value("steps", _steps, ()):
                steps.append(reader.read(step, position))
        if len(steps) > MOST_STEPS:
            message = f"the campaign has {len(steps):,} steps: write at most {MOST_STEPS:,}"
            self.notes.fault(steps[MOST_STEPS].place, message)
        check_days(numbers, self.notes)
        check_steps(steps, settings.sending_window, self.notes)
        by_day: list[list[Step]] = [[] for _ in numbers]
        for read in steps:
            if read.step is None:
                return None
            by_day[read.day_position].append(read.step)
        days = [
            Day(day=day, steps=tuple(of))
            for (day, _), of in zip(numbers, by_day, strict=True)
            if day
        ]
        return tuple(days)


def _days(node: Node) -> tuple[Node, ...]:
    if not isinstance(node, Listing):
        raise Unusable(f"is to be a list of days, each begun with '- day:', not {shown(node)}")
    if not node.items:
        raise Unusable("is to hold at least one day, begun with '- day: 1'")
    return node.items


def _steps(node: Node) -> tuple[Node, ...]:
    if not isinstance(node, Listing):
        raise Unusable(f"is to be a list of steps, each begun with '-', not {shown(node)}")
    if not node.items:
        raise Unusable("is to hold at least one step: write one, or leave the day out")
    return node.items


def _slug(node: Node) -> str:
    found = text(node)
    if len(found) > _LONGEST_SLUG:
        raise Unusable(f"is to have at most {_LONGEST_SLUG} characters, not {len(found):,}")
    if not _SLUG.fullmatch(found):
        near = re.sub(r"[^a-z0-9]+", "-", found.lower()).strip("-") or "intro-q4"
        raise Unusable(f"is to be made of a-z, 0-9 and '-' alone: write '{near}'")
    return found


def _zone(node: Node) -> str:
    name = text(node)
    try:
        if parse_zone(name) is not None:
            return name
    except LaunchError:
        pass  # said below, with the name that was probably meant
    near = nearest(name, _zones())
    hint = f"did you mean '{near}'?" if near else "write an IANA name such as America/New_York"
    raise Unusable(f"names no time zone that is known: {shown(node)}; {hint}")


@lru_cache(maxsize=1)
def _zones() -> tuple[str, ...]:
    return tuple(sorted(available_timezones()))


def _holiday(node: Node) -> date | str:
    """A date, or a country's code."""
    if not isinstance(node, Scalar) or node.tag not in ("str", "timestamp"):
        raise Unusable(f"has {shown(node)}: write a country's code or a date, as in 2026-12-24")
    if (on := day_of_year(node)) is not None:
        return on
    if node.text in _countries():
        return node.text
    near = nearest(node.text, _countries()) if len(node.text) < 4 else None
    if node.text.upper() in _countries():
        near = node.text.upper()
    hint = (
        f"did you mean '{near}'?"
        if near
        else "write one as in US or DE, or a date as in 2026-12-24"
    )
    raise Unusable(f"has {shown(node)}, which is no ISO country code that is known: {hint}")


@lru_cache(maxsize=1)
def _countries() -> tuple[str, ...]:
    codes = holidays.list_supported_countries(include_aliases=True)
    return tuple(sorted(code for code in codes if code.isupper() and len(code) in (2, 3)))
