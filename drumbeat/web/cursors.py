"""The key of a list's next page, as it stands in the address."""

import base64
import binascii
import json
from datetime import datetime


def pack(moment: datetime, *key: str | int) -> str:
    """A cursor from the last row of a page: its moment and its key."""
    text = json.dumps([moment.isoformat(), *key])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unpack(cursor: str | None) -> list[str | int] | None:
    """What a cursor was made from, the moment as text; None for none, and for a broken one."""
    if not cursor:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.urlsafe_b64decode(padded.encode()))
        datetime.fromisoformat(found[0])
    except (ValueError, TypeError, IndexError, KeyError, binascii.Error):
        return None
    if not isinstance(found, list) or not all(isinstance(part, (str, int)) for part in found):
        return None
    return found
