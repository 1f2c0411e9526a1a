"""People: found by address, written in bulk, their data filled and mended."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.people import (
    BadAddress,
    PersonRow,
    field_fault,
    normalise_address,
)
from drumbeat.campaign.planning import LaunchError, parse_zone
from drumbeat.store.engine import inserting
from drumbeat.store.keys import person_id
from drumbeat.store.schema import people


class BadField(ValueError):
    """A person's data cannot be so; the text says what would be right."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the tables say of a person."""

    id: str
    email: str
    """Normalised; another than the first one where it was mended."""
    fields: Mapping[str, str]
    timezone: str | None
    external_id: str | None
    revision: int

    def filled_by(self, row: PersonRow) -> "Known":
        """The person with what a file's row fills; its blanks change nothing."""
        return Known(
            self.id,
            self.email,
            {**self.fields, **row.fields},
            row.timezone or self.timezone,
            row.external_id or self.external_id,
            self.revision,
        )


async def find(tx: AsyncConnection, address: str) -> Row[Any] | None:
    """A person's row by the address, normalised."""
    return (await tx.execute(select(people).where(people.c.email == address))).one_or_none()


async def known(
    tx: AsyncConnection, key: bytes, addresses: Sequence[str], *, lock: bool = False
) -> dict[str, Known]:
    """Those of the addresses whose person is known, also under an address given up since.

    Args:
        tx: A write transaction, if the rows are to be locked.
        key: The database's own key for ids.
        addresses: Normalised; some hundreds at most.
        lock: Whether nobody else is to change the rows until the transaction ends.

    Returns:
        Address as asked -> person.
    """
    by_id = {person_id(key, address): address for address in addresses}
    wanted = select(people).where(or_(people.c.email.in_(addresses), people.c.id.in_(by_id)))
    if lock:
        # Everybody locks in this order, so that no two wait for each other. Rows that only point
        # to a person, as a task does that is being opened, need not wait (`key_share`).
        wanted = wanted.order_by(people.c.id).with_for_update(key_share=True)
    rows = [_known(row) for row in await tx.execute(wanted)]
    # Whoever has the address now goes before whoever had it first.
    first = {by_id[person.id]: person for person in rows if person.id in by_id}
    asked = set(addresses)
    return first | {person.email: person for person in rows if person.email in asked}


def _known(row: Row[Any]) -> Known:
    return Known(row.id, row.email, dict(row.fields), row.timezone, row.external_id, row.revision)


async def insert_all(
    tx: AsyncConnection, key: bytes, rows: Iterable[PersonRow], now: datetime
) -> None:
    """Make people known; those who are already stay as they are.

    Args:
        tx: A write transaction.
        key: The database's own key for ids.
        rows: From a file; some hundreds at most.
        now: UTC.
    """
    values = [
        {
            "id": person_id(key, row.email),
            "email": row.email,
            "external_id": row.external_id,
            "fields": dict(row.fields),
            "timezone": row.timezone,
            "revision": 1,
            "created_at": now,
            "updated_at": now,
        }
        for row in rows
    ]
    if values:
        values.sort(key=lambda row: str(row["id"]))
        await tx.execute(inserting(tx, people).values(values).on_conflict_do_nothing())


async def change_all(tx: AsyncConnection, changed: Iterable[Known], now: datetime) -> None:
    """Write people's data; each one's revision grows, so that what is being sent looks again."""
    values = [
        {
            "of": person.id,
            "fields": dict(person.fields),
            "timezone": person.timezone,
            "external_id": person.external_id,
            "revision": person.revision + 1,
            "updated_at": now,
        }
        for person in sorted(changed, key=lambda person: person.id)
    ]
    if values:
        await tx.execute(update(people).where(people.c.id == bindparam("of")), values)


async def mend(tx: AsyncConnection, person: str, changes: Mapping[str, str], now: datetime) -> bool:
    """Change a person's data; whether anything is other than before.

    Args:
        tx: A write transaction.
        person: The person's id, which stays the same whatever changes.
        changes: Token -> its new text, blank: none any more. `email`, `timezone` and `id` too.
        now: UTC.

    Raises:
        LookupError: The tables know no such person.
        BadField: A name is no token of a person, the address is malformed or somebody else's, or
            the zone is unknown.
    """
    wanted = select(people).where(people.c.id == person).with_for_update(key_share=True)
    found = await tx.execute(wanted)
    row = found.one_or_none()
    if row is None:
        raise LookupError(f"the tables know no person {person}")
    texts = {name: text.strip() for name, text in changes.items()}
    values: dict[str, Any] = {}
    if "email" in texts:
        values["email"] = await _free_address(tx, person, texts.pop("email"))
    if "timezone" in texts:
        values["timezone"] = _zone(texts.pop("timezone"))
    if "id" in texts:
        values["external_id"] = texts.pop("id") or None
    for name, text in texts.items():
        if (fault := field_fault(name, text)) is not None:
            raise BadField(fault)
    fields = {name: text for name, text in {**row.fields, **texts}.items() if text}
    values["fields"] = fields
    if all(getattr(row, name) == value for name, value in values.items()):
        return False
    await tx.execute(
        update(people)
        .where(people.c.id == person)
        .values(**values, revision=row.revision + 1, updated_at=now)
    )
    return True


async def _free_address(tx: AsyncConnection, person: str, text: str) -> str:
    try:
        address = normalise_address(text)
    except BadAddress as error:
        raise BadField(f"malformed address: {error}") from error
    other = await find(tx, address)
    if other is not None and other.id != person:
        raise BadField("the address is somebody else's already: give another")
    return address


def _zone(text: str) -> str | None:
    try:
        zone = parse_zone(text)
    except LaunchError as error:
        raise BadField(str(error)) from error
    return zone.key if zone is not None else None
