from drumbeat.store.engine import Store
from drumbeat.store.keys import people_key, person_id


async def test_a_database_keeps_one_key_for_ids(store: Store) -> None:
    async with store.read() as tx:
        first, second = await people_key(tx), await people_key(tx)
    assert first == second
    assert len(first) == 32


def test_an_id_tells_nothing_without_the_key() -> None:
    one = person_id(b"k" * 32, "ada@example.com")
    assert one == person_id(b"k" * 32, "ada@example.com")
    assert one != person_id(b"l" * 32, "ada@example.com")
    assert one.startswith("p")
    assert len(one) == 21
