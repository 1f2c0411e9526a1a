import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
import trustme

from drumbeat.mail.connections import Connection, Deadlines
from drumbeat.mail.outcomes import (
    Accepted,
    AuthenticationRefused,
    Delivery,
    Failed,
    HardBounce,
    InDoubt,
    MailboxTrouble,
    Phase,
    SoftBounce,
    Superseded,
    TryLater,
)
from drumbeat.mail.sending import Envelope, SmtpMailer
from drumbeat.reps import Mailbox, Server, Tls
from tests.mail import servers
from tests.mail.servers import DROP, STALL, Doing, ScriptedServer, refused_port, silent_port
from tests.waiting import until

CONTENT = b"Subject: Hello\r\n\r\nHello Ada,\r\n.\r\n.. dots\r\n\r\nGrace\r\n"
ENVELOPE = Envelope("grace@example.com", ("ada@example.org",))
WITH_COPY = Envelope("grace@example.com", ("ada@example.org", "boss@example.org"))

HASTY = Deadlines(
    connect=timedelta(seconds=0.2),
    command=timedelta(seconds=0.2),
    preparing=timedelta(seconds=0.4),
    final_reply=timedelta(seconds=0.2),
    courtesy=timedelta(seconds=0.1),
)
"""For tests in which the server stays silent."""


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture
async def mailer() -> AsyncIterator[SmtpMailer]:
    smtp = SmtpMailer()
    yield smtp
    await smtp.close()


async def go_on() -> bool:
    return True


class Mark:
    """Counts the handings over, and lets them happen or not."""

    def __init__(self, go_on: bool = True) -> None:
        self.set = 0
        self.go_on = go_on

    async def __call__(self) -> bool:
        self.set += 1
        return self.go_on


async def send(
    mailer: SmtpMailer,
    mailbox: Mailbox,
    handing_over: Callable[[], Awaitable[bool]] = go_on,
    envelope: Envelope = ENVELOPE,
) -> Delivery:
    return await mailer.deliver(mailbox, envelope, CONTENT, handing_over)


async def test_an_email_arrives_byte_for_byte(server: ScriptedServer, mailer: SmtpMailer) -> None:
    outcome = await send(mailer, server.mailbox(), envelope=WITH_COPY)
    assert isinstance(outcome, Accepted)
    assert str(outcome.words) == "250 2.0.0 Ok: queued as 1"
    assert server.received == [
        servers.Received(WITH_COPY.sender, WITH_COPY.recipients, CONTENT, None)
    ]


@pytest.mark.parametrize(
    ("phase", "answer", "outcome"),
    [
        ("CONNECT", "421 4.7.0 Too busy", TryLater),
        ("CONNECT", "554 5.7.1 Blocked", MailboxTrouble),
        ("CONNECT", "hello", TryLater),
        ("CONNECT", DROP, TryLater),
        ("EHLO", DROP, TryLater),
        ("MAIL", "451 4.3.0 Later", TryLater),
        ("MAIL", "550 5.7.1 You may not", MailboxTrouble),
        ("MAIL", "hello", TryLater),
        ("MAIL", DROP, TryLater),
        ("RCPT", "450 4.2.0 Greylisted", TryLater),
        ("RCPT", "550-5.1.1 No such user.\r\n550 5.1.1 Check the spelling.", HardBounce),
        ("RCPT", "552 5.2.2 Full", SoftBounce),
        ("RCPT", "554 No relaying", MailboxTrouble),
        ("RCPT", "501 5.5.4 What?", Failed),
        ("RCPT", DROP, TryLater),
        ("DATA", "421 4.3.2 Shutting down", TryLater),
        ("DATA", "451 4.3.0 Later", TryLater),
        ("DATA", "554 5.7.1 No", MailboxTrouble),
        ("DATA", "250 Certainly", InDoubt),
        ("DATA", DROP, InDoubt),
        ("CONTENT", "421 4.3.2 Shutting down", TryLater),
        ("CONTENT", "452 4.3.1 No space", TryLater),
        ("CONTENT", "552 5.3.4 Too big", Failed),
        ("CONTENT", "550 5.7.1 Looks like spam", MailboxTrouble),
        ("CONTENT", "hello", InDoubt),
        ("CONTENT", DROP, InDoubt),
    ],
)
async def test_the_outcome_follows_the_phase_and_the_answer(
    server: ScriptedServer,
    mailer: SmtpMailer,
    phase: servers.Phase,
    answer: Doing,
    outcome: type[Delivery],
) -> None:
    server.on(phase, answer)
    mark = Mark()
    assert type(await send(mailer, server.mailbox(), mark)) is outcome
    assert mark.set == (phase in ("DATA", "CONTENT"))
    assert server.received == []
    server.behave()
    assert isinstance(await send(mailer, server.mailbox()), Accepted)


@pytest.mark.parametrize("phase", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT"])
async def test_a_silent_server_is_in_doubt_only_from_data_on(
    server: ScriptedServer, phase: servers.Phase
) -> None:
    mailer = SmtpMailer(deadlines=HASTY)
    server.on(phase, STALL)
    outcome = await send(mailer, server.mailbox())
    assert type(outcome) is (InDoubt if phase in ("DATA", "CONTENT") else TryLater)
    assert outcome.trouble == (phase in ("CONNECT", "EHLO"))
    await server.wait_for_open(0)
    await mailer.close()


async def test_deadlines_bound_an_email_as_a_whole() -> None:
    assert Deadlines().final_reply == timedelta(minutes=10)
    assert Deadlines().whole < timedelta(minutes=11, seconds=30)


async def test_without_a_connection_the_mailbox_is_in_trouble() -> None:
    mailer = SmtpMailer(deadlines=HASTY)
    nowhere = Server("127.0.0.1", await refused_port(), Tls.NONE)
    async with silent_port() as port:
        for smtp in (nowhere, Server("127.0.0.1", port, Tls.NONE)):
            outcome = await send(mailer, Mailbox("grace@example.com", smtp))
            assert isinstance(outcome, TryLater)
            assert outcome.trouble
            assert outcome.words.phase is Phase.CONNECT
            assert str(smtp.port) in outcome.words.text or "time" in outcome.words.text


async def test_a_connection_that_is_lost_while_the_mark_is_set_leaves_no_doubt(
    server: ScriptedServer, mailer: SmtpMailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Connection] = []
    begin = Connection.begin

    async def noted(connection: Connection, sender: str, recipients: tuple[str, ...]) -> None:
        used.append(connection)
        await begin(connection, sender, recipients)

    async def losing() -> bool:
        await server.stop()
        await until(lambda: not used[0].is_open)
        return True

    monkeypatch.setattr(Connection, "begin", noted)
    assert isinstance(await send(mailer, server.mailbox(), losing), TryLater)
    assert "DATA" not in server.commands


async def test_the_mark_is_set_directly_before_data(
    server: ScriptedServer, mailer: SmtpMailer
) -> None:
    said_before: list[str] = []

    async def handing_over() -> bool:
        said_before.extend(server.commands)
        return True

    assert isinstance(await send(mailer, server.mailbox(), handing_over), Accepted)
    assert said_before == ["EHLO", "MAIL", "RCPT"]
    assert server.commands == ["EHLO", "MAIL", "RCPT", "DATA"]


async def test_a_superseded_attempt_sends_nothing_and_keeps_the_connection(
    server: ScriptedServer, mailer: SmtpMailer
) -> None:
    assert isinstance(await send(mailer, server.mailbox(), Mark(go_on=False)), Superseded)
    assert isinstance(await send(mailer, server.mailbox()), Accepted)
    assert len(server.received) == 1
    assert server.commands == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"] or (
        # the next email may begin on another connection before the reset is confirmed
        server.connections == 2
    )


async def test_an_error_while_handing_over_is_the_callers_and_sends_nothing(
    server: ScriptedServer, mailer: SmtpMailer
) -> None:
    async def handing_over() -> bool:
        raise LookupError("no such row")

    with pytest.raises(LookupError):
        await send(mailer, server.mailbox(), handing_over)
    await server.wait_for_open(0)
    assert server.received == []


async def test_an_email_goes_to_all_its_recipients_or_to_none(
    server: ScriptedServer, mailer: SmtpMailer
) -> None:
    server.on("RCPT", lambda to: "550 5.1.1 No such user" if "boss" in to else None)
    outcome = await send(mailer, server.mailbox(), envelope=WITH_COPY)
    assert isinstance(outcome, Failed)
    assert "a Cc recipient was refused: 550 5.1.1 No such user" in str(outcome.words)
    assert server.received == []


@pytest.mark.parametrize(
    "address",
    [
        "ü@example.org",
        "a\r\nRCPT TO:<b@example.org>",
        "a@example.org> SIZE=1",
        "Ada <ada@example.org>",
        "ada\x00@example.org",
        "ada",
        "",
    ],
)
async def test_an_address_that_cannot_be_sent_fails_before_connecting(
    server: ScriptedServer, mailer: SmtpMailer, address: str
) -> None:
    outcome = await send(mailer, server.mailbox(), envelope=Envelope(ENVELOPE.sender, (address,)))
    assert isinstance(outcome, Failed)
    assert server.connections == 0


# Connections kept open


async def test_emails_of_a_mailbox_share_a_connection(
    server: ScriptedServer, mailer: SmtpMailer
) -> None:
    for _ in range(5):
        assert isinstance(await send(mailer, server.mailbox()), Accepted)
    assert server.connections == 1
    assert len(server.received) == 5


async def test_a_mailbox_has_at_most_two_connections_and_mailboxes_do_not_share(
    server: ScriptedServer, mailer: SmtpMailer
) -> None:
    outcomes = await asyncio.gather(*(send(mailer, server.mailbox()) for _ in range(10)))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert server.most_open == 2
    assert isinstance(await send(mailer, server.mailbox(address="x@example.com")), Accepted)
    assert server.most_open == 3


async def test_a_connection_is_replaced_after_its_number_of_emails(server: ScriptedServer) -> None:
    mailer = SmtpMailer(emails_per_connection=2)
    for _ in range(5):
        assert isinstance(await send(mailer, server.mailbox()), Accepted)
    assert server.connections == 3
    await mailer.close()
    assert server.counts["QUIT"] == 3


async def test_an_idle_connection_is_closed_politely(server: ScriptedServer) -> None:
    mailer = SmtpMailer(idle_for=timedelta(milliseconds=20))
    assert isinstance(await send(mailer, server.mailbox()), Accepted)
    await server.wait_for_open(0)
    assert server.counts["QUIT"] == 1
    assert isinstance(await send(mailer, server.mailbox()), Accepted)
    assert server.connections == 2
    await mailer.close()


async def test_closing_the_mailer_leaves_no_connection(
    server: ScriptedServer, mailer: SmtpMailer
) -> None:
    await asyncio.gather(*(send(mailer, server.mailbox()) for _ in range(4)))
    await mailer.close()
    await server.wait_for_open(0)


async def test_a_restarted_server_is_no_failure(server: ScriptedServer, mailer: SmtpMailer) -> None:
    await asyncio.gather(*(send(mailer, server.mailbox()) for _ in range(4)))
    await server.stop()
    await server.start(server.port)
    outcomes = await asyncio.gather(*(send(mailer, server.mailbox()) for _ in range(4)))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)


@pytest.mark.parametrize("phase", ["MAIL", "RCPT"])
@pytest.mark.parametrize("doing", [DROP, "421 4.4.2 Idle for too long", "hello"])
async def test_a_stale_connection_is_replaced_at_once(
    server: ScriptedServer, mailer: SmtpMailer, phase: servers.Phase, doing: Doing
) -> None:
    assert isinstance(await send(mailer, server.mailbox()), Accepted)
    server.once(phase, doing)
    mark = Mark()
    assert isinstance(await send(mailer, server.mailbox(), mark), Accepted)
    assert (server.connections, mark.set) == (2, 1)


async def test_only_one_fresh_connection_is_tried(
    server: ScriptedServer, mailer: SmtpMailer
) -> None:
    assert isinstance(await send(mailer, server.mailbox()), Accepted)
    server.on("MAIL", "421 4.7.28 Stop for a while")
    assert isinstance(await send(mailer, server.mailbox()), TryLater)
    assert server.connections == 2


async def test_a_reused_connection_that_breaks_after_handing_over_is_in_doubt(
    server: ScriptedServer, mailer: SmtpMailer
) -> None:
    assert isinstance(await send(mailer, server.mailbox()), Accepted)
    server.once("CONTENT", DROP)
    mark = Mark()
    assert isinstance(await send(mailer, server.mailbox(), mark), InDoubt)
    assert (server.connections, mark.set, len(server.received)) == (1, 1, 1)


async def test_waiting_for_a_busy_mailbox_is_bounded_and_no_trouble(
    server: ScriptedServer,
) -> None:
    mailer = SmtpMailer(
        connections_per_mailbox=1,
        deadlines=Deadlines(preparing=timedelta(seconds=0.1)),
    )
    server_goes_on = asyncio.Event()
    server.once("CONTENT", server_goes_on)
    first = asyncio.create_task(send(mailer, server.mailbox()))
    await server.reached["CONTENT"].wait()
    waiting = await send(mailer, server.mailbox())
    assert isinstance(waiting, TryLater)
    assert not waiting.trouble
    server_goes_on.set()
    assert isinstance(await first, Accepted)
    await mailer.close()


@pytest.mark.parametrize("phase", ["CONNECT", "MAIL", "RCPT", "DATA", "CONTENT"])
async def test_a_cancelled_attempt_drops_its_connection(
    server: ScriptedServer, mailer: SmtpMailer, phase: servers.Phase
) -> None:
    server.once(phase, asyncio.Event())
    attempt = asyncio.create_task(send(mailer, server.mailbox()))
    await server.reached[phase].wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await server.wait_for_open(0)
    assert server.received == []
    outcomes = await asyncio.gather(*(send(mailer, server.mailbox()) for _ in range(3)))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)


async def test_an_answer_is_not_kept_waiting_by_the_reset_after_it(server: ScriptedServer) -> None:
    mailer = SmtpMailer(deadlines=HASTY)
    server.on("RCPT", "550 5.1.1 No such user")
    server.on("RSET", STALL)
    assert isinstance(await send(mailer, server.mailbox()), HardBounce)
    await server.wait_for_open(0)
    await mailer.close()


# TLS and signing in


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def tls_mailer(authority: trustme.CA) -> AsyncIterator[SmtpMailer]:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    smtp = SmtpMailer(tls=context)
    yield smtp
    await smtp.close()


@pytest.mark.parametrize("tls", [Tls.IMPLICIT, Tls.STARTTLS])
async def test_an_email_leaves_protected_and_signed_in(
    tls: Tls, authority: trustme.CA, tls_mailer: SmtpMailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRACE_PASSWORD", "gr@ce ü")
    certificate = authority.issue_cert("127.0.0.1")
    async with ScriptedServer(
        tls=tls, certificate=certificate, users={"grace": "gr@ce ü"}
    ) as server:
        for _ in range(2):
            assert isinstance(await send(tls_mailer, server.mailbox()), Accepted)
        assert server.connections == 1
        assert [email.user for email in server.received] == ["grace", "grace"]
        await tls_mailer.close()


@pytest.mark.parametrize("tls", [Tls.IMPLICIT, Tls.STARTTLS])
@pytest.mark.parametrize("flaw", ["authority", "name"])
async def test_a_certificate_that_proves_nothing_stops_everything(
    tls: Tls, flaw: str, authority: trustme.CA, tls_mailer: SmtpMailer
) -> None:
    stranger = trustme.CA()
    certificate = (
        stranger.issue_cert("127.0.0.1")
        if flaw == "authority"
        else authority.issue_cert("mail.example.com")
    )
    async with ScriptedServer(tls=tls, certificate=certificate) as server:
        outcome = await send(tls_mailer, server.mailbox())
        assert isinstance(outcome, TryLater)
        assert outcome.trouble
        assert "certificate is not trusted" in outcome.words.text
        assert "MAIL" not in server.commands


async def test_starttls_is_never_left_out(mailer: SmtpMailer, server: ScriptedServer) -> None:
    mailbox = server.mailbox(smtp=Server("127.0.0.1", server.port, Tls.STARTTLS))
    outcome = await send(mailer, mailbox)
    assert isinstance(outcome, TryLater)
    assert outcome.trouble
    assert "STARTTLS" in outcome.words.text
    assert "MAIL" not in server.commands


async def test_a_wrong_or_missing_password_is_an_authentication_refused(
    mailer: SmtpMailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedServer(users={"grace": "secret"}) as server:
        monkeypatch.setenv("GRACE_PASSWORD", "wrong")
        outcome = await send(mailer, server.mailbox())
        assert isinstance(outcome, AuthenticationRefused)
        assert outcome.words.code == 535
        monkeypatch.delenv("GRACE_PASSWORD")
        outcome = await send(mailer, server.mailbox())
        assert isinstance(outcome, AuthenticationRefused)
        assert "GRACE_PASSWORD" in outcome.words.text
        monkeypatch.setenv("GRACE_PASSWORD", "secret")
        server.once("AUTH", "454 4.7.0 Later", "454 4.7.0 Later")
        assert isinstance(await send(mailer, server.mailbox()), TryLater)
        assert isinstance(await send(mailer, server.mailbox()), Accepted)
        assert "MAIL" in server.commands


# Proving a mailbox


async def test_proving_a_mailbox_signs_in_and_sends_nothing(
    mailer: SmtpMailer,
    tls_mailer: SmtpMailer,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRACE_PASSWORD", "secret")
    async with ScriptedServer(
        tls=Tls.STARTTLS,
        certificate=authority.issue_cert("127.0.0.1"),
        users={"grace": "secret"},
    ) as server:
        proof = await tls_mailer.prove(server.mailbox())
        assert proof.ok
        assert proof.tls == "TLSv1.3"
        assert proof.text == f"127.0.0.1:{server.port}: connected (TLSv1.3), signed in as grace"
        untrusted = await mailer.prove(server.mailbox())
        assert not untrusted.ok
        assert "certificate is not trusted" in untrusted.text
        monkeypatch.setenv("GRACE_PASSWORD", "wrong")
        refused = await tls_mailer.prove(server.mailbox())
        assert not refused.ok
        assert "535 5.7.8" in refused.text
        assert "secret" not in refused.text and "wrong" not in refused.text
        await server.wait_for_open(0)
        assert "MAIL" not in server.commands


async def test_proving_says_what_is_missing(server: ScriptedServer, mailer: SmtpMailer) -> None:
    plain = await mailer.prove(server.mailbox())
    assert plain.text == f"127.0.0.1:{server.port}: connected (no TLS), no sign-in is set up"
    port = await refused_port()
    nowhere = await mailer.prove(server.mailbox(smtp=Server("127.0.0.1", port, Tls.NONE)))
    assert not nowhere.ok
    assert str(port) in nowhere.text
