"""A bare workflow of the timers and activities of a campaign, for what waking one costs."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.outcomes import SendEmail, SendResult

WORKFLOW_TYPE = "Bare"


@workflow.defn(name=WORKFLOW_TYPE)
class Bare:
    """A campaign of emails without anything that is Drumbeat's own: no calendar, no messages."""

    @workflow.run
    async def run(self, send: SendEmail, rounds: int) -> None:
        """A day's timer and a sending, as Drumbeat asks for them, once a round."""
        for number in range(1, rounds + 1):
            await workflow.sleep(timedelta(days=1), summary=f"day {number}: email 'intro'")
            await workflow.execute_activity(
                "send_email",
                send,
                result_type=SendResult,
                start_to_close_timeout=timedelta(minutes=12),
                summary=f"send day {number}: email 'intro'",
            )
