"""How far a decision has come to the workflows that must be told of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions.asking import PATIENCE
from drumbeat.store import outbox
from drumbeat.store.engine import Store
from drumbeat.store.schema import enrollments

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
"""Seconds between two looks into the tables."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was noted for workflows, in the same transaction as what it follows from."""

    enrollments: int
    """How many are to be told; it acts on all of them already."""
    keys: tuple[str, ...]
    """How the keys of the outbox's rows begin."""


async def unconfirmed(store: Store, told: Told, *, wait: timedelta = PATIENCE) -> int:
    """Wait until the workflows have confirmed it; how many have not, when the wait is over."""

    async def count(tx: AsyncConnection) -> int:
        return sum([await outbox.count_waiting(tx, key) for key in told.keys])

    return await _until_none(store, count, wait)


async def not_ended(store: Store, which: ColumnElement[bool], *, wait: timedelta = PATIENCE) -> int:
    """Wait until enrollments that were asked to end have ended; how many have not by then."""
    wanted = select(func.count()).where(
        which, enrollments.c.ended_at.is_(None), enrollments.c.end_asked.is_not(None)
    )

    async def count(tx: AsyncConnection) -> int:
        return int((await tx.execute(wanted)).scalar_one())

    return await _until_none(store, count, wait)


async def _until_none(
    store: Store, count: Callable[[AsyncConnection], Awaitable[int]], wait: timedelta
) -> int:
    loop = asyncio.get_running_loop()
    until = loop.time() + wait.total_seconds()
    pause = _FIRST_PAUSE
    while True:
        async with store.read() as tx:
            left = await count(tx)
        if not left or loop.time() + pause > until:
            return left
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
