"""What a command works with: settings, store, reps and Temporal, each opened when asked for."""

from contextlib import AsyncExitStack
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import Self

from temporalio.client import Client

from drumbeat.reps import Reps
from drumbeat.settings import Settings
from drumbeat.store.engine import Store, open_store
from drumbeat.temporal.client import connect

PATIENCE = timedelta(seconds=5)
"""How long a command waits for a Temporal server that does not answer."""


class Context:
    """Opens what a command asks for, and closes it when the command is over."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._store: Store | None = None
        self._reps: Reps | None = None
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @cached_property
    def settings(self) -> Settings:
        """From the environment or `.env`.

        Raises:
            pydantic.ValidationError: One of them cannot be used.
        """
        return Settings()

    async def store(self) -> Store:
        """The database, its schema up to date.

        Raises:
            StoreError: It cannot be opened, is from a newer version, or is to be migrated first.
        """
        if self._store is None:
            self._store = await open_store(self.settings.database)
            self._stack.push_async_callback(self._store.close)
        return self._store

    async def client(self) -> Client:
        """Connected to Temporal.

        Raises:
            TemporalUnreachable: It does not answer.
        """
        if self._client is None:
            self._client = await connect(self.settings, patience=PATIENCE)
        return self._client
