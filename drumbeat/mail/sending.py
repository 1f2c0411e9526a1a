"""Hands emails to mail servers: bytes in, one outcome out (SPEC section 4)."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from aiosmtplib.email import parse_address

from drumbeat.mail.connections import (
    Connection,
    Connections,
    Deadlines,
    Refused,
    is_broken,
)
from drumbeat.mail.outcomes import (
    Accepted,
    Delivery,
    Failed,
    InDoubt,
    Phase,
    Superseded,
    TryLater,
    Words,
    classify,
    classify_copy,
)
from drumbeat.reps import Mailbox


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who an email is from and whom it goes to, as the server is told."""

    sender: str
    recipients: tuple[str, ...]
    """The person first, then the Cc."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found when a mailbox was tried without sending anything."""

    ok: bool
    text: str
    """One sentence: what was found, or the server's words."""
    tls: str | None = None
    """Such as 'TLSv1.3'; None without protection, or where it never came to that."""


class Mailer(Protocol):
    """Hands emails over."""

    async def deliver(
        self,
        mailbox: Mailbox,
        envelope: Envelope,
        content: bytes,
        handing_over: Callable[[], Awaitable[bool]],
    ) -> Delivery:
        """Hand one email over, and say what came of it.

        Args:
            mailbox: From which it leaves.
            envelope: An email goes to all its recipients or to none.
            content: The email as it is to be sent, byte for byte.
            handing_over: Awaited directly before DATA. It sets the mark after which the email may
                have been accepted; False stops the attempt, and nothing is sent.
        """

    async def prove(self, mailbox: Mailbox) -> Proof:
        """Connect and sign in as for an email, and send nothing."""

    async def close(self) -> None:
        """Close what is kept open."""


def _is_sendable(address: str) -> bool:
    """Whether a server can be told this address as it stands; SMTPUTF8 (RFC 6531) is not used."""
    try:
        as_told = parse_address(address)
    except ValueError:
        return False
    return as_told == address and "@" in address and address.isascii() and address.isprintable()


_UNSENDABLE = Words(
    Phase.MAIL,
    "an address cannot be told to a mail server: it is to be the bare address, without letters "
    "beyond ASCII, spaces or control characters",
)


class SmtpMailer:
    """The `Mailer` that speaks SMTP; a few connections stay open for each mailbox.

    Belongs to the event loop in which it is first used.
    """

    def __init__(
        self,
        *,
        connections_per_mailbox: int = 2,
        idle_for: timedelta = timedelta(seconds=30),
        emails_per_connection: int = 100,
        deadlines: Deadlines | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Set the bounds.

        Args:
            connections_per_mailbox: At most that many at once; providers dislike many.
            idle_for: How long a connection is kept open without use.
            emails_per_connection: After that many it is replaced.
            deadlines: How long a server may take.
            tls: How certificates are verified; None: by the machine's authorities.
        """
        self.deadlines = deadlines or Deadlines()
        self._connections = Connections(
            per_mailbox=connections_per_mailbox,
            idle_for=idle_for,
            emails_each=emails_per_connection,
            deadlines=self.deadlines,
            tls=tls,
        )

    async def deliver(
        self,
        mailbox: Mailbox,
        envelope: Envelope,
        content: bytes,
        handing_over: Callable[[], Awaitable[bool]],
    ) -> Delivery:
        """See `Mailer.deliver`. Takes at most `deadlines.whole`, `handing_over` aside.

        If the calling task is cancelled, the connection is dropped: before `handing_over` nothing
        was sent; from then on the email may have been accepted.
        """
        if not all(map(_is_sendable, (envelope.sender, *envelope.recipients))):
            return Failed(_UNSENDABLE)
        try:
            async with asyncio.timeout(self.deadlines.preparing.total_seconds()):
                connection = await self._begin(mailbox, envelope)
        except Refused as refused:
            return classify_copy(refused.said) if refused.recipient else classify(refused.said)
        except TimeoutError:
            return TryLater(Words(Phase.MAIL, "not ready for DATA in time"))
        try:
            if not await handing_over():
                self._connections.settle(connection)
                return Superseded(Words(Phase.RCPT, "stopped before DATA"))
            said = await connection.data(content)
        except BaseException:
            self._connections.drop(connection)
            raise
        outcome = classify(said)
        if isinstance(outcome, Accepted):
            self._connections.give_back(connection)
        elif is_broken(said) or isinstance(outcome, InDoubt):
            self._connections.drop(connection)
        else:
            self._connections.settle(connection)
        return outcome

    async def _begin(self, mailbox: Mailbox, envelope: Envelope) -> Connection:
        """A connection on which the server has accepted the whole envelope.

        One that was kept open may have been closed by the server meanwhile: that is no failure,
        and a fresh one is tried at once.

        Raises:
            Refused: The server did not go along.
        """
        connection = await self._connections.take(mailbox)
        while True:
            try:
                await connection.begin(envelope.sender, envelope.recipients)
                return connection
            except Refused as refused:
                if not is_broken(refused.said):
                    self._connections.settle(connection)
                    raise
                self._connections.drop(connection)
                if not connection.is_reused:
                    raise
            except BaseException:
                self._connections.drop(connection)
                raise
            connection = await self._connections.take(mailbox, fresh=True)

    async def prove(self, mailbox: Mailbox) -> Proof:
        """See `Mailer.prove`."""
        where = f"{mailbox.smtp.host}:{mailbox.smtp.port}"
        try:
            async with asyncio.timeout(self.deadlines.preparing.total_seconds()):
                connection = await self._connections.open(mailbox)
        except Refused as refused:
            return Proof(ok=False, text=f"{where}: {refused.said}")
        except TimeoutError:
            return Proof(ok=False, text=f"{where}: not ready in time")
        tls = connection.tls_version
        await connection.quit()
        user = mailbox.smtp.user
        as_whom = f"signed in as {user}" if user else "no sign-in is set up"
        return Proof(ok=True, text=f"{where}: connected ({tls or 'no TLS'}), {as_whom}", tls=tls)

    async def close(self) -> None:
        """See `Mailer.close`."""
        await self._connections.close()
