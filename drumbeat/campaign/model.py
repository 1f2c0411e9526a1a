"""What a campaign is: settings, and days with steps, as a campaign file has them (section 2)."""

import hashlib
from datetime import date, time
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """An immutable value; equal by content."""

    model_config = ConfigDict(frozen=True)


class Send(StrEnum):
    """How the send time of an email step is found."""

    CHOOSE = "choose"
    """The launcher chooses the moment when people are added."""
    FIXED = "fixed"
    """At a clock time on the step's day."""
    SAME_TIME = "same_time"
    """At the clock time of the email before it, on an earlier day (R6)."""
    TASK = "task"
    """A task: the rep sends it."""


class Priority(StrEnum):
    """How pressing a task is."""

    NORMAL = "normal"
    HIGH = "high"


class OnReply(StrEnum):
    """What a reply does to a running enrollment."""

    CONTINUE = "continue"
    END = "end"
    END_AS_SUCCESS = "end_as_success"


class Window(Frozen):
    """The hours in which automatic emails may leave; both ends belong to it (R10)."""

    start: time
    end: time


class Attachment(Frozen):
    """A file that travels with an email; its bytes are kept once, by their hash."""

    path: str
    """As written: relative to the campaign file, with '/' between parts."""
    sha256: str
    size: int
    """In bytes."""

    @property
    def filename(self) -> str:
        """The last part of the path: what the recipient sees."""
        return self.path.rsplit("/", 1)[-1]


class Template(Frozen):
    """Subject and body of an email, with tokens; source, not rendered."""

    name: str | None = None
    """The file's name without ending; None where it is written in the campaign file."""
    subject: str | None = None
    """None only for follow-ups that stay in their thread."""
    body: str
    is_html: bool
    attachments: tuple[Attachment, ...] = ()


class EmailStep(Frozen):
    """An email: sent by Drumbeat itself, or a task for the rep with `send: task`."""

    kind: Literal["email"] = "email"
    template: Template
    send: Send
    send_time: time | None = None
    """Local clock time; set exactly where `send` is FIXED."""
    follow_up: bool = False
    notes: str | None = None
    priority: Priority = Priority.NORMAL

    @property
    def is_task(self) -> bool:
        """Whether a rep has to send it."""
        return self.send is Send.TASK

    @property
    def title(self) -> str:
        """What the step is called in plans and summaries: the template's name, where it has one."""
        return self.template.name or "email"

    @property
    def called(self) -> str:
        """What people call the step: by its template's name, else by its subject."""
        return self.template.name or " ".join((self.template.subject or self.title).split())


class TaskStep(Frozen):
    """A call, an InMail or a custom step: always work for the rep."""

    kind: Literal["call", "inmail", "custom"]
    subject: str
    """What to do, in the manager's words."""
    notes: str | None = None
    priority: Priority = Priority.NORMAL

    @property
    def is_task(self) -> bool:
        """Whether a rep has to do it: always."""
        return True

    @property
    def title(self) -> str:
        """What the step is called in plans and summaries."""
        return self.subject

    @property
    def called(self) -> str:
        """What people call the step."""
        return self.subject


Step = Annotated[EmailStep | TaskStep, Field(discriminator="kind")]


class Day(Frozen):
    """A campaign day with its steps, in order."""

    day: int
    steps: tuple[Step, ...]


class Settings(Frozen):
    """The campaign's settings; the defaults are those of a file that names none."""

    timezone: str | None = None
    """IANA name; None: the rep's, else UTC (R1)."""
    person_timezone: bool = False
    skip_weekends: bool = False
    holiday_countries: tuple[str, ...] = ()
    """ISO 3166 codes whose national public holidays are no sending days (R2)."""
    holiday_dates: tuple[date, ...] = ()
    """Single dates that are no sending days (R2)."""
    sending_window: Window | None = None
    on_reply: OnReply = OnReply.END
    remove_on_bounce: bool = True
    call_outcomes: tuple[str, ...] = ()
    track: bool = False
    """Whether opens and clicks are to be recorded."""


class Campaign(Frozen):
    """A whole campaign, templates included. What an enrollment started with never changes."""

    slug: str
    name: str
    category: str | None = None
    settings: Settings = Settings()
    days: tuple[Day, ...]

    @property
    def steps(self) -> tuple[tuple[int, int, EmailStep | TaskStep], ...]:
        """Every step as (number from 1, campaign day, step), in order."""
        flat = ((day.day, step) for day in self.days for step in day.steps)
        return tuple((number, day, step) for number, (day, step) in enumerate(flat, start=1))

    def step(self, number: int) -> EmailStep | TaskStep:
        """The step with that number, from 1."""
        return self.steps[number - 1][2]

    @property
    def version(self) -> str:
        """The hash of the whole content, templates and attachments included: 16 hex digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
