"""The floor: a bare workflow of timers and empty activities, which Drumbeat is measured against."""

from datetime import datetime, timedelta

from temporalio import activity, workflow

WORKFLOW_TYPE = "Floor"
BETWEEN = timedelta(days=1)
"""From one round to the next."""


@activity.defn(name="nothing")
async def nothing() -> None:
    """Do nothing: what is left is what Temporal costs."""


@workflow.defn(name=WORKFLOW_TYPE)
class Floor:
    """As many rounds as it is told, each of one timer and one empty activity."""

    @workflow.run
    async def run(self, due_at: datetime, rounds: int) -> None:
        """Sleep until `due_at` (UTC), later for a day each time; then do nothing, once a round."""
        wait = due_at - workflow.now()
        for _ in range(rounds):
            await workflow.sleep(wait)
            await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(minutes=1))
            wait = BETWEEN
