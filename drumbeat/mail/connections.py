"""Connections to mail servers: opened, kept open for each mailbox, and given up when stale."""

import asyncio
import socket
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Self, TypeVar

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPResponseException,
    SMTPStatus,
)

from drumbeat.mail.outcomes import Phase, Words, words
from drumbeat.reps import Mailbox, MailboxError, Server, Tls

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a mail server may take.

    The final reply has the 10 minutes of RFC 5321, section 4.5.3.2: without it an email is in
    doubt. Before DATA nothing is lost by giving up early, so that the whole stays under 11.5
    minutes: the activity that sends has 12.
    """

    connect: timedelta = timedelta(seconds=30)
    """For the connection, TLS from the first byte, and the greeting."""
    command: timedelta = timedelta(seconds=60)
    """For the answer to one command before DATA."""
    preparing: timedelta = timedelta(seconds=75)
    """For everything before DATA, waiting for a free connection included."""
    final_reply: timedelta = timedelta(minutes=10)
    """From the DATA command to the final answer."""
    courtesy: timedelta = timedelta(seconds=2)
    """For the answers to RSET and QUIT, on which no email depends."""

    @property
    def whole(self) -> timedelta:
        """The longest that one email can take, the caller's own work directly before DATA aside."""
        return self.preparing + self.final_reply


class Refused(Exception):
    """The server did not go along, somewhere before DATA."""

    def __init__(self, said: Words, recipient: int | None = None) -> None:
        super().__init__(said)
        self.said = said
        self.recipient = recipient
        """Which one of the envelope's it was about, from 0."""


def is_broken(said: Words) -> bool:
    """Whether the connection is of no more use: cut, silent, nonsense, or closing (421)."""
    return said.code is None or said.code == 421


def _said(phase: Phase, error: SMTPException | OSError) -> Words:
    """What the exceptions of aiosmtplib 5.1.3 and of the socket below it mean, in words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return words(phase, f"the server's certificate is not trusted: {cause.verify_message}")
        cause = cause.__cause__
    if isinstance(error, SMTPResponseException):
        return words(phase, error.message, error.code)
    if isinstance(error, TimeoutError):
        return words(phase, "the server did not answer in time")
    return words(phase, str(error) or type(error).__name__)


async def _answered(
    phase: Phase, within: timedelta, command: Awaitable[T], recipient: int | None = None
) -> T:
    """What the server answered to a command.

    aiosmtplib's own timeouts are left aside: they rest on `asyncio.wait_for`, which in Python 3.11
    swallows a cancellation that comes together with the answer, so that a cancelled attempt would
    go on and send.

    Raises:
        Refused: It refused, or did not answer.
    """
    try:
        async with asyncio.timeout(within.total_seconds()):
            return await command
    except (SMTPException, OSError) as error:
        raise Refused(_said(phase, error), recipient) from error


class Connection:
    """One connection to a mailbox's server, signed in."""

    def __init__(self, client: SMTP, mailbox: Mailbox, deadlines: Deadlines) -> None:
        self._client = client
        self._deadlines = deadlines
        self.mailbox = mailbox
        self.emails = 0
        """How many have been handed over on it."""
        self.is_reused = False
        """Whether it was kept open after an earlier email: it may have gone stale meanwhile."""
        self.expiry: asyncio.TimerHandle | None = None
        """While it is idle: closes it."""

    @classmethod
    async def open(
        cls, mailbox: Mailbox, deadlines: Deadlines, tls: ssl.SSLContext | None, own_name: str
    ) -> Self:
        """Connect, protect the connection, and sign in.

        Raises:
            Refused: It did not come about.
        """
        server = mailbox.smtp
        client = SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=own_name,
            timeout=None,  # see _answered
            use_tls=server.tls is Tls.IMPLICIT,
            start_tls=False,  # done below, where a failure has its own words
            tls_context=tls,
        )
        connection = cls(client, mailbox, deadlines)
        try:
            await _answered(Phase.CONNECT, deadlines.connect, client.connect())
            if server.tls is Tls.STARTTLS:
                await _answered(Phase.CONNECT, deadlines.command, client.starttls())
            await _answered(Phase.CONNECT, deadlines.command, client.ehlo())
            if server.user is not None:
                await connection._sign_in(server.user)
        except BaseException:
            connection.drop()
            raise
        return connection

    async def _sign_in(self, user: str) -> None:
        try:
            password = self.mailbox.password()
        except MailboxError as error:
            # Until it is mended, the mailbox cannot be used: as if the server had said 535.
            raise Refused(words(Phase.AUTH, str(error), 535)) from error
        if not self._client.supported_auth_methods:
            text = "the server offers no way to sign in that is known here (PLAIN, LOGIN, CRAM-MD5)"
            raise Refused(words(Phase.AUTH, text, 535))
        login = self._client.login(user, password or "")
        await _answered(Phase.AUTH, self._deadlines.command, login)

    @property
    def is_open(self) -> bool:
        """Whether the other side has not closed it, as far as is known."""
        return self._client.is_connected

    @property
    def tls_version(self) -> str | None:
        """Such as 'TLSv1.3'; None for plain text."""
        connected: ssl.SSLObject | None = self._client.get_transport_info("ssl_object")
        return connected.version() if connected else None

    async def begin(self, sender: str, recipients: tuple[str, ...]) -> None:
        """Name the sender and every recipient.

        SIZE is not announced: a server would then answer an email that is too big with a refusal
        of MAIL, which reads as trouble of the mailbox.

        Raises:
            Refused: One of them was refused, or the connection broke.
        """
        within = self._deadlines.command
        await _answered(Phase.MAIL, within, self._client.mail(sender))
        for number, address in enumerate(recipients):
            await _answered(Phase.RCPT, within, self._client.rcpt(address), recipient=number)

    async def data(self, content: bytes) -> Words:
        """Hand the content over; what the server answered, or what happened instead."""
        if not self.is_open:
            # It was closed while the mark was set: nothing is sent, so that there is no doubt.
            return words(Phase.RCPT, "the connection was lost before DATA")
        self.emails += 1
        try:
            response = await _answered(
                Phase.DATA, self._deadlines.final_reply, self._client.data(content)
            )
        except Refused as refused:
            if refused.said.code == SMTPStatus.completed:
                # Said where 354 was due: not the acceptance that it looks like.
                return words(Phase.DATA, f"250 before the content was sent: {refused.said.text}")
            return refused.said
        return words(Phase.DATA, response.message, response.code)

    async def reset(self) -> bool:
        """End the transaction without sending; whether the connection can be used further."""
        try:
            await _answered(Phase.MAIL, self._deadlines.courtesy, self._client.rset())
        except Refused:
            return False  # nothing was under way that could be lost: a new one is opened
        return True

    async def quit(self) -> None:
        """Say goodbye and close; the answer is waited for only briefly, for politeness."""
        try:
            await _answered(Phase.MAIL, self._deadlines.courtesy, self._client.quit())
        except Refused:
            pass  # it is closed below either way, and nothing hangs on the answer
        finally:
            self.drop()

    def drop(self) -> None:
        """Close at once. Unlike closing, aborting also discards what is still to be written."""
        if isinstance(transport := self._client.transport, asyncio.WriteTransport):
            transport.abort()
        self._client.close()


class Connections:
    """The connections of all mailboxes; a few each, kept open between emails."""

    def __init__(
        self,
        *,
        per_mailbox: int,
        idle_for: timedelta,
        emails_each: int,
        deadlines: Deadlines,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._idle_for = idle_for
        self._emails_each = emails_each
        self._deadlines = deadlines
        self._tls = tls
        self._own_name: str | None = None
        self._slots: defaultdict[Mailbox, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(per_mailbox)
        )
        self._idle: defaultdict[Mailbox, list[Connection]] = defaultdict(list)
        self._background: set[asyncio.Task[None]] = set()

    async def take(self, mailbox: Mailbox, *, fresh: bool = False) -> Connection:
        """A connection for one email, to be handed back by `give_back`, `settle` or `drop`.

        Args:
            mailbox: Whose.
            fresh: Not one that was kept open. One of those just proved stale, so that the others
                of this mailbox are given up as well.

        Raises:
            Refused: None could be opened.
        """
        slot = self._slots[mailbox]
        await slot.acquire()
        try:
            idle = self._idle[mailbox]
            while idle:
                connection = idle.pop()
                if connection.expiry:
                    connection.expiry.cancel()
                if fresh or not connection.is_open:
                    connection.drop()
                    continue
                connection.is_reused = True
                return connection
            return await self.open(mailbox)
        except BaseException:
            slot.release()
            raise

    async def open(self, mailbox: Mailbox) -> Connection:
        """A new connection, outside the count; see `Connection.open`."""
        if self._tls is None and mailbox.smtp.tls is not Tls.NONE:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return await Connection.open(
            mailbox, self._deadlines, self._tls, await self._name_for(mailbox.smtp)
        )

    async def _name_for(self, server: Server) -> str:
        """What this machine calls itself in EHLO; looking it up can take seconds, so only once."""
        if server.tls is Tls.NONE:
            return "localhost"
        if self._own_name is None:
            self._own_name = await asyncio.to_thread(socket.getfqdn)
        return self._own_name

    def give_back(self, connection: Connection) -> None:
        """Keep it open for the next email, unless it has served its time."""
        mailbox = connection.mailbox
        if connection.emails >= self._emails_each:
            self._in_background(connection.quit())
        elif connection.is_open:
            connection.expiry = asyncio.get_running_loop().call_later(
                self._idle_for.total_seconds(), self._expire, connection
            )
            self._idle[mailbox].append(connection)
        self._slots[mailbox].release()

    def settle(self, connection: Connection) -> None:
        """Reset its transaction in the background, so that the outcome is not kept waiting."""
        self._in_background(self._settle(connection))

    async def _settle(self, connection: Connection) -> None:
        if await connection.reset():
            self.give_back(connection)
        else:
            self.drop(connection)

    def drop(self, connection: Connection) -> None:
        """Close it at once: what state it is in is not known."""
        connection.drop()
        self._slots[connection.mailbox].release()

    def _expire(self, connection: Connection) -> None:
        self._idle[connection.mailbox].remove(connection)
        self._in_background(connection.quit())

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """Close all that are idle; those in use are closed by who uses them."""
        await asyncio.gather(*self._background)  # some of these become idle
        for idle in self._idle.values():
            while idle:
                connection = idle.pop()
                if connection.expiry:
                    connection.expiry.cancel()
                self._in_background(connection.quit())
        await asyncio.gather(*self._background)
