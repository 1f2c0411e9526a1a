"""What a worker says of its connection to Temporal: once when it is gone, once when it is back."""

import asyncio
import logging
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
_LEVELS = "error,temporalio_sdk_core=warn,temporalio_sdk=warn,temporal_sdk_bridge=warn"
"""The SDK's client would warn of every call that it repeats: some hundred lines a minute."""


def log_through_python() -> None:
    """Let the SDK's own lines come through Python's logging, as lines or JSON like all others.

    To be called once in a process, before it connects.
    """
    forwarding = LogForwardingConfig(logging.getLogger("temporalio.core"))
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
