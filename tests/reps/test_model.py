from datetime import timedelta
from pathlib import Path

import pytest

from drumbeat.reps import Limit, Mailbox, MailboxError, Rep, Reps, Server, Tls, rep_id

SMTP = Server("mail.example.com", 465, Tls.IMPLICIT, "grace")


def rep(address: str) -> Rep:
    return Rep(address, "Grace Hopper", Mailbox(address, SMTP))


def test_a_rep_is_found_by_address_in_any_case_and_by_id() -> None:
    grace, ada = rep("grace@example.com"), rep("ada@example.com")
    reps = Reps([grace, ada], key=b"key")
    assert list(reps) == [grace, ada]
    assert len(reps) == 2
    assert reps.by_address(" Grace@Example.COM ") is grace
    assert reps.by_address("nobody@example.com") is None
    assert reps.by_id(reps.id_of(ada)) is ada
    assert reps.by_id("r000000000000") is None


def test_an_id_is_opaque_stable_and_hangs_on_the_databases_key() -> None:
    opaque = rep_id(b"key", "grace@example.com")
    assert opaque == "re41853918edd"
    assert opaque != rep_id(b"another key", "grace@example.com")


def test_by_default_a_mailbox_sends_25_in_45_seconds_and_1000_in_24_hours() -> None:
    mailbox = Mailbox("grace@example.com", SMTP)
    assert mailbox.limits == (
        Limit(1000, timedelta(hours=24)),
        Limit(25, timedelta(seconds=45)),
    )
    assert mailbox.first_emails_per_day is None
    assert Mailbox("grace@example.com", SMTP, batch=None, daily=None).limits == ()


def test_the_password_is_read_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_environment = Mailbox("grace@example.com", SMTP, password_env="GRACE_PASSWORD")
    monkeypatch.setenv("GRACE_PASSWORD", " secret ")
    assert in_environment.password() == " secret "
    file = tmp_path / "password"
    in_file = Mailbox("grace@example.com", SMTP, password_file=file)
    file.write_text("first\n")
    assert in_file.password() == "first"
    file.write_text("second\n")
    assert in_file.password() == "second"
    assert Mailbox("grace@example.com", SMTP).password() is None


def test_a_missing_password_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRACE_PASSWORD", "")
    with pytest.raises(MailboxError, match="variable GRACE_PASSWORD, which is not set"):
        Mailbox("grace@example.com", SMTP, password_env="GRACE_PASSWORD").password()
    file = tmp_path / "password"
    mailbox = Mailbox("grace@example.com", SMTP, password_file=file)
    with pytest.raises(MailboxError, match="cannot be read: No such file or directory"):
        mailbox.password()
    file.write_bytes(b"\xff")
    with pytest.raises(MailboxError, match="cannot be read: not UTF-8"):
        mailbox.password()
    file.write_text("\n")
    with pytest.raises(MailboxError, match="is empty"):
        mailbox.password()
