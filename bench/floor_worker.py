"""The floor's worker, as a process of its own: `python -m bench.floor_worker`.

It has the settings of Drumbeat's own worker (`worker.build_worker`), so that nothing but the work
differs.
"""

import asyncio
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import uvloop
from temporalio.worker import Worker

from bench import floor
from drumbeat.settings import Settings
from drumbeat.temporal.client import connect
from worker import TASKS_A_THREAD

READY = "floor worker ready"


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = await connect(settings)
    async with Worker(
        client,
        task_queue=settings.task_queue,
        workflows=[floor.Floor],
        activities=[floor.nothing],
        max_cached_workflows=settings.worker_cache,
        workflow_task_executor=ThreadPoolExecutor(settings.worker_threads),
        max_concurrent_workflow_tasks=TASKS_A_THREAD * settings.worker_threads,
        max_concurrent_activities=settings.worker_slots,
    ):
        print(READY, flush=True)
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(run(Settings()))
    sys.stdout.flush()
    # Temporal's SDK may crash at the interpreter's own end (sdk-python issue 300).
    os._exit(0)
