"""What an email hangs on: its subject, its thread, and whose copy is appended (SPEC section 4)."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_REPLY_MARKS = re.compile(r"(?:\s*re\s*:)+\s*", re.IGNORECASE)


class Left(StrEnum):
    """How an earlier email left."""

    SENT = "sent"
    """By Drumbeat, or elsewhere and found in the Sent folder."""
    ELSEWHERE = "elsewhere"
    """The rep says that it was sent from another program; there it was not found."""
    NOT_SENT = "not_sent"
    """Skipped, cancelled, or not sent for another reason."""


@dataclass(frozen=True, slots=True)
class EarlierEmail:
    """An email step before the one in question, which is over."""

    step: int
    follow_up: bool
    template_subject: str | None
    """Rendered, before any edit; None where the template has none."""
    left: Left
    message_id: str | None = None
    """In angle brackets; known exactly where `left` is SENT."""
    references: tuple[str, ...] = ()
    """As it was sent, oldest first."""
    sent_subject: str | None = None
    """As it was really sent, a rep's edit included; known exactly where `left` is SENT."""

    def __post_init__(self) -> None:
        if self.left is Left.SENT and (self.message_id is None or self.sent_subject is None):
            raise ValueError(f"step {self.step} was sent: its Message-ID and subject are needed")


@dataclass(frozen=True, slots=True)
class Thread:
    """What an email carries of the emails before it."""

    subject: str
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    """Message-IDs of the whole chain, oldest first."""
    quotes: int | None = None
    """The step whose copy is appended."""


def message_id(enrollment_id: str, step: int, domain: str) -> str:
    """Return the Message-ID of a step's email: the same one for every attempt.

    >>> message_id("0123456789abcdef", 1, "example.com")
    '<b551ec5b755b345046e0bccbd9260339@example.com>'
    """
    digest = hashlib.sha256(f"{enrollment_id}/{step}".encode()).hexdigest()
    return f"<{digest[:32]}@{domain}>"


def reply_subject(subject: str) -> str:
    """Return the subject of a reply, with one `Re:` whatever the other had.

    >>> reply_subject("RE: re: Our talk")
    'Re: Our talk'
    """
    return f"Re: {_plain(subject)}"


def _plain(subject: str) -> str:
    marks = _REPLY_MARKS.match(subject)
    return subject[marks.end() :] if marks else subject


def thread(
    step: int, *, follow_up: bool, template_subject: str | None, earlier: Sequence[EarlierEmail]
) -> Thread:
    """Return what the email of a step hangs on.

    Args:
        step: Its number.
        follow_up: Whether it appends the email before it.
        template_subject: Its template's subject, rendered; None where it has none.
        earlier: The email steps before it, in any order; others than its chain do no harm.

    Raises:
        ValueError: Neither the template nor an email before it has a subject, or the step before a
            follow-up is missing.
    """
    if not follow_up:
        if template_subject is None:
            raise ValueError(f"step {step} is no follow-up: it needs a subject")
        return Thread(template_subject)
    chain = _chain(step, earlier)
    previous = next((email for email in reversed(chain) if email.left is not Left.NOT_SENT), None)
    quotes = previous.step if previous else None
    if template_subject is not None:
        return Thread(template_subject, quotes=quotes)
    if previous is None:
        first = next((email.template_subject for email in chain if email.template_subject), None)
        if first is None:
            raise ValueError(f"step {step}: no email of its chain has a subject")
        return Thread(_plain(first))
    return _reply(previous, chain[: chain.index(previous)])


def _chain(step: int, earlier: Sequence[EarlierEmail]) -> list[EarlierEmail]:
    """Return the emails that step after step lead to a follow-up, the first one first."""
    by_step = {email.step: email for email in earlier}
    chain: list[EarlierEmail] = []
    while not chain or chain[0].follow_up:
        step -= 1
        if step not in by_step:
            raise ValueError(f"step {step + 1} is a follow-up: the email before it is missing")
        chain.insert(0, by_step[step])
    return chain


def _reply(previous: EarlierEmail, before: list[EarlierEmail]) -> Thread:
    """Return the place of a reply to an email that left, given what came before that one."""
    if previous.left is Left.SENT:
        assert previous.message_id is not None and previous.sent_subject is not None
        return Thread(
            reply_subject(previous.sent_subject),
            in_reply_to=previous.message_id,
            references=(*previous.references, previous.message_id),
            quotes=previous.step,
        )
    # Sent elsewhere: its id and subject are not known. Nothing refers to it; it shows the subject
    # that it had in Drumbeat, and hangs where it hung itself.
    own = thread(
        previous.step,
        follow_up=previous.follow_up,
        template_subject=previous.template_subject,
        earlier=before,
    )
    return Thread(reply_subject(own.subject), own.in_reply_to, own.references, previous.step)
