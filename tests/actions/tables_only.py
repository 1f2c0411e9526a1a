"""Desks for tests whose actions need the tables alone."""

from temporalio.client import Client

from drumbeat.actions.desk import Desk
from drumbeat.store.engine import Store


def desk_without_temporal(store: Store, acting: str | None = None) -> Desk:
    """A desk that fails where an action asks a workflow."""

    async def connect() -> Client:
        raise AssertionError("this action needs no workflow")

    return Desk(store, connect, acting)
