"""Reads one step of a campaign file."""

from dataclasses import dataclass
from datetime import time
from typing import Literal, get_args

from drumbeat.campaign.faults import Notes, Place, Unusable, nearest
from drumbeat.campaign.model import EmailStep, Priority, Send, Step, TaskStep
from drumbeat.campaign.template_files import TemplateFiles, TemplateSource
from drumbeat.campaign.values import Fields, choice, clock, flag, line, shown, text
from drumbeat.campaign.yaml_source import Mapping, Node, Scalar, Unread

TaskKind = Literal["call", "inmail", "custom"]
_TASKS: tuple[TaskKind, ...] = get_args(TaskKind)
KINDS = ("email", *_TASKS)

_WORDS = tuple(str(word) for word in Send if word is not Send.FIXED)
_SENDS = "choose, a time as in '09:30', same_time or task"
_LONGEST_SUBJECT = 255


@dataclass(slots=True)
class StepRead:
    """A step with what the rules between steps must know of it."""

    day_position: int
    """Its day's place in the file, from 0."""
    place: Place
    kind: str | None = None
    """None where it cannot be told."""
    step: Step | None = None
    """None where it has a fault."""
    send: Send | None = None
    """None where it is none, or has a fault."""
    send_time: time | None = None
    send_place: Place | None = None
    follow_up: bool | None = False
    """None where it has a fault."""
    follow_up_place: Place | None = None
    template: TemplateSource | None = None
    """None where there is none."""

    @property
    def is_automatic(self) -> bool:
        """Whether it is surely an email that Drumbeat sends by itself."""
        return self.send is not None and self.send is not Send.TASK


class StepReader:
    """Reads the steps of one campaign file."""

    def __init__(self, notes: Notes, templates: TemplateFiles) -> None:
        self._notes = notes
        self._templates = templates

    def read(self, node: Node, day_position: int) -> StepRead:
        """A step, whatever of it can be read; its faults are noted."""
        read = StepRead(day_position, node.place)
        known = (*KINDS, "send", "follow_up", "notes", "priority")
        what = "a step"
        if isinstance(node, Mapping):
            fields = Fields(node, self._notes, what, known)
        elif isinstance(node, Unread):
            return read
        else:
            wanted = ", ".join(KINDS)
            message = f"a step is to be a mapping with one of {wanted}, not {shown(node)}"
            self._notes.fault(node.place, message)
            return read
        read.kind = self._kind(fields)
        if read.kind == "email":
            self._email(fields, read)
        elif read.kind is not None:
            self._task(fields, read)
        return read

    def _kind(self, fields: Fields) -> str | None:
        found = [name for name in fields.names if name in KINDS]
        if not found and not any(fields.is_meant(kind) for kind in KINDS):
            message = f"a step is to have one of {', '.join(KINDS)}: this one has none"
            self._notes.fault(fields.place, message)
        for name in found[1:]:
            message = (
                f"a step is one thing: '{found[0]}' stands here already, leave one of them out"
            )
            self._notes.fault(fields.key_place(name), message)
        if "email" in found:
            return "email"
        return found[0] if found else None

    def _task(self, fields: Fields, read: StepRead) -> None:
        for name in ("send", "follow_up"):
            if name in fields:
                message = f"'{name}' belongs to emails, not to a step '{read.kind}': leave it out"
                self._notes.fault(fields.key_place(name), message)
        (kind,) = (kind for kind in _TASKS if kind == read.kind)
        subject = fields.value(kind, lambda node: line(node, most=_LONGEST_SUBJECT), None)
        notes, priority = self._notes_of(fields), self._priority(fields)
        if subject is not None:
            read.step = TaskStep(kind=kind, subject=subject, notes=notes, priority=priority)

    def _email(self, fields: Fields, read: StepRead) -> None:
        if "send" in fields:
            read.send_place = fields.node("send").place
            read.send, read.send_time = fields.value("send", _send, (None, None))
        elif not fields.is_meant("send"):
            self._notes.fault(fields.place, f"an email step lacks 'send': write {_SENDS}")
        if "follow_up" in fields:
            read.follow_up_place = fields.node("follow_up").place
            read.follow_up = fields.value("follow_up", flag, None)
        elif fields.is_meant("follow_up"):
            read.follow_up = None
        notes, priority = self._notes_of(fields), self._priority(fields)
        if read.is_automatic:
            for name in ("notes", "priority"):
                if name in fields:
                    message = f"'{name}' belongs to tasks: leave it out, or write 'send: task'"
                    self._notes.fault(fields.key_place(name), message)
        read.template = fields.value("email", self._template, None)
        if read.template is None:
            return
        self._check_use(read, read.template, fields.node("email").place)
        if read.template.template is not None and read.send is not None:
            read.step = EmailStep(
                template=read.template.template,
                send=read.send,
                send_time=read.send_time,
                follow_up=bool(read.follow_up),
                notes=notes,
                priority=priority,
            )

    def _template(self, node: Node) -> TemplateSource:
        if isinstance(node, Mapping):
            return self._templates.inline(node, self._notes)
        if isinstance(node, Scalar):
            return self._templates.named(text(node))
        raise Unusable(f"is to be a template's name, or a subject and a body, not {shown(node)}")

    def _check_use(self, read: StepRead, source: TemplateSource, place: Place) -> None:
        """Note what the template lacks for this step, or has too much."""
        if not source.has_subject and read.follow_up is False:
            message = (
                f"{source.label} has no 'subject', which only a follow-up can do without: add it, "
                "or write 'follow_up: true' here"
            )
            self._notes.fault(place, message)
        if read.is_automatic:
            for prompt_place, words in source.prompts:
                where = "this step" if source.notes is self._notes else _where(self._notes, place)
                source.notes.fault(
                    prompt_place,
                    f"the field prompt '{words[:60]}' must be replaced before sending, and {where} "
                    "sends the email automatically: write the text itself, or 'send: task' there",
                )

    def _notes_of(self, fields: Fields) -> str | None:
        return fields.value("notes", text, "").strip() or None

    def _priority(self, fields: Fields) -> Priority:
        return fields.value("priority", lambda node: choice(node, Priority), Priority.NORMAL)


def _where(notes: Notes, place: Place) -> str:
    return f"{notes.file}:{place.line}"


def _send(node: Node) -> tuple[Send, time | None]:
    if not isinstance(node, Scalar) or node.tag != "str":
        raise Unusable(f"is to be {_SENDS}, not {shown(node)}")
    if node.text in _WORDS:
        return Send(node.text), None
    if ":" in node.text:
        return Send.FIXED, clock(node.text)
    near = nearest(node.text, _WORDS)
    raise Unusable(
        f"cannot be {shown(node)}: did you mean '{near}'?"
        if near
        else f"is to be {_SENDS}, not {shown(node)}"
    )
