"""What the worker counts of its activities, for Prometheus: emails by outcome, and how late."""

from typing import Any

from prometheus_client import Counter, Histogram
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.outcomes import OpenResult, SendEmail, SendResult, Sent

EMAILS = Counter(
    "drumbeat_emails",
    "Answers of the send activity, by outcome: sent, wait_until, held, blocked, failed, …",
    ["outcome"],
)
WAITS = Counter(
    "drumbeat_email_waits",
    "Emails that were due and had to wait, by reason: limits, window, retry, mailbox, …",
    ["reason"],
)
TASKS = Counter("drumbeat_tasks", "Tasks that fell due, by outcome: opened, held, …", ["outcome"])
LATENESS = Histogram(
    "drumbeat_email_lateness_seconds",
    "From the moment at which an automatic email could leave until the server's 250.",
    buckets=(0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
)


class _Counting(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # whatever it returns
        """Run an activity and count what came of it."""
        result = await super().execute_activity(input)
        if isinstance(result, SendResult):
            outcome = result.outcome
            EMAILS.labels(outcome.kind).inc()
            if outcome.kind == "wait_until":
                WAITS.labels(outcome.why.code).inc()
            asked = input.args[0]
            if isinstance(outcome, Sent) and isinstance(asked, SendEmail) and not asked.by_rep:
                LATENESS.observe(max(0.0, (outcome.at - asked.due_at).total_seconds()))
        elif isinstance(result, OpenResult):
            TASKS.labels(result.outcome.kind).inc()
        return result


class CountingInterceptor(Interceptor):
    """Counts the outcomes of activities."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Stand around one activity."""
        return _Counting(next)
