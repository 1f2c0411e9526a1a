import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from drumbeat.mail.sending import Proof
from drumbeat.mail.sent_folder import Deadlines, Looked, Trouble, find_sent, prove_imap
from drumbeat.reps import Mailbox, Server, Tls
from tests.mail import dovecot
from tests.mail.dovecot import PASSWORD, USER, Dovecot, running_dovecot
from tests.mail.servers import refused_port, silent_port

ADA = "<b551ec5b755b345046e0bccbd9260339@example.com>"
BOB = "<0123456789abcdef0123456789abcdef@example.com>"
AT = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
QUICK = Deadlines(
    connect=timedelta(seconds=5), command=timedelta(seconds=5), whole=timedelta(seconds=10)
)


def letter(message_id: str, header: str = "Message-ID") -> bytes:
    return (
        f"From: {USER}\r\nTo: ada@example.org\r\nSubject: Hello\r\n{header}: {message_id}\r\n"
        "\r\nDear reader.\r\n"
    ).encode()


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRACE_PASSWORD", PASSWORD)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Verifies as the machine does, but by the tests' own authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[Dovecot]:
    dovecot.need()
    with running_dovecot(authority.issue_cert("127.0.0.1")) as running:
        running.append(dovecot.SENT, letter(ADA), AT)
        yield running


@pytest.fixture(scope="module")
def plain_server() -> Iterator[Dovecot]:
    """Without TLS, and without any folder marked as Sent."""
    dovecot.need()
    with running_dovecot(folders="") as running:
        yield running


# A real server


@pytest.mark.parametrize("tls", Tls)
def test_a_copy_in_the_sent_folder_is_found(
    server: Dovecot, trusting: ssl.SSLContext, tls: Tls
) -> None:
    looked = find_sent(server.mailbox(tls), [BOB, ADA], tls=trusting)
    assert looked == Looked({ADA: AT}, frozenset({BOB}))


def test_many_are_looked_for_at_once(server: Dovecot) -> None:
    many = [f"<{number:032x}@example.com>" for number in range(100)]
    server.append(dovecot.SENT, letter(many[70]))
    looked = find_sent(server.mailbox(), many)
    assert (list(looked.copies), len(looked.missing)) == ([many[70]], 99)


def test_nothing_is_marked_as_read(server: Dovecot) -> None:
    server.append(dovecot.SENT, letter(BOB[:-1] + ".org>"))
    before = server.flags(dovecot.SENT)
    assert find_sent(server.mailbox(), [ADA]).copies
    assert server.flags(dovecot.SENT) == before
    assert before
    assert all(b"\\Seen" not in flags for flags in before)


def test_a_copy_elsewhere_does_not_count(server: Dovecot) -> None:
    other = "<elsewhere@example.com>"
    server.append("INBOX", letter(other))
    server.append("Sent", letter(other))  # another folder is marked as the Sent folder
    assert find_sent(server.mailbox(), [other]) == Looked(missing=frozenset({other}))


def test_an_answer_to_an_email_is_not_its_copy(server: Dovecot) -> None:
    original = "<original@example.com>"
    server.append(dovecot.SENT, letter(original, "In-Reply-To"))
    server.append(dovecot.SENT, letter(f'"{original}"@example.com'))
    assert find_sent(server.mailbox(), [original]).missing == {original}


@pytest.mark.parametrize(
    "name", ["Sent", "SENT ITEMS", "Sent Messages", "INBOX/Sent", "[Gmail]/Sent Mail"]
)
def test_an_unmarked_folder_is_known_by_its_usual_name(plain_server: Dovecot, name: str) -> None:
    plain_server.append(name, letter(ADA), AT)
    try:
        assert find_sent(plain_server.mailbox(), [ADA]) == Looked({ADA: AT})
    finally:
        plain_server.delete(name)


def test_a_folder_below_the_inbox_is_known_where_folders_are_parted_by_dots() -> None:
    dovecot.need()
    with running_dovecot(folders="", separator=".", prefix="INBOX.") as running:
        running.append("INBOX.Sent", letter(ADA), AT)
        assert find_sent(running.mailbox(), [ADA]) == Looked({ADA: AT})


@pytest.mark.parametrize("name", ["Clients/Sent", "Sent by hand"])
def test_without_a_sent_folder_nothing_is_decided(plain_server: Dovecot, name: str) -> None:
    plain_server.append(name, letter(ADA))
    try:
        looked = find_sent(plain_server.mailbox(), [ADA])
    finally:
        plain_server.delete(name)
    assert looked == Looked(trouble=Trouble.NO_SENT_FOLDER)


def test_all_folders_that_may_be_it_are_looked_into(plain_server: Dovecot) -> None:
    plain_server.append("Sent", letter(ADA), AT)
    plain_server.append("Sent Items", letter(BOB), AT)
    try:
        looked = find_sent(plain_server.mailbox(), [ADA, BOB, "<c@example.com>"])
    finally:
        plain_server.delete("Sent")
        plain_server.delete("Sent Items")
    assert looked == Looked({ADA: AT, BOB: AT}, frozenset({"<c@example.com>"}))


def test_a_wrong_password_is_said_so(server: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRACE_PASSWORD", "wrong")
    assert find_sent(server.mailbox(), [ADA]) == Looked(trouble=Trouble.NOT_SIGNED_IN)


@pytest.mark.parametrize("tls", [Tls.IMPLICIT, Tls.STARTTLS])
def test_a_certificate_of_an_unknown_authority_is_refused(server: Dovecot, tls: Tls) -> None:
    assert find_sent(server.mailbox(tls), [ADA]) == Looked(trouble=Trouble.NOT_TRUSTED)
    proof = prove_imap(server.mailbox(tls))
    assert not proof.ok
    assert "the server's certificate is not trusted: " in proof.text


@pytest.mark.parametrize("tls", [Tls.IMPLICIT, Tls.STARTTLS])
def test_a_certificate_for_another_host_is_refused(
    server: Dovecot, trusting: ssl.SSLContext, tls: Tls
) -> None:
    port = server.tls_port if tls is Tls.IMPLICIT else server.port
    mailbox = server.mailbox(imap=Server("localhost", port, tls, USER))
    assert find_sent(mailbox, [ADA], tls=trusting).trouble is Trouble.NOT_TRUSTED


def test_a_server_without_starttls_is_not_used(plain_server: Dovecot) -> None:
    before = plain_server.log.count("Login: ")
    looked = find_sent(plain_server.mailbox(Tls.STARTTLS), [ADA])
    assert looked == Looked(trouble=Trouble.NO_TLS)
    assert plain_server.log.count("Login: ") == before


def test_a_mailbox_is_proved(server: Dovecot, trusting: ssl.SSLContext) -> None:
    assert prove_imap(server.mailbox(Tls.IMPLICIT), tls=trusting) == Proof(
        ok=True,
        text=f"127.0.0.1:{server.tls_port}: connected (TLSv1.3), signed in as {USER}, "
        f"Sent folder '{dovecot.SENT}'",
        tls="TLSv1.3",
    )


def test_a_mailbox_without_a_sent_folder_is_proved_and_said_so(plain_server: Dovecot) -> None:
    text = (
        f"127.0.0.1:{plain_server.port}: connected (no TLS), signed in as {USER}, "
        "but there is no Sent folder"
    )
    assert prove_imap(plain_server.mailbox()) == Proof(ok=True, text=text)


def test_proving_repeats_why_the_server_refused(
    server: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRACE_PASSWORD", "wrong")
    proof = prove_imap(server.mailbox())
    assert not proof.ok
    assert "refused the user or the password: " in proof.text
    assert "AUTHENTICATIONFAILED" in proof.text


# What is not set up


def nowhere(**changes: object) -> Mailbox:
    details: dict[str, object] = {
        "address": USER,
        "smtp": Server("127.0.0.1", 1, Tls.NONE),
        "imap": Server("127.0.0.1", 1, Tls.NONE, USER),
        "password_env": "GRACE_PASSWORD",
    }
    return Mailbox(**(details | changes))  # type: ignore[arg-type]  # mixed kinds of values


@pytest.mark.parametrize(
    ("mailbox", "trouble"),
    [
        (nowhere(imap=None), Trouble.NOT_SET_UP),
        (nowhere(imap=Server("127.0.0.1", 1, Tls.NONE)), Trouble.NO_USER),
        (nowhere(password_env="NO_SUCH_PASSWORD"), Trouble.NO_PASSWORD),
        (nowhere(password_env=None, password_file=Path("/none")), Trouble.NO_PASSWORD),
        (nowhere(imap=Server("no-such-host.invalid", 1, Tls.NONE, USER)), Trouble.NO_CONNECTION),
        (nowhere(imap=Server("a" * 70 + ".invalid", 1, Tls.NONE, USER)), Trouble.NO_CONNECTION),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_raised(mailbox: Mailbox, trouble: Trouble) -> None:
    assert find_sent(mailbox, [ADA]) == Looked(trouble=trouble)
    proof = prove_imap(mailbox)
    assert not proof.ok
    assert trouble in proof.text


async def test_a_port_where_nobody_listens_is_no_connection() -> None:
    mailbox = nowhere(imap=Server("127.0.0.1", await refused_port(), Tls.NONE, USER))
    looked = await asyncio.to_thread(find_sent, mailbox, [ADA])
    assert looked == Looked(trouble=Trouble.NO_CONNECTION)


@pytest.mark.parametrize("tls", Tls)
async def test_a_silent_server_is_given_up(tls: Tls) -> None:
    deadlines = Deadlines(connect=timedelta(seconds=0.2))
    async with silent_port() as port:
        mailbox = nowhere(imap=Server("127.0.0.1", port, tls, USER))
        looked = await asyncio.to_thread(find_sent, mailbox, [ADA], deadlines=deadlines)
    assert looked == Looked(trouble=Trouble.SILENT)


# A server that does what a test wants

GREETING = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready"
USUAL = {
    "CAPABILITY": "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nTAG OK",
    "AUTHENTICATE": "+ ",
    "PASSWORD": "TAG OK",
    "LOGIN": "TAG OK",
    "LIST": '* LIST (\\Sent) "/" Sent\r\nTAG OK',
    "EXAMINE": "* 3 EXISTS\r\nTAG OK [READ-ONLY]",
    "SEARCH": "* SEARCH 1 2 3\r\nTAG OK",
    "FETCH": "TAG OK",
    "LOGOUT": "* BYE\r\nTAG OK",
}
DROP = "drop"
"""Instead of an answer: cut the connection."""


class Scripted:
    """An IMAP server of single lines; `answers` say what it says to each command."""

    def __init__(
        self, greeting: str = GREETING, context: ssl.SSLContext | None = None, **answers: str
    ) -> None:
        self.greeting = greeting
        self.context = context
        self.answers = USUAL | answers
        self.commands: list[str] = []
        self.port = 0

    def mailbox(self, tls: Tls = Tls.NONE) -> Mailbox:
        return nowhere(imap=Server("127.0.0.1", self.port, tls, USER))

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{self.greeting}\r\n".encode())
        tag = ""
        try:
            while line := (await reader.readline()).decode().strip():
                self.commands.append(line)
                words = line.split()
                if len(words) == 1:
                    name = "PASSWORD"  # what PLAIN sends on a line of its own
                else:
                    tag = words[0]
                    name = words[2] if words[1] == "UID" else words[1]
                answer = self.answers.get(name, "TAG BAD unknown")
                if answer == DROP:
                    break
                while answer.startswith("ENDLESS"):
                    writer.write(b"* OK still working\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.01)
                writer.write(answer.replace("TAG", tag).encode() + b" \r\n")
                await writer.drain()
                if name == "STARTTLS":
                    assert self.context is not None
                    await writer.start_tls(self.context)
        except ConnectionError:
            pass  # the client has hung up
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self, tls: Tls) -> AsyncIterator["Scripted"]:
        implicit = self.context if tls is Tls.IMPLICIT else None
        listening = await asyncio.start_server(self.talk, "127.0.0.1", 0, ssl=implicit)
        self.port = listening.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listening.close()


async def look(
    scripted: Scripted,
    tls: Tls = Tls.NONE,
    wanted: Sequence[str] = (ADA,),
    deadlines: Deadlines = QUICK,
    trusting: ssl.SSLContext | None = None,
) -> Looked:
    async with scripted.running(tls):
        return await asyncio.to_thread(
            find_sent, scripted.mailbox(tls), wanted, deadlines=deadlines, tls=trusting
        )


def fetched(*message_ids: str) -> str:
    lines = []
    for number, message_id in enumerate(message_ids, 1):
        header = f"Message-ID: {message_id}\r\n\r\n"
        lines.append(
            f'* {number} FETCH (UID {number} INTERNALDATE "24-Nov-2026 09:30:00 -0500" '
            f"BODY[HEADER.FIELDS (MESSAGE-ID)] {{{len(header)}}}\r\n{header})"
        )
    return "\r\n".join([*lines, "TAG OK"])


async def test_a_server_that_finds_everything_finds_only_the_very_email() -> None:
    everything = Scripted(FETCH=fetched("<a@example.com>", BOB, "<b@example.com>"))
    assert await look(everything, wanted=[ADA, BOB]) == Looked({BOB: AT}, frozenset({ADA}))


async def test_only_reading_commands_are_given() -> None:
    scripted = Scripted(FETCH=fetched(ADA, BOB, BOB))
    assert (await look(scripted)).copies
    said = " ".join(scripted.commands)
    assert "EXAMINE" in said
    assert "BODY.PEEK[" in said
    assert not any(f" {word} " in said for word in ("SELECT", "STORE", "EXPUNGE", "BODY["))


async def test_a_server_without_plain_is_signed_in_to_by_login(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRACE_PASSWORD", 'say "a\\b"')
    scripted = Scripted(
        "* OK ready", CAPABILITY="* CAPABILITY IMAP4rev1\r\nTAG OK", FETCH=fetched(ADA)
    )
    assert (await look(scripted)).copies == {ADA: AT}
    login = next(line for line in scripted.commands if "LOGIN" in line)
    assert login.endswith(f'LOGIN {USER} "say \\"a\\\\b\\""')


async def test_a_password_that_login_cannot_say_is_not_in_what_is_raised() -> None:
    scripted = Scripted("* OK ready", CAPABILITY="* CAPABILITY IMAP4rev1\r\nTAG OK")
    assert (await look(scripted)).trouble is Trouble.NOT_SIGNED_IN


async def test_a_server_that_allows_no_sign_in_is_given_no_password() -> None:
    capabilities = "* CAPABILITY IMAP4rev1 LOGINDISABLED\r\nTAG OK"
    scripted = Scripted("* OK ready", CAPABILITY=capabilities)
    assert (await look(scripted)).trouble is Trouble.NOT_SIGNED_IN
    assert all("LOGIN " not in line for line in scripted.commands)


async def test_a_server_that_skips_the_sign_in_before_tls_is_not_used() -> None:
    scripted = Scripted("* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] welcome")
    assert (await look(scripted, Tls.STARTTLS)).trouble is Trouble.NO_TLS


@pytest.mark.parametrize(
    ("answers", "trouble"),
    [
        ({"AUTHENTICATE": DROP}, Trouble.CUT),
        ({"PASSWORD": DROP}, Trouble.CUT),
        ({"PASSWORD": "TAG NO grace@example.com is unknown"}, Trouble.NOT_SIGNED_IN),
        ({"LIST": "TAG NO not now"}, Trouble.REFUSED),
        ({"LIST": "TAG OK"}, Trouble.NO_SENT_FOLDER),
        ({"LIST": "* LIST (((\r\nTAG OK"}, Trouble.NONSENSE),
        ({"LIST": '* LIST (\\Sent) "/"\r\nTAG OK'}, Trouble.NONSENSE),
        ({"EXAMINE": "TAG NO such folder"}, Trouble.REFUSED),
        ({"EXAMINE": DROP}, Trouble.CUT),
        ({"SEARCH": "TAG BAD what"}, Trouble.REFUSED),
        ({"SEARCH": "* SEARCH one\r\nTAG OK"}, Trouble.NONSENSE),
        ({"SEARCH": DROP}, Trouble.CUT),
        ({"FETCH": "* 1 FETCH (UID x)\r\nTAG OK"}, Trouble.NONSENSE),
        ({"FETCH": "* 1 FETCH (UID 1 INTERNALDATE\r\nTAG OK"}, Trouble.NONSENSE),
        ({"FETCH": fetched(ADA).replace("24-Nov-2026 09:30:00 -0500", "late")}, Trouble.NONSENSE),
        ({"FETCH": "* BYE grace@example.com has to go"}, Trouble.CUT),
        ({"FETCH": "\x00\xff" * 20}, Trouble.CUT),
    ],
)
async def test_each_trouble_is_told_apart(answers: dict[str, str], trouble: Trouble) -> None:
    assert await look(Scripted(GREETING, None, **answers)) == Looked(trouble=trouble)


@pytest.mark.parametrize(
    "greeting", ["* BYE go away", "220 mail.example.com ESMTP", "HTTP/1.1 400 Bad Request"]
)
async def test_what_does_not_greet_as_an_imap_server_is_no_connection(greeting: str) -> None:
    assert (await look(Scripted(greeting))).trouble is Trouble.NO_CONNECTION


async def test_what_was_found_before_the_trouble_counts() -> None:
    scripted = Scripted(FETCH=fetched(ADA))
    wanted = [ADA, "<with\r\nbreaks@example.com>", BOB]
    looked = await look(scripted, wanted=wanted)
    assert looked.copies == {ADA: AT}
    assert not looked.missing
    assert looked.trouble is not None


@pytest.mark.parametrize("tls", Tls)
async def test_a_server_that_talks_without_end_is_cut_off(
    authority: trustme.CA, trusting: ssl.SSLContext, tls: Tls
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    starttls = "* CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS\r\nTAG OK"
    scripted = Scripted(
        "* OK ready", context, CAPABILITY=starttls, STARTTLS="TAG OK", SEARCH="ENDLESS"
    )
    deadlines = Deadlines(whole=timedelta(seconds=0.5))
    looked = await look(scripted, tls, deadlines=deadlines, trusting=trusting)
    assert looked == Looked(trouble=Trouble.SILENT)
    assert scripted.commands[-1].endswith(f"SEARCH HEADER Message-ID {ADA}")
