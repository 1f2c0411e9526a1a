from datetime import timedelta
from pathlib import Path

import pytest

from drumbeat.reps import Limit, Mailbox, Rep, RepsReading, Server, Tls, read_reps

LOCAL = "smtp://127.0.0.1:2525"
LOCAL_SERVER = Server("127.0.0.1", 2525, Tls.NONE)

# As in SPEC section 12.
EXAMPLE = """\
reps:
  - email: grace@example.com
    name: Grace Hopper
    title: Account executive # title, phone, timezone, signature, reply_to are optional
    timezone: America/New_York
    mailbox: # without smtp, under `up`: the local mail server
      smtp: smtps://grace@mail.example.com:465 # smtps: implicit TLS
      imap: imaps://grace@mail.example.com # optional
      password_env: GRACE_PASSWORD # or password_file; never the password itself
      batch: 25 in 45s # or none
      daily: 1000 # or none
      first_emails_per_day: 50 # default none
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(text: str | bytes, local_smtp: str | None = None) -> RepsReading:
    content = text.encode() if isinstance(text, str) else text
    Path("reps.yaml").write_bytes(content)
    return read_reps(Path("reps.yaml"), local_smtp=local_smtp)


def faults(text: str | bytes, local_smtp: str | None = None) -> list[str]:
    reading = read(text, local_smtp)
    return [str(fault) for fault in reading.faults]


def mailbox_of(lines: str) -> Mailbox:
    """The mailbox of a rep with these lines in it, each indented by six spaces."""
    text = "reps:\n  - email: g@example.com\n    name: G\n    mailbox:\n" + lines
    reading = read(text, LOCAL)
    assert reading.faults == ()
    return reading.reps[0].mailbox


def fault_of(line: str) -> str:
    """The only fault of a rep's mailbox that consists of that line."""
    text = f"reps:\n  - email: g@example.com\n    name: G\n    mailbox:\n      {line}\n"
    (fault,) = faults(text, LOCAL)
    return fault


def test_the_specifications_example_is_read() -> None:
    reading = read(EXAMPLE)
    assert reading.faults == ()
    assert reading.reps == (
        Rep(
            email="grace@example.com",
            name="Grace Hopper",
            title="Account executive",
            timezone="America/New_York",
            mailbox=Mailbox(
                address="grace@example.com",
                smtp=Server("mail.example.com", 465, Tls.IMPLICIT, "grace"),
                imap=Server("mail.example.com", 993, Tls.IMPLICIT, "grace"),
                password_env="GRACE_PASSWORD",
                batch=Limit(25, timedelta(seconds=45)),
                daily=1000,
                first_emails_per_day=50,
            ),
        ),
    )


def test_all_of_a_rep_is_read_and_addresses_are_normalised() -> None:
    reading = read(
        """\
reps:
- email: Grace.Hopper@EXAMPLE.com
  name: Grace Hopper
  phone: 15551234
  reply_to: Sales@Example.com
  signature: |
    Grace
    Example Inc.
""",
        LOCAL,
    )
    assert reading.faults == ()
    (rep,) = reading.reps
    assert rep.email == rep.mailbox.address == "grace.hopper@example.com"
    assert rep.phone == "15551234"
    assert rep.reply_to == "sales@example.com"
    assert rep.signature == "Grace\nExample Inc.\n"


def test_without_smtp_the_local_mail_server_is_used_where_there_is_one() -> None:
    text = "reps:\n- email: g@example.com\n  name: G\n"
    for mailbox in ("", "  mailbox:\n", "  mailbox: {}\n", "  mailbox: {daily: 5}\n"):
        reading = read(text + mailbox, LOCAL)
        assert reading.faults == ()
        assert reading.reps[0].mailbox.smtp == LOCAL_SERVER
    assert faults(text) == [
        "reps.yaml:2:3: the mailbox lacks 'smtp', such as smtps://USER@HOST; only 'up' has a local "
        "mail server to fall back on"
    ]


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtps://g@mail.example.com", Server("mail.example.com", 465, Tls.IMPLICIT, "g")),
        ("smtp://g@mail.example.com", Server("mail.example.com", 587, Tls.STARTTLS, "g")),
        ("smtp://g@mail.example.com:25", Server("mail.example.com", 25, Tls.STARTTLS, "g")),
        ("smtp://g%40x.org@mail.test", Server("mail.test", 587, Tls.STARTTLS, "g@x.org")),
        ("smtp://g@x.org@mail.test", Server("mail.test", 587, Tls.STARTTLS, "g@x.org")),
        ("smtp://g@127.0.0.1", Server("127.0.0.1", 25, Tls.NONE, "g")),
        ("smtp://g@localhost:1025", Server("localhost", 1025, Tls.NONE, "g")),
        ("smtp://g@[::1]:1025", Server("::1", 1025, Tls.NONE, "g")),
        ("smtps://g@localhost", Server("localhost", 465, Tls.IMPLICIT, "g")),
    ],
)
def test_smtps_is_implicit_tls_and_smtp_is_starttls_except_on_this_machine(
    url: str, server: Server
) -> None:
    assert mailbox_of(f"      smtp: {url}\n      password_env: P\n").smtp == server


def test_a_mailbox_without_a_user_needs_no_password() -> None:
    assert mailbox_of("      smtp: smtp://127.0.0.1:1025\n").smtp.user is None


def test_a_password_file_lies_beside_the_reps_file() -> None:
    Path("conf").mkdir()
    Path("conf/reps.yaml").write_text(
        "reps: [{email: g@example.com, name: G, mailbox: "
        "{smtp: 'smtps://g@mail.example.com', password_file: secrets/g}}]"
    )
    (rep,) = read_reps(Path("conf/reps.yaml")).reps
    assert rep.mailbox.password_file == Path("conf/secrets/g")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("none", None),
        ("10 in 90s", Limit(10, timedelta(seconds=90))),
        ("10 in 2m", Limit(10, timedelta(minutes=2))),
        ("10 in 1 h", Limit(10, timedelta(hours=1))),
    ],
)
def test_a_batch_is_a_number_in_a_span_or_none(text: str, limit: Limit | None) -> None:
    assert mailbox_of(f"      batch: {text}\n").batch == limit


def test_numbers_may_be_none() -> None:
    mailbox = mailbox_of("      daily: none\n      first_emails_per_day: none\n")
    assert mailbox.daily is None
    assert mailbox.first_emails_per_day is None


def test_every_fault_is_reported_at_once_in_order() -> None:
    text = """\
reps:
  - email: grace@example
    nmae: Grace
    timezone: America/NewYork
  - name: Ada
    mailbox:
      smtp: smtps://ada@mail.example.com
      batch: 25 per minute
  - email: ada@example.com
    name: Ada
    mailbox: {smtp: 'smtps://a:secret@mail.example.com'}
  - email: ADA@example.com
    name: Ada
    mailbox: {password: secret}
people: []
"""
    assert faults(text, LOCAL) == [
        "reps.yaml:2:5: a rep lacks 'name'",
        "reps.yaml:2:12: 'email': no email address that can be used: The part after the @-sign is "
        "not valid. It should have a period.",
        "reps.yaml:3:5: unknown key 'nmae' in a rep: did you mean 'name'?",
        "reps.yaml:4:15: 'timezone': unknown time zone 'America/NewYork': did you mean "
        "America/New_York?",
        "reps.yaml:5:5: a rep lacks 'email'",
        "reps.yaml:6:5: a mailbox without password: name it with 'password_env' or 'password_file'",
        "reps.yaml:8:14: 'batch': to be written like '25 in 45s' (s, m or h), or none",
        "reps.yaml:11:21: 'smtp': a password never stands in this file: put it into an environment "
        "variable and name that with 'password_env', or into a file and name that with "
        "'password_file'",
        "reps.yaml:12:12: this rep stands in line 9 already: leave one out",
        "reps.yaml:14:15: a password never stands in this file: put it into an environment "
        "variable and name that with 'password_env', or into a file and name that with "
        "'password_file'",
        "reps.yaml:15:1: unknown key 'people' in the file: known are reps",
    ]


def test_no_fault_repeats_a_password() -> None:
    text = EXAMPLE.replace("grace@mail", "grace:hunter2@mail").replace(
        "password_env: GRACE_PASSWORD", "password: hunter2"
    )
    found = faults(text)
    assert len(found) == 3
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("smtp: mail.example.com", "'smtp': no address of a mail server: write smtps://USER@HOST"),
        ("smtp: imaps://mail.example.com", "'smtp': no address of a mail server"),
        ("smtp: 'smtps://mail.example.com:0'", "'smtp': no address of a mail server"),
        ("smtp: 'smtps://mail.example.com:99999'", "'smtp': Port out of range 0-65535"),
        ("smtp: smtps://mail.example.com/inbox", "'smtp': nothing may stand behind the host"),
        ("smtp: [a, b]", "'smtp' is to be a single value"),
        ("smtp:", "'smtp' is empty: fill it in, or leave the line out"),
        ("imap: pop3://mail.example.com", "'imap': no address of a mail server: write imaps://"),
        (
            "{smtp: 'smtps://g@mail.test', password_env: $ecret!}",
            "'password_env': no name of an environment variable",
        ),
        ("password_env: P", "a password without a user: write USER@ before the host's name"),
        ("batch: 0 in 45s", "'batch': to be written like '25 in 45s'"),
        ("batch: 25", "'batch': to be written like '25 in 45s'"),
        ("daily: 0", "'daily': to be a whole number from 1, or none"),
        ("daily: -5", "'daily': to be a whole number from 1, or none"),
        ("daily: many", "'daily': to be a whole number from 1, or none"),
        ("first_emails_per_day: 1.5", "'first_emails_per_day': to be a whole number from 1"),
        ("dayly: 5", "unknown key 'dayly' in a mailbox: did you mean 'daily'?"),
        ("{daily: 5, daily: 6}", "'daily' stands twice: leave one out"),
        ("[daily]", "a mailbox is to be a mapping with the keys smtp, imap"),
    ],
)
def test_faults_of_a_mailbox(line: str, message: str) -> None:
    fault = fault_of(line)
    assert fault.startswith("reps.yaml:5:")
    assert message in fault


def test_both_places_for_a_password_are_a_fault() -> None:
    text = EXAMPLE.replace("      batch:", "      password_file: p\n      batch:")
    assert faults(text) == ["reps.yaml:10:7: 'password_env' and 'password_file' exclude each other"]


@pytest.mark.parametrize("name", ['"a\\nb"', '"a\\0b"', '""', '" "'])
def test_a_name_is_one_line(name: str) -> None:
    text = f"reps:\n- email: g@example.com\n  name: {name}\n"
    assert faults(text, LOCAL) == [
        "reps.yaml:3:9: 'name': to be one line of text, without control characters"
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "1:1: the file is empty: it is to hold 'reps:' and a list"),
        (b"# nothing\n", "1:1: the file is empty: it is to hold 'reps:' and a list"),
        (b"reps:\n", "1:1: 'reps' is to be a list with at least one rep, each begun with '-'"),
        (b"reps: []\n", "1:1: 'reps' is to be a list with at least one rep, each begun with '-'"),
        (b"- a\n", "1:1: the file is to be a mapping with the keys reps"),
        (b"reps: [a]\n", "1:8: a rep is to be a mapping with the keys email, name"),
        (b"\x89PNG\r\n\x1a\n\xff", "1:1: not a text file in UTF-8: save it as such"),
        (b"a: \x00\n", "1:1: no YAML that can be read: unacceptable character #x0000"),
        (b"a: b: c\n", "1:5: no YAML that can be read: mapping values are not allowed here"),
        (b"a: *b\n", "1:4: no YAML that can be read: found undefined alias 'b'"),
        (b"[" * 900, "1:1: no YAML that can be read: nested too deeply"),
        (b"# " + b"x" * (1 << 20), "1:1: more than 1 MiB: a reps file is smaller"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_fault(content: bytes, fault: str) -> None:
    (found,) = faults(content)
    assert found.startswith(f"reps.yaml:{fault}")


def test_a_missing_file_or_a_folder_is_one_fault() -> None:
    (missing,) = read_reps(Path("none.yaml")).faults
    assert str(missing) == (
        "none.yaml:1:1: No such file or directory: DRUMBEAT_REPS is to name the file of reps"
    )
    Path("folder").mkdir()
    (folder,) = read_reps(Path("folder")).faults
    assert str(folder).startswith("folder:1:1: Is a directory")


def test_aliases_that_hold_themselves_or_expand_without_end_do_no_harm() -> None:
    assert faults("reps: &a [*a]\n") == [
        "reps.yaml:1:7: a rep is to be a mapping with the keys email, name"
    ]
    bomb = "a: &a [x]\n" + "".join(
        f"{after}: &{after} [*{before}, *{before}, *{before}, *{before}]\n"
        for before, after in zip("abcdefghij", "bcdefghijk", strict=True)
    )
    assert len(faults(f"{bomb}reps: *k\n")) == 11 + 4


def test_a_folded_value_is_one_line_without_control_characters() -> None:
    folded = "    title: >\n      Account executive,\n      Boston\n"
    reading = read("reps:\n  - email: g@example.com\n    name: G\n" + folded, LOCAL)
    assert reading.faults == ()
    assert reading.reps[0].title == "Account executive, Boston"
