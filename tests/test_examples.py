"""The example that `up --example` enrolls and README shows."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from drumbeat.campaign.model import Campaign, EmailStep, Send
from drumbeat.campaign.people import read_people
from drumbeat.campaign.planning import make_plan
from drumbeat.campaign.preview import preview
from drumbeat.campaign.reading import Reading, read_campaign
from drumbeat.campaign.templates import find_prompts
from drumbeat.reps import read_reps

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def reading() -> Reading:
    return read_campaign(EXAMPLES / "intro" / "campaign.yaml")


@pytest.fixture(scope="module")
def campaign(reading: Reading) -> Campaign:
    assert reading.campaign is not None
    return reading.campaign


def test_the_example_has_neither_faults_nor_warnings(
    reading: Reading,
) -> None:
    assert reading.faults == ()
    assert reading.warnings == ()
    assert len(reading.attachments) == 1


@pytest.mark.parametrize("day", range(7))
@pytest.mark.parametrize("hour", [0, 3, 12, 23])
def test_its_first_email_and_task_come_at_once_on_any_day_at_any_hour(
    campaign: Campaign, day: int, hour: int
) -> None:
    kickoff = datetime(2026, 12, 21, hour, 59, 59, tzinfo=UTC) + timedelta(days=day)
    for zone in ("America/New_York", "Asia/Tokyo", "Europe/London"):
        plan = make_plan(campaign, kickoff=kickoff, person_zone=zone, rep_zone=None, send_at="now")
        first, second = preview(plan)[:2]
        assert (first.kind, first.action, first.at) == ("email", "send", kickoff)
        assert (second.kind, second.action, second.at) == ("call", "task", kickoff)


def test_it_shows_each_kind_of_step(campaign: Campaign) -> None:
    steps = [step for _, _, step in campaign.steps]
    assert {step.kind for step in steps} == {"email", "call", "inmail", "custom"}
    emails = [step for step in steps if isinstance(step, EmailStep)]
    assert {email.send for email in emails} == set(Send)
    assert any(email.template.attachments for email in emails)
    (task,) = [email for email in emails if email.is_task]
    assert find_prompts(task.template.body)
    for before, after in pairwise(steps):
        if isinstance(after, EmailStep) and after.follow_up:
            assert isinstance(before, EmailStep)
            assert not before.is_task and not after.is_task
            assert after.template.subject is None


def test_its_people_are_all_read_and_are_nobodys_real_addresses() -> None:
    reading = read_people(EXAMPLES / "people.csv")
    assert reading.faults == () and reading.rejected == ()
    assert 8 <= len(reading.people) <= 12
    assert {person.email.split("@")[1] for person in reading.people} == {
        "example.com",
        "example.org",
    }
    assert len({person.timezone for person in reading.people}) > 4
    industries = [person.fields.get("industry") for person in reading.people]
    assert None in industries and len(set(industries)) > 3


def test_its_reps_are_read_where_a_local_mail_server_runs() -> None:
    reading = read_reps(EXAMPLES / "reps.yaml", local_smtp="smtp://127.0.0.1:2525")
    assert reading.faults == ()
    grace, _ = reading.reps
    assert (grace.email, grace.timezone) == ("grace@example.com", "America/New_York")
