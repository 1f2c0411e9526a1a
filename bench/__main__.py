"""`make bench`: measure against the floor, print a table, write JSON.

`python -m bench --people 200 --only sending` measures one figure with fewer people.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from temporalio.client import Client

from bench import (
    crowd,
    enrolling,
    histories,
    lateness,
    pages,
    places,
    previewing,
    sending,
    spread,
    waking,
    walks,
)
from bench.report import Figure, as_json, phase, show, write_json
from bench.stage import BenchFailed, set_up
from drumbeat.machine.build import BuildFailed
from drumbeat.store.errors import StoreError
from drumbeat.temporal.client import TemporalUnreachable

OF_THE_CROWD: dict[str, Callable[[crowd.Run, crowd.Run], Figure]] = {
    enrolling.NAME: enrolling.figure,
    sending.NAME: sending.figure,
    lateness.NAME: lateness.figure,
}
OF_WALKS = (histories.NAME, waking.NAME)
UNASKED = (*OF_THE_CROWD, *OF_WALKS, previewing.NAME, places.NAME)
"""What is measured where nothing is named; what is left out takes minutes of its own."""
NAMES = (*UNASKED, pages.NAME, spread.NAME)


async def measure(names: Collection[str], people: int) -> list[Figure]:
    """The figures of these names, in the order of `NAMES`.

    Raises:
        BenchFailed: One of them could not be measured.
    """
    figures: list[Figure] = []
    if previewing.NAME in names:  # first, while nothing else runs
        with phase(_say, "preview"):
            figures.append(previewing.measure())
    if places.NAME in names:
        figures += await places.measure(_say)
    if pages.NAME in names:
        figures += await pages.measure(_say)
    if spread.NAME in names:
        async with set_up(people, _say) as stage:
            figures.append(await spread.measure(stage, people))
    if not set(names) - {previewing.NAME, places.NAME, pages.NAME, spread.NAME}:
        return figures
    async with set_up(people, _say) as stage:
        if set(names) & set(OF_WALKS):
            figures += await _of_walks(stage.client, names)
        if set(names) & set(OF_THE_CROWD):
            floor = await crowd.run_floor(stage, people)
            ours = await crowd.run_campaign(stage, people)
            figures += [make(ours, floor) for name, make in OF_THE_CROWD.items() if name in names]
    return sorted(figures, key=lambda figure: NAMES.index(figure.name))


async def _of_walks(client: Client, names: Collection[str]) -> list[Figure]:
    figures: list[Figure] = []
    with phase(_say, f"walks of {walks.STEPS} steps in virtual time"):
        emails, floors = await walks.emails(client), await walks.floors(client)
        if histories.NAME in names:
            figures += histories.figures(emails, await walks.tasks(client), floors)
    if waking.NAME in names:
        with phase(_say, f"waking cold workflows at step {waking.STEP}"):
            figures.append(await waking.measure(emails, await walks.bare(client), floors))
    return figures


def _keep_bytecode() -> None:
    """Let Python keep what it compiles: else every run of a workflow compiles its file anew."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _say(line: str) -> None:
    print(line, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--people", type=int, default=2000, help="due at one moment")
    parser.add_argument(
        "--only", action="append", choices=NAMES, help="measure this alone; may be repeated"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("var/bench.json"), help="where the figures are written"
    )
    options = parser.parse_args(arguments)
    if options.people < 1:
        parser.error("--people: at least 1")
    return options


async def _run(options: argparse.Namespace) -> int:
    _keep_bytecode()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    began, at = time.monotonic(), datetime.now(UTC)
    try:
        figures = await measure(options.only or UNASKED, options.people)
    except asyncio.CancelledError:
        print("stopped; nothing runs any more", file=sys.stderr)
        return 130
    except (BenchFailed, BuildFailed, StoreError, TemporalUnreachable) as error:
        print(error, file=sys.stderr)
        return 1
    seconds = time.monotonic() - began
    show(figures)
    try:
        write_json(options.json, as_json(figures, people=options.people, seconds=seconds, at=at))
    except OSError as error:
        print(f"{options.json}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{seconds:.0f} s in all; {options.json} holds the figures")
    return 0


if __name__ == "__main__":
    status = asyncio.run(_run(_options(None)))
    sys.stdout.flush()
    sys.stderr.flush()
    # Temporal's SDK may crash at the interpreter's own end (sdk-python issue 300).
    os._exit(status)
