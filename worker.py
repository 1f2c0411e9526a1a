"""The worker: connects, wires the activities to their parts, and runs until SIGTERM or SIGINT."""

import asyncio
import logging
import os
import signal
import sys
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from activities.emails import Emails
from activities.enrollments import Enrollments
from activities.letters import Letters
from activities.tasks import Tasks
from drumbeat.actions.delivery import Delivery
from drumbeat.mail.links import Links
from drumbeat.mail.rendering import Renderer
from drumbeat.mail.sending import Mailer, SmtpMailer
from drumbeat.reps import Reps
from drumbeat.settings import Settings
from drumbeat.store.engine import Store, open_store
from drumbeat.temporal.client import connect
from drumbeat.temporal.interceptor import RecordingInterceptor
from workflows.campaign import CampaignWorkflow

_LOG = logging.getLogger("drumbeat.worker")

SMTP_GRACE = timedelta(minutes=11)
"""How long a worker that is told to stop lets outstanding SMTP answers come in."""


def build_worker(
    client: Client,
    settings: Settings,
    store: Store,
    reps: Reps,
    renderer: Renderer,
    mailer: Mailer,
) -> Worker:
    """The worker with its activities wired to their parts."""
    letters = Letters(renderer, Links(settings.public_url, settings.secret_keys), reps)
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=[CampaignWorkflow],
        activities=[
            Emails(store, letters, mailer).send_email,
            Tasks(store).open_task,
            Enrollments(store).record,
        ],
        interceptors=[RecordingInterceptor()],
        max_cached_workflows=settings.worker_cache,
        max_concurrent_workflow_tasks=settings.worker_slots,
        max_concurrent_activities=settings.worker_slots,
        graceful_shutdown_timeout=SMTP_GRACE,
    )


async def main() -> None:
    """Run until told to stop; outstanding sends are finished first."""
    settings = Settings()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = await open_store(settings.database)
    ...
