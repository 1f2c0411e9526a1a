"""Renders templates where they can be stopped: in a child process with limits (SPEC section 4).

A sandbox keeps a template from reaching anything, but not from computing `10 ** 10 ** 10`, looping
for ever or filling the memory.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from drumbeat.campaign.model import Template
from drumbeat.campaign.templates import MAX_OUTPUT, Body, MissingData
from drumbeat.mail.rendering_child import frame

_ROOT = Path(__file__).parents[2]
_GRACE = timedelta(seconds=15)
"""What a rendering may take by the clock beyond its processor time: starting, a busy machine."""
_LARGEST_ANSWER = 16 * MAX_OUTPUT
"""Bytes: HTML and text, of which JSON may write a character as twelve bytes."""


class RenderingStopped(Exception):
    """A template did not become an email; the reason names neither person nor data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Died(Exception):
    """The child ended without an answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Renderer:
    """One child process that renders, kept alive between calls; callers take turns.

    It starts with the first call, and again after it was stopped. Use it as a context manager, or
    `close` it.
    """

    def __init__(
        self, *, limit: timedelta = timedelta(seconds=2), memory: int = 768 * 1024 * 1024
    ) -> None:
        """Set the bounds of one rendering.

        Args:
            limit: Processor time.
            memory: Bytes of address space of the child as a whole.
        """
        self._limit = limit
        self._memory = memory
        self._turn = asyncio.Lock()
        self._child: Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the child and wait until it is gone."""
        async with self._turn:
            await self._stop()

    async def render(self, template: Template, context: Mapping[str, str]) -> Body | MissingData:
        """Return what `templates.render` does.

        Raises:
            RenderingStopped: The template is faulty, takes too long or needs too much memory.
        """
        request = frame(
            {
                "template": template.model_dump(include={"subject", "body", "is_html"}),
                "context": dict(context),
            }
        )
        async with self._turn:
            try:
                answer = await self._ask(request)
            except _Died as died:
                if died.status == -signal.SIGPROF:
                    raise RenderingStopped(self._too_long()) from None
                # It may have been killed from outside, which is no fault of the template.
                try:
                    answer = await self._ask(request)
                except _Died as again:
                    reason = f"the template ends its process (status {again.status})"
                    raise RenderingStopped(reason) from None
        if "body" in answer:
            return Body(**answer["body"])
        if "missing" in answer:
            return MissingData(**answer["missing"])
        raise RenderingStopped(answer["error"])

    def _too_long(self) -> str:
        return f"the template takes longer than {self._limit.total_seconds():g} s to render"

    async def _ask(self, request: bytes) -> dict[str, Any]:
        child = self._child or await self._start()
        assert child.stdin is not None and child.stdout is not None
        try:
            async with asyncio.timeout((self._limit + _GRACE).total_seconds()):
                child.stdin.write(request)
                await child.stdin.drain()
                length = int.from_bytes(await child.stdout.readexactly(4))
                if length > _LARGEST_ANSWER:
                    raise RenderingStopped("the template gives more than an email can hold")
                answer: dict[str, Any] = json.loads(await child.stdout.readexactly(length))
                return answer
        except TimeoutError:
            await self._stop()
            raise RenderingStopped(self._too_long()) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._stop()
            raise _Died(child.returncode or 0) from None
        except BaseException:
            # The caller goes, its answer would be read by the next one: start afresh.
            await self._stop()
            raise

    async def _start(self) -> Process:
        # An environment of its own: no secret is within a template's reach.
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "drumbeat.mail.rendering_child",
            str(self._limit.total_seconds()),
            str(self._memory),
            stdin=PIPE,
            stdout=PIPE,
            env={"PYTHONPATH": str(_ROOT)},
        )
        return self._child

    async def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()
        if child.returncode is None:
            # Not `child.kill()`: that reaps a child that has just ended by itself, and its status,
            # which tells why, would be lost (asyncio then gives 255).
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        await child.wait()
