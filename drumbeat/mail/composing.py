"""From a rendered email to the bytes that are stored and sent (SPEC section 4)."""

import hashlib
import mimetypes
import re
from base64 import encodebytes
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from html import escape

from drumbeat.campaign.model import Attachment
from drumbeat.campaign.templates import Body, append_html, clean_subject
from drumbeat.campaign.threads import message_id
from drumbeat.mail.headers import POLICY, BadHeader, address
from drumbeat.mail.quoting import Quote, clean_draft, quote

__all__ = [
    "UNSUBSCRIBE_LINE",
    "BadHeader",
    "Composed",
    "Letter",
    "MissingAttachment",
    "Party",
    "Quote",
    "clean_draft",
    "complete",
    "compose",
    "message_id",
    "quote",
]

_PLACE = "drumbeat-attachment-"
# A line of a body has at most 76 characters in quoted-printable, a header's next line begins with
# a space: nothing else in an email can look like this.
_PLACES = re.compile(rb"^" + _PLACE.encode() + rb"([0-9a-f]{64})\r\n", re.MULTILINE)
_DOCUMENT = re.compile(r"<(?:html|body)[\s>]", re.IGNORECASE)
UNSUBSCRIBE_LINE = "If you would rather not hear from me again, unsubscribe here"
"""What stands under a letter whose own text does not say how to unsubscribe."""
_TYPES = (
    mimetypes.MimeTypes()
)  # Python's own list: what the machine adds is not the same everywhere


class MissingAttachment(KeyError):
    """The bytes of an attachment are not at hand."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who writes or is written to; the name may be empty."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Letter:
    """Everything that one email is made of."""

    message_id: str
    """In angle brackets."""
    date: datetime
    """An aware moment."""
    sender: Party
    to: Party
    subject: str
    body: Body
    """Its own text; `body.subject` is not looked at."""
    unsubscribe_url: str
    quote: Quote | None = None
    cc: tuple[str, ...] = ()
    """Addresses."""
    reply_to: str | None = None
    """An address."""
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    """Message-IDs, oldest first."""
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Composed:
    """An email that is ready; attachments are stored apart, once each."""

    stored: bytes
    """The email with a line in place of each attachment's content."""
    sha256: str
    """Of the whole, as it is sent."""
    size: int
    """Of the whole, in bytes."""
    attachments: tuple[str, ...]
    """Their SHA-256, in order."""


def compose(letter: Letter, blobs: Mapping[str, bytes] | None = None) -> Composed:
    """Return the email's bytes: the same ones for the same letter.

    Own text and signature come first, then the quoted email, the unsubscribe line last.

    Args:
        letter: What it is made of.
        blobs: The attachments' bytes by their SHA-256.

    Raises:
        BadHeader: An address or an id cannot stand in a header.
        MissingAttachment: The bytes of an attachment are not among the blobs.
    """
    message = EmailMessage(POLICY)
    _set_headers(message, letter)
    message.set_content(_text(letter), cte="quoted-printable")
    message.add_alternative(_html(letter), subtype="html", cte="quoted-printable")
    for part in message.iter_parts():
        del part["MIME-Version"]  # the whole message says it once (RFC 2045, section 4)
    if letter.attachments:
        message.make_mixed()
        for attachment in letter.attachments:
            message.attach(_placeholder(attachment))
    for number, part in enumerate(part for part in message.walk() if part.is_multipart()):
        # "=_" never occurs in quoted-printable or base64.
        digest = hashlib.sha256(f"{letter.message_id}/{number}".encode()).hexdigest()
        part.set_boundary(f"=_{digest[:40]}")
    stored = message.as_bytes()
    whole = complete(stored, blobs or {})
    hashes = tuple(attachment.sha256 for attachment in letter.attachments)
    return Composed(stored, hashlib.sha256(whole).hexdigest(), len(whole), hashes)


def complete(stored: bytes, blobs: Mapping[str, bytes]) -> bytes:
    """Return the email as it is sent, from what is stored of it and its attachments' bytes.

    Raises:
        MissingAttachment: The bytes of an attachment are not among the blobs.
    """

    def content(match: re.Match[bytes]) -> bytes:
        sha256 = match[1].decode()
        if sha256 not in blobs:
            raise MissingAttachment(f"the attachment with the SHA-256 {sha256} is not at hand")
        return encodebytes(blobs[sha256]).replace(b"\n", b"\r\n")

    return _PLACES.sub(content, stored)


def _set_headers(message: EmailMessage, letter: Letter) -> None:
    message["Message-ID"] = letter.message_id
    message["Date"] = letter.date.replace(microsecond=0)
    message["From"] = address(letter.sender.name, letter.sender.address)
    message["To"] = address(letter.to.name, letter.to.address)
    if letter.cc:
        message["Cc"] = [address("", cc) for cc in letter.cc]
    if letter.reply_to:
        message["Reply-To"] = address("", letter.reply_to)
    message["Subject"] = clean_subject(letter.subject)
    if letter.in_reply_to:
        message["In-Reply-To"] = letter.in_reply_to
    if letter.references:
        message["References"] = " ".join(letter.references)
    message["List-Unsubscribe"] = f"<{letter.unsubscribe_url}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"


def _text(letter: Letter) -> str:
    parts = [letter.body.text]
    if letter.quote:
        parts.append(letter.quote.text)
    if letter.unsubscribe_url not in letter.body.text:
        parts.append(f"{UNSUBSCRIBE_LINE}: {letter.unsubscribe_url}")
    return "\n\n".join(parts) + "\n"


def _html(letter: Letter) -> str:
    html, url = letter.body.html, escape(letter.unsubscribe_url)
    pieces = []
    if letter.quote:
        pieces.append(f"\n<br>\n{letter.quote.html}")
    if url not in html and letter.unsubscribe_url not in html:
        line = f'{UNSUBSCRIBE_LINE}: <a href="{url}">unsubscribe</a>'
        pieces.append(f'\n<p style="font-size:small;color:#666">{line}</p>')
    if not _DOCUMENT.search(html):
        head = '<head><meta charset="utf-8"></head>'
        html = f"<!DOCTYPE html>\n<html>{head}<body>\n{html}\n</body></html>\n"
    return append_html(html, "".join(pieces))


def _placeholder(attachment: Attachment) -> EmailMessage:
    kind, encoding = _TYPES.guess_type(attachment.filename)
    # An email within an email must not be base64 (RFC 2046, 5.2.1).
    if kind is None or encoding is not None or kind.startswith(("message/", "multipart/")):
        kind = "application/octet-stream"
    main, sub = kind.split("/")
    part = EmailMessage(POLICY)
    name = clean_subject(attachment.filename)
    part.set_content(b"", main, sub, cte="base64", disposition="attachment", filename=name)
    part.set_payload(f"{_PLACE}{attachment.sha256}\n")
    return part
