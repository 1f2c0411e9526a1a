"""Open a rep's task."""

from temporalio import activity

from activities.guarding import guard
from activities.outcomes import Opened, OpenResult, OpenTask
from drumbeat.campaign.model import EmailStep
from drumbeat.campaign.record import Entry, Shown, What
from drumbeat.campaign.states import State, TaskStatus, Why, WhyCode
from drumbeat.store import campaigns, ledger, recording
from drumbeat.store.engine import Store, insert_new
from drumbeat.store.schema import tasks


class Tasks:
    """Opens tasks. Its parts come from the worker."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn
    async def open_task(self, task: OpenTask) -> OpenResult:
        """Put a step's task into its rep's queue, once, unless a hold or an end stands against it.

        An email's row is made with it, so that its rendering can be kept as it is shown.
        """
        async with self._store.write() as tx:
            now = await self._store.now(tx)
            row = await recording.apply(tx, task.record, now)
            against = await guard(tx, row, None, task.released, now)
            if against is not None:
                return OpenResult(outcome=against)
            step = (await campaigns.load(tx, row.version)).step(task.step)
            values = {
                "id": f"{row.id}-{task.step}",
                "enrollment_id": row.id,
                "person_id": row.person_id,
                "campaign": row.campaign,
                "step": task.step,
                "kind": step.kind,
                "subject": step.title,
                "rep_id": task.rep_id,
                "due": task.due,
                "priority": step.priority,
                "notes": step.notes,
                "status": TaskStatus.OPEN,
                "opened_at": now,
            }
            await insert_new(tx, tasks, values)
            if isinstance(step, EmailStep):
                await ledger.schedule(tx, row, task.step, None, now)
            entry = Entry(seq=task.seq, at=now, what=What.TASK_OPENED, step=task.step)
            await recording.add_event(tx, row, entry, now)
            shown = Shown(state=State.TASK, step=task.step, why=Why(code=WhyCode.TASK))
            standing = task.record.standing.model_dump_json()
            await recording.stand(tx, row, task.seq, shown, standing, now)
        return OpenResult(outcome=Opened())
