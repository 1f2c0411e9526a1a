"""What a worker says of its connection to Temporal: once when it is gone, once when it is back."""

import asyncio
import logging
import math
import re
import time
from datetime import timedelta

from temporalio.client import Client
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    Runtime,
    TelemetryConfig,
)
from temporalio.service import RPCError

_LOG = logging.getLogger("drumbeat.temporal")

EVERY = timedelta(seconds=10)
TIMEOUT = timedelta(seconds=5)
SAID_AGAIN_AFTER = timedelta(minutes=10)
_LEVELS = "error,temporalio_sdk_core=warn,temporalio_sdk=warn,temporal_sdk_bridge=warn"
"""The SDK's client would warn of every call that it repeats: some hundred lines a minute."""

_NUMBER = re.compile(r"\d+")


class Seldom(logging.Filter):
    """Lets the same words through once in ten minutes, whichever workflow they are said of.

    On a machine that is too busy the SDK has the same to say of a thousand workflows.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is said."""
        words = _NUMBER.sub("", record.getMessage().partition(" {")[0])  # then: which workflow
        now = time.monotonic()
        if now - self._said.get(words, -math.inf) < SAID_AGAIN_AFTER.total_seconds():
            return False
        self._said[words] = now
        return True


def log_through_python() -> None:
    """Let the SDK's own lines come through Python's logging, as lines or JSON like all others.

    To be called once in a process, before it connects.
    """
    logger = logging.getLogger("temporalio.core")
    logger.addFilter(Seldom())
    forwarding = LogForwardingConfig(logger)
    logs = LoggingConfig(filter=_LEVELS, forwarding=forwarding)
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=logs)))


class Connection:
    """Looks now and then whether Temporal answers."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.is_lost = False

    async def run(self, stop: asyncio.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            await self.look()
            try:
                await asyncio.wait_for(stop.wait(), EVERY.total_seconds())
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Look once; a change is said in the log."""
        try:
            await self._client.service_client.check_health(timeout=TIMEOUT)
        except RPCError as error:
            if not self.is_lost:
                _LOG.error(
                    "Temporal does not answer (%s): nothing happens until it does",
                    error.status.name,
                )
            self.is_lost = True
            return
        if self.is_lost:
            _LOG.info("Temporal answers again")
        self.is_lost = False
