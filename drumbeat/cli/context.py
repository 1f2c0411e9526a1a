"""What a command works with: settings, store, reps and Temporal, each opened when asked for."""

from contextlib import AsyncExitStack
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from temporalio.client import Client

from activities.letters import Letters
from drumbeat.actions.desk import Desk
from drumbeat.cli.errors import CommandRefused
from drumbeat.machine.home import secret_key
from drumbeat.mail.links import Links
from drumbeat.mail.rendering import Renderer
from drumbeat.reps import Reps, read_reps
from drumbeat.settings import Settings
from drumbeat.store import reps as reps_table
from drumbeat.store.engine import Store, open_store
from drumbeat.store.keys import people_key
from drumbeat.temporal.client import connect

EXAMPLE_REPS = Path(__file__).parents[2] / "examples" / "reps.yaml"

PATIENCE = timedelta(seconds=5)
"""How long a command waits for a Temporal server that does not answer."""


def reps_file(settings: Settings) -> Path:
    """The file that is set; beside the database of `up --example` the example's own.

    `up` hands that to its parts, but not to a command that is typed beside it.
    """
    is_said = "reps" in settings.model_fields_set or settings.reps.exists()
    is_beside_up = not settings.database_url and (settings.home / "drumbeat.db").exists()
    if not is_said and is_beside_up and EXAMPLE_REPS.exists():
        return EXAMPLE_REPS
    return settings.reps


class Context:
    """Opens what a command asks for, and closes it when the command is over."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._store: Store | None = None
        self._reps: Reps | None = None
        self._letters: Letters | None = None
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

    async def reps(self) -> Reps:
        """The reps of the file, and their copy in the database brought up to it.

        Raises:
            CommandRefused: The file has faults; each is a line.
            StoreError: As `store`.
        """
        if self._reps is None:
            reading = read_reps(reps_file(self.settings), local_smtp=self._local_smtp())
            if reading.faults:
                raise CommandRefused(*map(str, reading.faults))
            store = await self.store()
            async with store.write() as tx:
                self._reps = Reps(reading.reps, await people_key(tx))
                await reps_table.sync(tx, self._reps, await store.now(tx))
        return self._reps

    async def letters(self) -> Letters:
        """What renders emails; its child process ends with the command.

        Raises:
            CommandRefused: The reps file has faults, or no key signs the links in emails.
            StoreError: As `store`.
        """
        if self._letters is None:
            links = Links(self.settings.public_url, self._secret_keys())
            reps = await self.reps()
            renderer = await self._stack.enter_async_context(Renderer())
            self._letters = Letters(renderer, links, reps)
        return self._letters

    async def desk(self, acting: str | None = None) -> Desk:
        """From where actions are carried out.

        Args:
            acting: The address that `--as` names; None: the rep of the enrollment, or of the task.

        Raises:
            StoreError: As `store`.
        """
        return Desk(await self.store(), self.client, acting)

    def _local_smtp(self) -> str | None:
        """Where mailboxes without a server of their own send: `up`'s, beside its database."""
        if self.settings.local_smtp or self.settings.database_url:
            return self.settings.local_smtp or None
        return f"smtp://127.0.0.1:{self.settings.smtp_port}"

    def _secret_keys(self) -> list[str]:
        """The keys that sign links: those of the settings, beside `up`'s database its own."""
        keys = self.settings.secret_keys
        if not keys and not self.settings.database_url:
            keys = [secret_key(self.settings.home)]
        if not keys:
            raise CommandRefused(
                "DRUMBEAT_SECRET_KEY is not set: it signs the links in emails; "
                "set the one that the worker has"
            )
        return keys
