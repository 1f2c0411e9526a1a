"""Who signs in, and their sessions. Only hashes of passwords and of cookies are kept."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.engine import insert_new
from drumbeat.store.schema import sessions, users


class Role(StrEnum):
    """What a user may do; each may what those before it may."""

    REP = "rep"
    MANAGER = "manager"
    ADMIN = "admin"


async def add(
    tx: AsyncConnection, *, user_id: str, email: str, name: str, role: Role, now: datetime
) -> bool:
    """Add a user who cannot sign in yet; False where there is one with that address."""
    values = {"id": user_id, "email": email, "name": name, "role": role, "created_at": now}
    return await insert_new(tx, users, values)


async def find(tx: AsyncConnection, address: str) -> Row[Any] | None:
    """A user by address, whatever its case; also one who is disabled."""
    wanted = select(users).where(users.c.email == address.strip().lower())
    return (await tx.execute(wanted)).one_or_none()


async def by_id(tx: AsyncConnection, user_id: str) -> Row[Any] | None:
    """A user by id."""
    return (await tx.execute(select(users).where(users.c.id == user_id))).one_or_none()


async def every(tx: AsyncConnection) -> Sequence[Row[Any]]:
    """All users, by address."""
    return (await tx.execute(select(users).order_by(users.c.email))).all()


async def change(tx: AsyncConnection, user_id: str, **values: Any) -> None:
    """Change columns of a user."""
    await tx.execute(update(users).where(users.c.id == user_id).values(values))


async def open_session(
    tx: AsyncConnection, cookie: str, user_id: str, now: datetime, expires_at: datetime
) -> None:
    """Keep a session under the hash of its cookie."""
    values = {
        "id": _hash(cookie),
        "user_id": user_id,
        "created_at": now,
        "expires_at": expires_at,
    }
    await insert_new(tx, sessions, values)


async def of_session(tx: AsyncConnection, cookie: str, now: datetime) -> Row[Any] | None:
    """The user of a session that is good still; None where it is not, or the user is disabled."""
    wanted = (
        select(users)
        .join(sessions, sessions.c.user_id == users.c.id)
        .where(
            sessions.c.id == _hash(cookie),
            sessions.c.revoked_at.is_(None),
            sessions.c.expires_at > now,
            users.c.disabled_at.is_(None),
        )
    )
    return (await tx.execute(wanted)).one_or_none()


async def revoke(tx: AsyncConnection, cookie: str, now: datetime) -> None:
    """End one session."""
    await tx.execute(update(sessions).where(sessions.c.id == _hash(cookie)).values(revoked_at=now))


async def revoke_all(tx: AsyncConnection, user_id: str, now: datetime) -> int:
    """End all sessions of a user; how many there were."""
    done = await tx.execute(
        update(sessions)
        .where(sessions.c.user_id == user_id, sessions.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return done.rowcount


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
