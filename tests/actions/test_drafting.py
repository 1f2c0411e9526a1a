from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from drumbeat.actions import drafting, task_emails, tasks
from drumbeat.actions.drafting import EmailShown, html_of
from drumbeat.actions.errors import ActionError
from drumbeat.mail.quoting import Quote
from drumbeat.store.schema import drafts
from tests.actions.desks import CALL, campaign, letter, task_id
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office


async def at_a_letter(office: Office, *steps: object) -> Enrolled:
    enrolled = await office.enroll(campaign(*(steps or (letter(),))))  # type: ignore[arg-type]
    await office.until_task(enrolled, 1)
    return enrolled


async def save(
    office: Office,
    enrolled: Enrolled,
    *,
    subject: str | None = None,
    body: str | None = None,
    before: str | None = None,
) -> tuple[str, str | None]:
    return await drafting.save_draft(
        office.desk,
        office.letters,
        enrolled.id,
        1,
        before,
        subject=subject,
        body=body,
        who="r0123456789ab",
    )


async def show(office: Office, enrolled: Enrolled, draft: str | None = None) -> EmailShown:
    return await drafting.show_email(office.desk, office.letters, enrolled.id, 1, draft)


async def test_an_email_is_shown_as_its_template_is_rendered(office: Office) -> None:
    shown = await show(office, await at_a_letter(office))
    assert (shown.to, shown.subject) == ("ada@example.org", "Hello Ada")
    assert shown.text.startswith("Dear Ada, one.")
    assert "Grace Hopper\nExample Inc." in shown.text
    assert (shown.quote, shown.prompts, shown.trouble, shown.is_draft) == (None, (), None, False)


async def test_a_draft_is_new_every_time_and_keeps_what_was_not_given(office: Office) -> None:
    enrolled = await at_a_letter(office)
    first, _ = await save(office, enrolled, subject="Dear Ada")
    second, _ = await save(office, enrolled, body="My own words.", before=first)
    assert first != second
    one, two = await show(office, enrolled, first), await show(office, enrolled, second)
    assert (one.subject, two.subject) == ("Dear Ada", "Dear Ada")
    assert "Dear Ada, one." in one.text
    assert two.text.startswith("My own words.")
    assert one.is_draft
    async with office.store.read() as tx:
        found = (await tx.execute(select(drafts.c.rendering))).scalars().all()
    # Both remember the template's rendering: it is what a follow-up appends.
    assert ["Dear Ada, one." in rendering["html"] for rendering in found] == [True, True]


async def test_the_signature_is_added_once(quick_office: Office) -> None:
    enrolled = await at_a_letter(quick_office)
    first, _ = await save(quick_office, enrolled, body="Hi")
    shown = await show(quick_office, enrolled, first)
    assert shown.text.count("Example Inc.") == 1
    second, _ = await save(quick_office, enrolled, body=shown.html, before=first)
    assert (await show(quick_office, enrolled, second)).text.count("Example Inc.") == 1


@pytest.mark.parametrize(
    ("subject", "body", "trouble"),
    [
        (None, "Hi {{ first_name }}", '"{{" is left in the body'),
        ("Hi {{ first_name }}", None, '"{{" is left in the subject'),
        (None, "<p>{{! how you met }}</p>", 'replace the field prompt "how you met" in the body'),
    ],
)
async def test_a_draft_that_may_not_leave_is_kept_and_says_why(
    quick_office: Office, subject: str | None, body: str | None, trouble: str
) -> None:
    enrolled = await at_a_letter(quick_office)
    draft, said = await save(quick_office, enrolled, subject=subject, body=body)
    assert said is not None
    assert trouble in said
    shown = await show(quick_office, enrolled, draft)
    assert shown.trouble == said


@pytest.mark.parametrize(
    ("subject", "body", "wrong"),
    [
        (" ", None, "the subject is empty"),
        (None, " \n", "the text is empty"),
        (None, "<p> </p>", "the text is empty"),
        (None, "<p><script>alert(1)</script></p>", "the text is empty"),
        (None, "x" * 1_000_001, "the text is longer than"),
    ],
)
async def test_a_text_that_is_no_email_is_refused(
    quick_office: Office, subject: str | None, body: str | None, wrong: str
) -> None:
    enrolled = await at_a_letter(quick_office)
    with pytest.raises(ActionError, match=wrong):
        await save(quick_office, enrolled, subject=subject, body=body)


async def test_a_subject_stays_one_line(quick_office: Office) -> None:
    enrolled = await at_a_letter(quick_office)
    draft, _ = await save(quick_office, enrolled, subject="Hello\r\nBcc: eve@example.com")
    assert (await show(quick_office, enrolled, draft)).subject == "Hello Bcc: eve@example.com"


async def test_scripts_do_not_survive(quick_office: Office) -> None:
    enrolled = await at_a_letter(quick_office)
    body = '<p onclick="x()">Hi <a href="javascript:alert(1)">there</a><script>y()</script></p>'
    draft, _ = await save(quick_office, enrolled, body=body)
    html = (await show(quick_office, enrolled, draft)).html
    assert not any(word in html for word in ("script", "onclick", "alert"))


async def test_a_draft_of_another_email_neither_is_shown_nor_leaves(
    office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await at_a_letter(office)
    other = await office.enroll(campaign(letter()), "bob@example.org")
    await office.until_task(other, 1)
    theirs, _ = await save(office, other, body="For Bob alone.")
    for draft in (theirs, "d1"):
        with pytest.raises(ActionError, match="the email has no such draft"):
            await show(office, enrolled, draft)
        with pytest.raises(ActionError, match="is not sent, the task stays open"):
            await task_emails.send(office.desk, task_id(enrolled, 1), draft_id=draft)
    assert not mailer.received
    await save_and_send(office, enrolled, "For Ada.")
    assert len(mailer.received) == 1


async def save_and_send(office: Office, enrolled: Enrolled, body: str) -> None:
    draft, _ = await save(office, enrolled, body=body)
    await task_emails.send(office.desk, task_id(enrolled, 1), draft_id=draft)


async def test_an_email_that_was_sent_elsewhere_is_appended_as_it_was_shown_last(
    office: Office, mailer: MemoryMailer
) -> None:
    enrolled = await at_a_letter(
        office, letter(), CALL, letter(None, "<p>Any news?</p>", follow_up=False)
    )
    first = task_id(enrolled, 1)
    await task_emails.see(office.desk, office.letters, await tasks.find(office.desk, first))
    await office.mend(enrolled, first_name="Augusta")
    await tasks.complete(office.desk, first)
    message = await office.message(enrolled, 1)
    assert message is not None
    assert "Dear Ada, one." in message.rendering["html"]


def test_both_links_carry_recipient_subject_and_the_whole_text() -> None:
    shown = EmailShown(
        to="ada+1@example.org",
        subject="1 + 1 & more?",
        text="Dear Ada,\n\ntwo: ü",
        html="<p>Dear Ada</p>",
        quote=Quote(html="<p>One</p>", text="> One"),
        prompts=(),
        trouble=None,
        is_draft=False,
        attachments=(),
    )
    whole = "Dear Ada,\n\ntwo: ü\n\n> One"
    gmail, outlook = urlsplit(shown.gmail), urlsplit(shown.outlook)
    assert "+" not in gmail.query + outlook.query  # a plus sign is a blank to some
    assert gmail.hostname == "mail.google.com"
    asked = parse_qs(gmail.query)
    assert (asked["to"], asked["su"], asked["body"]) == (
        ["ada+1@example.org"],
        ["1 + 1 & more?"],
        [whole],
    )
    assert outlook.hostname == "outlook.office.com"
    asked = parse_qs(outlook.query)
    assert (asked["to"], asked["subject"], asked["body"]) == (
        ["ada+1@example.org"],
        ["1 + 1 & more?"],
        [whole],
    )
    assert shown.whole_html.startswith("<p>Dear Ada</p>")
    assert "<p>One</p>" in shown.whole_html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Hi", "<p>Hi</p>"),
        ("1 < 2 & 3 > 2", "<p>1 &lt; 2 &amp; 3 &gt; 2</p>"),
        ("Hi\r\nAda\r\n\r\n\r\nBye\n", "<p>Hi<br>\nAda</p>\n<p>Bye</p>"),
        ("<p>Hi</p>", "<p>Hi</p>"),
        ("Hi<br>Ada", "Hi<br>Ada"),
    ],
)
def test_plain_text_becomes_paragraphs_and_html_stays(text: str, html: str) -> None:
    assert html_of(text) == html
