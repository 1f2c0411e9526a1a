"""What came of handing an email to a mail server: the outcome table of SPEC section 4."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal


class Phase(StrEnum):
    """How far the conversation with the mail server had come."""

    CONNECT = "connect"
    """Connecting, TLS, the greeting and EHLO: nothing was said about any email yet."""
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    """From the DATA command on: without an answer, the email may have been taken."""


_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LONGEST_TEXT = 1000


@dataclass(frozen=True, slots=True)
class Words:
    """What the server said last, or what happened instead of an answer.

    It may name addresses: it belongs in the database, not into logs or Temporal's histories.
    """

    phase: Phase
    text: str
    """In one line, the enhanced status code included."""
    code: int | None = None
    """The reply code, 200 to 599; None where there was no such answer."""

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code (RFC 3463) at the beginning of the answer, such as '5.1.1'."""
        found = _ENHANCED.match(self.text) if self.code is not None else None
        return found[1] if found else None

    def __str__(self) -> str:
        return self.text if self.code is None else f"{self.code} {self.text}".rstrip()


def words(phase: Phase, text: str, code: int | None = None) -> Words:
    """The words of a server that may say anything: in one line, bounded, and valid Unicode."""
    if code is not None and not 200 <= code <= 599:
        text, code = f"an answer that is no SMTP reply: {text}", None
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return Words(phase, _CONTROL.sub(" ", text).strip()[:_LONGEST_TEXT], code)


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What came of it; `words` say why."""

    words: Words

    @property
    def trouble(self) -> bool:
        """Whether it counts as trouble of the mailbox: three recipients running hold it."""
        return False


@dataclass(frozen=True, slots=True)
class Accepted(_Delivery):
    """The server answered 250: sent."""

    kind: ClassVar[Literal["accepted"]] = "accepted"


@dataclass(frozen=True, slots=True)
class TryLater(_Delivery):
    """Surely not accepted, and not refused for good: to be tried again."""

    kind: ClassVar[Literal["try_later"]] = "try_later"

    @property
    def trouble(self) -> bool:
        """Whether there was no connection at all; a server's 'later' (4xx) is no trouble."""
        return self.words.phase is Phase.CONNECT and self.words.code is None


@dataclass(frozen=True, slots=True)
class HardBounce(_Delivery):
    """The recipient's address does not exist."""

    kind: ClassVar[Literal["hard_bounce"]] = "hard_bounce"


@dataclass(frozen=True, slots=True)
class SoftBounce(_Delivery):
    """The recipient's mailbox is full."""

    kind: ClassVar[Literal["soft_bounce"]] = "soft_bounce"


@dataclass(frozen=True, slots=True)
class MailboxTrouble(_Delivery):
    """The server refuses the sender rather than this email; nothing was accepted."""

    kind: ClassVar[Literal["mailbox_trouble"]] = "mailbox_trouble"

    @property
    def trouble(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class AuthenticationRefused(_Delivery):
    """The server does not let the mailbox in, or its password is missing: it is to be held."""

    kind: ClassVar[Literal["authentication_refused"]] = "authentication_refused"


@dataclass(frozen=True, slots=True)
class Failed(_Delivery):
    """Refused for good, for another reason than the address or the mailbox."""

    kind: ClassVar[Literal["failed"]] = "failed"


@dataclass(frozen=True, slots=True)
class InDoubt(_Delivery):
    """From DATA on there was no answer, or none that makes sense: it may have been accepted."""

    kind: ClassVar[Literal["in_doubt"]] = "in_doubt"


@dataclass(frozen=True, slots=True)
class Superseded(_Delivery):
    """Another attempt, or the guard, stopped this one directly before DATA; nothing was sent."""

    kind: ClassVar[Literal["superseded"]] = "superseded"


Delivery = (
    Accepted
    | TryLater
    | HardBounce
    | SoftBounce
    | MailboxTrouble
    | AuthenticationRefused
    | Failed
    | InDoubt
    | Superseded
)

_ABOUT_THE_SENDER = {530, 554}
"""530: sign in first; 554: "transaction failed", in practice a verdict on who sends."""
_NO_SUCH_ADDRESS = {550, 551, 553}
"""Without an enhanced code, which would say more exactly what is wrong."""


def classify(said: Words) -> Delivery:
    """The outcome of a conversation that ended with `said`: the table of SPEC section 4.

    Only DATA's own answer, 250, means success; a phase before it that succeeds is never asked
    about. A reply code that makes no sense where it stands is as good as none. An enhanced code
    that contradicts its reply code ("550 4.7.1") proves no bounce.
    """
    code, enhanced = said.code, said.enhanced or ""
    match said.phase, (code or 0) // 100:
        case Phase.DATA, _ if code == 250:
            return Accepted(said)
        case _, 4:
            return TryLater(said)
        case Phase.DATA, hundred if hundred != 5:
            return InDoubt(said)
        case _, hundred if hundred != 5:
            return TryLater(said)
        case Phase.AUTH, _:
            return AuthenticationRefused(said)
        case ((Phase.CONNECT | Phase.MAIL), _):
            return MailboxTrouble(said)
        case Phase.RCPT, _ if enhanced.startswith("5.1."):
            return HardBounce(said)
        case _ if enhanced == "5.2.2":
            return SoftBounce(said)
        case _ if code in _ABOUT_THE_SENDER or enhanced.startswith("5.7."):
            return MailboxTrouble(said)
        case Phase.RCPT, _ if code in _NO_SUCH_ADDRESS and not enhanced:
            return HardBounce(said)
        case _:
            return Failed(said)


def classify_copy(said: Words) -> Delivery:
    """The outcome where the server refused one of the Cc recipients.

    An email goes to all its recipients or to none. A Cc address that bounces says nothing about
    the person, so it never counts as the person's bounce: the rep is shown a failed email.
    """
    outcome = classify(said)
    if isinstance(outcome, HardBounce | SoftBounce):
        return Failed(Words(said.phase, f"a Cc recipient was refused: {said}"))
    return outcome
