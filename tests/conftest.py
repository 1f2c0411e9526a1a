"""What the whole test session shares: one PostgreSQL cluster, one Temporal server."""

from collections.abc import Iterator

import pytest

from tests.postgres import Cluster, running_cluster


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_url(postgres_cluster: Cluster) -> str:
    """An empty database, shared by the session, as `DRUMBEAT_DATABASE_URL` names one."""
    return postgres_cluster.url(postgres_cluster.create_database("drumbeat"))
