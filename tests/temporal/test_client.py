from datetime import timedelta

import pytest

from drumbeat.settings import Settings
from drumbeat.temporal.client import TemporalUnreachable, connect, server_address
from tests.ports import free_port
from tests.temporal_server import TemporalServer


async def test_it_connects_to_the_address_of_the_environment(
    temporal_server: TemporalServer,
) -> None:
    client = await connect(environment=temporal_server.environment)
    assert client.service_client.config.target_host == temporal_server.address
    assert client.namespace == "default"


async def test_without_an_address_it_connects_to_this_machines_port(
    temporal_server: TemporalServer,
) -> None:
    port = int(temporal_server.address.split(":")[1])
    client = await connect(Settings(temporal_port=port), environment={})
    assert client.service_client.config.target_host == temporal_server.address


def test_an_empty_variable_counts_as_missing() -> None:
    settings = Settings(temporal_port=7233)
    assert server_address(settings, {"TEMPORAL_ADDRESS": ""}) == "127.0.0.1:7233"


async def test_a_server_that_never_answers_is_one_error_with_address_and_variable() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(TemporalUnreachable, match=f"{address}.*TEMPORAL_ADDRESS"):
        await connect(
            environment={"TEMPORAL_ADDRESS": address}, patience=timedelta(milliseconds=300)
        )


async def test_a_profile_that_does_not_exist_is_one_error() -> None:
    with pytest.raises(TemporalUnreachable, match="configuration"):
        await connect(environment={"TEMPORAL_PROFILE": "nowhere"}, patience=timedelta(0))
