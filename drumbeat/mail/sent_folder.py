"""Looks into mailboxes' Sent folders over IMAP for emails that are in doubt (SPEC section 4).

Everything here blocks: it is called in a thread. Nothing is ever changed or marked as read. What a
server says is never repeated but to who checks a mailbox: it may hold addresses.
"""

import imaplib
import logging
import re
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

# IMAPClient 4.1.0 comes without types.
from imapclient import IMAPClient, SocketTimeout  # type: ignore[import-untyped]
from imapclient.exceptions import (  # type: ignore[import-untyped]
    CapabilityError,
    LoginError,
    ProtocolError,
)

from drumbeat.mail.sending import Proof
from drumbeat.reps import Mailbox, MailboxError, Server, Tls

# IMAPClient logs what passes over the line at DEBUG, PLAIN's password in base64 included.
logging.getLogger("imapclient").setLevel(logging.WARNING)


class Trouble(StrEnum):
    """Why a Sent folder could not be looked into, in words that hold no data."""

    NOT_SET_UP = "the mailbox has no IMAP server"
    NO_USER = "the address of the IMAP server names no user: write imaps://USER@HOST"
    NO_PASSWORD = "the password cannot be read"
    NO_CONNECTION = "the server cannot be connected to"
    NOT_TRUSTED = "the server's certificate is not trusted"
    NO_TLS = "the connection cannot be protected by TLS"
    SILENT = "the server did not answer in time"
    CUT = "the server closed the connection"
    NOT_SIGNED_IN = "the server refused the user or the password"
    REFUSED = "the server refused a command"
    NONSENSE = "the server's answers make no sense"
    NO_SENT_FOLDER = "there is no Sent folder"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long an IMAP server may take."""

    connect: timedelta = timedelta(seconds=15)
    """For the connection, TLS from the first byte, and the greeting."""
    command: timedelta = timedelta(seconds=30)
    """For each answer."""
    whole: timedelta = timedelta(minutes=2)
    """For everything, however busily the server answers."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found in a Sent folder."""

    copies: Mapping[str, datetime] = field(default_factory=dict)
    """Message-IDs that were sent, with when the copy came in (UTC, by the server's clock)."""
    missing: frozenset[str] = frozenset()
    """Message-IDs that were looked for and not found, which decides nothing."""
    trouble: Trouble | None = None
    """Why not all were looked for."""


def find_sent(
    mailbox: Mailbox,
    message_ids: Sequence[str],
    *,
    deadlines: Deadlines | None = None,
    tls: ssl.SSLContext | None = None,
) -> Looked:
    """Look for copies of emails in the mailbox's Sent folder; raises nothing.

    Args:
        mailbox: Whose Sent folder.
        message_ids: In angle brackets.
        deadlines: How long the server may take.
        tls: How certificates are verified; None: by the machine's authorities.
    """
    copies: dict[str, datetime] = {}
    missing: set[str] = set()
    trouble: Trouble | None = None
    try:
        with _signed_in(mailbox, deadlines or Deadlines(), tls) as client:
            folders = _sent_folders(client)
            if not folders:
                raise _Troubled(Trouble.NO_SENT_FOLDER)
            looked_for: Iterable[str] = message_ids
            for folder in folders:
                client.select_folder(folder, readonly=True)
                missing.clear()
                for message_id in looked_for:
                    at = _copy(client, message_id)
                    if at is None:
                        missing.add(message_id)
                    else:
                        copies[message_id] = at
                looked_for = sorted(missing)
    except _Troubled as troubled:
        # What was found counts; what was not found in a part of the folders is looked for again.
        trouble = troubled.trouble
        missing.clear()
    return Looked(copies, frozenset(missing), trouble)


def prove_imap(
    mailbox: Mailbox, *, deadlines: Deadlines | None = None, tls: ssl.SSLContext | None = None
) -> Proof:
    """Connect, sign in and find the Sent folder, as for an email in doubt; raises nothing.

    The text may hold the server's words, the user and the mailbox's address.
    """
    if mailbox.imap is None:
        return Proof(ok=False, text=Trouble.NOT_SET_UP)
    where = f"{mailbox.imap.host}:{mailbox.imap.port}"
    version: str | None = None
    try:
        with _signed_in(mailbox, deadlines or Deadlines(), tls) as client:
            connected = client.socket()
            if isinstance(connected, ssl.SSLSocket):
                version = connected.version()
            folders = _sent_folders(client)
            for folder in folders:
                client.select_folder(folder, readonly=True)
    except _Troubled as troubled:
        said = f": {troubled.words}" if troubled.words else ""
        return Proof(ok=False, text=f"{where}: {troubled.trouble}{said}", tls=version)
    names = " and ".join(f"{folder!r}" for folder in folders)
    found = f"Sent folder {names}" if folders else f"but {Trouble.NO_SENT_FOLDER}"
    text = f"{where}: connected ({version or 'no TLS'}), signed in as {mailbox.imap.user}, {found}"
    return Proof(ok=True, text=text, tls=version)


class _Troubled(Exception):
    """It could not be looked into; `words` are the server's, or the mailbox's."""

    def __init__(self, trouble: Trouble, words: str = "") -> None:
        super().__init__(trouble)
        self.trouble = trouble
        self.words = words


# The connection


@contextmanager
def _signed_in(
    mailbox: Mailbox, deadlines: Deadlines, tls: ssl.SSLContext | None
) -> Iterator[IMAPClient]:
    """A connection for the length of the block.

    Raises:
        _Troubled: It did not come about, or something inside the block failed.
    """
    server = mailbox.imap
    if server is None:
        raise _Troubled(Trouble.NOT_SET_UP)
    if server.user is None:
        raise _Troubled(Trouble.NO_USER)
    try:
        password = mailbox.password() or ""
    except MailboxError as error:
        raise _Troubled(Trouble.NO_PASSWORD, str(error)) from None
    with _told_apart(Trouble.NO_CONNECTION):
        client = _connect(server, deadlines, tls)
    is_late = threading.Event()

    def cut_off() -> None:
        is_late.set()  # first: who waits on the connection wakes as soon as it is cut
        _cut(client)

    too_late = threading.Timer(deadlines.whole.total_seconds(), cut_off)
    too_late.daemon = True
    too_late.start()
    try:
        with _told_apart(Trouble.NO_TLS):
            if server.tls is Tls.STARTTLS:
                client.starttls(tls)
        with _told_apart(Trouble.NOT_SIGNED_IN):
            _sign_in(client, server.user, password)
        with _told_apart(Trouble.REFUSED):
            yield client
    except _Troubled:
        if is_late.is_set():
            raise _Troubled(Trouble.SILENT) from None
        raise
    finally:
        too_late.cancel()
        _close(client)


def _connect(server: Server, deadlines: Deadlines, tls: ssl.SSLContext | None) -> IMAPClient:
    timeout = SocketTimeout(deadlines.connect.total_seconds(), deadlines.command.total_seconds())
    client = IMAPClient(
        server.host,
        server.port,
        ssl=server.tls is Tls.IMPLICIT,
        ssl_context=tls,
        timeout=timeout,
    )
    client.normalise_times = False  # moments with their zone
    return client


def _sign_in(client: IMAPClient, user: str, password: str) -> None:
    # LOGIN can say ASCII only; PLAIN says everything.
    if client.has_capability("AUTH=PLAIN"):
        client.plain_login(user, password)
    elif client.has_capability("LOGINDISABLED"):
        raise _Troubled(Trouble.NOT_SIGNED_IN, "it offers no way to sign in that is known here")
    else:
        client.login(user, password)


def _cut(client: IMAPClient) -> None:
    """End a connection under the hands of the thread that waits for an answer on it."""
    with suppress(OSError):  # closed already is what is wanted
        # The socket of now: STARTTLS puts another in its place. And not the method of SSLSocket,
        # which pulls the session away from under its reader.
        socket.socket.shutdown(client.socket(), socket.SHUT_RDWR)


def _close(client: IMAPClient) -> None:
    """Say goodbye and close: nothing hangs on whether the server answers."""
    try:
        client.socket().settimeout(2)
        client.logout()
    except Exception:  # whatever the state of the connection is: it is closed all the same
        _cut(client)
        client.socket().close()


@contextmanager
def _told_apart(refused: Trouble) -> Iterator[None]:
    """Turn what IMAPClient 4.1.0, imaplib and sockets raise into one reason, without its data.

    Args:
        refused: What it means that the server says NO or BAD here.
    """
    cut = refused if refused is Trouble.NO_CONNECTION else Trouble.CUT
    try:
        yield
    except _Troubled:
        raise
    except ssl.SSLCertVerificationError as error:
        raise _Troubled(Trouble.NOT_TRUSTED, error.verify_message) from None
    except ssl.SSLError as error:
        raise _Troubled(Trouble.NO_TLS, _line(error.reason or "")) from None
    except TimeoutError:
        raise _Troubled(Trouble.SILENT) from None
    except OSError as error:
        raise _Troubled(cut, _line(error.strerror or "")) from None
    except UnicodeError as error:
        # A host's name, or a password, that cannot be said.
        raise _Troubled(refused, type(error).__name__) from None
    except CapabilityError:
        raise _Troubled(refused, "it does not offer what is needed") from None
    except imaplib.IMAP4.abort:
        raise _Troubled(cut) from None
    except LoginError as error:
        is_cut = isinstance(error.__context__, imaplib.IMAP4.abort)
        trouble = Trouble.CUT if is_cut else Trouble.NOT_SIGNED_IN
        raise _Troubled(trouble, _line(str(error))) from None
    except ProtocolError:
        raise _Troubled(Trouble.NONSENSE) from None
    except imaplib.IMAP4.error as error:
        raise _Troubled(refused, _line(str(error))) from None
    except Exception as error:
        # The parsers raise anything, with what they were reading in it.
        raise _Troubled(Trouble.NONSENSE, type(error).__name__) from None


def _line(words: str) -> str:
    """A server's words in one line, bounded."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", words).strip()[:200]


# The folder

_USUAL_NAMES = frozenset({"sent", "sent items", "sent mail", "sent messages"})
_USUAL_PARENTS = frozenset({"", "inbox", "[gmail]", "[google mail]"})


def _sent_folders(client: IMAPClient) -> list[str]:
    """The folders marked as Sent (RFC 6154), else those with a usual name."""
    marked: list[str] = []
    named: list[str] = []
    for flags, delimiter, name in client.list_folders():
        known = {flag.lower() for flag in flags}
        if known & {rb"\noselect", rb"\nonexistent"}:
            continue
        if rb"\sent" in known:
            marked.append(name)
        separator = (delimiter or b"/").decode("ascii", "replace")
        parent, _, last = name.lower().rpartition(separator)
        if last in _USUAL_NAMES and parent in _USUAL_PARENTS:
            named.append(name)
    return marked or named


_HEADER = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
_MOST_COPIES = 20
"""Of one email that are looked at: a server that finds everything is not read to its end."""


def _copy(client: IMAPClient, message_id: str) -> datetime | None:
    """When a copy came into the selected folder, UTC; None where there is none.

    A server may search loosely, or ignore what it does not know: only the very id counts.
    """
    found = client.search(["HEADER", "Message-ID", message_id])
    for parts in client.fetch(found[-_MOST_COPIES:], ["INTERNALDATE", _HEADER]).values():
        headers = [value for name, value in parts.items() if name.startswith(b"BODY[")]
        if any(message_id.encode() in header.split() for header in headers):
            at: datetime = parts[b"INTERNALDATE"]
            return at.astimezone(UTC)
    return None
