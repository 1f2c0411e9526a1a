"""Waiting for a state, never for a time."""

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], *, seconds: float = 30, what: str = "") -> None:
    """Return when the condition holds.

    Raises:
        AssertionError: It did not within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what or "the awaited state never came"
        await asyncio.sleep(0.02)
