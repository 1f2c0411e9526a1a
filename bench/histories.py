"""What one step leaves in a workflow's history: events, bytes, and Actions to pay for."""

from temporalio.client import WorkflowHistory

from bench.report import Figure
from bench.walks import Cost, cost_of_a_step

NAME = "history"
MOST_EVENTS = 12
MOST_BYTES = 4_000
MOST_ACTIONS = 3
MOST_ACTIONS_A_TASK = 6


def figures(
    emails: WorkflowHistory, tasks: WorkflowHistory, floors: WorkflowHistory
) -> list[Figure]:
    """The figures of an automatic email step and of a task, from histories of whole walks."""
    email, task, floor = (cost_of_a_step(walk.events) for walk in (emails, tasks, floors))
    return [
        Figure(
            name=NAME,
            title="history of an automatic email step",
            measured=_text(email),
            floor=_text(floor),
            aim=f"{MOST_EVENTS} events, {MOST_BYTES / 1000:.0f} KB, {MOST_ACTIONS} Actions",
            reached=(
                email.events <= MOST_EVENTS
                and email.size <= MOST_BYTES
                and email.actions <= MOST_ACTIONS
            ),
            bound=(
                "A timer and an activity, as the floor, and one upsert; a third of the bytes is"
                " what the activity is asked."
            ),
            numbers={"events": email.events, "bytes": email.size, "actions": email.actions},
        ),
        Figure(
            name=NAME,
            title="history of a task, completed by an update",
            measured=_text(task),
            floor=_text(floor),
            aim=f"{MOST_ACTIONS_A_TASK} Actions",
            reached=task.actions <= MOST_ACTIONS_A_TASK,
            bound=(
                "Its timer, two activities (open, record), the update, and an upsert for each of"
                " two states."
            ),
            numbers={"events": task.events, "bytes": task.size, "actions": task.actions},
        ),
    ]


def _text(cost: Cost) -> str:
    return f"{cost.events:.0f} events, {cost.size / 1000:.1f} KB, {cost.actions:.0f} Actions"
