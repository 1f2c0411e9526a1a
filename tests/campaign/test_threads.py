import doctest

import pytest

from drumbeat.campaign import threads
from drumbeat.campaign.threads import EarlierEmail, Left, Thread, message_id, reply_subject, thread


def sent(
    step: int,
    subject: str,
    *,
    template_subject: str | None = None,
    follow_up: bool = False,
    references: tuple[str, ...] = (),
) -> EarlierEmail:
    return EarlierEmail(
        step, follow_up, template_subject, Left.SENT, f"<{step}@x>", references, subject
    )


def unsent(step: int, template_subject: str | None, *, follow_up: bool = False) -> EarlierEmail:
    return EarlierEmail(step, follow_up, template_subject, Left.NOT_SENT)


def elsewhere(step: int, template_subject: str | None, *, follow_up: bool = False) -> EarlierEmail:
    return EarlierEmail(step, follow_up, template_subject, Left.ELSEWHERE)


def follow_up(step: int, *earlier: EarlierEmail, subject: str | None = None) -> Thread:
    return thread(step, follow_up=True, template_subject=subject, earlier=earlier)


def test_the_examples_in_the_module_hold() -> None:
    assert doctest.testmod(threads).failed == 0


def test_an_email_that_is_no_follow_up_stands_alone() -> None:
    alone = thread(2, follow_up=False, template_subject="News", earlier=[sent(1, "Hello")])
    assert alone == Thread("News", None, (), None)


def test_a_follow_up_replies_to_the_email_before_it() -> None:
    assert follow_up(2, sent(1, "Hello")) == Thread("Re: Hello", "<1@x>", ("<1@x>",), 1)


def test_the_subject_is_the_one_really_sent_not_the_templates() -> None:
    edited = sent(1, "Edited by the rep", template_subject="Hello")
    assert follow_up(2, edited).subject == "Re: Edited by the rep"


def test_references_name_the_whole_chain_and_re_stands_once() -> None:
    second = sent(2, "Re: Hello", follow_up=True, references=("<1@x>",))
    expected = Thread("Re: Hello", "<2@x>", ("<1@x>", "<2@x>"), 2)
    assert follow_up(3, sent(1, "Hello"), second) == expected


def test_a_follow_up_with_its_own_subject_starts_a_thread_and_still_quotes() -> None:
    assert follow_up(2, sent(1, "Hello"), subject="News") == Thread("News", None, (), 1)


def test_what_follows_such_an_email_hangs_on_the_new_thread() -> None:
    new = sent(2, "News", template_subject="News", follow_up=True)
    assert follow_up(3, sent(1, "Hello"), new) == Thread("Re: News", "<2@x>", ("<2@x>",), 2)


def test_the_last_email_sent_in_the_chain_takes_the_place_of_one_that_was_not() -> None:
    earlier = [sent(1, "Hello"), unsent(2, None, follow_up=True)]
    assert follow_up(3, *earlier) == Thread("Re: Hello", "<1@x>", ("<1@x>",), 1)


def test_so_it_does_when_the_one_that_was_not_sent_had_its_own_subject() -> None:
    earlier = [sent(1, "Hello"), unsent(2, "News", follow_up=True)]
    assert follow_up(3, *earlier) == Thread("Re: Hello", "<1@x>", ("<1@x>",), 1)


def test_emails_before_the_chain_do_not_take_the_place() -> None:
    earlier = [sent(1, "Hello"), unsent(2, "Other")]
    assert follow_up(3, *earlier) == Thread("Other", None, (), None)


def test_without_any_sent_email_nothing_is_claimed_and_the_subject_is_the_first_one() -> None:
    earlier = [unsent(1, "Re: Hello"), unsent(2, None, follow_up=True)]
    assert follow_up(3, *earlier) == Thread("Hello", None, (), None)
    assert follow_up(3, *earlier, subject="News") == Thread("News", None, (), None)


def test_nothing_refers_to_an_email_sent_elsewhere_but_its_copy_is_appended() -> None:
    assert follow_up(2, elsewhere(1, "Hello")) == Thread("Re: Hello", None, (), 1)


def test_after_a_follow_up_sent_elsewhere_the_thread_before_it_goes_on() -> None:
    earlier = [sent(1, "Edited", template_subject="Hello"), elsewhere(2, None, follow_up=True)]
    assert follow_up(3, *earlier) == Thread("Re: Edited", "<1@x>", ("<1@x>",), 2)


def test_one_sent_elsewhere_with_its_own_subject_began_a_thread_that_is_not_known() -> None:
    earlier = [sent(1, "Hello"), elsewhere(2, "News", follow_up=True)]
    assert follow_up(3, *earlier) == Thread("Re: News", None, (), 2)


def test_an_email_found_in_the_sent_folder_counts_as_sent() -> None:
    found = EarlierEmail(1, False, "Hello", Left.SENT, "<gmail@x>", (), "Hello, as sent")
    assert follow_up(2, found) == Thread("Re: Hello, as sent", "<gmail@x>", ("<gmail@x>",), 1)


@pytest.mark.parametrize("subject", ["Hello", "Re: Hello", "RE: re : Hello", " Re:Hello"])
def test_re_stands_once(subject: str) -> None:
    assert reply_subject(subject) == "Re: Hello"


def test_a_word_that_begins_like_re_stays() -> None:
    assert reply_subject("Regarding: x") == "Re: Regarding: x"


def test_impossible_chains_are_refused() -> None:
    with pytest.raises(ValueError, match="step 3 is a follow-up"):
        follow_up(3, sent(1, "Hello"))
    with pytest.raises(ValueError, match="needs a subject"):
        thread(1, follow_up=False, template_subject=None, earlier=[])
    with pytest.raises(ValueError, match="Message-ID"):
        EarlierEmail(1, False, "Hello", Left.SENT)


def test_a_message_id_depends_on_enrollment_and_step_alone() -> None:
    first = message_id("0123456789abcdef", 1, "example.com")
    assert first == message_id("0123456789abcdef", 1, "example.com")
    assert len({first, message_id("0123456789abcdef", 2, "example.com")}) == 2
    assert message_id("a", 11, "x") != message_id("a1", 1, "x")
    assert len(first) == len("<@example.com>") + 32
