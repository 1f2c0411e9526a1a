from datetime import timedelta

import pytest

from activities import outcomes
from drumbeat.campaign.model import OnReply
from drumbeat.campaign.record import What
from drumbeat.campaign.states import HoldKind, Outcome, State, Why, WhyCode
from tests.workflows.plans import ENROLLMENT, KICKOFF, call, email, email_task, local, start
from workflows import handling, messages
from workflows.enrollment import MOST_REFUSALS, Enrollment, Refused
from workflows.messages import CampaignInput

MINUTE = timedelta(minutes=1)


def begin(given: CampaignInput) -> Enrollment:
    enrollment = Enrollment.begin(given)
    enrollment.reach(enrollment.plan.step(1), KICKOFF)
    return enrollment


def with_open_task(given: CampaignInput) -> Enrollment:
    enrollment = begin(given)
    enrollment.opening(outcomes.Opened(), enrollment.reserve(), KICKOFF)
    return enrollment


def reach_next(enrollment: Enrollment) -> None:
    enrollment.reach(enrollment.plan.step(enrollment.step + 1), enrollment.happened[-1].at)


def whats(enrollment: Enrollment) -> list[What]:
    return [entry.what for entry in enrollment.happened]


def test_a_step_that_is_reached_sleeps_until_its_time() -> None:
    enrollment = begin(start(email(1, 1)))
    shown = enrollment.shown()
    assert (shown.state, shown.step) == (State.SLEEPING, 1)
    assert shown.next_at == local(2026, 11, 23, 9, 30)


def test_an_email_that_was_sent_is_over_and_the_next_counts_from_its_day() -> None:
    enrollment = begin(start(email(1, 1), email(2, 3)))
    sent = outcomes.Sent(at=local(2026, 11, 23, 9, 30))
    enrollment.sent(sent, enrollment.reserve(), sent.at, by_rep=False)
    assert enrollment.is_over
    reach_next(enrollment)
    assert enrollment.due.at == local(2026, 11, 25, 9, 30)


def test_what_an_activity_recorded_itself_is_not_recorded_again() -> None:
    enrollment = begin(start(email(1, 1)))
    sent = outcomes.Sent(at=local(2026, 11, 23, 9, 30))
    enrollment.sent(sent, enrollment.reserve(), sent.at, by_rep=False)
    assert whats(enrollment) == [What.SENT]
    assert enrollment.record().entries == ()


def test_a_blocked_email_waits_and_goes_on_when_the_data_is_mended() -> None:
    enrollment = begin(start(email(1, 1)))
    at = local(2026, 11, 23, 9, 30)
    why = Why(code=WhyCode.MISSING_DATA, detail="industry")
    enrollment.sent(outcomes.Blocked(why=why), enrollment.reserve(), at, by_rep=False)
    assert enrollment.shown().state is State.BLOCKED
    assert enrollment.is_stuck
    handling.mended(enrollment, messages.Mended(), at + MINUTE)
    assert not enrollment.is_stuck
    assert enrollment.due.at == at + MINUTE


def test_a_failed_email_holds_its_enrollment_until_it_is_retried() -> None:
    enrollment = begin(start(email(1, 1)))
    at = local(2026, 11, 23, 9, 30)
    why = Why(code=WhyCode.REFUSED, detail="552")
    enrollment.sent(outcomes.Failed(why=why), enrollment.reserve(), at, by_rep=False)
    assert enrollment.shown().state is State.FAILED
    handling.retry_step(enrollment, messages.RetryStep(), at + MINUTE)
    assert enrollment.shown().state is State.SLEEPING


def test_an_email_in_doubt_is_resolved_as_sent_or_goes_again() -> None:
    at = local(2026, 11, 23, 9, 30)
    enrollment = begin(start(email(1, 1)))
    enrollment.sent(outcomes.InDoubt(), enrollment.reserve(), at, by_rep=False)
    assert enrollment.shown().state is State.IN_DOUBT
    again = enrollment.model_copy(deep=True)
    handling.resolve_doubt(enrollment, messages.ResolveDoubt(sent=True, at=at), at + MINUTE)
    assert enrollment.over == {1: "sent"}
    handling.resolve_doubt(again, messages.ResolveDoubt(sent=False), at + MINUTE)
    assert not again.is_over
    assert again.due.at == at + MINUTE


def test_a_hard_bounce_ends_the_enrollment() -> None:
    enrollment = begin(start(email(1, 1), call(2, 2)))
    enrollment.sent(outcomes.HardBounce(), enrollment.reserve(), KICKOFF, by_rep=False)
    assert enrollment.outcome is Outcome.BOUNCED


def test_where_bounces_do_not_remove_later_emails_are_skipped_and_tasks_go_on() -> None:
    given = start(email(1, 1), email(2, 2), call(3, 3), remove_on_bounce=False)
    enrollment = begin(given)
    enrollment.sent(outcomes.HardBounce(), enrollment.reserve(), KICKOFF, by_rep=False)
    assert enrollment.over == {1: "skipped"}
    reach_next(enrollment)
    assert enrollment.over == {1: "skipped", 2: "skipped"}
    reach_next(enrollment)
    assert not enrollment.is_over
    assert enrollment.outcome is None


def test_three_soft_bounces_running_count_as_a_hard_one() -> None:
    enrollment = begin(start(email(1, 1), email(2, 2), email(3, 3)))
    for _ in range(3):
        assert enrollment.outcome is None
        now = enrollment.due.at
        enrollment.sent(outcomes.SoftBounce(), enrollment.reserve(), now, by_rep=False)
        if enrollment.step < 3:
            reach_next(enrollment)
    assert enrollment.outcome is Outcome.BOUNCED


def test_a_sent_email_between_them_breaks_a_row_of_soft_bounces() -> None:
    enrollment = begin(start(*(email(n, n) for n in range(1, 5))))
    answers: list[outcomes.SendOutcome] = [
        outcomes.SoftBounce(),
        outcomes.Sent(at=local(2026, 11, 24, 9, 30)),
        outcomes.SoftBounce(),
        outcomes.SoftBounce(),
    ]
    for number, outcome in enumerate(answers, start=1):
        enrollment.sent(outcome, enrollment.reserve(), enrollment.due.at, by_rep=False)
        if number < 4:
            reach_next(enrollment)
    assert enrollment.outcome is None


def test_a_completed_call_is_over_with_who_did_it() -> None:
    enrollment = with_open_task(start(call(1, 1), email(2, 1)))
    done = messages.CompleteTask(task_id=f"{ENROLLMENT}-1", who="r1", outcome="Connected")
    handling.complete_task(enrollment, done, KICKOFF + MINUTE)
    assert enrollment.over == {1: "done"}
    with pytest.raises(Refused, match="task_completed by r1 at 2026-11-23 13:01 UTC"):
        handling.complete_task(enrollment, done, KICKOFF + 2 * MINUTE)


@pytest.mark.parametrize("task_id", ["", "x", f"{ENROLLMENT}-9", f"{ENROLLMENT}-0", "other-1"])
def test_an_unknown_task_is_refused(task_id: str) -> None:
    enrollment = with_open_task(start(call(1, 1)))
    with pytest.raises(Refused, match="no task"):
        handling.complete_task(enrollment, messages.CompleteTask(task_id=task_id), KICKOFF)


def test_a_task_that_is_not_open_yet_is_refused() -> None:
    enrollment = begin(start(email(1, 1), call(2, 2)))
    with pytest.raises(Refused, match="not open yet"):
        handling.skip_task(enrollment, messages.SkipTask(task_id=f"{ENROLLMENT}-2"), KICKOFF)


def test_a_message_for_another_enrollment_is_refused() -> None:
    enrollment = begin(start(email(1, 1)))
    with pytest.raises(Refused, match="it means enrollment ffff"):
        handling.end(enrollment, messages.End(enrollment_id="ffff"), KICKOFF)
    assert enrollment.outcome is None


def test_an_email_task_is_over_when_it_is_sent_not_when_it_is_scheduled() -> None:
    enrollment = with_open_task(start(email_task(1, 1), email(2, 2)))
    at = KICKOFF + 5 * MINUTE
    ask = messages.SendTaskEmail(task_id=f"{ENROLLMENT}-1", at=at, draft_id="d1")
    handling.send_task_email(enrollment, ask, KICKOFF)
    assert not enrollment.is_over
    assert enrollment.shown().next_at == at
    assert enrollment.drafts == {1: "d1"}
    enrollment.sent(outcomes.Sent(at=at), enrollment.reserve(), at, by_rep=True)
    assert enrollment.over == {1: "sent_by_rep"}


def test_a_draft_that_fails_the_check_leaves_its_task_open_with_the_reason() -> None:
    enrollment = with_open_task(start(email_task(1, 1)))
    handling.send_task_email(enrollment, messages.SendTaskEmail(task_id=f"{ENROLLMENT}-1"), KICKOFF)
    why = Why(code=WhyCode.PROMPT_LEFT)
    enrollment.sent(outcomes.Blocked(why=why), enrollment.reserve(), KICKOFF, by_rep=True)
    assert enrollment.shown().state is State.TASK
    assert enrollment.task is not None
    assert enrollment.task.trouble == why
    assert not enrollment.task.wants_sending


def test_a_held_enrollment_refuses_a_reps_send_but_lets_the_task_be_completed() -> None:
    enrollment = with_open_task(start(email_task(1, 1)))
    handling.hold(enrollment, messages.Hold(hold_id="h1", kind=HoldKind.CAMPAIGN), KICKOFF)
    ask = messages.SendTaskEmail(task_id=f"{ENROLLMENT}-1")
    with pytest.raises(Refused, match=r"held \(campaign\)"):
        handling.send_task_email(enrollment, ask, KICKOFF)
    assert enrollment.shown().state is State.HELD
    handling.complete_task(enrollment, messages.CompleteTask(task_id=f"{ENROLLMENT}-1"), KICKOFF)
    assert enrollment.over == {1: "sent_by_rep"}
    assert What.SENT_ELSEWHERE in whats(enrollment)


def test_a_hold_whose_end_has_come_refuses_no_reps_send() -> None:
    enrollment = with_open_task(start(email_task(1, 1)))
    handling.hold(enrollment, messages.Hold(hold_id="h1", until=KICKOFF + MINUTE), KICKOFF)
    ask = messages.SendTaskEmail(task_id=f"{ENROLLMENT}-1")
    with pytest.raises(Refused, match="held"):
        handling.send_task_email(enrollment, ask, KICKOFF)
    handling.send_task_email(enrollment, ask, KICKOFF + MINUTE)
    assert enrollment.shown().state is State.TASK


def test_a_hold_that_was_released_before_it_came_never_holds() -> None:
    enrollment = begin(start(email(1, 1)))
    handling.release(enrollment, messages.Release(hold_id="h1"), KICKOFF)
    with pytest.raises(Refused, match="released already"):
        handling.hold(enrollment, messages.Hold(hold_id="h1"), KICKOFF)
    assert not enrollment.is_held(KICKOFF)


def test_when_the_last_hold_goes_a_step_whose_time_passed_falls_under_r9() -> None:
    enrollment = begin(start(email(1, 1, "09:30"), email(2, 3)))
    handling.hold(enrollment, messages.Hold(hold_id="h1"), KICKOFF)
    handling.hold(enrollment, messages.Hold(hold_id="h2"), KICKOFF)
    wednesday = local(2026, 11, 25, 8, 0)
    handling.release(enrollment, messages.Release(hold_id="h1"), wednesday)
    assert enrollment.is_held(wednesday)
    handling.release(enrollment, messages.Release(hold_id="h2"), wednesday)
    assert enrollment.due.at == local(2026, 11, 25, 9, 30)


def test_a_hold_ends_by_itself_at_its_moment() -> None:
    enrollment = begin(start(email(1, 1)))
    until = KICKOFF + timedelta(hours=1)
    handling.hold(enrollment, messages.Hold(hold_id="h1", until=until), KICKOFF)
    assert enrollment.is_held(until - MINUTE)
    assert enrollment.held_until == until
    assert not enrollment.is_held(until)
    assert whats(enrollment) == [What.HELD, What.RELEASED]


def test_a_hold_that_only_the_tables_know_is_learned_from_the_activity() -> None:
    enrollment = begin(start(email(1, 1)))
    held = outcomes.Held(hold_id="h1", hold_kind=HoldKind.REP)
    enrollment.sent(held, enrollment.reserve(), KICKOFF, by_rep=False)
    assert enrollment.is_held(KICKOFF)
    handling.release(enrollment, messages.Release(hold_id="h1"), KICKOFF)
    enrollment.sent(held, enrollment.reserve(), KICKOFF, by_rep=False)
    assert not enrollment.is_held(KICKOFF)


@pytest.mark.parametrize(
    ("setting", "outcome"),
    [
        (OnReply.CONTINUE, None),
        (OnReply.END, Outcome.REPLIED),
        (OnReply.END_AS_SUCCESS, Outcome.REPLIED_SUCCESS),
    ],
)
def test_a_reply_ends_or_not_as_the_campaign_says(
    setting: OnReply, outcome: Outcome | None
) -> None:
    enrollment = begin(start(email(1, 1), on_reply=setting))
    handling.replied(enrollment, messages.Replied(), KICKOFF)
    assert enrollment.outcome is outcome


def test_the_first_end_wins_and_what_comes_later_is_recorded() -> None:
    enrollment = begin(start(email(1, 1)))
    handling.unsubscribed(enrollment, messages.Unsubscribed(), KICKOFF)
    handling.replied(enrollment, messages.Replied(), KICKOFF)
    assert enrollment.outcome is Outcome.UNSUBSCRIBED
    assert whats(enrollment) == [What.UNSUBSCRIBED, What.ENDED, What.REPLIED]


def test_a_step_to_come_is_skipped_when_its_turn_comes() -> None:
    enrollment = begin(start(email(1, 1), email(2, 2), email(3, 3)))
    handling.skip_step(enrollment, messages.SkipStep(step=2), KICKOFF)
    sent = outcomes.Sent(at=local(2026, 11, 23, 9, 30))
    enrollment.sent(sent, enrollment.reserve(), sent.at, by_rep=False)
    reach_next(enrollment)
    assert enrollment.over == {1: "sent", 2: "skipped"}
    reach_next(enrollment)
    assert enrollment.due.at == local(2026, 11, 25, 9, 30)


def test_an_email_can_be_moved_and_later_days_follow_a_later_date() -> None:
    enrollment = begin(start(email(1, 1), email(2, 2)))
    to = local(2026, 11, 25, 14, 0)
    handling.move_email(enrollment, messages.MoveEmail(step=1, at=to), KICKOFF)
    assert enrollment.due.at == to
    enrollment.sent(outcomes.Sent(at=to), enrollment.reserve(), to, by_rep=False)
    reach_next(enrollment)
    assert enrollment.due.at == local(2026, 11, 26, 9, 30)


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_step_that_does_not_exist_is_refused(number: int) -> None:
    enrollment = begin(start(email(1, 1), email(2, 2)))
    with pytest.raises(Refused, match=f"no step {number}"):
        handling.skip_step(enrollment, messages.SkipStep(step=number), KICKOFF)


def test_while_an_email_is_being_sent_edits_are_refused() -> None:
    enrollment = begin(start(email(1, 1)))
    enrollment.phase = State.SENDING
    with pytest.raises(Refused, match="just being sent"):
        handling.edit_email(enrollment, messages.EditEmail(step=1, draft_id="d1"), KICKOFF)
    with pytest.raises(Refused, match="just being sent"):
        handling.move_email(enrollment, messages.MoveEmail(step=1, at=KICKOFF + MINUTE), KICKOFF)
    with pytest.raises(Refused, match="just being sent"):
        handling.skip_step(enrollment, messages.SkipStep(step=1), KICKOFF)


def test_a_flood_of_wrong_messages_does_not_swell_the_state() -> None:
    enrollment = begin(start(email(1, 1)))
    for _ in range(3 * MOST_REFUSALS):
        enrollment.refuse("nonsense", "there is no such message", KICKOFF)
    assert len(enrollment.happened) == MOST_REFUSALS
    assert enrollment.refusals == 3 * MOST_REFUSALS


def test_the_whole_state_survives_being_carried_to_a_new_run() -> None:
    enrollment = with_open_task(start(email_task(1, 1), email(2, 2)))
    handling.hold(enrollment, messages.Hold(hold_id="h1"), KICKOFF)
    carried = start(email_task(1, 1), email(2, 2)).model_copy(
        update={"carried": enrollment.model_dump_json()}
    )
    assert Enrollment.begin(carried) == enrollment


def test_a_task_of_day_1_opens_at_a_kickoff_that_is_still_to_come_and_not_at_its_midnight() -> None:
    enrollment = Enrollment.begin(start(call(1, 1)))
    enrollment.reach(enrollment.plan.step(1), KICKOFF - timedelta(hours=20))
    assert enrollment.due.at == KICKOFF


def test_of_two_holds_the_wait_ends_with_the_last_or_not_by_itself() -> None:
    enrollment = begin(start(email(1, 1)))
    soon, later = KICKOFF + timedelta(hours=1), KICKOFF + timedelta(hours=2)
    handling.hold(enrollment, messages.Hold(hold_id="h1", until=soon), KICKOFF)
    handling.hold(enrollment, messages.Hold(hold_id="h2", until=later), KICKOFF)
    why = enrollment.shown().why
    assert why is not None
    assert why.until == later
    handling.hold(enrollment, messages.Hold(hold_id="h3"), KICKOFF)
    why = enrollment.shown().why
    assert why is not None
    assert why.until is None
    assert enrollment.shown().next_at == soon
