"""A campaign's emails for one person as they would be sent, before anybody is enrolled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from zoneinfo import ZoneInfo

from drumbeat.actions.errors import ActionError
from drumbeat.campaign import templates, threads
from drumbeat.campaign.model import Campaign, EmailStep
from drumbeat.campaign.people import PersonRow
from drumbeat.campaign.preview import PreviewStep
from drumbeat.campaign.templates import Body, MissingData
from drumbeat.campaign.threads import EarlierEmail, Left
from drumbeat.mail.composing import Letter, Party, compose
from drumbeat.mail.quoting import Quote, quote
from drumbeat.mail.rendering import Renderer, RenderingStopped
from drumbeat.reps import Rep


@dataclass(frozen=True, slots=True)
class LetterShown:
    """One email as it would be sent."""

    step: int
    subject: str | None
    """None where tokens are missing."""
    text: str
    """Its plain-text part, quoted email and unsubscribe line included."""
    html: str
    attachments: tuple[str, ...]
    """Their files' names."""
    missing: tuple[str, ...] = ()
    """The tokens without a value: with them the email waits until the person's data is mended."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose tokens the emails carry."""

    name: str
    email: str
    tokens: Mapping[str, str]
    """The rep's tokens (`my_name`, ...); the empty ones have no value."""
    reply_to: str | None = None


def sender_of(rep: Rep | None) -> Sender:
    """The rep as a sender; without a rep, a stand-in whose tokens show their own names."""
    if rep is None:
        tokens = {name: f"[{name}]" for name in templates.REP_FIELDS}
        return Sender(tokens["my_name"], "rep@example.com", tokens)
    tokens = {
        "my_name": rep.name,
        "my_email": rep.email,
        "my_title": rep.title or "",
        "my_phone": rep.phone or "",
        "my_signature": rep.signature or "",
    }
    return Sender(rep.name, rep.email, tokens, rep.reply_to)


@dataclass(frozen=True, slots=True)
class Occasion:
    """To whom, from whom and in which zone the emails of a preview go."""

    person: PersonRow
    sender: Sender
    zone: ZoneInfo
    """The enrollment's."""
    kickoff: datetime
    """An aware moment."""
    unsubscribe_url: str
    """What stands for the person's link."""


async def show_letters(
    campaign: Campaign,
    attachments: Mapping[str, bytes],
    steps: Sequence[PreviewStep],
    occasion: Occasion,
    renderer: Renderer,
) -> list[LetterShown]:
    """The emails of a campaign for a person, as if each were sent as the preview says.

    Field prompts of a rep's tasks are still in them.

    Args:
        campaign: The campaign.
        attachments: The attachments' bytes, by their SHA-256.
        steps: When each step is sent or opens; an unknown moment counts as the one before it.
        occasion: For whom, and as whom.
        renderer: Renders the templates.

    Raises:
        ActionError: A template cannot be rendered.
    """
    values = templates.context(
        {**occasion.person.fields, "email": occasion.person.email},
        occasion.sender.tokens,
        campaign.name,
        occasion.unsubscribe_url,
    )
    walk = _Walk(occasion, attachments)
    at = occasion.kickoff
    for walked in steps:
        at = walked.at or at
        step = campaign.step(walked.step)
        if isinstance(step, EmailStep):
            try:
                body = await renderer.render(step.template, values)
            except RenderingStopped as stopped:
                where = f"step {walked.step}, {step.title}"
                raise ActionError(f"{where}: {stopped.reason}") from stopped
            walk.send(walked.step, step, body, at)
    return walk.letters


@dataclass(frozen=True, slots=True)
class _Sent:
    """An email that counts as sent, for those that follow it."""

    body: Body
    quote: Quote | None
    at: datetime
    earlier: EarlierEmail


class _Walk:
    """The emails so far, each as if it had been sent."""

    def __init__(self, occasion: Occasion, attachments: Mapping[str, bytes]) -> None:
        self.letters: list[LetterShown] = []
        self._occasion = occasion
        self._attachments = attachments
        self._sent: dict[int, _Sent] = {}
        self._missing: dict[int, tuple[str, ...]] = {}

    def send(
        self, number: int, step: EmailStep, rendered: Body | MissingData, at: datetime
    ) -> None:
        names = tuple(file.filename for file in step.template.attachments)
        missing = rendered.tokens if isinstance(rendered, MissingData) else ()
        if step.follow_up:  # it copies the email before it, which waits as well
            missing = tuple(dict.fromkeys((*self._missing.get(number - 1, ()), *missing)))
        if isinstance(rendered, MissingData) or missing:
            self._missing[number] = missing
            self.letters.append(LetterShown(number, None, "", "", names, missing))
            return
        thread = threads.thread(
            number,
            follow_up=step.follow_up,
            template_subject=rendered.subject,
            earlier=[sent.earlier for sent in self._sent.values()],
        )
        appended = None if thread.quotes is None else self._quote(self._sent[thread.quotes])
        message_id = threads.message_id("preview", number, "example.com")
        composed = compose(
            Letter(
                message_id=message_id,
                date=at,
                sender=Party(self._occasion.sender.name, self._occasion.sender.email),
                to=Party(_name(self._occasion.person), self._occasion.person.email),
                reply_to=self._occasion.sender.reply_to,
                subject=thread.subject,
                body=rendered,
                quote=appended,
                unsubscribe_url=self._occasion.unsubscribe_url,
                in_reply_to=thread.in_reply_to,
                references=thread.references,
                attachments=step.template.attachments,
            ),
            self._attachments,
        )
        # Read back from the bytes, so that what is shown is what would arrive.
        message = message_from_bytes(composed.stored, policy=default)
        text, html = _part(message, "plain"), _part(message, "html")
        self.letters.append(LetterShown(number, thread.subject, text, html, names))
        earlier = EarlierEmail(
            step=number,
            follow_up=step.follow_up,
            template_subject=rendered.subject,
            left=Left.SENT,
            message_id=message_id,
            references=thread.references,
            sent_subject=thread.subject,
        )
        self._sent[number] = _Sent(rendered, appended, at, earlier)

    def _quote(self, sent: _Sent) -> Quote:
        return quote(
            sent.body,
            sent.quote,
            sent_at=sent.at,
            zone=self._occasion.zone,
            sender=self._occasion.sender.name,
            unsubscribe_url=self._occasion.unsubscribe_url,
        )


def _part(message: EmailMessage, kind: str) -> str:
    """What the message holds of a kind, as its reader sees it."""
    part = message.get_body((kind,))
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


def _name(person: PersonRow) -> str:
    parts = (person.fields.get("first_name", ""), person.fields.get("last_name", ""))
    return " ".join(part for part in parts if part)
