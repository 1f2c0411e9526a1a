import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    TryLater,
    classify,
    classify_copy,
    words,
)

CONNECT, AUTH, MAIL, RCPT, DATA = Phase.CONNECT, Phase.AUTH, Phase.MAIL, Phase.RCPT, Phase.DATA

TABLE: list[tuple[Phase, int | None, str, type[Delivery]]] = [
    # 250
    (DATA, 250, "2.0.0 Ok: queued as 4F2", Accepted),
    (DATA, 250, "", Accepted),
    # cannot connect, 4xx
    (CONNECT, None, "Connection refused", TryLater),
    (CONNECT, 421, "4.7.0 Too many connections", TryLater),
    (AUTH, 454, "4.7.0 Temporary authentication failure", TryLater),
    (AUTH, None, "cut", TryLater),
    (MAIL, 421, "4.7.28 Unusual rate of email", TryLater),
    (MAIL, 452, "4.3.1 Out of memory", TryLater),
    (RCPT, 450, "4.2.1 Greylisted", TryLater),
    (RCPT, 452, "4.2.2 Over quota", TryLater),
    (RCPT, None, "silent", TryLater),
    (DATA, 421, "4.4.2 Shutting down", TryLater),
    (DATA, 451, "4.3.0 Try later", TryLater),
    # RCPT 5xx with 5.1.x, or 550, 551, 553 without an enhanced code
    (RCPT, 550, "5.1.1 No such user", HardBounce),
    (RCPT, 554, "5.1.10 Null MX", HardBounce),
    (RCPT, 501, "5.1.3 Bad address", HardBounce),
    (RCPT, 550, "No such user", HardBounce),
    (RCPT, 551, "User not local", HardBounce),
    (RCPT, 553, "Mailbox name not allowed", HardBounce),
    # 5.2.2
    (RCPT, 552, "5.2.2 Mailbox full", SoftBounce),
    (RCPT, 554, "5.2.2 Mailbox full", SoftBounce),
    (DATA, 552, "5.2.2 Mailbox full", SoftBounce),
    # MAIL 5xx, 530, 554 or 5.7.x
    (CONNECT, 554, "5.7.1 Your address is blocked", MailboxTrouble),
    (CONNECT, 502, "No EHLO here", MailboxTrouble),
    (MAIL, 550, "5.1.8 Unknown sender", MailboxTrouble),
    (MAIL, 552, "5.2.2 Sender over quota", MailboxTrouble),
    (MAIL, 530, "5.7.0 Authentication required", MailboxTrouble),
    (RCPT, 530, "5.7.0 Authentication required", MailboxTrouble),
    (RCPT, 554, "Relay access denied", MailboxTrouble),
    (RCPT, 550, "5.7.1 Relaying denied", MailboxTrouble),
    (DATA, 530, "Sign in first", MailboxTrouble),
    (DATA, 554, "Transaction failed", MailboxTrouble),
    (DATA, 550, "5.7.26 Not authenticated by SPF or DKIM", MailboxTrouble),
    # 5xx otherwise
    (RCPT, 550, "5.2.1 Mailbox disabled", Failed),
    (RCPT, 552, "Too much", Failed),
    (RCPT, 500, "What?", Failed),
    (RCPT, 550, "4.7.1 Contradicts itself", Failed),
    (DATA, 550, "No", Failed),
    (DATA, 550, "5.1.1 No such user, said too late for a bounce", Failed),
    (DATA, 552, "5.3.4 Too big", Failed),
    # authentication refused
    (AUTH, 535, "5.7.8 Bad credentials", AuthenticationRefused),
    (AUTH, 534, "5.7.9 Application-specific password required", AuthenticationRefused),
    (AUTH, 504, "5.5.4 Unknown mechanism", AuthenticationRefused),
    # connection lost after handing over
    (DATA, None, "cut", InDoubt),
    # answers that make no sense where they stand
    (DATA, 354, "Go on", InDoubt),
    (DATA, 220, "Hello", InDoubt),
    (DATA, 999, "Hello", InDoubt),
    (DATA, -1, "Hello", InDoubt),
    (MAIL, 354, "Go on", TryLater),
    (RCPT, 220, "Hello", TryLater),
    (RCPT, 999, "Hello", TryLater),
]


@pytest.mark.parametrize(("phase", "code", "text", "outcome"), TABLE)
def test_outcome_table(phase: Phase, code: int | None, text: str, outcome: type[Delivery]) -> None:
    assert type(classify(words(phase, text, code))) is outcome


phases = st.sampled_from(Phase)
enhanced_codes = st.one_of(
    st.just(""),
    st.tuples(st.sampled_from("245"), st.integers(0, 9), st.integers(0, 30)).map(
        lambda parts: f"{parts[0]}.{parts[1]}.{parts[2]} "
    ),
)
texts = st.tuples(enhanced_codes, st.text(max_size=20)).map("".join)


@given(phases, st.one_of(st.none(), st.integers(-10, 1000)), texts)
def test_only_250_to_data_is_success_and_only_from_data_on_is_there_doubt(
    phase: Phase, code: int | None, text: str
) -> None:
    outcome = classify(words(phase, text, code))
    assert isinstance(outcome, Accepted) == (phase is DATA and code == 250)
    answered = code is not None and 400 <= code <= 599
    if isinstance(outcome, InDoubt):
        assert phase is DATA
        assert not answered
    if phase is DATA and not answered and code != 250:
        assert isinstance(outcome, InDoubt)


@given(phases, st.integers(400, 499), texts)
def test_every_4xx_is_tried_again_without_trouble(phase: Phase, code: int, text: str) -> None:
    outcome = classify(words(phase, text, code))
    assert isinstance(outcome, TryLater)
    assert not outcome.trouble


@given(phases, st.integers(500, 599), texts)
def test_no_5xx_is_tried_again_or_doubtful(phase: Phase, code: int, text: str) -> None:
    assert not isinstance(classify(words(phase, text, code)), TryLater | InDoubt | Accepted)


@given(phases, st.one_of(st.none(), st.integers(0, 999)), texts)
def test_only_an_answer_to_rcpt_ends_a_person_as_bounced(
    phase: Phase, code: int | None, text: str
) -> None:
    said = words(phase, text, code)
    if isinstance(classify(said), HardBounce):
        assert phase is RCPT
    assert not isinstance(classify_copy(said), HardBounce | SoftBounce)


@given(phases, st.one_of(st.none(), st.integers(-10, 999)), st.text())
def test_words_are_one_line_of_valid_unicode(phase: Phase, code: int | None, text: str) -> None:
    said = words(phase, text, code)
    assert len(said.text.splitlines()) <= 1
    assert len(said.text) <= 1000
    said.text.encode("utf-8")


def test_trouble_is_what_the_mailbox_or_its_server_is_to_blame_for() -> None:
    troubles = [
        words(CONNECT, "Connection refused"),
        words(MAIL, "5.7.1 Sender refused", 550),
        words(RCPT, "Relay access denied", 554),
        words(DATA, "5.7.26 Unauthenticated", 550),
    ]
    assert all(classify(said).trouble for said in troubles)
    others = [
        words(CONNECT, "Too busy", 421),
        words(MAIL, "cut off"),
        words(RCPT, "No such user", 550),
        words(AUTH, "Bad credentials", 535),
        words(DATA, "cut off"),
        words(DATA, "Too big", 552),
    ]
    assert not any(classify(said).trouble for said in others)


def test_the_enhanced_code_is_read_only_where_an_answer_begins_with_it() -> None:
    assert words(RCPT, "5.1.1 No such user", 550).enhanced == "5.1.1"
    assert words(RCPT, "5.1.1", 550).enhanced == "5.1.1"
    assert words(RCPT, "See 5.1.1 in the manual", 550).enhanced is None
    assert words(RCPT, "5.1.1.7 is a version", 550).enhanced is None
    assert words(CONNECT, "5.1.1 of nothing").enhanced is None


def test_a_refused_copy_fails_the_email_with_the_servers_words() -> None:
    outcome = classify_copy(words(RCPT, "5.1.1 No such user", 550))
    assert isinstance(outcome, Failed)
    assert str(outcome.words) == "a Cc recipient was refused: 550 5.1.1 No such user"
    assert isinstance(classify_copy(words(RCPT, "Later", 451)), TryLater)
