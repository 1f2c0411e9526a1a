"""The search attributes of every enrollment's workflow, by which the Temporal UI filters."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

CAMPAIGN: SearchAttributeKey[str] = SearchAttributeKey.for_keyword("Campaign")
"""The campaign's slug."""
REP: SearchAttributeKey[str] = SearchAttributeKey.for_keyword("Rep")
"""The rep's opaque id: no address may stand in a search attribute."""
STEP: SearchAttributeKey[str] = SearchAttributeKey.for_keyword("Step")
"""The step at which the enrollment stands."""
STATE: SearchAttributeKey[str] = SearchAttributeKey.for_keyword("State")
"""The enrollment's state, a slug."""
NEXT_ACTION_AT: SearchAttributeKey[datetime] = SearchAttributeKey.for_datetime("NextActionAt")
"""When the enrollment moves next, in UTC."""

ALL: list[SearchAttributeKey[Any]] = [CAMPAIGN, REP, STEP, STATE, NEXT_ACTION_AT]
"""Keywords and moments only: a Text would be split into words."""


async def register(
    client: Client, namespace: str, *, patience: timedelta = timedelta(seconds=90)
) -> None:
    """Register the search attributes in the namespace and wait until they can be used.

    A workflow that starts before they are known is refused, and one that sets an unknown one is
    stuck; so this comes before the first worker. It may be repeated. A cluster may need a minute
    until all its hosts know a new attribute.

    Raises:
        TimeoutError: The attributes were added, and were not usable when `patience` was over.
        RPCError: The server refused, or an attribute of the name exists with another type.
    """
    wanted = {key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in ALL}
    deadline = time.monotonic() + patience.total_seconds()
    while True:
        try:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(namespace=namespace, search_attributes=wanted)
            )
            listed = await client.operator_service.list_search_attributes(
                ListSearchAttributesRequest(namespace=namespace)
            )
            if wanted.items() <= dict(listed.custom_attributes).items():
                return
        except RPCError as error:
            # A namespace that has just been registered is not known to every host at once.
            if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.UNAVAILABLE):
                raise
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise TimeoutError(f"the search attributes of namespace {namespace} are not usable yet")
        await asyncio.sleep(0.2)
