"""How a rep reaches the person of a task: the link to call or to write to, or what is lacking."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_EXTENSION = re.compile(r"\s*(?:,|;?\s*ext(?:ension|\.)?\s*=?|x|#)\s*(\d{1,8})\s*$", re.I)
_TRUNK_ZERO = re.compile(r"\(0\)")
_WEB = re.compile(r"https?://[\w.-]+(?::\d+)?(?:[/?#]\S*)?", re.I)
_HOST = re.compile(r"(?:[a-z0-9-]+\.)*linkedin\.com(?:/\S*)?", re.I)


@dataclass(frozen=True, slots=True)
class Channel:
    """The way to a person that a kind of task needs."""

    label: str
    """What it is called: Phone, LinkedIn, Email."""
    value: str | None
    """As the person's data has it; None: it lacks."""
    link: str | None
    """What opens it; None: there is no value, or no link can be made of it."""
    trouble: str | None
    """What to say where it cannot be used."""


def channel(kind: str, address: str, fields: Mapping[str, str]) -> Channel | None:
    """The channel of a task of some kind; None where none is called for.

    Args:
        kind: The task's.
        address: The person's.
        fields: The person's.
    """
    match kind:
        case "call":
            return _channel("Phone", fields.get("phone"), phone_link, "no phone number")
        case "inmail":
            return _channel(
                "LinkedIn", fields.get("linkedin"), linkedin_link, "no linkedin address"
            )
        case "email" | "reply":
            return Channel("Email", address, f"mailto:{address}", None)
        case _:
            return None


def phone_link(phone: str) -> str | None:
    """The `tel:` link (RFC 3966) of a number as people write it; None where there are no digits.

    >>> phone_link("+1 (555) 010-0199 ext. 12")
    'tel:+15550100199;ext=12'
    """
    extension = ""
    found = _EXTENSION.search(phone)
    if found is not None and re.search(r"\d", phone[: found.start()]):
        phone, extension = phone[: found.start()], f";ext={found[1]}"
    number = "".join(re.findall(r"[0-9]", _TRUNK_ZERO.sub("", phone)))
    if not number:
        return None
    plus = "+" if phone.lstrip(" (").startswith("+") else ""
    return f"tel:{plus}{number}{extension}"


def linkedin_link(address: str) -> str | None:
    """The link of a LinkedIn address, with or without scheme, or of a bare profile's name.

    None where it is no web address: what a CSV holds must not become a link that runs code.

    >>> linkedin_link("linkedin.com/in/ada")
    'https://linkedin.com/in/ada'
    """
    text = address.strip()
    if _WEB.fullmatch(text):
        return text
    if _HOST.fullmatch(text):
        return f"https://{text}"
    if re.fullmatch(r"(?:in/)?[\w%-]{3,100}/?", text):
        return f"https://www.linkedin.com/in/{text.removeprefix('in/')}"
    return None


def _channel(
    label: str, value: str | None, link_of: Callable[[str], str | None], lack: str
) -> Channel:
    if not value or not value.strip():
        return Channel(label, None, None, f"the person has {lack}")
    link = link_of(value)
    trouble = None if link else f"{value!r} is no usable {label} address"
    return Channel(label, value, link, trouble)
