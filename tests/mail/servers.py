"""A real SMTP server, in the test's own event loop, that does at every phase what a test wants."""

import asyncio
import ssl
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Self

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from drumbeat.reps import Mailbox, Server, Tls

Phase = Literal[
    "CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "CONTENT", "RSET", "QUIT"
]
"""CONNECT is answered by the greeting, DATA by 354, CONTENT by the final answer."""


class Act(Enum):
    """What a server can do instead of answering."""

    DROP = "drop"
    """Cut the connection."""
    STALL = "stall"
    """Say nothing any more."""


Doing = str | Act | asyncio.Event
"""A whole answer ("550 5.1.1 No such user", or nonsense), an act, or: wait for it, then go on."""
DROP, STALL = Act.DROP, Act.STALL


@dataclass(frozen=True)
class Received:
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    user: str | None
    """Who was signed in."""


class ScriptedServer:
    """Behaves like any mail server, but for what `on` and `once` say.

    >>> async with ScriptedServer() as server:  # doctest: +SKIP
    ...     server.on("RCPT", "550 5.1.1 No such user")
    ...     server.once("MAIL", DROP)
    ...     mailbox = server.mailbox()
    """

    def __init__(
        self,
        *,
        tls: Tls = Tls.NONE,
        certificate: trustme.LeafCert | None = None,
        users: Mapping[str, str] | None = None,
    ) -> None:
        self.tls = tls
        self.users = dict(users or {})
        self.context: ssl.SSLContext | None = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(self.context)
        self.port = 0
        self.received: list[Received] = []
        self.commands: list[str] = []
        """Every command's first word, in order, of all connections."""
        self.connections = 0
        """How many were ever made."""
        self.open: set[_Scripted] = set()
        self.most_open = 0
        self.reached: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        """Set when a phase is reached for the first time."""
        self.counts: Counter[str] = Counter()
        self.closed = asyncio.Condition()
        self._always: dict[str, Doing | Callable[[str], Doing | None]] = {}
        self._once: defaultdict[str, deque[Doing]] = defaultdict(deque)
        self._server: asyncio.Server | None = None

    def on(self, phase: Phase, doing: Doing | Callable[[str], Doing | None]) -> None:
        """Do that whenever the phase is reached; a function is given the command's argument."""
        self._always[phase] = doing

    def once(self, phase: Phase, *doings: Doing) -> None:
        """Do that the next time the phase is reached, one after another."""
        self._once[phase].extend(doings)

    def behave(self) -> None:
        """Forget all that `on` and `once` said."""
        self._always.clear()
        self._once.clear()

    def doing(self, phase: str, argument: str) -> Doing | None:
        self.counts[phase] += 1
        self.reached[phase].set()
        if self._once[phase]:
            return self._once[phase].popleft()
        always = self._always.get(phase)
        if always is None or isinstance(always, str | Act | asyncio.Event):
            return always
        return always(argument)

    def mailbox(self, **changes: Any) -> Mailbox:
        """A mailbox that sends through this server, without limits."""
        user = next(iter(self.users), None)
        details: dict[str, Any] = {
            "address": "grace@example.com",
            "smtp": Server("127.0.0.1", self.port, self.tls, user),
            "password_env": "GRACE_PASSWORD" if user else None,
            "batch": None,
            "daily": None,
        }
        return Mailbox(**(details | changes))

    async def start(self, port: int = 0) -> Self:
        loop = asyncio.get_running_loop()
        implicit = self.context if self.tls is Tls.IMPLICIT else None
        self._server = await loop.create_server(
            lambda: _Scripted(self), "127.0.0.1", port, ssl=implicit
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening and cut every connection."""
        assert self._server is not None
        self._server.close()
        for conversation in tuple(self.open):
            conversation.cut()
        await self.wait_for_open(0)

    async def wait_for_open(self, number: int) -> None:
        """Until no more than that many connections are open."""
        async with self.closed:
            await self.closed.wait_for(lambda: len(self.open) <= number)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # What aiosmtpd calls.

    async def handle_DATA(self, server: "_Scripted", session: Session, envelope: Envelope) -> str:
        answer = await server.act("CONTENT", "")
        if answer is not None:
            return answer
        assert envelope.mail_from is not None
        assert isinstance(envelope.original_content, bytes)
        self.received.append(
            Received(
                envelope.mail_from,
                tuple(envelope.rcpt_tos),
                envelope.original_content,
                server.user,
            )
        )
        return f"250 2.0.0 Ok: queued as {len(self.received)}"


class _Scripted(SMTP):
    """One connection to a `ScriptedServer`."""

    def __init__(self, server: ScriptedServer) -> None:
        self.scripted = server
        self.user: str | None = None
        super().__init__(
            server,
            hostname="mail.test",
            ident="scripted",
            loop=asyncio.get_running_loop(),
            tls_context=server.context if server.tls is Tls.STARTTLS else None,
            require_starttls=server.tls is Tls.STARTTLS,
            auth_require_tls=server.tls is Tls.STARTTLS,
            authenticator=self._check_password,
        )

    def _check_password(self, server: SMTP, session: Session, *rest: Any) -> AuthResult:
        offered = rest[-1]
        assert isinstance(offered, LoginPassword)
        user = offered.login.decode()
        if self.scripted.users.get(user) != offered.password.decode():
            return AuthResult(success=False, handled=False)
        self.user = user
        return AuthResult(success=True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self not in self.scripted.open:  # not again after STARTTLS
            self.scripted.connections += 1
            self.scripted.open.add(self)
            self.scripted.most_open = max(self.scripted.most_open, len(self.scripted.open))
        super().connection_made(transport)

    def eof_received(self) -> bool:
        super().eof_received()
        return False  # a client that hung up gets nothing more: close, also while stalling

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        asyncio.get_running_loop().create_task(self._gone())

    async def _gone(self) -> None:
        async with self.scripted.closed:
            self.scripted.open.discard(self)
            self.scripted.closed.notify_all()

    def cut(self) -> None:
        transport = self._original_transport or self.transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    async def act(self, phase: str, argument: str) -> str | None:
        """The answer to give instead of the usual one, if any; or never comes back."""
        doing = self.scripted.doing(phase, argument)
        if isinstance(doing, asyncio.Event):
            await doing.wait()
            return None
        if isinstance(doing, Act):
            if doing is Act.DROP:
                self.cut()
            await asyncio.Event().wait()  # until the connection's end cancels it
        assert not isinstance(doing, Act)
        return doing

    async def _handle_client(self) -> None:
        answer = await self.act("CONNECT", "")
        if answer is None:
            await super()._handle_client()
        else:
            await self.push(answer)
            assert self.transport is not None
            self.transport.close()

    async def _scripted(self, phase: str, argument: str | None) -> bool:
        self.scripted.commands.append(phase)
        answer = await self.act(phase, argument or "")
        if answer is None:
            return False
        await self.push(answer)
        if answer.startswith("421"):
            assert self.transport is not None
            self.transport.close()
        return True

    async def smtp_EHLO(self, hostname: str) -> None:
        if not await self._scripted("EHLO", hostname):
            await super().smtp_EHLO(hostname)

    async def smtp_STARTTLS(self, arg: str) -> None:
        if await self._scripted("STARTTLS", arg):
            return
        await super().smtp_STARTTLS(arg)
        # Where the client hangs up during the handshake, Python 3.11 tells nobody.
        if self._original_transport is not None and self._original_transport.is_closing():
            self.connection_lost(None)

    async def smtp_AUTH(self, arg: str) -> None:
        if not await self._scripted("AUTH", arg):
            await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg: str | None) -> None:
        if not await self._scripted("MAIL", arg):
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str | None) -> None:
        if not await self._scripted("RCPT", arg):
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg: str) -> None:
        if not await self._scripted("DATA", arg):
            await super().smtp_DATA(arg)

    async def smtp_RSET(self, arg: str) -> None:
        if not await self._scripted("RSET", arg):
            await super().smtp_RSET(arg)

    async def smtp_QUIT(self, arg: str) -> None:
        if not await self._scripted("QUIT", arg):
            await super().smtp_QUIT(arg)


@asynccontextmanager
async def silent_port() -> AsyncIterator[int]:
    """A port where connections are accepted and nothing is ever said."""
    transports: list[asyncio.BaseTransport] = []

    class Silent(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transports.append(transport)

    server = await asyncio.get_running_loop().create_server(Silent, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for transport in transports:
            transport.close()


async def refused_port() -> int:
    """A port on which nothing listens."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    return port
