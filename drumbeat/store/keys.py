"""The key from which opaque ids are made, and the ids: who has no key cannot guess a person."""

import hashlib
import hmac

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.schema import keys

_PEOPLE = "people"


async def people_key(tx: AsyncConnection) -> bytes:
    """The key of this database, for people's and reps' ids; it never changes.

    Raises:
        LookupError: The database was migrated by hand and has none.
    """
    found = await tx.execute(select(keys.c.value).where(keys.c.name == _PEOPLE))
    key: bytes | None = found.scalar_one_or_none()
    if key is None:
        raise LookupError("the table `keys` has no key for ids: run the migrations again")
    return key


def person_id(key: bytes, address: str) -> str:
    """The opaque id of a person: 'p' and 20 hex digits.

    Args:
        key: The database's own, see `people_key`.
        address: The first address under which the person was known, normalised.
    """
    return "p" + hmac.new(key, address.encode(), hashlib.sha256).hexdigest()[:20]
