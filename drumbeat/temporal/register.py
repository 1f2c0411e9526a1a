"""Makes a Temporal server ready for Drumbeat: the namespace and its search attributes.

`python -m drumbeat.temporal.register` does it once and ends; it may be repeated.
"""

import asyncio
import os
import sys
import time
from datetime import timedelta

from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    RegisterNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from drumbeat.temporal.attributes import register
from drumbeat.temporal.client import TemporalUnreachable, connect

RETENTION = timedelta(days=30)
"""How long ended workflows stay readable; lost suppressions are read back from them."""


async def prepare(client: Client, *, patience: timedelta = timedelta(seconds=90)) -> None:
    """Register the client's namespace, kept as it is where it exists, and the search attributes.

    Raises:
        RPCError: The server refused, or was not ready when `patience` was over.
        TimeoutError: The search attributes were not usable when `patience` was over.
    """
    deadline = time.monotonic() + patience.total_seconds()
    while True:
        try:
            await _register_namespace(client)
            break
        except RPCError as error:
            # The port answers a moment before the services behind it have found each other.
            if error.status is not RPCStatusCode.UNAVAILABLE or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)
    await register(client, client.namespace, patience=patience)


async def _register_namespace(client: Client) -> None:
    request = RegisterNamespaceRequest(namespace=client.namespace)
    request.workflow_execution_retention_period.FromTimedelta(RETENTION)
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        try:
            await client.workflow_service.register_namespace(request)
        except RPCError as conflict:  # somebody else was faster
            if conflict.status is not RPCStatusCode.ALREADY_EXISTS:
                raise


async def main() -> int:
    """Prepare the server that Temporal's variables name; the exit status."""
    try:
        client = await connect(patience=timedelta(minutes=2))
        await prepare(client)
    except (TemporalUnreachable, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    except RPCError as error:
        print(f"the Temporal server refused: {error.status.name}", file=sys.stderr)
        return 1
    print(f"namespace {client.namespace} and its search attributes are registered")
    return 0


if __name__ == "__main__":
    status = asyncio.run(main())
    sys.stdout.flush()
    sys.stderr.flush()
    # A process that used Temporal's SDK may crash when the interpreter exits (sdk-python issue
    # 300); this keeps the status.
    os._exit(status)
