"""People in the tables: found, written in bulk, filled and mended; on both databases."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from drumbeat.campaign.people import PersonRow
from drumbeat.store import people
from drumbeat.store.engine import Store
from drumbeat.store.keys import people_key, person_id
from drumbeat.store.people import BadField
from drumbeat.store.schema import people as table

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
ANN, BOB = "ann@example.org", "bob@example.org"


async def put(store: Store, *rows: PersonRow) -> None:
    async with store.write() as tx:
        await people.insert_all(tx, await people_key(tx), rows, NOW)


async def known(store: Store, *addresses: str) -> dict[str, people.Known]:
    async with store.write() as tx:
        return await people.known(tx, await people_key(tx), addresses, lock=True)


async def mend(store: Store, address: str, **changes: str) -> bool:
    async with store.write() as tx:
        row = await people.find(tx, address)
        assert row is not None
        return await people.mend(tx, row.id, changes, LATER)


async def test_people_are_known_by_an_opaque_id_from_then_on(store: Store) -> None:
    await put(store, PersonRow(2, ANN, {"title": "CTO"}, "Europe/Berlin", "42"))
    found = await known(store, ANN, BOB)
    async with store.read() as tx:
        expected = person_id(await people_key(tx), ANN)
    assert found == {ANN: people.Known(expected, ANN, {"title": "CTO"}, "Europe/Berlin", "42", 1)}


async def test_who_is_known_stays_as_they_are_when_inserted_again(store: Store) -> None:
    await put(store, PersonRow(2, ANN, {"title": "CTO"}))
    await put(store, PersonRow(2, BOB, {}), PersonRow(3, ANN, {"title": "CFO"}))
    assert (await known(store, ANN))[ANN].fields == {"title": "CTO"}
    assert set(await known(store, ANN, BOB)) == {ANN, BOB}


async def test_nobody_is_inserted_and_nothing_changed_for_nobody(store: Store) -> None:
    await put(store)
    async with store.write() as tx:
        await people.change_all(tx, [], NOW)
    assert await known(store) == {}


async def test_a_row_fills_and_its_blanks_change_nothing(store: Store) -> None:
    await put(store, PersonRow(2, ANN, {"title": "CTO", "company": "Acme"}, "Europe/Berlin", "42"))
    person = (await known(store, ANN))[ANN]
    filled = person.filled_by(PersonRow(2, ANN, {"title": "CFO"}))
    assert filled.fields == {"title": "CFO", "company": "Acme"}
    assert (filled.timezone, filled.external_id) == ("Europe/Berlin", "42")
    assert person.filled_by(PersonRow(2, ANN, {"title": "CTO"})) == person


async def test_a_change_raises_the_revision(store: Store) -> None:
    await put(store, PersonRow(2, ANN, {}), PersonRow(3, BOB, {}))
    found = await known(store, ANN, BOB)
    async with store.write() as tx:
        filled = found[ANN].filled_by(PersonRow(2, ANN, {"title": "CFO"}, "Asia/Tokyo", "7"))
        await people.change_all(tx, [filled], LATER)
    ann = (await known(store, ANN))[ANN]
    assert (ann.fields, ann.timezone, ann.external_id) == ({"title": "CFO"}, "Asia/Tokyo", "7")
    assert ann.revision == 2
    assert (await known(store, BOB))[BOB].revision == 1
    async with store.read() as tx:
        moments = select(table.c.created_at, table.c.updated_at).where(table.c.email == ANN)
        assert tuple((await tx.execute(moments)).one()) == (NOW, LATER)


async def test_a_person_is_found_under_the_first_address_as_well(store: Store) -> None:
    await put(store, PersonRow(2, ANN, {}))
    await mend(store, ANN, email="Anna@Example.org")
    found = await known(store, ANN, "anna@example.org")
    assert found[ANN] == found["anna@example.org"]
    assert found[ANN].email == "anna@example.org"


async def test_who_has_an_address_now_goes_before_who_had_it_first(store: Store) -> None:
    await put(store, PersonRow(2, ANN, {}), PersonRow(3, BOB, {}))
    await mend(store, ANN, email="anna@example.org")
    await mend(store, BOB, email=ANN)
    async with store.read() as tx:
        bob = person_id(await people_key(tx), BOB)
    assert (await known(store, ANN))[ANN].id == bob


async def test_mending_changes_fields_and_raises_the_revision(store: Store) -> None:
    await put(store, PersonRow(2, ANN, {"title": "CTO", "company": "Acme"}, "Europe/Berlin", "1"))
    assert await mend(store, ANN, title=" CFO ", company="", industry="steel", timezone="", id="2")
    ann = (await known(store, ANN))[ANN]
    assert ann.fields == {"title": "CFO", "industry": "steel"}
    assert (ann.timezone, ann.external_id, ann.revision) == (None, "2", 2)


async def test_mending_to_what_is_there_changes_nothing(store: Store) -> None:
    await put(store, PersonRow(2, ANN, {"title": "CTO"}))
    assert not await mend(store, ANN, title="CTO", email=ANN, company=" ")
    assert (await known(store, ANN))[ANN].revision == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"my_name": "x"}, "'my_name' begins with 'my_'"),
        ({"campaign": "x"}, "'campaign' is a token of Drumbeat's own"),
        ({"2nd": "x"}, "'2nd' cannot be a token"),
        ({"note": "x" * 8001}, "'note' has more than 8,000 characters"),
        ({"note": "a\0b"}, "'note' holds a NUL"),
        ({"email": "ann"}, "malformed address: "),
        ({"email": ""}, "malformed address: "),
        ({"email": "BOB@example.org"}, "the address is somebody else's already"),
        ({"timezone": "Europe/Berlim"}, "unknown time zone"),
    ],
)
async def test_mending_refuses_what_cannot_be(
    store: Store, changes: dict[str, str], message: str
) -> None:
    await put(store, PersonRow(2, ANN, {}), PersonRow(3, BOB, {}))
    with pytest.raises(BadField, match=message):
        await mend(store, ANN, **changes)
    assert (await known(store, ANN))[ANN].revision == 1


async def test_mending_somebody_unknown_is_an_error(store: Store) -> None:
    async with store.write() as tx:
        with pytest.raises(LookupError):
            await people.mend(tx, "p0", {"title": "x"}, NOW)


async def test_two_who_change_people_at_once_wait_for_each_other(store: Store) -> None:
    rows = [PersonRow(n, f"person{n}@example.org", {}) for n in range(50)]
    addresses = [row.email for row in rows]

    async def change(name: str, order: list[str]) -> None:
        async with store.write() as tx:
            key = await people_key(tx)
            await people.insert_all(tx, key, rows, NOW)
            found = await people.known(tx, key, order, lock=True)
            filled = [one.filled_by(PersonRow(1, one.email, {name: "x"})) for one in found.values()]
            await people.change_all(tx, filled, NOW)

    await asyncio.gather(
        *(change(f"by{n}", addresses[:: 1 if n % 2 else -1]) for n in range(6)),
    )
    found = await known(store, *addresses)
    assert all(len(one.fields) == 6 and one.revision == 7 for one in found.values())
