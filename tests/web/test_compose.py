"""The compose window, with real workflows: what is shown is saved, and what leaves."""

import email
import email.policy
import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from hashlib import sha256
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from httpx2 import Response
from sqlalchemy import select
from temporalio.client import Client

from drumbeat.campaign.model import Attachment, EmailStep
from drumbeat.store.engine import Store
from drumbeat.store.schema import drafts, tasks
from drumbeat.web.letter_frame import with_prompts
from tests.actions.desks import CALL, campaign, letter, task_id
from tests.office import Enrolled
from tests.web.at_work import AtWork, at_work

PROMPT = "<p>Dear {{ first_name }}, you said {{! what they said }}.</p>"


async def at_an_email(work: AtWork, *steps: EmailStep, **settings: object) -> Enrolled:
    """An enrollment whose first task, an email, is open."""
    enrolled = await work.office.enroll(campaign(*(steps or (letter(),)), **settings))
    await work.office.until_task(enrolled, 1)
    return enrolled


async def letter_of(work: AtWork, enrolled: Enrolled, step: int, draft: str = "") -> str:
    """The HTML in the editor."""
    path = f"/tasks/{task_id(enrolled, step)}/compose/letter"
    answer = await work.grace.get(path, params={"draft": draft})
    found = re.search(
        r'<div id="letter">(.*?)</div>(?=<p class="drumbeat|<div class="drumbeat)',
        answer.text,
        re.DOTALL,
    )
    assert found is not None
    return found[1]


def parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    return str(found.get_content()).replace("\r\n", "\n")


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]* value="([^"]*)"', page)
    assert found is not None
    return unescape(found[1])


async def test_what_is_sent_is_byte_for_byte_what_was_shown(
    store: Store, temporal_client: Client
) -> None:
    async with at_work(store, temporal_client) as work:
        follow_up = letter(None, "<p>Any <b>news</b>?</p>", follow_up=True)
        enrolled = await at_an_email(work, letter(), follow_up)
        first = {"subject": "Hello Ada"}
        sent = await work.grace.post(f"/tasks/{task_id(enrolled, 1)}/send", data=first)
        assert sent.status_code == 303
        await work.office.until_task(enrolled, 2)
        path = f"/tasks/{task_id(enrolled, 2)}"
        body = (await letter_of(work, enrolled, 2)).replace("news", 'news on <i>Friday</i> & "so"')
        written = {"subject": "Re: Hello Ada, again", "body": body}
        saved = (await work.grace.post(f"{path}/draft", data=written)).json()
        assert (saved["as_typed"], saved["prompts"], saved["trouble"]) == (True, 0, None)
        frame = await work.grace.get(f"{path}/compose/letter?draft={saved['draft']}")
        shown = re.search(
            r'<div id="letter">(.*?)</div><div class="drumbeat-quoted">'
            r'<p class="drumbeat-src">.*?</p>(.*?)</div><p class="drumbeat-fine">',
            frame.text,
            re.DOTALL,
        )
        assert shown is not None
        answer = await work.grace.post(
            f"{path}/send", data={**written, "body": shown[1], "draft": saved["draft"]}
        )
        assert answer.status_code == 303
        assert "is sent" in (await work.grace.get(answer.headers["location"])).text
        message = parsed(work.mailer.received[1].content)
        assert message["Subject"] == "Re: Hello Ada, again"
        html = part(message, "html")
        inside = html[html.index("<body>") + 7 : html.index('\n<p style="font-size:small')]
        assert inside == f"{shown[1]}\n\n<br>\n{shown[2]}"
        assert "If you would rather not hear from me again" in frame.text
        assert "news on Friday" in part(message, "plain")


async def test_a_letter_that_nobody_touched_leaves_as_its_template(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_an_email(work)
        page = await work.grace.get(f"/tasks/{task_id(enrolled, 1)}/compose")
        assert field(page.text, "subject") == "Hello Ada"
        written = {"subject": "Hello Ada", "body": await letter_of(work, enrolled, 1)}
        await work.grace.post(f"/tasks/{task_id(enrolled, 1)}/send", data=written)
        [received] = work.mailer.received
        assert "<p>Dear Ada, one.</p>" in part(parsed(received.content), "html")


async def test_prompts_are_marked_and_block_sending_until_they_are_replaced(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_an_email(work, letter("Hello", PROMPT))
        path = f"/tasks/{task_id(enrolled, 1)}"
        page = await work.grace.get(f"{path}/compose")
        assert "1 prompt to fill" in page.text
        shown = await letter_of(work, enrolled, 1)
        mark = '<mark class="drumbeat-prompt" data-prompt="what they said">what they said</mark>'
        assert mark in shown
        left = {"subject": "Mine", "body": "<p>Dear Ada, {{! what they said }}, and more.</p>"}
        answer = await work.grace.post(f"{path}/send", data=left)
        assert answer.status_code == 409
        assert "Replace the field prompt" in answer.text
        assert field(answer.text, "subject") == "Mine"
        draft = field(answer.text, "draft")
        assert "and more." in await letter_of(work, enrolled, 1, draft)
        assert work.mailer.received == []
        filled = {"subject": "Mine", "body": shown.replace(mark, "yes"), "draft": draft}
        assert (await work.grace.post(f"{path}/send", data=filled)).status_code == 303
        assert "you said yes." in part(parsed(work.mailer.received[0].content), "html")


async def test_what_is_typed_is_saved_and_found_again(
    store: Store, temporal_client: Client
) -> None:
    async with at_work(store, temporal_client) as work:
        enrolled = await at_an_email(work)
        path = f"/tasks/{task_id(enrolled, 1)}"
        draft = ""
        for words in ("One", "One two"):
            written = {"subject": "Mine", "body": f"<p>{words}</p>", "cc": "Alan@Example.com"}
            saved = await work.grace.post(f"{path}/draft", data={**written, "draft": draft})
            draft = saved.json()["draft"]
        page = await work.grace.get(f"{path}/compose")
        assert (field(page.text, "draft"), field(page.text, "cc")) == (draft, "alan@example.com")
        assert "<p>One two</p>" in await letter_of(work, enrolled, 1, draft)
        # Only when the rep leaves the window is the workflow told: then it leaves so from anywhere.
        assert (await work.office.task(enrolled, 1)).draft_id is None  # type: ignore[union-attr]  # it is there
        await work.grace.post(f"{path}/keep", data={"draft": draft})
        assert (await work.office.task(enrolled, 1)).draft_id == draft  # type: ignore[union-attr]  # it is there
        async with store.read() as tx:
            assert len((await tx.execute(select(drafts))).all()) == 2


async def test_a_long_letter_is_saved_whole(sqlite_store: Store, temporal_client: Client) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_an_email(work)
        written = {"subject": "Hello", "body": f"<p>{'ü <b>x</b> ' * 20_000}</p>"}
        saved = await work.grace.post(f"/tasks/{task_id(enrolled, 1)}/draft", data=written)
        assert saved.json()["as_typed"] is False  # the signature
        found = await letter_of(work, enrolled, 1, saved.json()["draft"])
        assert found.count("<b>x</b>") == 20_000


async def test_copies_go_to_everybody_in_cc_and_a_slip_there_is_told(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_an_email(work)
        path = f"/tasks/{task_id(enrolled, 1)}/send"
        written = {"subject": "Hello", "body": "<p>Text</p>", "cc": "alan, mary@example.com"}
        wrong = await work.grace.post(path, data=written)
        assert wrong.status_code == 409
        assert "Cc: " in wrong.text
        assert field(wrong.text, "cc") == "alan, mary@example.com"
        written["cc"] = "alan@example.com; mary@example.com"
        assert (await work.grace.post(path, data=written)).status_code == 303
        [received] = work.mailer.received
        assert set(received.recipients) == {
            "ada@example.org",
            "alan@example.com",
            "mary@example.com",
        }
        assert "mary@example.com" in str(parsed(received.content)["Cc"])


async def test_an_email_is_scheduled_in_the_enrollments_zone_moved_and_taken_back(
    store: Store, temporal_client: Client
) -> None:
    async with at_work(store, temporal_client) as work:
        enrolled = await at_an_email(work, letter(), timezone="Asia/Tokyo")
        path = f"/tasks/{task_id(enrolled, 1)}"
        page = await work.grace.get(f"{path}/compose")
        assert "Day and time in Tokyo" in page.text
        on = (datetime.now(UTC) + timedelta(days=3)).date()
        told = (await work.grace.get(f"{path}/compose/when", params={"at": f"{on}T09:30"})).json()
        assert told["ok"]
        assert "09:30 Asia/Tokyo (" in told["text"]
        assert "America/New_York)" in told["text"]
        past = await work.grace.get(f"{path}/compose/when", params={"at": "2020-01-01T09:30"})
        assert past.json()["ok"] is False
        written = {"subject": "Hello", "body": "<p>Text</p>", "when": f"{on}T09:30"}
        answer = await work.grace.post(f"{path}/schedule", data=written)
        assert "leaves" in (await work.grace.get(answer.headers["location"])).text
        row = await work.office.task(enrolled, 1)
        assert row is not None
        assert (row.status, row.send_at.isoformat()) == ("scheduled", f"{on}T00:30:00+00:00")
        listed = await work.grace.get("/tasks?view=scheduled")
        assert "09:30 Tokyo" in listed.text
        page = await work.grace.get(f"{path}/compose")
        assert "It leaves at" in page.text
        await work.grace.post(f"{path}/unschedule")
        row = await work.office.task(enrolled, 1)
        assert row is not None
        assert row.status == "open"
        assert work.mailer.received == []


async def test_a_moment_that_has_passed_is_refused_and_nothing_is_lost(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_an_email(work)
        written = {"subject": "Mine", "body": "<p>Long text</p>", "when": "2020-01-01T09:30"}
        answer = await work.grace.post(f"/tasks/{task_id(enrolled, 1)}/schedule", data=written)
        assert answer.status_code == 409
        assert "has passed" in answer.text
        assert "Long text" in await letter_of(work, enrolled, 1, field(answer.text, "draft"))


async def test_a_letter_can_do_nothing_in_its_frame(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        evil = '<p onclick="x()">Hi<script>alert(1)</script><img src="https://t.example/p.gif"></p>'
        enrolled = await at_an_email(work, letter("Hello", evil))
        answer = await work.grace.get(f"/tasks/{task_id(enrolled, 1)}/compose/letter")
        assert "<script" not in answer.text
        assert "onclick" not in answer.text
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "sandbox allow-same-origin" in policy
        assert "allow-scripts" not in policy
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize("typed", [None, "Other words.\n\nIn two parts."])
async def test_without_a_script_the_text_is_plain_and_untouched_keeps_its_formatting(
    sqlite_store: Store, temporal_client: Client, typed: str | None
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_an_email(work, letter("Hello", "<p>Dear <b>Ada</b>,</p><p>yes.</p>"))
        path = f"/tasks/{task_id(enrolled, 1)}"
        page = await work.grace.get(f"{path}/compose")
        found = re.search(r'<textarea [^>]*name="text"[^>]*>(.*?)</textarea>', page.text, re.DOTALL)
        assert found is not None
        written = {"subject": "Hello", "text": typed or unescape(found[1]).replace("\n", "\r\n")}
        assert (await work.grace.post(f"{path}/send", data=written)).status_code == 303
        html = part(parsed(work.mailer.received[0].content), "html")
        assert ("<b>Ada</b>" in html) is (typed is None)
        assert ("<p>In two parts.</p>" in html) is (typed is not None)


async def test_a_signature_that_was_deleted_comes_back_and_the_page_is_told(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_an_email(work)
        path = f"/tasks/{task_id(enrolled, 1)}/draft"
        answer = await work.grace.post(path, data={"subject": "Hello", "body": "<p>Bare</p>"})
        assert answer.json()["as_typed"] is False
        assert "Grace Hopper" in await letter_of(work, enrolled, 1, answer.json()["draft"])


async def test_gmail_and_outlook_open_with_recipient_subject_and_text(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_an_email(work)
        path = f"/tasks/{task_id(enrolled, 1)}"
        page = await work.grace.get(f"{path}/compose")
        assert "cannot travel in a link" in page.text
        for name, subject in (("gmail", "su"), ("outlook", "subject")):
            found = re.search(rf'id="{name}" href="([^"]+)"', page.text)
            assert found is not None
            given = parse_qs(urlsplit(unescape(found[1])).query)
            assert (given["to"], given[subject]) == (["ada@example.org"], ["Hello Ada"])
            assert given["body"][0].startswith("Dear Ada, one.")
        await work.grace.post(f"{path}/complete", data={})
        row = await work.office.message(enrolled, 1)
        assert row is not None
        assert (row.state, row.elsewhere) == ("sent", True)


async def test_one_can_start_over_from_the_template(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_an_email(work)
        path = f"/tasks/{task_id(enrolled, 1)}"
        await work.grace.post(f"{path}/draft", data={"subject": "Mine", "body": "<p>Mine</p>"})
        answer = await work.grace.post(f"{path}/template")
        page = await work.grace.get(answer.headers["location"])
        assert field(page.text, "subject") == "Hello Ada"
        assert "Dear Ada, one." in await letter_of(work, enrolled, 1, field(page.text, "draft"))


async def test_an_email_that_lacks_data_names_it_and_leads_to_the_person(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_an_email(work, letter("Hello", "<p>{{ industry }}</p>"))
        page = await work.grace.get(f"/tasks/{task_id(enrolled, 1)}/compose")
        assert page.status_code == 409
        assert "missing data: industry" in page.text
        assert f'href="/people/{enrolled.person_id}"' in page.text


async def test_a_task_that_is_over_or_no_email_leads_back_to_the_list(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await work.office.enroll(campaign(letter(), CALL))
        await work.office.until_task(enrolled, 1)
        path = f"/tasks/{task_id(enrolled, 1)}"
        written = {"subject": "Hello", "body": "<p>Text</p>"}
        await work.grace.post(f"{path}/send", data=written)
        over = await work.grace.get(f"{path}/compose")
        assert over.headers["location"] == f"/tasks?task={task_id(enrolled, 1)}"
        again = await work.grace.post(f"{path}/send", data=written)
        assert again.status_code == 303
        assert len(work.mailer.received) == 1
        await work.office.until_task(enrolled, 2)
        call = await work.grace.get(f"/tasks/{task_id(enrolled, 2)}/compose")
        assert call.headers["location"] == f"/tasks?task={task_id(enrolled, 2)}"
        async with sqlite_store.read() as tx:
            states = (await tx.execute(select(tasks.c.status).order_by(tasks.c.step))).scalars()
            assert list(states) == ["completed", "open"]


def test_a_prompt_in_a_tag_is_left_for_the_check() -> None:
    html = '<a href="{{! the link }}">{{! its <b>text</b> }}</a>'
    assert with_prompts(html) == html


def test_markup_in_a_prompt_is_shown_as_text() -> None:
    shown = with_prompts("<p>{{! 3 &lt; 4 &amp; so }}</p>")
    assert 'data-prompt="3 &lt; 4 &amp; so">3 &lt; 4 &amp; so</mark>' in shown


def files_of(received: bytes) -> list[tuple[str | None, bytes]]:
    """The names and bytes of what travelled with an email."""
    parts = parsed(received).iter_attachments()
    return [(part.get_filename(), part.get_payload(decode=True)) for part in parts]  # type: ignore[misc]  # bytes, as it is decoded


async def attach(
    work: AtWork, enrolled: Enrolled, name: str, content: bytes, draft: str = ""
) -> Response:
    """What the window is answered when a file is attached."""
    return await work.grace.post(
        f"/tasks/{task_id(enrolled, 1)}/attach",
        data={"draft": draft},
        files={"file": (name, content)},
    )


async def test_files_that_a_rep_attaches_travel_with_the_email(
    store: Store, temporal_client: Client
) -> None:
    async with at_work(store, temporal_client) as work:
        enrolled = await at_an_email(work)
        path = f"/tasks/{task_id(enrolled, 1)}"
        written = {"subject": "Mine", "body": "<p>My words</p>"}
        draft = (await work.grace.post(f"{path}/draft", data=written)).json()["draft"]
        for name, content in (
            ("Angebot für Ada.pdf", b"%PDF offer"),
            ("../../plan.txt", b"a plan"),
        ):
            answer = await attach(work, enrolled, name, content, draft)
            assert answer.status_code == 200
            draft = answer.json()["draft"]
        assert [(one["name"], one["size"]) for one in answer.json()["files"]] == [
            ("Angebot für Ada.pdf", "1 kB"),
            ("plan.txt", "1 kB"),
        ]
        first, second = answer.json()["files"]
        for place, sha256 in ((0, second["sha256"]), (2, first["sha256"]), (0, "")):
            wrong = {"draft": draft, "place": place, "sha256": sha256}
            refused = await work.grace.post(f"{path}/detach", data=wrong)
            assert refused.status_code == 409
        right = {"draft": draft, "place": 0, "sha256": first["sha256"]}
        gone = await work.grace.post(f"{path}/detach", data=right)
        assert gone.json()["files"] == [second]
        page = await work.grace.get(f"{path}/compose")
        assert 'title="plan.txt"' in page.text
        assert "Angebot" not in page.text
        # Typing goes on, and the files stay.
        saved = await work.grace.post(
            f"{path}/draft", data={**written, "subject": "Ours", "draft": gone.json()["draft"]}
        )
        await work.grace.post(
            f"{path}/send", data={**written, "subject": "Ours", "draft": saved.json()["draft"]}
        )
        [received] = work.mailer.received
        assert parsed(received.content)["Subject"] == "Ours"
        assert "<p>My words</p>" in part(parsed(received.content), "html")
        assert files_of(received.content) == [("plan.txt", b"a plan")]


async def test_a_template_s_files_can_be_removed_and_come_back_with_the_template(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        content = b"the price list"
        file = Attachment(path="files/prices.pdf", sha256=sha256(content).hexdigest(), size=14)
        step = letter()
        step = step.model_copy(
            update={"template": step.template.model_copy(update={"attachments": (file,)})}
        )
        enrolled = await work.office.enroll(campaign(step), attachments={file.sha256: content})
        await work.office.until_task(enrolled, 1)
        path = f"/tasks/{task_id(enrolled, 1)}"
        assert 'title="prices.pdf"' in (await work.grace.get(f"{path}/compose")).text
        gone = await work.grace.post(f"{path}/detach", data={"place": 0, "sha256": file.sha256})
        assert gone.json()["files"] == []
        assert 'title="prices.pdf"' not in (await work.grace.get(f"{path}/compose")).text
        await work.grace.post(f"{path}/template")
        page = await work.grace.get(f"{path}/compose")
        assert 'title="prices.pdf"' in page.text
        written = {"subject": "Hello", "body": "<p>Text</p>", "draft": field(page.text, "draft")}
        await work.grace.post(f"{path}/send", data=written)
        assert files_of(work.mailer.received[0].content) == [("prices.pdf", content)]


async def test_what_cannot_be_attached_is_told_and_nothing_changes(
    sqlite_store: Store, temporal_client: Client
) -> None:
    async with at_work(sqlite_store, temporal_client) as work:
        enrolled = await at_an_email(work)
        path = f"/tasks/{task_id(enrolled, 1)}"
        first = await attach(work, enrolled, "large.bin", bytes(15_000_000))
        draft = first.json()["draft"]
        second = await attach(work, enrolled, "more.bin", bytes(5_000_001), draft)
        assert second.status_code == 409
        assert "an email may carry 20,000,000" in second.json()["error"]
        too_large = await attach(work, enrolled, "huge.bin", bytes(23_000_000), draft)
        assert too_large.status_code == 413
        missing = await work.grace.post(f"{path}/detach", data={"draft": draft, "place": 1})
        assert (missing.status_code, "no such file" in missing.json()["error"]) == (409, True)
        none = await work.grace.post(f"{path}/attach", data={"draft": draft}, files={"x": b""})
        assert none.status_code == 409
        page = await work.grace.get(f"{path}/compose")
        assert 'title="large.bin"' in page.text
        assert page.text.count('class="file"') == 2  # it, and the one that a script copies
        foreign = f"/tasks/{'0' * 16}-1"
        for action in ("attach", "detach"):
            answer = await work.grace.post(f"{foreign}/{action}", data={"place": 0})
            assert answer.status_code == 404
