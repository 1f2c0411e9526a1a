"""What a rep and a mailbox are, and how a rep is found (SPEC section 12)."""

import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path


class MailboxError(Exception):
    """A mailbox that cannot be used as it is set up; the text says what to change."""


class Tls(StrEnum):
    """How a connection to a mail server is protected."""

    IMPLICIT = "implicit"
    """TLS from the first byte."""
    STARTTLS = "starttls"
    """Plain at first, then TLS, always: a server that does not offer it is not used."""
    NONE = "none"
    """Plain text; to this machine only."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a mail server is, and as whom to sign in."""

    host: str
    port: int
    tls: Tls
    user: str | None = None
    """None: without signing in."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` emails in any half-open span of length `span`."""

    count: int
    span: timedelta


DEFAULT_BATCH = Limit(25, timedelta(seconds=45))
DEFAULT_DAILY = 1000
DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Where a rep's emails leave from, and within which limits."""

    address: str
    """Whose mailbox it is: the rep's address, normalised."""
    smtp: Server
    imap: Server | None = None
    password_env: str | None = None
    """The environment variable that holds the password."""
    password_file: Path | None = None
    """The file that holds the password; in the reps file, relative to that."""
    batch: Limit | None = DEFAULT_BATCH
    daily: int | None = DEFAULT_DAILY
    """Emails in any 24 hours."""
    first_emails_per_day: int | None = None
    """First emails of enrollments on one date where the owner is."""

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits that count every email, the longest span first."""
        daily = None if self.daily is None else Limit(self.daily, DAY)
        limits = [limit for limit in (daily, self.batch) if limit is not None]
        return tuple(sorted(limits, key=lambda limit: limit.span, reverse=True))

    def password(self) -> str | None:
        """The password, read now from the environment or the file; None where none is needed.

        Raises:
            MailboxError: It cannot be read, or is empty.
        """
        if self.password_env is not None:
            password = os.environ.get(self.password_env, "")
            if not password:
                raise MailboxError(
                    f"the password of {self.address} is to be in the environment variable "
                    f"{self.password_env}, which is not set"
                )
            return password
        if self.password_file is not None:
            return self._password_from(self.password_file)
        return None

    def _password_from(self, path: Path) -> str:
        try:
            # A line break at the end is the editor's, not the password's.
            password = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise MailboxError(
                f"the password of {self.address} is to be in the file {path}, "
                f"which cannot be read: {reason}"
            ) from error
        if not password:
            raise MailboxError(f"the password of {self.address}: the file {path} is empty")
        return password


@dataclass(frozen=True, slots=True)
class Rep:
    """Who writes to people."""

    email: str
    """Normalised."""
    name: str
    mailbox: Mailbox
    title: str | None = None
    phone: str | None = None
    timezone: str | None = None
    """IANA name; None: not said."""
    signature: str | None = None
    reply_to: str | None = None


def rep_id(key: bytes, address: str) -> str:
    """The opaque id under which a rep stands in tables and histories: 'r' and 12 hex digits.

    Args:
        key: The database's own key for ids.
        address: The rep's address, normalised.
    """
    return "r" + hmac.new(key, address.encode(), hashlib.sha256).hexdigest()[:12]


class Reps:
    """All reps, found by their address or their id."""

    def __init__(self, reps: Iterable[Rep], key: bytes) -> None:
        """Take the reps of a reading without faults.

        Args:
            reps: No two of them with the same address.
            key: The database's own key for ids, see `rep_id`.
        """
        self._key = key
        self._by_address = {rep.email: rep for rep in reps}
        self._by_id = {self.id_of(rep): rep for rep in self._by_address.values()}

    def replace(self, other: "Reps") -> None:
        """Hold the reps of another reading from now on, for everybody who has this object."""
        self._by_address = other._by_address
        self._by_id = other._by_id

    def __iter__(self) -> Iterator[Rep]:
        return iter(self._by_address.values())

    def __len__(self) -> int:
        return len(self._by_address)

    def id_of(self, rep: Rep) -> str:
        """The rep's opaque id, see `rep_id`."""
        return rep_id(self._key, rep.email)

    def by_address(self, address: str) -> Rep | None:
        """The rep with that address, whatever its case; None where there is none."""
        return self._by_address.get(address.strip().lower())

    def by_id(self, opaque: str) -> Rep | None:
        """The rep with that id; None where the file names none."""
        return self._by_id.get(opaque)
