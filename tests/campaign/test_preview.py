from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from drumbeat.campaign.calendar import Plan
from drumbeat.campaign.preview import preview
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
                done[step.number] = opens_at.astimezone(ZoneInfo("UTC")) + timedelta(minutes=delay)

    expected = naive(plan, done, rep_zone).walk()

    shown = [step.at for step in preview(plan, done, rep_zone)]
    assert [at and at.isoformat() for at in shown] == [
        at and at.astimezone(plan.zone).isoformat() for at in expected
    ]
