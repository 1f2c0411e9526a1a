"""The one place that connects to Temporal."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from temporalio.client import Client, Interceptor
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RPCError

from drumbeat.settings import Settings

PATIENCE = timedelta(seconds=30)
"""How long a worker that boots before its server waits for it."""


class TemporalUnreachable(Exception):
    """No Temporal server answered at the address, or it refused the credentials."""


async def connect(
    settings: Settings | None = None,
    *,
    patience: timedelta = PATIENCE,
    interceptors: Sequence[Interceptor] = (),
    environment: Mapping[str, str] | None = None,
) -> Client:
    """Connect to the server that Temporal's own variables name, else to the one of this machine.

    `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, the TLS files and profiles are
    read as Temporal's tools read them. A server that does not answer is asked again until
    `patience` is over: workers boot before their server.

    Args:
        settings: Name the port of this machine's server; default: read from the environment.
        patience: How long to go on asking.
        interceptors: Stand around every call of the client, and of workers made with it.
        environment: Where to look for Temporal's variables, instead of the process's own.

    Raises:
        TemporalUnreachable: It names the address and the variable, and no data.
    """
    address = server_address(settings or Settings(), environment)
    config = _configuration(environment)
    config["target_host"] = address
    deadline = time.monotonic() + patience.total_seconds()
    pause = 0.1
    while True:
        try:
            return await Client.connect(
                **config, data_converter=pydantic_data_converter, interceptors=interceptors
            )
        except RPCError as error:  # it answered: asking again changes nothing
            raise TemporalUnreachable(
                f"the Temporal server at {address} refused the connection ({error.status.name}): "
                "check TEMPORAL_API_KEY, TEMPORAL_NAMESPACE and the TLS variables"
            ) from error
        except (RuntimeError, ValueError) as error:
            if time.monotonic() + pause > deadline:
                raise TemporalUnreachable(
                    f"Temporal does not answer at {address}: "
                    "start it with `starter.py up`, or set TEMPORAL_ADDRESS"
                ) from error
        await asyncio.sleep(pause)
        pause = min(pause * 2, 2.0)


def server_address(settings: Settings, environment: Mapping[str, str] | None = None) -> str:
    """The host and port of the server: the one that is configured, else this machine's.

    Raises:
        TemporalUnreachable: Temporal's variables or profiles cannot be read.
    """
    return configured_address(environment) or f"127.0.0.1:{settings.temporal_port}"


def configured_address(environment: Mapping[str, str] | None = None) -> str | None:
    """What `TEMPORAL_ADDRESS`, or a profile of Temporal's tools, names; None where nothing does."""
    return _configuration(environment).get("target_host") or None


def _configuration(environment: Mapping[str, str] | None) -> ClientConnectConfig:
    """What Temporal's variables and profiles say, as its reader for Python reads them."""
    given = os.environ if environment is None else environment
    try:
        return ClientConfig.load_client_connect_config(
            # To that reader an empty variable would be a value.
            override_env_vars={name: value for name, value in given.items() if value}
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise TemporalUnreachable(
            f"Temporal's configuration cannot be read ({error}): "
            "check TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE and the TLS files"
        ) from error
