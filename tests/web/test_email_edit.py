"""An automatic email is rewritten before it leaves."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import update
from temporalio.client import Client

from drumbeat.campaign.states import MessageState
from drumbeat.store.engine import Store
from drumbeat.store.schema import messages
from drumbeat.web.guarding import LARGEST_BODY
from tests.histories import paths
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office, open_office
from tests.web.rows import enrolled
from tests.web.site import make_site, signed_in
from tests.web.test_emails import site_of


@pytest.fixture
async def mailer() -> MemoryMailer:
    return MemoryMailer()


@pytest.fixture
async def office(
    tmp_path: Path, temporal_client: Client, mailer: MemoryMailer
) -> AsyncIterator[Office]:
    url = f"sqlite:///{tmp_path / 'edited.db'}"
    async with open_office(url, temporal_client, mailer) as opened:
        yield opened


async def waiting(office: Office, body: str = "<p>Dear reader.</p>") -> Enrolled:
    """Ada, whose second email waits for its time."""
    one = paths.campaign(
        "edited-page",
        (1, paths.email(paths.SUBJECT, "choose")),
        (2, paths.email("The second", "09:30", body=body)),
    )
    ada = await office.enroll(one, send_at="now", fields=paths.FIELDS)
    await office.skip_until_sent(ada, 1)
    await office.until(ada, lambda shown: shown.step == 2)
    return ada


async def test_what_was_typed_is_shown_again_and_leaves(
    office: Office, mailer: MemoryMailer
) -> None:
    ada = await waiting(office)
    here = f"/emails/{ada.id}-2"
    async with await signed_in(await site_of(office)) as client:
        listed = await client.get("/emails?tab=scheduled")
        assert f"{here}/edit?back=%2Femails%3Ftab%3Dscheduled" in listed.text
        page = await client.get(f"{here}/edit?back=/emails?tab=scheduled")
        assert 'value="The second"' in page.text
        assert "Dear reader." in (await client.get(f"{here}/letter")).text
        typed = {"subject": "For you", "html": "<p>Only <b>you</b>.</p>" + "<p>x</p>" * 20_000}
        assert len(typed["html"]) > LARGEST_BODY
        saved = await client.post(f"{here}/edit", data={**typed, "back": "/emails?tab=scheduled"})
        assert (saved.status_code, saved.headers["location"]) == (
            303,
            "/emails?tab=scheduled&said=edited",
        )
        again = await client.get(f"{here}/edit")
        assert 'value="For you"' in again.text
        [frame] = re.findall(r'<iframe[^>]* src="([^"]+)"', again.text)
        assert "Only <b>you</b>." in (await client.get(frame)).text
    await office.skip_until_sent(ada, 2)
    left = mailer.received[-1].content
    assert b"Subject: For you" in left
    assert b"Only <b>you</b>." in left


async def test_a_text_that_may_not_leave_is_told_and_kept_on_the_page(office: Office) -> None:
    ada = await waiting(office)
    here = f"/emails/{ada.id}-2/edit"
    async with await signed_in(await site_of(office)) as client:
        empty = await client.post(here, data={"subject": "", "text": "Hello."})
        prompt = await client.post(here, data={"subject": "Hi", "text": "It costs {{! price }}."})
    for answer in (empty, prompt):
        assert answer.status_code == 409
        assert 'role="alert"' in answer.text
    assert "It costs {{! price }}." in prompt.text


@pytest.mark.parametrize("state", [MessageState.SENT, MessageState.SENDING, MessageState.CANCELLED])
async def test_what_has_left_is_not_rewritten(sqlite_store: Store, state: MessageState) -> None:
    site = await make_site(sqlite_store)
    enrollment_id = await enrolled(sqlite_store, sent=1)
    async with sqlite_store.write() as tx:
        await tx.execute(update(messages).values(state=state))
    async with await signed_in(site) as client:
        page = await client.get(f"/emails/{enrollment_id}-1/edit")
    assert "It cannot be rewritten any more." in page.text
    assert "<textarea" not in page.text


async def test_somebody_elses_email_is_not_there(sqlite_store: Store) -> None:
    site = await make_site(sqlite_store)
    enrollment_id = await enrolled(sqlite_store, sent=1)
    async with await signed_in(site, address="alan@example.com") as client:
        for path in ("edit", "letter"):
            assert (await client.get(f"/emails/{enrollment_id}-1/{path}")).status_code == 404
        answer = await client.post(f"/emails/{enrollment_id}-1/edit", data={"subject": "x"})
        assert answer.status_code == 404
