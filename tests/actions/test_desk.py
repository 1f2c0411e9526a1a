from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from drumbeat.actions import tasks
from drumbeat.actions.desk import keep_text, moment, name_of, rep_of, with_names
from drumbeat.actions.errors import ActionError
from drumbeat.store import users
from drumbeat.store.schema import texts
from drumbeat.store.users import Role
from tests.actions.desks import ALAN, CALL, GRACE, campaign, desk_of, task_id
from tests.office import Office
from workflows import messages

AT = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
NEW_YORK, TOKYO = ZoneInfo("America/New_York"), ZoneInfo("Asia/Tokyo")


@pytest.mark.parametrize(
    ("zones", "text"),
    [
        ([], "Tue 24 Nov 2026, 14:30 UTC"),
        ([None], "Tue 24 Nov 2026, 14:30 UTC"),
        ([NEW_YORK], "Tue 24 Nov 2026, 09:30 America/New_York"),
        ([NEW_YORK, NEW_YORK, None], "Tue 24 Nov 2026, 09:30 America/New_York"),
        (
            [NEW_YORK, ZoneInfo("Europe/Berlin")],
            "Tue 24 Nov 2026, 09:30 America/New_York (15:30 Europe/Berlin)",
        ),
    ],
)
def test_a_moment_is_shown_once_in_each_zone(zones: list[ZoneInfo | None], text: str) -> None:
    assert moment(AT, *zones) == text


def test_a_moment_on_another_date_elsewhere_says_so() -> None:
    late = AT + timedelta(hours=2)
    assert moment(late, NEW_YORK, TOKYO) == (
        "Tue 24 Nov 2026, 11:30 America/New_York (Wed 25 Nov, 01:30 Asia/Tokyo)"
    )


async def test_reps_are_found_by_address_whatever_its_case_and_named(quick_office: Office) -> None:
    async with quick_office.store.read() as tx:
        rep = await rep_of(tx, " Alan@EXAMPLE.com ")
        assert rep.email == ALAN
        assert await name_of(tx, rep.id) == "Alan Turing"
        assert await name_of(tx, None) == "Drumbeat"
        assert await name_of(tx, "r000000000000") == "r000000000000"
        assert await with_names(tx, f"by {rep.id} and r000000000000") == (
            "by Alan Turing and r000000000000"
        )
        with pytest.raises(ActionError, match=r"no rep has the address eve@example\.com"):
            await rep_of(tx, "eve@example.com")


async def test_who_acts_is_the_rep_that_is_named_else_the_default(quick_office: Office) -> None:
    async with quick_office.store.read() as tx:
        grace = (await rep_of(tx, GRACE)).id
        assert await desk_of(quick_office, GRACE).who(tx, "r1") == grace
        assert await desk_of(quick_office, None).who(tx, "r1") == "r1"


async def test_a_manager_who_is_no_rep_acts_under_their_own_name(quick_office: Office) -> None:
    enrolled = await quick_office.enroll(campaign(CALL))
    await quick_office.until_task(enrolled, 1)
    async with quick_office.store.write() as tx:
        await users.add(
            tx,
            user_id="r00000000beef",
            email="mary@example.com",
            name="Mary Keller",
            role=Role.MANAGER,
            now=AT,
        )
    done = await tasks.skip(desk_of(quick_office, "Mary@example.com"), task_id(enrolled, 1))
    assert (done.task.closer, done.task.closer_name) == ("mary@example.com", "Mary Keller")
    with pytest.raises(ActionError, match="skipped by Mary Keller, "):
        await tasks.skip(quick_office.desk, task_id(enrolled, 1))
    added = await tasks.add(desk_of(quick_office, "mary@example.com"), "ada@example.org", "Write")
    assert added.task.rep == GRACE


async def test_a_text_is_kept_trimmed_and_a_blank_one_only_where_asked(
    quick_office: Office,
) -> None:
    async with quick_office.store.write() as tx:
        assert await keep_text(tx, None, None, AT) is None
        assert await keep_text(tx, " \n", None, AT) is None
        kept = await keep_text(tx, " Call in May. ", "r1", AT)
        blank = await keep_text(tx, " ", "r1", AT, keep_blank=True)
        found = await tx.execute(select(texts.c.id, texts.c.text))
        assert {row.id: row.text for row in found} == {kept: "Call in May.", blank: ""}


async def test_a_refusal_names_people_instead_of_ids(quick_office: Office) -> None:
    enrolled = await quick_office.enroll(campaign(CALL, CALL))
    await quick_office.until_task(enrolled, 1)
    await tasks.complete(desk_of(quick_office, ALAN), task_id(enrolled, 1))
    done = messages.CompleteTask(task_id=task_id(enrolled, 1))
    row = await quick_office.row(enrolled)
    with pytest.raises(ActionError, match="task_completed by Alan Turing at"):
        await quick_office.desk.ask(row, "complete_task", done)
    with pytest.raises(ActionError, match="is over: completed by Alan Turing"):
        await quick_office.desk.ask(row, "complete_task", done, step=1)


async def test_of_an_enrollment_that_has_ended_it_is_said_how(quick_office: Office) -> None:
    enrolled = await quick_office.enroll(campaign(CALL))
    await quick_office.until_task(enrolled, 1)
    await enrolled.handle.signal("end", {"success": True})
    await enrolled.handle.result()
    row = await quick_office.row(enrolled)
    with pytest.raises(ActionError, match="the enrollment has ended: success, "):
        await quick_office.desk.ask(row, "skip_step", messages.SkipStep(step=1))
