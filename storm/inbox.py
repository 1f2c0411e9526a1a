"""What the storm's mail server has accepted, read from its log."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Accepted:
    """An email that the mail server has taken."""

    at: datetime
    """UTC."""
    message_id: str
    to: str


class Inbox:
    """The log, read on wherever it was left."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0
        self.accepted: list[Accepted] = []
        self.copies: Counter[str] = Counter()
        """How often each Message-ID was accepted."""
        self.arrived: Counter[str] = Counter()
        """How many emails each address got."""

    def look(self) -> None:
        """Read what has come since."""
        if not self._log.exists():
            return
        with self._log.open("rb") as log:
            log.seek(self._read)
            content = log.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            told = json.loads(line)
            at = datetime.fromtimestamp(told["at"], UTC)
            one = Accepted(at, str(told["message_id"]), told["to"])
            self.accepted.append(one)
            self.copies[one.message_id] += 1
            self.arrived[one.to] += 1
