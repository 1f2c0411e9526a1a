from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.planning import LaunchError
from drumbeat.campaign.preview import preview
from tests.campaign.building import email, moment, plan_of, task
from tests.campaign.naive_calendar import NaiveCampaign, NaiveStep
from tests.campaign.random_campaigns import ZONES, delays, plans


def naive(plan: Plan, done: dict[int, datetime], rep_zone: ZoneInfo | None) -> NaiveCampaign:
    return NaiveCampaign(
        steps=[
            NaiveStep(step.day, step.kind, step.send and str(step.send), step.send_time)
            for step in plan.steps
        ],
        zone=plan.zone,
        skip_weekends=plan.skip_weekends,
        holidays=set(plan.holidays),
        window=(plan.window.start, plan.window.end) if plan.window else None,
        kickoff=plan.kickoff,
        chosen=plan.chosen,
        done=done,
        rep_zone=rep_zone,
    )


@settings(max_examples=200, deadline=None)
@given(plans(), st.none() | st.sampled_from(ZONES), st.data())
def test_it_agrees_with_a_naive_reading_of_the_specification(
    plan: Plan, rep_zone_name: str | None, data: st.DataObject
) -> None:
    rep_zone = ZoneInfo(rep_zone_name) if rep_zone_name else None
    done: dict[int, datetime] = {}
    for step in plan.steps:
        delay = data.draw(st.none() | delays) if step.is_task else None
        if delay is not None:
            opens_at = preview(plan, done, rep_zone)[step.number - 1].at
            if opens_at is not None:
                done[step.number] = opens_at.astimezone(UTC) + timedelta(minutes=delay)

    expected = naive(plan, done, rep_zone).walk()

    shown = [step.at for step in preview(plan, done, rep_zone)]
    assert [at and at.isoformat() for at in shown] == [
        at and at.astimezone(plan.zone).isoformat() for at in expected
    ]


def test_it_lists_every_step_in_order_with_the_zones_offset() -> None:
    plan = plan_of(
        email(1, "choose"),
        task(1),
        email(3, "task"),
        email(4, "09:30", follow_up=True),
        chosen="2026-11-23T14:20",
    )
    assert [step.as_json() for step in preview(plan)] == [
        {
            "step": 1,
            "day": 1,
            "kind": "email",
            "action": "send",
            "at": "2026-11-23T14:20:00-05:00",
            "follow_up": False,
        },
        {
            "step": 2,
            "day": 1,
            "kind": "call",
            "action": "task",
            "at": "2026-11-23T14:20:00-05:00",
            "follow_up": False,
        },
        {
            "step": 3,
            "day": 3,
            "kind": "email",
            "action": "task",
            "at": "2026-11-25T00:00:00-05:00",
            "follow_up": False,
        },
        {
            "step": 4,
            "day": 4,
            "kind": "email",
            "action": "send",
            "at": "2026-11-26T09:30:00-05:00",
            "follow_up": True,
        },
    ]


# What is not known


def shown(plan: Plan, done: dict[int, str] | None = None) -> list[str | None]:
    moments = {step: moment(text) for step, text in (done or {}).items()}
    return [f"{step.at:%m-%d %H:%M}" if step.at else None for step in preview(plan, moments)]


def test_a_copy_of_an_email_whose_sending_is_not_known_is_null() -> None:
    plan = plan_of(email(1, "task"), email(3, "same_time"), email(4, "09:30"))
    assert shown(plan) == ["11-23 10:00", None, "11-26 09:30"]
    assert shown(plan, {1: "2026-11-23T14:20"}) == ["11-23 10:00", "11-25 14:20", "11-26 09:30"]


def test_the_rest_of_the_copying_emails_day_is_null_and_so_are_its_copies() -> None:
    plan = plan_of(
        task(1),
        email(1, "task"),
        task(3),
        email(3, "same_time"),
        task(3),
        email(3, "23:00"),
        task(4),
        email(4, "same_time"),
        task(5),
    )
    assert shown(plan) == [
        "11-23 10:00",
        "11-23 10:00",
        "11-25 00:00",
        None,
        None,
        None,
        "11-26 00:00",
        None,
        "11-27 00:00",
    ]


def test_a_copy_of_null_is_null() -> None:
    plan = plan_of(email(1, "task"), email(2, "same_time"), email(3, "same_time"), task(4))
    assert shown(plan) == ["11-23 10:00", None, None, "11-26 00:00"]


def test_an_email_between_makes_copies_known_again() -> None:
    plan = plan_of(
        email(1, "task"), email(2, "same_time"), email(3, "09:30"), email(4, "same_time")
    )
    assert shown(plan) == ["11-23 10:00", None, "11-25 09:30", "11-26 09:30"]


def test_same_time_on_the_first_day_copies_nothing_and_so_is_known() -> None:
    plan = plan_of(email(1, "task"), email(1, "same_time"), email(2, "same_time"))
    assert shown(plan) == ["11-23 10:00", "11-23 10:00", "11-24 10:00"]


def test_a_task_on_an_unknown_day_that_is_done_late_moves_the_later_days() -> None:
    plan = plan_of(email(1, "task"), email(2, "same_time"), email(2, "task"), email(3, "same_time"))
    done = {3: "2026-11-26T15:00"}
    assert shown(plan, done) == ["11-23 10:00", None, None, "11-27 15:00"]


# What is assumed done


@pytest.mark.parametrize(
    ("done", "says"),
    [
        ({0: "2026-11-24T10:00"}, "there is no step 0: the campaign's steps are 1 to 5"),
        ({6: "2026-11-24T10:00"}, "there is no step 6"),
        ({2: "2026-11-24T10:00"}, "step 2 is an email that Drumbeat sends by itself"),
        (
            {1: "2026-11-23T09:59"},
            "step 1 cannot be done at 2026-11-23T09:59:00-05:00:"
            " its task does not open before 2026-11-23T10:00:00-05:00",
        ),
        ({1: "2026-11-23T12:00", 3: "2026-11-23T23:59"}, "does not open before 2026-11-24T00:00"),
        ({5: "2026-11-24T23:59"}, "does not open before 2026-11-25T00:00"),
    ],
)
def test_what_cannot_be_done_is_refused(done: dict[int, str], says: str) -> None:
    plan = plan_of(task(1), email(1, "09:30"), email(2, "task"), email(3, "same_time"), task(3))
    with pytest.raises(LaunchError, match=says):
        shown(plan, done)


def test_a_task_can_be_done_the_moment_it_opens_whatever_the_offset() -> None:
    plan = plan_of(task(1), email(1, "09:30"))
    assert shown(plan, {1: "2026-11-23T16:00+01:00"}) == ["11-23 10:00", "11-23 10:00"]
