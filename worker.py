"""The worker: connects, wires the activities to their parts, and runs until SIGTERM or SIGINT."""

import asyncio
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta

import uvloop
from temporalio.client import Client
from temporalio.worker import Worker

from activities.emails import Emails
from activities.enrollments import Enrollments
from activities.incidents import IncidentInterceptor
from activities.letters import Letters
from activities.metrics import CountingInterceptor
from activities.restoring import RestoreInterceptor
from activities.tasks import Tasks
from drumbeat.actions.delivery import Delivery
from drumbeat.actions.doubts import Doubts
from drumbeat.actions.reps_file import open_reps
from drumbeat.actions.restoring import hold_if_restored
from drumbeat.actions.tidying import Tidying
from drumbeat.actions.watching import Watch
from drumbeat.cli.errors import report
from drumbeat.logs import start_logging
from drumbeat.mail.links import Links
from drumbeat.mail.rendering import Renderer
from drumbeat.mail.sending import Mailer, SmtpMailer
from drumbeat.settings import Settings
from drumbeat.store.engine import Store, open_store
from drumbeat.temporal.client import connect
from drumbeat.temporal.interceptor import RecordingInterceptor
from drumbeat.temporal.telling import Connection, log_through_python
from drumbeat.web.metrics import serve_metrics
from drumbeat.web.starting import refuse_unsafe
from workflows.campaign import CampaignWorkflow

READY = "worker ready"
TASKS_A_THREAD = 4
"""Workflow tasks under way for each thread; one that waits 2 s for its thread counts as stuck."""
SMTP_GRACE = timedelta(minutes=12)
"""How long a worker that is told to stop lets outstanding SMTP answers come in."""


def build_worker(
    client: Client, settings: Settings, store: Store, letters: Letters, mailer: Mailer
) -> Worker:
    """The worker with its activities wired to their parts."""
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=[CampaignWorkflow],
        activities=[
            Emails(store, letters, mailer).send_email,
            Tasks(store).open_task,
            Enrollments(store).record,
        ],
        # The first is the outermost: what is counted has got past the one after it.
        interceptors=[
            RecordingInterceptor(),
            CountingInterceptor(),
            IncidentInterceptor(),
            RestoreInterceptor(store),
        ],
        max_cached_workflows=settings.worker_cache,
        # They only compute: with more threads at it, the loop in which emails leave waits for
        # Python's lock. The tasks beyond are on their way from the server, or to it. The threads
        # end with the worker.
        workflow_task_executor=ThreadPoolExecutor(settings.worker_threads, "workflow"),
        max_concurrent_workflow_tasks=TASKS_A_THREAD * settings.worker_threads,
        max_concurrent_activities=settings.worker_slots,
        graceful_shutdown_timeout=SMTP_GRACE,
    )


async def run(settings: Settings) -> None:
    """Run until told to stop; outstanding sends are finished first.

    Raises:
        StartRefused: The settings are not safe.
        RepsFileFaulty: The reps file cannot be used.
        StoreError: The database cannot be used.
        TemporalUnreachable: No Temporal server answers.
    """
    refuse_unsafe(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        store = await open_store(settings.database)
        stack.push_async_callback(store.close)
        reps = await open_reps(settings, store)
        renderer = await stack.enter_async_context(Renderer())
        mailer = SmtpMailer()
        stack.push_async_callback(mailer.close)
        client = await connect(settings)
        await hold_if_restored(store, client, settings.task_queue)
        letters = Letters(renderer, Links(settings.public_url, settings.secret_keys), reps.reps)
        delivery = Delivery(store, client, settings.task_queue)
        watch = Watch(store)
        if settings.metrics_port:
            server = serve_metrics(
                settings.metrics_host, settings.metrics_port, lambda: watch.trouble
            )
            stack.callback(server.shutdown)
        async with build_worker(client, settings, store, letters, mailer):
            print(READY, flush=True)
            doubts = Doubts(store, reps.reps)
            tidying = Tidying(store, reps.reps)
            parts = (delivery, watch, Connection(client), doubts, reps, tidying)
            await asyncio.gather(*(part.run(stop) for part in parts))


def main() -> int:
    """Run the worker; 0 when it was stopped, 1 with the reason when it could not start."""
    try:
        settings = Settings()
        start_logging(settings)
        log_through_python()
        uvloop.run(run(settings))
    except Exception as error:
        for line in report(error):
            print(line, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Temporal's SDK may crash at the interpreter's own end (sdk-python issue 300).
    os._exit(status)
