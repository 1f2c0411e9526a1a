import psycopg

from tests.postgres import Cluster


def test_a_new_database_is_empty_and_takes_writes(postgres_cluster: Cluster) -> None:
    with psycopg.connect(postgres_cluster.dsn(postgres_cluster.create_database("x"))) as one:
        one.execute("CREATE TABLE t (n int)")
        one.execute("INSERT INTO t VALUES (1)")
        assert one.execute("SELECT n FROM t").fetchall() == [(1,)]
