import doctest
import re
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumbeat.campaign.templates import clean_subject
from drumbeat.mail import headers
from drumbeat.mail.headers import POLICY, BadHeader, address, clean_name

NAMES = [
    "",
    "Grace Hopper",
    "Lovelace, Ada",
    'Grace "Amazing" Hopper',
    "back\\slash",
    "Dr. Grace Hopper",
    "Зоя Космодемьянская",
    "גרייס הופר",
    "名" * 200,
    "x" * 200,
    "a,b;c<d>@(e)" * 20,
    "=?utf-8?q?trick?=",
    "two  spaces",
]


def written(name: str, value: object) -> bytes:
    message = EmailMessage(POLICY)
    message[name] = value
    return message.as_bytes()


def read(name: str, raw: bytes) -> EmailMessage:
    message = BytesParser(policy=default).parsebytes(raw)
    assert isinstance(message, EmailMessage)
    assert message.keys() == [name]
    return message


def check_lines(raw: bytes) -> None:
    for line in raw.split(b"\r\n"):
        assert len(line) <= 998
        assert b"\n" not in line
        assert b"\r" not in line
        assert all(len(word) <= 75 for word in line.split() if word.startswith(b"=?"))
        if b"=?utf-8?" in line:
            assert len(line) <= 76


def test_the_examples_in_the_module_hold() -> None:
    assert doctest.testmod(headers).failed == 0


def names_in(raw: bytes) -> list[str]:
    """The names as RFC 2047 has them; Python's address parser parts adjoining encoded words."""
    value = raw.split(b": ", 1)[1].decode("ascii").replace("\r\n", "")
    return [
        str(make_header(decode_header(quoted or words.strip())))
        for quoted, words in re.findall(r'(?:"((?:[^"\\]|\\.)*)"|([^<"]*)) ?<', value)
    ]


@pytest.mark.parametrize("header", ["From", "To", "Reply-To", "Cc"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_arrives_as_it_was(header: str, name: str) -> None:
    raw = written(header, [address(name, "o'hara+x@mail.example.com")])
    check_lines(raw)
    (found,) = read(header, raw)[header].addresses
    assert found.addr_spec == "o'hara+x@mail.example.com"
    if raw.count(b"=?utf-8?") > 1:
        assert names_in(raw) == [name]
    else:
        assert found.display_name == clean_name(name)


def test_many_addresses_fold_between_them() -> None:
    people = [address("Lovelace, Ada" if i % 2 else "", f"p{i}@example.com") for i in range(50)]
    raw = written("Cc", people)
    check_lines(raw)
    assert read("Cc", raw)["Cc"].addresses == tuple(people)


@given(st.text())
def test_any_text_is_a_name_without_harm(name: str) -> None:
    raw = written("From", address(name, "ada@example.com"))
    check_lines(raw)
    (found,) = read("From", raw)["From"].addresses
    assert found.addr_spec == "ada@example.com"
    assert found.display_name.replace(" ", "") == clean_name(name).replace(" ", "")


@given(st.text())
def test_any_text_is_a_subject_without_harm(text: str) -> None:
    subject = clean_subject(text)
    raw = written("Subject", subject)
    check_lines(raw)
    assert read("Subject", raw)["Subject"] == subject


@pytest.mark.parametrize("subject", ["", "Hi", "word " * 50, "x" * 250, "é" * 250, "=?x?= a  b"])
def test_a_subject_arrives_as_it_was(subject: str) -> None:
    raw = written("Subject", clean_subject(subject))
    check_lines(raw)
    assert read("Subject", raw)["Subject"] == subject.strip()


def test_long_references_survive_folding() -> None:
    ids = [f"<{'b' * 90}{number}@mail.example.com>" for number in range(40)]
    raw = written("References", " ".join(ids))
    assert b"=?" not in raw
    assert raw.split(b"\r\n")[1] == f" {ids[1]}".encode()
    assert str(read("References", raw)["References"]).split() == ids


@pytest.mark.parametrize(
    "header", ["Message-ID", "In-Reply-To", "List-Unsubscribe", "List-Unsubscribe-Post"]
)
def test_a_long_token_is_neither_split_nor_encoded(header: str) -> None:
    token = f"<{'t' * 500}@example.com>"
    raw = written(header, token)
    assert raw == f"{header}: {token}\r\n\r\n".encode()


@pytest.mark.parametrize("token", ["<ü@example.com>", "<" + "x" * 1000 + "@example.com>"])
def test_what_cannot_stand_in_a_token_header_is_refused(token: str) -> None:
    with pytest.raises(BadHeader, match="References"):
        written("References", token)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "ada",
        "ada@",
        "@example.com",
        "ada@example.com\r\nBcc: eve@example.com",
        "ada\x00@example.com",
        "ü@example.com",
        "ada@münchen.example",
        "ada@example.com, eve@example.com",
        "ada@example.com>",
        "<ada@example.com>",
        "a b@example.com",
    ],
)
def test_an_address_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(BadHeader, match="email address") as raised:
        address("Ada", bad)
    assert "ada" not in str(raised.value)


def test_what_all_emails_have_alike_is_parsed_once_and_never_changes() -> None:
    def email(text: str) -> bytes:
        message = EmailMessage(POLICY)
        message.set_content(text, cte="quoted-printable")
        message.add_alternative(f"<p>{text}</p>", subtype="html", cte="quoted-printable")
        message.set_boundary("=_0")
        return message.as_bytes()

    first = email("one")
    assert POLICY.header_factory("MIME-Version", "1.0") is POLICY.header_factory(
        "MIME-Version", "1.0"
    )
    email("two")
    assert email("one") == first
