from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest

from activities import letters
from activities.outcomes import Blocked, SendOutcome, Sent
from drumbeat.campaign.states import MessageState, TaskStatus, WhyCode
from drumbeat.campaign.templates import Body
from drumbeat.mail.outcomes import Phase
from tests.activities.world import LINKS, Walk, World, attachment, bump, campaign, email, local
from workflows import handling, messages


@pytest.fixture
def world(quick_world: World) -> World:
    """On SQLite alone: what a letter is made from hangs on no database."""
    return quick_world


def received(world: World, number: int = -1) -> EmailMessage:
    """The email that was sent so-manieth, the last one where nothing is said."""
    content = world.memory.received[number].content
    parsed = message_from_bytes(content, policy=default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def text(letter: EmailMessage, kind: str = "plain") -> str:
    part = letter.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


def why(outcome: SendOutcome) -> tuple[str, str]:
    assert isinstance(outcome, Blocked)
    return outcome.why.code, outcome.why.detail


async def rep_sends(walk: Walk, draft: str | None = None) -> SendOutcome:
    """Open the current step's task and let its rep send it, as it is or with a text of theirs."""
    await walk.open_task()
    if draft is not None:
        await walk.draft("Typed by Grace", draft)
    return await walk.send(by_rep=True)


async def say_sent_elsewhere(walk: Walk) -> None:
    """Let the rep complete the task of the current step without sending."""
    task_id = f"{walk.id}-{walk.state.step}"
    message = messages.CompleteTask(task_id=task_id, who=walk.world.rep_id)
    handling.complete_task(walk.state, message, walk.world.clock())
    walk.go_on()
    await walk.record()


# What stands in an email


async def test_a_letter_has_both_parts_a_signature_and_an_unsubscribe_line(
    world: World,
) -> None:
    walk = (await world.enroll(campaign(email()))).due()
    await walk.send()
    letter = received(world)
    url = LINKS.unsubscribe_url(walk.id)
    for kind in ("plain", "html"):
        assert "Hello Ada" in text(letter, kind)
        assert "Example Inc." in text(letter, kind)
        assert url in text(letter, kind)
    assert letter["List-Unsubscribe"] == f"<{url}>"
    assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert letter["From"] == "Grace Hopper <grace@example.com>"
    assert letter["In-Reply-To"] is None
    assert "ada" not in url


async def test_the_date_is_that_of_sending(world: World) -> None:
    walk = (await world.enroll(campaign(email()))).due()
    await walk.send()
    assert received(world)["Date"].datetime == local("2026-11-23T09:30")


async def test_an_attachment_travels_and_is_stored_once(world: World) -> None:
    data = bytes(range(256)) * 40
    file = attachment(data)
    what = campaign(email(attachments=(file,)))
    for number in range(2):
        address = f"p{number}@example.org"
        walk = await world.enroll(what, address, data={file.sha256: data})
        assert isinstance(await walk.due().send(), Sent)
        [part] = list(received(world).iter_attachments())
        assert part.get_filename() == "price list.pdf"
        assert part.get_content() == data
    assert [row.sha256 for row in await world.blobs()] == [file.sha256]


# What keeps an email from leaving


async def test_a_token_without_a_value_is_named_and_blocks(world: World) -> None:
    what = campaign(email("<p>{{ industry }} and {{ city }}</p>"), email())
    walk = (await world.enroll(what)).due()
    outcome = await walk.send()
    assert why(outcome) == (WhyCode.MISSING_DATA, "industry, city")
    message = await walk.message(1)
    assert (message.state, message.why["detail"]) == (MessageState.BLOCKED, "industry, city")
    row = await walk.row()
    assert (row.state, row.why["code"]) == ("blocked", "missing_data")
    assert world.memory.attempts == 0
    await walk.mend(industry="looms", city="London")
    handling.mended(walk.state, messages.Mended(), world.clock())
    assert isinstance(await walk.due().send(), Sent)
    assert await walk.happened() == ["blocked", "mended", "sent"]
    assert "looms and London" in text(received(world))


async def test_a_prompt_that_is_left_blocks_until_the_rep_has_replaced_it(world: World) -> None:
    walk = await world.enroll(campaign(email("<p>Hi {{! something personal }}</p>", send="task")))
    assert why(await rep_sends(walk)) == (WhyCode.PROMPT_LEFT, "")
    task = await walk.task()
    assert (task.status, task.trouble["code"]) == (TaskStatus.OPEN, "prompt_left")
    await walk.draft("About Engines", "<p>Hi, I saw your talk</p>")
    assert isinstance(await walk.send(by_rep=True), Sent)
    assert "I saw your talk" in text(received(world))
    assert (await walk.task(1)).trouble is None


@pytest.mark.parametrize("html", ["<p>Hi {{ first_name }}</p>", "<p>{% if x %}</p>"])
async def test_a_draft_with_marks_of_a_template_is_never_rendered_and_blocks(
    world: World, html: str
) -> None:
    walk = await world.enroll(campaign(email(send="task")))
    assert why(await rep_sends(walk, html)) == (WhyCode.TOKEN_LEFT, "")
    assert (await walk.task()).trouble["code"] == "token_left"
    assert world.memory.attempts == 0


async def test_a_template_that_fails_blocks(world: World) -> None:
    walk = (await world.enroll(campaign(email("<p>{{ 1 / 0 }}</p>")))).due()
    code, detail = why(await walk.send())
    assert code == WhyCode.TEMPLATE
    assert detail == "the template fails in line 1 of the body: ZeroDivisionError"


async def test_of_data_with_which_a_template_fails_nothing_is_told(world: World) -> None:
    walk = (await world.enroll(campaign(email("<p>{{ phone | int / 0 }}</p>")), phone="5551")).due()
    assert "5551" not in why(await walk.send())[1]


async def test_an_address_that_cannot_stand_in_a_header_blocks_with_the_headers_word(
    world: World,
) -> None:
    walk = await world.enroll(campaign(email(send="task")))
    await walk.open_task()
    await walk.draft("Hello", "<p>Hi</p>", cc=["jörg@example.org"])
    code, detail = why(await walk.send(by_rep=True))
    assert code == WhyCode.TEMPLATE
    assert "ASCII" in detail
    assert "rg@" not in detail


async def test_a_draft_goes_to_its_copies_as_well(world: World) -> None:
    walk = await world.enroll(campaign(email(send="task")))
    await walk.open_task()
    await walk.draft("Hello", "<p>Hi</p>", cc=["boss@example.org"])
    await walk.send(by_rep=True)
    assert world.memory.received[0].recipients == ("ada@example.org", "boss@example.org")
    assert received(world)["Cc"] == "boss@example.org"


# Follow-ups


async def test_a_follow_up_appends_the_template_and_hangs_in_the_thread(world: World) -> None:
    walk = await world.enroll(campaign(email(), bump(), bump("<p>Last try</p>")))
    for _ in range(3):
        assert isinstance(await walk.due().send(), Sent)
    first, second, third = (received(world, number) for number in range(3))
    assert first["Subject"] == "About Engines"
    assert second["Subject"] == third["Subject"] == "Re: About Engines"
    assert second["In-Reply-To"] == first["Message-ID"]
    assert second["References"] == first["Message-ID"]
    assert third["In-Reply-To"] == second["Message-ID"]
    assert third["References"].split() == [first["Message-ID"], second["Message-ID"]]
    assert "On Mon, 23 Nov 2026 at 09:30, Grace Hopper wrote:\n> Hello Ada" in text(second)
    quoted = text(third)
    assert "On Tue, 24 Nov 2026 at 09:30, Grace Hopper wrote:\n> Did you see this?" in quoted
    assert "> On Mon, 23 Nov 2026 at 09:30, Grace Hopper wrote:\n> > Hello Ada" in quoted
    assert quoted.count("unsubscribe here") == 1
    assert text(third, "html").count("<blockquote") == 2
    rows = [await walk.message(number) for number in (1, 2, 3)]
    assert rows[2].in_reply_to == rows[1].message_id
    assert rows[2].refs == [rows[0].message_id, rows[1].message_id]


async def test_a_reps_edits_never_appear_in_the_copy_but_the_subject_that_was_sent_does(
    world: World,
) -> None:
    walk = await world.enroll(campaign(email(send="task"), bump()))
    assert isinstance(await rep_sends(walk, "<p>Private words for Ada</p>"), Sent)
    assert "Private words" in text(received(world))
    assert isinstance(await walk.due().send(), Sent)
    follow_up = received(world)
    assert follow_up["Subject"] == "Re: Typed by Grace"
    for kind in ("plain", "html"):
        assert "Hello Ada" in text(follow_up, kind)
        assert "Private" not in text(follow_up, kind)


async def test_the_copy_is_the_rendering_on_which_the_draft_was_based(world: World) -> None:
    walk = await world.enroll(campaign(email(send="task"), bump()))
    await walk.open_task()
    await walk.draft("Hello", "<p>Typed</p>")
    await walk.mend(first_name="Augusta")
    await walk.send(by_rep=True)
    await walk.due().send()
    assert "> Hello Ada" in text(received(world))


async def test_an_edited_follow_up_keeps_its_thread_and_its_copy(world: World) -> None:
    walk = await world.enroll(campaign(email(), bump(send="task")))
    await walk.due().send()
    walk.due()
    assert isinstance(await rep_sends(walk, "<p>My own words</p>"), Sent)
    follow_up = received(world)
    assert follow_up["Subject"] == "Typed by Grace"
    assert follow_up["In-Reply-To"] == received(world, 0)["Message-ID"]
    assert "My own words" in text(follow_up)
    assert "> Hello Ada" in text(follow_up)


async def test_a_follow_up_with_a_subject_starts_a_thread_and_appends_all_the_same(
    world: World,
) -> None:
    walk = await world.enroll(campaign(email(), bump(subject="Another thing")))
    await walk.due().send()
    await walk.due().send()
    follow_up = received(world)
    assert follow_up["Subject"] == "Another thing"
    assert follow_up["In-Reply-To"] is None
    assert follow_up["References"] is None
    assert "> Hello Ada" in text(follow_up)


async def test_prompts_are_left_out_of_the_copy(world: World) -> None:
    first = email("<p>Hi {{! something personal }}</p><p>Bye</p>", send="task")
    walk = await world.enroll(campaign(first, bump()))
    await rep_sends(walk, "<p>Typed</p>")
    await walk.due().send()
    assert "personal" not in text(received(world))
    assert "> Bye" in text(received(world))


async def test_in_place_of_a_skipped_email_the_last_sent_one_of_the_chain_is_appended(
    world: World,
) -> None:
    walk = await world.enroll(campaign(email(), bump(), bump("<p>Last try</p>")))
    await walk.due().send()
    walk.skip()
    await walk.due().send()
    last = received(world)
    assert last["In-Reply-To"] == received(world, 0)["Message-ID"]
    assert "> Hello Ada" in text(last)
    assert "Did you see this" not in text(last)


async def test_where_nothing_was_sent_nothing_is_appended_and_no_thread_is_claimed(
    world: World,
) -> None:
    walk = await world.enroll(campaign(email(), bump()))
    walk.skip()
    await walk.due().send()
    alone = received(world)
    assert alone["Subject"] == "About Engines"
    assert alone["In-Reply-To"] is None
    assert "wrote:" not in text(alone)


async def test_where_the_skipped_email_lacks_data_the_follow_up_lacks_it_too(world: World) -> None:
    walk = await world.enroll(campaign(email(subject="About {{ industry }}"), bump()))
    walk.skip()
    assert why(await walk.due().send()) == (WhyCode.MISSING_DATA, "industry")
    await walk.mend(industry="looms")
    handling.mended(walk.state, messages.Mended(), world.clock())
    assert isinstance(await walk.due().send(), Sent)
    assert received(world)["Subject"] == "About looms"


async def test_an_email_before_the_chain_does_no_harm(world: World) -> None:
    what = campaign(email("<p>{{ industry }}</p>"), email(), bump())
    walk = await world.enroll(what)
    walk.skip()
    for _ in range(2):
        assert isinstance(await walk.due().send(), Sent)
    assert received(world)["Subject"] == "Re: About Engines"


async def test_a_bounced_email_is_not_quoted(world: World) -> None:
    walk = await world.enroll(campaign(email(), bump()))
    world.memory.once(Phase.RCPT, 552, "5.2.2 Full")
    await walk.due().send()
    await walk.due().send()
    assert received(world)["In-Reply-To"] is None
    assert "wrote:" not in text(received(world))


async def test_what_was_sent_elsewhere_is_quoted_as_shown_and_not_referred_to(
    world: World,
) -> None:
    walk = await world.enroll(campaign(email(send="task"), bump()))
    await walk.open_task()
    async with world.store.write() as tx:
        case = await world.letters.read(tx, walk.id, 1, None, world.clock())
    shown = await world.letters.show(case)
    assert isinstance(shown, letters.Draftable)
    async with world.store.write() as tx:
        await letters.keep_shown(tx, case, shown, world.clock())
    await walk.mend(first_name="Augusta")
    world.clock.advance(timedelta(hours=2))
    await say_sent_elsewhere(walk)
    row = await walk.message(1)
    assert (row.state, row.elsewhere, row.sent_at) == ("sent", True, world.clock())
    assert (await walk.task(1)).status == TaskStatus.COMPLETED
    await walk.due().send()
    follow_up = received(world)
    assert follow_up["Subject"] == "Re: About Engines"
    assert follow_up["In-Reply-To"] is None
    assert follow_up["References"] is None
    assert "On Mon, 23 Nov 2026 at 10:00, Grace Hopper wrote:\n> Hello Ada" in text(follow_up)


async def test_a_chain_over_an_email_sent_elsewhere_keeps_the_older_thread(world: World) -> None:
    walk = await world.enroll(campaign(email(), bump(send="task"), bump("<p>Last try</p>")))
    await walk.due().send()
    walk.due()
    await walk.open_task()
    await say_sent_elsewhere(walk)
    await walk.due().send()
    last = received(world)
    assert last["In-Reply-To"] == received(world, 0)["Message-ID"]
    assert "> Did you see this?" in text(last)
    assert "> > Hello Ada" in text(last)


async def test_a_resolved_doubt_is_quoted_like_any_sent_email(world: World) -> None:
    walk = await world.enroll(campaign(email(), bump()))
    world.memory.once(Phase.DATA, None, "cut")
    await walk.due().send()
    at = world.clock()
    handling.resolve_doubt(walk.state, messages.ResolveDoubt(sent=True, at=at), at)
    walk.go_on()
    await walk.due().send()
    assert received(world)["In-Reply-To"] == (await walk.message(1)).message_id
    assert "> Hello Ada" in text(received(world))


async def test_what_is_shown_is_what_is_sent(world: World) -> None:
    walk = await world.enroll(campaign(email(send="task"), bump(send="task")))
    await rep_sends(walk)
    walk.due()
    await walk.open_task()
    async with world.store.write() as tx:
        case = await world.letters.read(tx, walk.id, 2, None, world.clock())
    shown = await world.letters.show(case)
    assert isinstance(shown, letters.Draftable)
    await walk.send(by_rep=True)
    row = await walk.message(2)
    assert row.subject == shown.subject
    assert Body.model_validate(row.rendering) == shown.body
    assert shown.quote is not None
    assert row.quote == shown.quote.model_dump()


async def test_showing_an_email_that_was_sent_changes_nothing_of_it(world: World) -> None:
    walk = await world.enroll(campaign(email(send="task")))
    await rep_sends(walk, "<p>Typed</p>")
    before = await walk.message(1)
    async with world.store.write() as tx:
        case = await world.letters.read(tx, walk.id, 1, None, world.clock())
        shown = await world.letters.show(case)
        assert isinstance(shown, letters.Draftable)
        await letters.keep_shown(tx, case, shown, world.clock())
    assert await walk.message(1) == before


async def test_what_is_not_there_is_named(world: World) -> None:
    walk = await world.enroll(campaign(email()))
    async with world.store.write() as tx:
        with pytest.raises(LookupError, match="no enrollment 0000"):
            await world.letters.read(tx, "0000", 1, None, world.clock())
    await world.staff(email="alan@example.com")
    async with world.store.write() as tx:
        with pytest.raises(LookupError, match="no rep r"):
            await world.letters.read(tx, walk.id, 1, None, world.clock())
