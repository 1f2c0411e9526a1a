"""How long an event takes to reach everybody who looks at the Live Feed."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from sqlalchemy import select

from bench.stage import BenchFailed
from drumbeat.campaign.record import What
from drumbeat.store import events
from drumbeat.store.engine import Store
from drumbeat.store.lists import feed
from drumbeat.store.schema import enrollments

LISTENERS = 200
AIM_MS = 1000
ROUNDS = 10
_PATIENCE = 30.0
"""Seconds after which an event counts as lost."""


async def slowest(base: str, store: Store, cookies: Sequence[dict[str, str]]) -> float:
    """Milliseconds from an event's commit until the last listener has it, in the slowest round.

    Args:
        base: The application's address.
        store: Its database.
        cookies: Of users who see everything; they share the listeners.

    Raises:
        BenchFailed: An event did not reach everybody.
    """
    async with store.read() as tx:
        after = await feed.newest(tx)
        row = (await tx.execute(select(enrollments).limit(1))).one()
    taken: list[float] = []
    async with AsyncExitStack() as stack:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        for number in range(LISTENERS):
            reader, writer = await _listen(base, cookies[number % len(cookies)], after)
            stack.callback(writer.close)
            task = asyncio.create_task(_read(reader, heard))
            stack.callback(task.cancel)
        for _ in range(ROUNDS):
            async with store.write() as tx:
                now = await store.now(tx)
                await events.append(
                    tx,
                    enrollment_id=row.id,
                    key=f"bench-{secrets.token_hex(8)}",
                    person_id=row.person_id,
                    campaign=row.campaign,
                    at=now,
                    what=What.SENT,
                    step=1,
                )
            began = time.perf_counter()
            try:
                async with asyncio.timeout(_PATIENCE):
                    for _ in range(LISTENERS):
                        await heard.get()
            except TimeoutError:
                raise BenchFailed("an event did not reach everybody at the Live Feed") from None
            taken.append((time.perf_counter() - began) * 1000)
    return max(taken)


async def _listen(
    base: str, cookie: dict[str, str], after: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream of events; it has answered when this returns."""
    host, port = str(urlsplit(base).hostname), urlsplit(base).port
    reader, writer = await asyncio.open_connection(host, port)
    [(name, value)] = cookie.items()
    writer.write(
        f"GET /feed/events?after={after} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Cookie: {name}={value}\r\nAccept: text/event-stream\r\n\r\n".encode()
    )
    status = await reader.readline()
    if b" 200 " not in status:
        raise BenchFailed(f"the Live Feed answered {status.decode().strip()}")
    while b": open" not in await reader.readline():
        pass
    return reader, writer


async def _read(reader: asyncio.StreamReader, heard: "asyncio.Queue[bytes]") -> None:
    """Tell of each event that arrives whole."""
    while line := await reader.readline():
        if line.startswith(b"data: </li>") or (line.startswith(b"data:") and b"</li>" in line):
            heard.put_nowait(line)
