"""Headers that survive the way: how they fold, and what may stand in them (SPEC section 4)."""

import re
from base64 import b64encode
from email.errors import MessageError
from email.headerregistry import Address, BaseHeader, HeaderRegistry
from email.policy import EmailPolicy
from functools import lru_cache
from typing import Any

from drumbeat.campaign.templates import clean_subject

_TOKENS = {"list-unsubscribe", "list-unsubscribe-post", "references", "in-reply-to", "message-id"}
_ADDRESSES = {"from", "to", "cc", "reply-to"}
_OF_PARTS = {"content-type", "content-transfer-encoding", "mime-version"}
"""They are alike in all emails, but for the boundaries between parts."""
_LONGEST_LINE = 998
"""Bytes, without the line break (RFC 5322, 2.1.1)."""
_LINE = 76
"""Characters of a line, as RFC 2047 (2) and quoted-printable (RFC 2045, 6.7) want it."""
_WORD_BYTES = 39
"""Bytes of an encoded word: beside its frame and `Reply-To: ` they fill a line in base64."""
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")


class BadHeader(ValueError):
    """A value that cannot stand in its header; the text names the header only."""


class HeaderPolicy(EmailPolicy):
    """Folds headers so that none of them breaks.

    Python 3.11's own folding turns tokens of more than 78 characters into encoded words, which ends
    threads and one-click unsubscribing (RFC 8058), and makes encoded words of more than 75.
    """

    def fold(self, name: str, value: Any) -> str:  # any header object, as the parent takes it
        """Return a header as lines."""
        folded = _fold(name, value)
        return folded if folded is not None else str(super().fold(name, value))

    def fold_binary(self, name: str, value: Any) -> bytes:  # as above
        """Return a header as lines of ASCII."""
        folded = _fold(name, value)
        return folded.encode("ascii") if folded is not None else super().fold_binary(name, value)


class _Headers(HeaderRegistry):
    """Makes each header's class once, and parses what all emails have alike once.

    Python 3.11 makes a class for every header of every email, and parses a part's type as often as
    a parameter is set: half of what composing an email took. Headers never change.
    """

    def __init__(self) -> None:
        super().__init__()
        self._class_of = lru_cache(maxsize=256)(super().__getitem__)
        self._parsed = lru_cache(maxsize=256)(super().__call__)

    def __getitem__(self, name: str) -> type[BaseHeader]:
        return self._class_of(name)

    def __call__(self, name: str, value: Any) -> BaseHeader:  # text, addresses or a moment
        if name.lower() in _OF_PARTS and type(value) is str:
            return self._parsed(name, value)
        return super().__call__(name, value)


POLICY = HeaderPolicy(
    linesep="\r\n", cte_type="7bit", max_line_length=_LINE, header_factory=_Headers()
)


def _fold(name: str, value: Any) -> str | None:
    """Return the header as lines; None where Python's own folding will do."""
    if name.lower() in _TOKENS:
        words = str(value).split()
    elif name.lower() in _ADDRESSES:
        words = _addresses(value.addresses)
    elif name.lower() == "subject":
        words = _words(str(value))
    else:
        return None
    # The first word stays beside the name; a token has a line of its own; other words share lines.
    lines = [f"{name}: {words[0] if words else ''}"]
    for word in words[1:]:
        if name.lower() not in _TOKENS and len(lines[-1]) + 1 + len(word) <= _LINE:
            lines[-1] += f" {word}"
        else:
            lines.append(f" {word}")
    folded = "".join(f"{line}\r\n" for line in lines)
    if not folded.isascii() or max(map(len, lines)) > _LONGEST_LINE:
        raise BadHeader(f"{name}: not ASCII, or a word of about {_LONGEST_LINE} characters or more")
    return folded


def _words(text: str) -> list[str]:
    """Return a text as words to be joined by one space: as they are, or encoded (RFC 2047)."""
    words = text.split(" ")
    plain = text.isascii() and "=?" not in text and all(words) and max(map(len, words)) < _LINE - 10
    return words if plain else _encoded(text)


def _encoded(text: str) -> list[str]:
    chunks, chunk = [], b""
    for character in text:
        encoded = character.encode()
        if len(chunk) + len(encoded) > _WORD_BYTES:
            chunks.append(chunk)
            chunk = b""
        chunk += encoded
    return [f"=?utf-8?b?{b64encode(part).decode()}?=" for part in [*chunks, chunk] if part]


def _addresses(addresses: tuple[Address, ...]) -> list[str]:
    words: list[str] = []
    for address in addresses:
        if not address.display_name:
            words.append(f"{address.addr_spec},")
            continue
        words += _phrase(address.display_name)
        words.append(f"<{address.addr_spec}>,")
    if words:
        words[-1] = words[-1].removesuffix(",")
    return words


def _phrase(name: str) -> list[str]:
    if not name.isascii() or "=?" in name:
        return _encoded(name)
    if _ATOMS.fullmatch(name):
        return name.split()
    # One word, never folded: programs differ in how they read a folded quoted string.
    return ['"' + re.sub(r'(["\\])', r"\\\1", name) + '"']


def clean_name(name: str) -> str:
    """Return a display name as one line without control characters, not too long."""
    return " ".join(clean_subject(name).split())


def address(name: str, addr_spec: str) -> Address:
    """Return an address for a header.

    Raises:
        BadHeader: The address is none, holds a control character, or is not ASCII: most servers
            take no other, and a domain has an ASCII form.
    """
    if not addr_spec.isascii() or not addr_spec.isprintable():
        raise BadHeader("an email address must be printable ASCII, its domain in its xn-- form")
    try:
        return Address(display_name=clean_name(name), addr_spec=addr_spec)
    except (MessageError, ValueError, IndexError) as error:
        raise BadHeader("an email address must look like name@example.com") from error
