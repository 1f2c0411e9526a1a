"""The workflow of one enrollment: it walks the campaign's steps until they are over or it ends."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import Priority, RawValue, RetryPolicy, SearchAttributeUpdate
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    # Not `from workflows import …`: importlib finds the modules of a package that the sandbox has
    # imported itself, as it has this file's, and each run would build all models of them anew.
    import workflows.handling as handling
    import workflows.messages as messages
    import workflows.showing as showing
    from activities.emails import Emails
    from activities.enrollments import Enrollments
    from activities.outcomes import AWAITED, OpenTask, SendEmail
    from activities.tasks import Tasks
    from drumbeat.campaign.calendar import PlannedStep
    from drumbeat.campaign.states import Outcome, State
    from drumbeat.temporal import attributes
    from workflows.enrollment import Enrollment, Refused

_M = TypeVar("_M", bound=messages.Message)

SHORTEST_WAIT = timedelta(seconds=1)
"""Every wait for a time is a timer, however short: which commands are given never depends on the
zone data or the holidays of the day, so that a replay gives the same ones."""

# SMTP's own deadlines end before this; the heartbeat is what notices a dead worker.
SEND_TIMEOUT = timedelta(minutes=12)
HEARTBEAT = timedelta(seconds=15)
RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60))

HOLDS_END_AT_TASKS = "holds-end-at-tasks"
"""Runs that were held at an open task before have no timer for the hold's end in their history."""

OVERHEARS_NOTHING = "overhears-nothing"
"""Earlier runs went on to wait though a message had come while they recorded the one before."""

NO_INPUT = RawValue(Payload())


@workflow.defn(name=messages.WORKFLOW_TYPE)
class CampaignWorkflow:
    """One person in one campaign.

    Answers to the signals and updates of `workflows.messages` and to the query `progress`. No
    message, however wrong, fails or blocks it: what cannot be carried out is remembered.
    """

    @workflow.init
    def __init__(self, start: messages.CampaignInput) -> None:
        self._start = start
        self._enrollment = Enrollment.begin(start)

    @workflow.run
    async def run(self, start: messages.CampaignInput) -> messages.CampaignResult:
        """Walk the steps, one after another, until the last is over or the enrollment ends."""
        enrollment = self._enrollment
        for step in enrollment.steps_to_walk:
            await self._walk(step)
            if enrollment.outcome is not None:
                break
            await self._go_on_as_new_run_if_long()
        enrollment.finish(Outcome.COMPLETED, workflow.now())
        await self._tell_the_end()
        return messages.CampaignResult(outcome=enrollment.result, steps=len(enrollment.over))

    async def _walk(self, step: PlannedStep) -> None:
        self._enrollment.reach(step, workflow.now())
        if step.is_task:
            await self._hand_to_rep(step)
        else:
            await self._send_when_due(step)

    async def _send_when_due(self, step: PlannedStep) -> None:
        """An automatic email: wait for its time, then send it."""
        enrollment = self._enrollment
        while not enrollment.is_over:
            if not await self._all_is_told():
                continue
            if await self._nothing_stands_in_the_way() and await self._sleep_until(
                enrollment.due.at, showing.summary(step)
            ):
                await self._send(step, by_rep=False)

    async def _hand_to_rep(self, step: PlannedStep) -> None:
        """A task: open it on its day, then wait for the rep, whose email is sent when asked."""
        enrollment = self._enrollment
        while not enrollment.is_over:
            if not await self._all_is_told():
                continue
            task = enrollment.task
            if task is None:
                if await self._nothing_stands_in_the_way() and await self._sleep_until(
                    enrollment.due.at, f"{showing.summary(step)} opens"
                ):
                    await self._open_task(step)
            elif not task.wants_sending:
                await self._wait_for_the_rep()
            elif await self._nothing_stands_in_the_way():
                at = task.send_at
                if at is None or await self._sleep_until(at, f"{showing.summary(step)}, scheduled"):
                    await self._send(step, by_rep=True)

    # Waiting

    async def _all_is_told(self) -> bool:
        """Tell what changed. False: a message came meanwhile, for which no wait would wake."""
        changes = self._enrollment.changes
        await self._tell_what_changed()
        return self._enrollment.changes == changes or not workflow.patched(OVERHEARS_NOTHING)

    async def _nothing_stands_in_the_way(self) -> bool:
        """Whether the step may go on; waits for one message where it may not."""
        enrollment = self._enrollment
        if enrollment.is_held(workflow.now()):
            await self._wait_for_a_message(enrollment.held_until)
            return False
        if enrollment.is_stuck:
            await self._wait_for_a_message()
            return False
        # A hold that ended by itself is a change that the tables do not know yet.
        return not enrollment.unrecorded

    async def _wait_for_the_rep(self) -> None:
        """Wait for a message; a hold that ends by itself meanwhile is dropped."""
        until = self._enrollment.held_until
        if until is None or not workflow.patched(HOLDS_END_AT_TASKS):
            await self._wait_for_a_message()
            return
        await self._wait_for_a_message(until)
        self._enrollment.is_held(workflow.now())

    async def _wait_for_a_message(self, until: datetime | None = None) -> None:
        """Wait until a message changes something, or until a moment (UTC)."""
        changes = self._enrollment.changes
        timeout = None if until is None else max(until - workflow.now(), SHORTEST_WAIT)
        try:
            await workflow.wait_condition(
                lambda: self._enrollment.changes != changes,
                timeout=timeout,
                timeout_summary=None if timeout is None else "hold ends",
            )
        except TimeoutError:
            return

    async def _sleep_until(self, at: datetime, summary: str) -> bool:
        """Sleep until a moment (UTC). False: a message changed something first."""
        changes = self._enrollment.changes
        try:
            await workflow.wait_condition(
                lambda: self._enrollment.changes != changes,
                timeout=max(at - workflow.now(), SHORTEST_WAIT),
                timeout_summary=summary,
            )
        except TimeoutError:
            return True
        return False

    # What is done in the outside world

    async def _send(self, step: PlannedStep, *, by_rep: bool) -> None:
        enrollment = self._enrollment
        is_awaited = by_rep or enrollment.has_place
        record, seq = enrollment.record(), enrollment.reserve()
        phase = enrollment.phase
        enrollment.phase = State.SENDING
        result = await workflow.execute_activity_method(
            Emails.send_email,
            SendEmail(
                record=record,
                step=step.number,
                due_at=enrollment.due.at,
                due_on=enrollment.due.on,
                seq=seq,
                draft_id=enrollment.drafts.get(step.number),
                by_rep=by_rep,
                released=tuple(enrollment.released),
            ),
            start_to_close_timeout=SEND_TIMEOUT,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRIES,
            summary=f"send {showing.summary(step)}",
            priority=Priority(priority_key=AWAITED) if is_awaited else Priority.default,
        )
        enrollment.phase = phase
        enrollment.recorded(record)
        enrollment.sent(result.outcome, seq, workflow.now(), by_rep=by_rep)

    async def _open_task(self, step: PlannedStep) -> None:
        enrollment = self._enrollment
        record, seq = enrollment.record(), enrollment.reserve()
        enrollment.begin_opening()
        result = await workflow.execute_activity_method(
            Tasks.open_task,
            OpenTask(
                record=record,
                step=step.number,
                due=enrollment.due.on,
                seq=seq,
                rep_id=enrollment.rep_id,
                released=tuple(enrollment.released),
            ),
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=RETRIES,
            summary=f"open {showing.summary(step)}",
        )
        enrollment.recorded(record)
        if not enrollment.is_over:
            enrollment.opening(result.outcome, seq, workflow.now())

    async def _record(self) -> None:
        record = self._enrollment.record()
        await workflow.execute_activity_method(
            Enrollments.record,
            record,
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=RETRIES,
            summary=f"record {record.shown.state}",
        )
        self._enrollment.recorded(record)

    async def _tell_what_changed(self) -> None:
        """Bring the tables, the search attributes and the page in the UI up to date."""
        self._show()
        if self._enrollment.unrecorded:
            await self._record()

    async def _tell_the_end(self) -> None:
        """Leave nothing untold: late messages are recorded, and their senders answered."""
        while self._enrollment.unrecorded or not workflow.all_handlers_finished():
            await self._tell_what_changed()
            await workflow.wait_condition(
                lambda: bool(self._enrollment.unrecorded) or workflow.all_handlers_finished()
            )

    def _show(self) -> None:
        """Change the search attributes that differ, from those of the start on.

        The page costs nothing.
        """
        workflow.set_current_details(showing.details(self._enrollment))
        shown = self._enrollment.shown()
        there = workflow.info().typed_search_attributes
        updates: list[SearchAttributeUpdate[Any]] = []
        if there.get(attributes.STATE) != shown.state:
            updates.append(attributes.STATE.value_set(shown.state))
        next_at = attributes.NEXT_ACTION_AT
        if there.get(next_at) != shown.next_at:
            updates.append(
                next_at.value_unset() if shown.next_at is None else next_at.value_set(shown.next_at)
            )
        if shown.step is not None and there.get(attributes.STEP) != str(shown.step):
            updates.append(attributes.STEP.value_set(str(shown.step)))
        if updates:
            workflow.upsert_search_attributes(updates)

    async def _go_on_as_new_run_if_long(self) -> None:
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(workflow.all_handlers_finished)
            carried = self._enrollment.model_dump_json()
            workflow.continue_as_new(self._start.model_copy(update={"carried": carried}))

    # Messages

    def _take(
        self, handle: Callable[[Enrollment, _M, datetime], None], model: type[_M], raw: RawValue
    ) -> None:
        """Carry a signal out, or remember why it could not be."""
        try:
            message = workflow.payload_converter().from_payload(raw.payload, model)
            handle(self._enrollment, message, workflow.now())
        except Refused as refused:
            self.refuse(model.__name__, str(refused))
        except Exception as error:
            # Whatever a stranger sends must not stop the walk.
            said = bool(raw.payload.metadata)
            self.refuse(model.__name__, handling.unreadable(error) if said else handling.NOTHING)

    def _try(self, handle: Callable[[Enrollment, _M, datetime], None], message: _M) -> None:
        """Refuse an update that could not be carried out; changes nothing."""
        try:
            handling.check(self._enrollment, message)
            handle(self._enrollment.model_copy(deep=True), message, workflow.now())
        except Refused as refused:
            raise ApplicationError(str(refused), type="Refused", non_retryable=True) from None

    async def _carry_out(
        self, handle: Callable[[Enrollment, _M, datetime], None], message: _M
    ) -> None:
        """Carry an update out; returns when its effect is in the tables."""
        try:
            handle(self._enrollment, message, workflow.now())
        except Refused as refused:
            raise ApplicationError(str(refused), type="Refused", non_retryable=True) from None
        seq = self._enrollment.seq
        await workflow.wait_condition(
            lambda: not any(waiting <= seq for waiting in self._enrollment.unrecorded)
        )

    def refuse(self, name: str, reason: str) -> None:
        """Remember a message that could not be carried out."""
        workflow.logger.warning("A message was refused: %s", name)
        self._enrollment.refuse(name, reason, workflow.now())

    @workflow.query
    def progress(self) -> messages.Progress:
        """Where the enrollment stands, why it waits, what happened so far."""
        return showing.progress(self._enrollment)

    @workflow.signal(name="complete_task")
    def complete_task_signal(self, raw: RawValue = NO_INPUT) -> None:
        """A rep has done a task."""
        self._take(handling.complete_task, messages.CompleteTask, raw)

    @workflow.signal
    def replied(self, raw: RawValue = NO_INPUT) -> None:
        """The person answered."""
        self._take(handling.replied, messages.Replied, raw)

    @workflow.signal
    def bounced(self, raw: RawValue = NO_INPUT) -> None:
        """A delivery report came back."""
        self._take(handling.bounced, messages.Bounced, raw)

    @workflow.signal
    def unsubscribed(self, raw: RawValue = NO_INPUT) -> None:
        """The person wants no more email."""
        self._take(handling.unsubscribed, messages.Unsubscribed, raw)

    @workflow.signal
    def hold(self, raw: RawValue = NO_INPUT) -> None:
        """Nothing opens or leaves."""
        self._take(handling.hold, messages.Hold, raw)

    @workflow.signal
    def release(self, raw: RawValue = NO_INPUT) -> None:
        """A hold is lifted."""
        self._take(handling.release, messages.Release, raw)

    @workflow.signal
    def end(self, raw: RawValue = NO_INPUT) -> None:
        """The person is removed from the campaign."""
        self._take(handling.end, messages.End, raw)

    @workflow.signal
    def late_answer(self, raw: RawValue = NO_INPUT) -> None:
        """The mail server had taken an email after all."""
        self._take(handling.late_answer, messages.LateAnswer, raw)

    @workflow.signal(dynamic=True)
    def unknown(self, name: str, args: Sequence[RawValue]) -> None:
        """A signal that nobody knows."""
        self.refuse(name, "there is no such message")

    @workflow.update
    async def complete_task(self, message: messages.CompleteTask) -> None:
        """A rep has done a task."""
        await self._carry_out(handling.complete_task, message)

    @complete_task.validator
    def _may_complete_task(self, message: messages.CompleteTask) -> None:
        self._try(handling.complete_task, message)

    @workflow.update
    async def skip_task(self, message: messages.SkipTask) -> None:
        """A task is left out."""
        await self._carry_out(handling.skip_task, message)

    @skip_task.validator
    def _may_skip_task(self, message: messages.SkipTask) -> None:
        self._try(handling.skip_task, message)

    @workflow.update
    async def snooze_task(self, message: messages.SnoozeTask) -> None:
        """A task's due date moves."""
        await self._carry_out(handling.snooze_task, message)

    @snooze_task.validator
    def _may_snooze_task(self, message: messages.SnoozeTask) -> None:
        self._try(handling.snooze_task, message)

    @workflow.update
    async def edit_task(self, message: messages.EditTask) -> None:
        """A task changes."""
        await self._carry_out(handling.edit_task, message)

    @edit_task.validator
    def _may_edit_task(self, message: messages.EditTask) -> None:
        self._try(handling.edit_task, message)

    @workflow.update
    async def send_task_email(self, message: messages.SendTaskEmail) -> None:
        """A rep's email is to leave."""
        await self._carry_out(handling.send_task_email, message)

    @send_task_email.validator
    def _may_send_task_email(self, message: messages.SendTaskEmail) -> None:
        self._try(handling.send_task_email, message)

    @workflow.update
    async def unschedule(self, message: messages.Unschedule) -> None:
        """A scheduled email is a plain open task again."""
        await self._carry_out(handling.unschedule, message)

    @unschedule.validator
    def _may_unschedule(self, message: messages.Unschedule) -> None:
        self._try(handling.unschedule, message)

    @workflow.update
    async def edit_email(self, message: messages.EditEmail) -> None:
        """An automatic email leaves with a rep's text."""
        await self._carry_out(handling.edit_email, message)

    @edit_email.validator
    def _may_edit_email(self, message: messages.EditEmail) -> None:
        self._try(handling.edit_email, message)

    @workflow.update
    async def move_email(self, message: messages.MoveEmail) -> None:
        """An automatic email leaves at another moment."""
        await self._carry_out(handling.move_email, message)

    @move_email.validator
    def _may_move_email(self, message: messages.MoveEmail) -> None:
        self._try(handling.move_email, message)

    @workflow.update
    async def skip_step(self, message: messages.SkipStep) -> None:
        """A step is left out."""
        await self._carry_out(handling.skip_step, message)

    @skip_step.validator
    def _may_skip_step(self, message: messages.SkipStep) -> None:
        self._try(handling.skip_step, message)

    @workflow.update
    async def retry_step(self, message: messages.RetryStep) -> None:
        """A failed or blocked step is tried again."""
        await self._carry_out(handling.retry_step, message)

    @retry_step.validator
    def _may_retry_step(self, message: messages.RetryStep) -> None:
        self._try(handling.retry_step, message)

    @workflow.update
    async def mended(self, message: messages.Mended) -> None:
        """The person's data changed."""
        await self._carry_out(handling.mended, message)

    @mended.validator
    def _may_be_mended(self, message: messages.Mended) -> None:
        self._try(handling.mended, message)

    @workflow.update
    async def resolve_doubt(self, message: messages.ResolveDoubt) -> None:
        """Somebody says what became of an email in doubt."""
        await self._carry_out(handling.resolve_doubt, message)

    @resolve_doubt.validator
    def _may_resolve_doubt(self, message: messages.ResolveDoubt) -> None:
        self._try(handling.resolve_doubt, message)
