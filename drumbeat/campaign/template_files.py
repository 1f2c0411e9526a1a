"""Reads templates, from files and from the campaign file itself, and checks what they say."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches

from drumbeat.campaign.attachments import AttachmentFiles, check_sum
from drumbeat.campaign.faults import START, Notes, Place, Unusable, nearest
from drumbeat.campaign.model import Attachment, Template
from drumbeat.campaign.text_files import control_character, no_text, read_text_file
from drumbeat.campaign.tokens import (
    KNOWN_TOKENS,
    REP_FIELDS,
    check_source,
    find_prompts,
    find_tokens,
)
from drumbeat.campaign.values import Fields, line, text
from drumbeat.campaign.yaml_source import Node, Places, Scalar, Unread, read_yaml

FOLDER = "templates"
ENDINGS = (".html", ".txt")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?P<yaml>(?:.*\n)*?)---[ \t]*(?:\n|\Z)")
_TAG = re.compile(
    r"</?(?:a|b|blockquote|body|br|div|em|h[1-6]|hr|html|i|img|li|ol|p|span|strong|table|td|tr|u|ul)"
    r"\b[^<>]*>",
    re.IGNORECASE,
)
_ATTACHMENTS = "[files/prices.pdf]"
_MARKS = (("{#", "#}", "comment"), ("{{!", "}}", "field prompt"))
_MOST_OPEN = 20
"""Marks without an end: looking for the end of each takes the square of their number in time."""


@dataclass(slots=True)
class TemplateSource:
    """A template with what its uses must know of it."""

    notes: Notes
    """Of the file in which it stands."""
    label: str
    """What it is called in messages."""
    template: Template | None = None
    """None where it has a fault of its own."""
    has_subject: bool = False
    """Also where the subject has a fault."""
    prompts: list[tuple[Place, str]] = field(default_factory=list)
    """Its field prompts, with their places in its file."""


class TemplateFiles:
    """The templates of one campaign, each file read once."""

    def __init__(self, folder: str, attachments: AttachmentFiles) -> None:
        """Take the campaign's folder, as it was reached, and its attachments."""
        self._folder = folder
        self._attachments = attachments
        self._by_name: dict[str, TemplateSource] = {}

    @property
    def notes(self) -> list[Notes]:
        """Of each file, in the order in which they were asked for."""
        return [source.notes for source in self._by_name.values()]

    def named(self, name: str) -> TemplateSource:
        """The template with that name; its own faults are noted.

        Raises:
            Unusable: There is none.
        """
        if name not in self._by_name:
            self._by_name[name] = self._read(name, self._find(name))
        return self._by_name[name]

    def _find(self, name: str) -> str:
        """The path of a template's file, below the campaign's folder."""
        if not _NAME.fullmatch(name):
            plain = name.removesuffix(".html").removesuffix(".txt").removeprefix(f"{FOLDER}/")
            if _NAME.fullmatch(plain):
                raise Unusable(f"is to be a template's name alone: write '{plain}'")
            raise Unusable("is to be a template's name: letters, digits, '-' and '_'")
        paths = [f"{FOLDER}/{name}{ending}" for ending in ENDINGS]
        for path in paths:
            if os.path.lexists(self._reached(path)):
                return path
        near = nearest(name, self._names())
        hint = f": did you mean '{near}'?" if near else f": write {paths[0]}"
        raise Unusable(f"names no template, as there is no {' or '.join(paths)}{hint}")

    def _reached(self, path: str) -> str:
        return os.path.join(self._folder, path)

    def _names(self) -> list[str]:
        try:
            files = os.listdir(self._reached(FOLDER))
        except OSError:  # then there is none to be suggested
            return []
        parts = (os.path.splitext(file) for file in files)
        return sorted({name for name, ending in parts if ending in ENDINGS})

    def _read(self, name: str, path: str) -> TemplateSource:
        notes = Notes(self._reached(path))
        source = TemplateSource(notes, path)
        try:
            content = read_text_file(notes.file, instead="a template is a file")
        except Unusable as unusable:
            source.has_subject = True  # not known: that it cannot be read is enough
            notes.fault(START, str(unusable))
            return source
        if found := control_character(content):
            source.has_subject = True
            place = Places(content).at(found.start())
            notes.fault(place, f"{no_text(found[0])}: this is no text file")
            return source
        reader = _Reader(source, self._attachments)
        reader.read_file(name, content)
        return source

    def inline(self, node: Node, notes: Notes) -> TemplateSource:
        """The template that stands in the campaign file itself; its faults are noted there."""
        source = TemplateSource(notes, "the email's text")
        _Reader(source, self._attachments).read_inline(node)
        return source


class _Reader:
    """Reads one template into its source."""

    def __init__(self, source: TemplateSource, attachments: AttachmentFiles) -> None:
        self._source = source
        self._notes = source.notes
        self._files = attachments
        self._token_names: set[str] = set()

    def read_file(self, name: str, content: str) -> None:
        before = self._notes.count
        subject: str | None = None
        attachments: tuple[Attachment, ...] = ()
        body, first_line = content, 1
        if content.startswith("---") and content[3:].lstrip(" \t").startswith("\n"):
            front = _FRONT_MATTER.match(content)
            if front is None:
                self._source.has_subject = True
                message = "the front matter has no end: write a line '---' below it"
                return self._notes.fault(START, message)
            body = content[front.end() :]
            first_line = content.count("\n", 0, front.end()) + 1
            node = read_yaml(front["yaml"], self._notes, first_line=2)
            if node is None and self._notes.count > before:
                self._source.has_subject = True
                return None
            if node is not None:
                known = ["subject", "attachments"]
                fields = Fields(node, self._notes, "a template's front matter", known)
                subject, attachments = self._subject(fields), self._attachments(fields)
        self._body(body, lambda line, column: Place(line + first_line - 1, column))
        if not body.strip():
            self._notes.fault(Place(first_line, 1), "the template has no body: write the email")
        if self._notes.count == before:
            self._source.template = Template(
                name=name,
                subject=subject,
                body=body,
                is_html=self._source.label.endswith(".html"),
                attachments=attachments,
            )
        return None

    def read_inline(self, node: Node) -> None:
        before = self._notes.count
        known, required = ["subject", "body", "attachments"], ["body"]
        fields = Fields(node, self._notes, "an email's text", known, required)
        subject, attachments = self._subject(fields), self._attachments(fields)
        if isinstance(node, Unread):
            self._source.has_subject = True
        body = fields.value("body", _not_blank, None)
        written = fields.node("body") if body is not None else None
        if body is not None and isinstance(written, Scalar):
            self._body(body, written.place_of)
        if body is not None and self._notes.count == before:
            self._source.template = Template(
                subject=subject,
                body=body,
                is_html=_TAG.search(body) is not None,
                attachments=attachments,
            )

    def _subject(self, fields: Fields) -> str | None:
        self._source.has_subject = fields.is_meant("subject")
        subject = fields.value("subject", _not_blank, None)
        written = fields.node("subject") if subject is not None else None
        if subject is None or not isinstance(written, Scalar):
            return None
        self._check(subject, written.place_of)
        return subject

    def _body(self, body: str, place_of: Callable[[int, int], Place]) -> None:
        self._check(body, place_of)

    def _check(self, source: str, place_of: Callable[[int, int], Place]) -> None:
        """Note the faults and the doubtful tokens of a subject or a body."""
        for opening, closing, name in _MARKS:
            start = source.find(opening, source.rfind(closing) + 1)
            if start >= 0 and source.count(opening, start) > _MOST_OPEN:
                message = f"the {name} has no end: write '{closing}' behind it"
                return self._notes.fault(place_of(*Places(source).at(start)), message)
        for fault in check_source(source):
            self._notes.fault(place_of(fault.line, fault.column), fault.message)
        for prompt in find_prompts(source):
            self._source.prompts.append((place_of(prompt.line, prompt.column), prompt.text))
        for use in find_tokens(source):
            place = place_of(use.line, use.column)
            if use.name in KNOWN_TOKENS:
                continue
            if use.name.startswith("my_"):
                near = nearest(use.name, REP_FIELDS)
                hint = f"did you mean '{near}'?" if near else f"known are {', '.join(REP_FIELDS)}"
                message = f"unknown token '{use.name}' of the rep: {hint}"
                self._notes.fault(place, message)
            elif not use.has_default and use.name not in self._token_names:
                self._token_names.add(use.name)
                self._notes.warn(place, _not_known(use.name))
        return None

    def _attachments(self, fields: Fields) -> tuple[Attachment, ...]:
        sizes: dict[str, int] = {}

        def find(node: Node) -> None:
            path = line(node, most=1000)
            if path in sizes:
                raise Unusable(f"has '{path}' twice: leave one out")
            sizes[path] = self._files.find(path)

        def read(_: Node) -> tuple[Attachment, ...]:
            check_sum(sum(sizes.values()))
            return self._files.read(sizes)

        fields.each("attachments", _ATTACHMENTS, find)
        return fields.value("attachments", read, ()) if sizes else ()


def _not_blank(node: Node) -> str:
    found = text(node)
    if not found.strip():
        raise Unusable("is blank: fill it in, or leave it out")
    return found


def _not_known(name: str) -> str:
    # Any nearness will do: SPEC section 2 wants the nearest one named.
    (near,) = get_close_matches(name[:80], KNOWN_TOKENS, 1, cutoff=0.0)
    return (
        f"the token '{name}' is no known field and has no default: it must be a column of the "
        f"CSV, or be written otherwise (the nearest known one is '{near}')"
    )
